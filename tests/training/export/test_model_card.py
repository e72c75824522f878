from __future__ import annotations

import re
from typing import Any

import pytest

from dichroic.bundle import LatentSection, Metric, Preprocessing, TrainingData
from dichroic.bundle.frames_section import Frames, FrameStage
from dichroic.bundle.manifest import Calibration, ErrorCalibration, Quantile
from tests.training.export.exported import CARD
from training.export.model_card import metrics_table, model_card


def card(
    *, rate: float = 0.01, count: int = 1000, remark: str = "", frames: Frames | None = None, metrics: tuple[Metric, ...] = (), **of_latent: Any
) -> str:
    errors = ErrorCalibration(count=count, split="held-out", quantiles=(Quantile(probability=0.99, value=0.02),))
    return model_card(
        card=CARD,
        name="toy",
        latent=LatentSection(
            **{"invariances": ()} | of_latent,
            image_height_px=12,
            image_width_px=12,
            channels=1,
            content_size=1,
            latent_names=("content_1",),
            likelihood="gaussian",
            novelty_threshold=0.02,
            novelty_false_alarm_rate=rate,
            frames=frames,
        ),
        preprocessing=Preprocessing(unit="m", input_low=(0.0,), input_high=(1.0,), clip=False, integer_images="value"),
        training_data=TrainingData(source="mine.npz", licence="not stated", sha256=("0" * 64,)),
        notes="",
        remark=remark,
        metrics=metrics,
        calibration=Calibration(reconstruction_error=errors),
    )


def test_angles_of_a_symmetry_are_told_with_it() -> None:
    assert "modulo" not in card()
    assert "Angles are meant modulo 120°" in card(invariances=("rotation",), angle_symmetry=3)


def test_bars_in_a_text_begin_no_column() -> None:
    metric = Metric(name="excess", value=1.0, unit="nats", split="a|b.npz", meaning="-log p(image | posterior mean)")
    table = metrics_table([metric]).splitlines()
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 6 for line in table)
    assert r"p(image \| posterior mean)" in table[2]
    assert r"a\|b.npz" in table[2]


def test_figures_of_window_lengths_stand_side_by_side() -> None:
    frames = Frames(descriptor_px=12, standardised=True, stages=(FrameStage(window_px=6, window_nm=30), FrameStage(window_px=12, window_nm=60)))
    values = {"negative_elbo": 9.0, "explained_w1": 0.5, "share_w2": 0.25, "explained_w2": 0.75, "odd_w3": 8.0}
    metrics = tuple(Metric(name=name, value=value, unit="1", split="held-out", meaning=f"of {name[:3]}") for name, value in values.items())
    text = card(frames=frames, metrics=metrics)
    assert "| figure | 30 nm | 60 nm | unit | meaning |\n|---|---|---|---|---|" in text
    assert "| explained | 0.5 | 0.75 | 1 | of exp |" in text
    assert "| share | – | 0.25 | 1 | of sha |" in text
    assert "| odd_w3 | 8 | 1 | of odd | held-out |" in text  # no stage is so called
    assert "| negative_elbo | 9 |" in text
    assert "explained_w1" in card(metrics=metrics)


def test_remark_comes_before_the_texts_it_warns_of() -> None:
    text = card(remark="Trained on mine.npz; the texts were written for other data.")
    assert text.index("Trained on mine.npz") < text.index("A toy.")
    assert "**" not in card()


@pytest.mark.parametrize(("rate", "count", "told", "few"), [(0.01, 1000, "0.01 of those", False), (1 / 5, 5, "0.2 of those", True)])
def test_rate_of_false_alarms_is_told_and_when_it_was_only_measured(rate: float, count: int, told: str, few: bool) -> None:
    text = card(rate=rate, count=count)
    assert told in text
    assert ("as measured" in text) == few


def test_every_section_stands_and_says_what_is_not_known() -> None:
    sections = re.findall(r"^## (.+)$", card(), re.MULTILINE)
    assert sections == ["Use", "Data", "Figures", "Calibration", "Limits", "What is published and what is ours", "Licence"]
    assert "Licence of the data: not stated" in card()
    assert "Our reconstruction or choice: All of it." in card()
