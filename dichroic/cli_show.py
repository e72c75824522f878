"""What the `dichroic` command prints: tables for people, JSON for programs, a progress line on the way."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TextIO

import numpy as np

from dichroic.client import ModelInfo, ModelSummary, Plan, ScaleSpectrum, Suggestion, TensorSpec
from dichroic.separability import FEWEST_POINTS, SEPARABLE

# Work that is over before this needs no progress line.
QUIET_S = 0.5
REDRAW_S = 0.1


def as_json(value: object) -> str:
    """Dataclasses as JSON; what JSON cannot say, such as an unbounded range, is null."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def models_table(models: Sequence[ModelSummary]) -> str:
    """One line for each version."""
    rows = [
        (
            model.model.name,
            f"{model.model.version}{' (default)' if model.is_default else ''}",
            model.kind or "?",
            model.state,
            model.model.digest[:12],
            model.state_detail,
        )
        for model in models
    ]
    return _table(("name", "version", "kind", "state", "digest", ""), rows) if rows else "The server has no models."


def model_text(info: ModelInfo) -> str:
    """One version: what it is, what it takes and gives, and its model card."""
    fallback = " (no GPU was found)" if info.device_is_fallback else ""
    head = [
        f"{info.model.name} version {info.model.version}, {info.kind}, on {info.device}{fallback}",
        f"digest {info.model.digest}",
        f"messages up to {info.max_message_bytes} bytes",
    ]
    rows = [
        (signature.name if index == 0 else "", side, spec.name, spec.dtype, _shape(spec), spec.unit, spec.meaning)
        for signature in info.signatures
        for index, (side, spec) in enumerate([*(("in", spec) for spec in signature.inputs), *(("out", spec) for spec in signature.outputs)])
    ]
    return "\n".join([*head, "", _table(("capability", "", "tensor", "dtype", "shape", "unit", "meaning"), rows), "", info.model_card]).rstrip()


def picks_table(picks: Suggestion) -> str:
    """One line for each pick, the best first."""
    columns = (picks.candidate_index, picks.score, picks.total_mean, picks.total_sd, picks.part_sd)
    rows = [(str(index), *(f"{figure:.6g}" for figure in figures)) for index, *figures in zip(*(each.tolist() for each in columns), strict=True)]
    return _table(("candidate", "score", "mean", "sd", "part sd"), rows)


def spectrum_table(spectrum: ScaleSpectrum) -> str:
    """One line for each window: its length, its stage, how many points are valid, what is explained in their median, and how well classes differ.

    The median: of a flat window next to nothing can be explained, and one such point among many would make the mean any number below 0.
    """
    in_nm = [] if spectrum.window_nm is None else [spectrum.window_nm]
    told = [] if spectrum.separability is None else [spectrum.separability]
    medians = np.array([np.median(row[valid]) if valid.any() else np.nan for row, valid in zip(spectrum.explained, spectrum.valid, strict=True)])
    columns = [spectrum.window_px, *in_nm, spectrum.stage, spectrum.valid.sum(axis=1), medians, *told]
    head = ("window px", *(["nm"] if in_nm else []), "stage", "valid", "median explained", *(["separability"] if told else []))
    rows = [tuple(f"{figure:.4g}" for figure in figures) for figures in zip(*(each.tolist() for each in columns), strict=True)]
    last = []
    if spectrum.separable_from_px is not None:
        last = [f"classes can be told apart from {spectrum.separable_from_px:.4g} px on"]
    elif told:
        enough = f"{SEPARABLE:g} or more, of {FEWEST_POINTS} valid points of every class"
        last = [f"the classes are not told apart: from none of these lengths on is separability {enough}, up to the longest"]
    return "\n".join([_table(head, rows), *last])


def plan_text(plan: Plan) -> str:
    """The next step, and what may be expected after it."""
    if plan.done:
        return f"atom {plan.dopant_index} is where it is to be; nothing is left to do"
    x, y = plan.beam_xy_angstrom
    across, up = plan.beam_from_dopant_angstrom
    lines = [
        f"beam at ({x:.3f}, {y:.3f}) Å, ({across:+.3f}, {up:+.3f}) Å from atom {plan.dopant_index}, for {plan.dwell_s:g} s",
        f"path {' '.join(map(str, plan.path_index.tolist()))}",
        f"within the deadline: at the goal {_chance(plan.success_probability, plan.expected_s)}, lost {plan.lost_probability:.1%}",
    ]
    if len(plan.assignment_index) > 1:
        pairs = ", ".join(f"{dopant} to {goal}" for dopant, goal in plan.assignment_index.tolist())
        lines.append(f"all of them ({pairs}): {_chance(plan.all_success_probability, plan.all_expected_s)}")
    if plan.outside:
        lines.append("beyond what the model was trained on")
    return "\n".join(lines)


def _chance(probability: float, mean_s: float) -> str:
    # No mean where nothing succeeds.
    return f"{probability:.1%} after {mean_s:.0f} s in the mean" if math.isfinite(mean_s) else f"{probability:.1%}"


class ProgressLine:
    """Rows done of all, rewritten in place on a terminal; nothing elsewhere, and nothing for short work."""

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what = what
        self._stream = sys.stderr if stream is None else stream
        self._started = self._drawn = time.monotonic()
        self._shown = False

    def __call__(self, done: int, rows: int) -> None:
        """Called by the client after each message."""
        now = time.monotonic()
        if not self._stream.isatty() or now - self._started < QUIET_S or now - self._drawn < REDRAW_S:
            return
        self._drawn, self._shown = now, True
        left_s = (now - self._started) / done * (rows - done)
        self._stream.write(f"\r{self._what}: {done} of {rows} rows, {100 * done // rows} %, {left_s:.0f} s left \x1b[K")
        self._stream.flush()

    def close(self) -> None:
        """Clears the line, so that what follows begins at its start."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _plain(value: object) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in fields(value)})
    return value


def _shape(spec: TensorSpec) -> str:
    return "(" + ", ".join("n" if length == -1 else str(length) for length in spec.shape) + ")"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows))
