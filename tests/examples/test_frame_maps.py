"""Maps of a drawn frame by a real service and the committed bundle: what they say is what was drawn."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dichroic import Client, FrameEncoding, ScaleSpectrum
from examples.frame_maps import DAMAGE_PX, DAMAGE_RADIUS_PX, GRAINS_DEG, SIDE_PX, DrawnFrame, ask, draw_frame
from examples.frame_maps_picture import draw
from tests.e2e.conftest import ROOT, serve

Answers = tuple[DrawnFrame, FrameEncoding, ScaleSpectrum]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    home = tmp_path_factory.mktemp("frames")
    shutil.copytree(ROOT / "bundles" / "scales_stripes", home / "bundles" / "scales_stripes")
    frame = draw_frame(3)
    with serve(home / "bundles", home / "log") as service, Client(service.address) as client:
        return frame, *ask(client, "scales_stripes", frame)


def test_the_angle_follows_the_stripes_of_both_grains_at_every_length(answers: Answers) -> None:
    _, encoding, _ = answers
    assert [each.window_nm for each in encoding.maps] == [20, 40, 80, 120]
    for each in encoding.maps:
        assert each.centres_px is not None
        assert each.angle_rad is not None
        row, column = each.centres_px.T
        clear = np.hypot(row - DAMAGE_PX[0], column - DAMAGE_PX[1]) > DAMAGE_RADIUS_PX + each.window_px
        grains = (clear & (column < 0.55 * SIDE_PX - 8 - each.window_px), clear & (column > 0.55 * SIDE_PX + 8 + each.window_px))
        # Twice the angle, as stripes look the same after half a turn; the model's own upright is common to both grains.
        found = [np.angle(np.exp(2j * each.angle_rad[grain]).mean()) / 2 for grain in grains]
        turned = np.degrees(np.angle(np.exp(2j * (found[0] - found[1]))) / 2)
        assert turned == pytest.approx(GRAINS_DEG[0] - GRAINS_DEG[1], abs=4)


def test_what_the_model_cannot_draw_is_where_the_stripes_are_worn_away(answers: Answers) -> None:
    _, encoding, _ = answers
    for each in encoding.maps:
        assert each.centres_px is not None
        assert each.explained is not None
        distance = np.hypot(*(each.centres_px - DAMAGE_PX).T)
        inside, outside = distance < DAMAGE_RADIUS_PX - each.window_px / 2, distance > DAMAGE_RADIUS_PX + each.window_px
        assert np.median(each.explained[outside]) > 0.5
        assert np.median(each.explained[inside]) < 0


def test_damage_is_told_from_a_length_on_and_not_from_near(answers: Answers) -> None:
    _, _, spectrum = answers
    assert spectrum.separability is not None
    assert spectrum.separability[0] < 0.9
    assert spectrum.separable_from_nm is not None
    assert 5 < spectrum.separable_from_nm < 40
    assert (spectrum.separability[4:] > 0.95).all()


def test_the_picture_is_there_whole(answers: Answers, tmp_path: Path) -> None:
    draw(tmp_path / "maps.png", *answers)
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.glob(".*.part")) == []
