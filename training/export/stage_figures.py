"""Figures of models at several window lengths, side by side; their names end in w1, w2, … , as training/scales/figures.py gives them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dichroic.bundle import Metric
from dichroic.bundle.frames_section import Frames

_OF_A_STAGE = re.compile(r"(.+)_w([1-9][0-9]*)")
# One row: the figure's name without its number, and its metric of each stage, None where it was not finite.
Series = tuple[str, tuple[Metric | None, ...]]


def split_by_stage(metrics: Sequence[Metric], frames: Frames | None) -> tuple[list[Metric], list[Series]]:
    """Figures of the whole model, and those of its stages by name, each in the order in which they come.

    Args:
        metrics: of a manifest.
        frames: of the same; None: a model without stages, whatever its figures are called.
    """
    whole: list[Metric] = []
    found: dict[str, list[Metric | None]] = {}
    count = 0 if frames is None else len(frames.stages)
    for metric in metrics:
        matched = _OF_A_STAGE.fullmatch(metric.name)
        if matched is None or int(matched[2]) > count:
            whole.append(metric)
        else:
            found.setdefault(matched[1], [None] * count)[int(matched[2]) - 1] = metric
    return whole, [(name, tuple(row)) for name, row in found.items()]


def stage_labels(frames: Frames) -> list[str]:
    """Each stage's window in words: in nm where that is known."""
    return [f"{stage.window_nm:.4g} nm" if stage.window_nm is not None else f"{stage.window_px:.4g} px" for stage in frames.stages]


def any_of(row: tuple[Metric | None, ...]) -> Metric:
    """A metric of a series, for what all of it share: unit and meaning."""
    return next(metric for metric in row if metric is not None)
