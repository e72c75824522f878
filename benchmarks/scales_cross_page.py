"""The page of the cross-scale test, from its JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

TARGET = 0.5
_CONTROL = "1 and 1 µm"


def page_of(folder: Path) -> str:
    """Markdown: for each encoder and channel a row for each pair of scan sizes, and the median pair against the target."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("cross-*.json"))]
    lines = [
        "# The same length in scans of different size",
        "",
        "Energy distance D² = 2E|X − Y| − E|X − X′| − E|Y − Y′| (Székely and Rizzo 2013; unbiased) of rotation-invariant latents of windows of W nm",
        "in two measured PbTiO3 scans, over that of windows of as many pixels (geometric mean of both scans' pixel counts at W): median over lengths",
        "and the two scans of 1 µm, with the range over seeds of the windows drawn. Some take its root D for the distance. Below 1, windows of one",
        "length are more alike than windows of as many pixels; the two scans of 1 µm say how far apart scans of one kind lie. Versions of one bundle",
        "are fits of its recipe with the seeds 0, 1, 2. `python -m benchmarks.scales_cross`.",
        "",
        "| latents | channel | scans | lengths (nm) | D² at equal length | D² at equal pixels | ratio of D² | ratio of D |",
        "|---|---|---|---|---|---|---|---|",
    ]
    verdicts = []
    for told in found:
        pairs = list(dict.fromkeys(row["pair"] for row in told["rows"]))
        lines += [_row(told, pair) for pair in pairs]
        ratios = [median_ratio([row for row in told["rows"] if row["pair"] == pair]) for pair in pairs if pair != _CONTROL]
        middle = float(np.median(ratios))
        words = f"D² {middle:.2f}, D {np.sqrt(middle):.2f}; at most {TARGET} wanted: {_reached(middle)} by D², {_reached(np.sqrt(middle))} by D"
        alike = _median([row["physical"] for row in told["rows"] if row["pair"] == _CONTROL])
        apart = float(np.median([_pixel_distance([row for row in told["rows"] if row["pair"] == pair]) for pair in pairs if pair != _CONTROL]))
        floor = f"two scans of one kind and size would give D² {alike / apart:.2f}, D {np.sqrt(alike / apart):.2f}"
        verdicts.append(f"- {told['encoder']}, {told['channel']}: the median pair's ratio is {words}; {floor}.")
    return "\n".join([*lines, "", *verdicts, ""])


def median_ratio(rows: list[dict[str, Any]]) -> float:
    """Median ratio of D²; a length at which equal pixels lie no further apart than chance counts as the worst."""
    return float(np.median([np.inf if row["ratio"] is None else row["ratio"] for row in rows]))


def _row(told: dict[str, Any], pair: str) -> str:
    rows = [row for row in told["rows"] if row["pair"] == pair]
    lengths = [row["length_nm"] for row in rows]
    physical = _median([row["physical"] for row in rows])
    head = f"| {told['encoder']} | {told['channel']} | {pair} | {min(lengths):.0f} to {max(lengths):.0f} | {physical:.3f} |"
    if pair == _CONTROL:  # lengths and pixels are one: how far two scans lie apart that were made alike
        return f"{head} the same | – | – |"
    pixel = _pixel_distance(rows)
    each = [median_ratio([row for row in rows if row["seed"] == seed]) for seed in sorted({row["seed"] for row in rows})]
    middle = median_ratio(rows)
    return f"{head} {pixel:.3f} | {middle:.2f} ({min(each):.2f} to {max(each):.2f}) | {np.sqrt(middle):.2f} |"


def _pixel_distance(rows: list[dict[str, Any]]) -> float:
    """D² at equal pixels: of both scans' pixel counts the geometric mean, over rows the median."""
    return _median([float(np.sqrt(max(np.prod(row["pixel"]), 0))) for row in rows])


def _median(values: list[float]) -> float:
    return float(np.median(values))


def _reached(value: float) -> str:
    return "reached" if value <= TARGET else "not reached"
