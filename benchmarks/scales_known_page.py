"""The page of `benchmarks.scales_known`."""

from __future__ import annotations

from typing import Any

import numpy as np

# E_2/(E_1 + E_2) of sorted axes never exceeds ½, and of a sample hardly ever comes to it: up to here it has come.
REACHED = 0.45
_WITHIN, _SLOPE, _SLOPE_WITHIN = 0.25, -2.0, 0.3
_HEAD = """# Known answers across length scales

Written by `python -m benchmarks.scales_known`. Descriptors of {d} × {d} px, held-out blocks; each case is one progressive fit over the windows,
each image by its own standard deviation. The answers are derived for a linear VAE. The model here is nearly one: four content latents, one
hidden layer of tanh in encoder and decoder, a Gaussian likelihood whose noise is fixed at {noise:g} standard deviations of the image. That noise is
far below what stripes put into a descriptor and above what white noise of some hundred to a thousand descriptors has by chance in one direction;
a learned or smaller noise fits such accidents, and then units are active on noise.

## Stripes of period L, along the rows

Share: E_2/(E_1 + E_2) of the descriptors' variance along the latent's principal axes; known: (1 − |sinc(2w/L)|)/2, which is ½ first at w = L/2. A
sorted share of a sample stays a little below ½: it is said to have come up to it at {reached:g}, interpolated between windows.

| period, px | seed | w/L: share (known) | greatest difference | reaches ½ at w/L | within 25 % of ½ | active units at L/2 | met |
|---|---|---|---|---|---|---|---|"""
_NOISE = """
## White noise

Slope of log variance against log window from 1.5 to 6 times the descriptor's side, no model involved. Boxes with fractional edges on pixels that
lie anywhere have ((s − ⅓)/s²)² at s = w/d, whose slope over these windows stands beside it; −2 is the limit of long windows. Active
units at w < d are reported, not asked for: enlarging makes noise smooth.

| seed | slope | of boxes | −2 ± 0.3 | active units at w/d | greatest V at w ≥ d | met |
|---|---|---|---|---|---|---|"""


def page_of(rows: list[dict[str, Any]], *, descriptor: int, noise_sd: float) -> str:
    """The page of these results."""
    lines = [_HEAD.format(d=descriptor, noise=noise_sd, reached=REACHED)]
    lines += [_stripes(row) for row in sorted(rows, key=lambda row: (row["period_px"] or 0, row["seed"])) if row["kind"] == "stripes"]
    lines.append(_NOISE)
    lines += [_noise(row, descriptor) for row in sorted(rows, key=lambda row: row["seed"]) if row["kind"] == "noise"]
    return "\n".join(lines) + "\n"


def reaches_half(windows: list[float], shares: list[float]) -> float:
    """The least window at which the share has come up to ½, interpolated linearly; NaN where it never does."""
    for index, (window, share) in enumerate(zip(windows, shares, strict=True)):
        if share >= REACHED:
            if index == 0:
                return window
            before, low = windows[index - 1], shares[index - 1]
            return before + (window - before) * (REACHED - low) / (share - low)
    return float("nan")


def _stripes(row: dict[str, Any]) -> str:
    period, stages = row["period_px"], row["stages"]
    windows = [stage["window_px"] / period for stage in stages]
    shares, known = [stage["share"] for stage in stages], [stage["known"] for stage in stages]
    reached = reaches_half(windows, shares)
    near = abs(reached - 0.5) <= _WITHIN * 0.5
    active = next(stage["active"] for stage, window in zip(stages, windows, strict=True) if abs(window - 0.5) < 1e-6)
    told = ", ".join(f"{window:g}: {share:.3f} ({right:.3f})" for window, share, right in zip(windows, shares, known, strict=True))
    worst = float(np.abs(np.subtract(shares, known)).max())
    return f"| {period:g} | {row['seed']} | {told} | {worst:.3f} | {reached:.3f} | {_yes(near)} | {active} | {_yes(near and active == 2)} |"


def _noise(row: dict[str, Any], descriptor: int) -> str:
    steps = [stage["window_px"] / descriptor for stage in row["stages"]]
    right = abs(row["slope"] - _SLOPE) <= _SLOPE_WITHIN
    told = ", ".join(f"{step:g}: {stage['active']}" for step, stage in zip(steps, row["stages"], strict=True))
    long = [stage for step, stage in zip(steps, row["stages"], strict=True) if step >= 1]
    greatest = max(stage["variance"][0] for stage in long)
    none = all(stage["active"] == 0 for stage in long)
    return f"| {row['seed']} | {row['slope']:.3f} | {row['slope_of_boxes']:.3f} | {_yes(right)} | {told} | {greatest:.2g} | {_yes(right and none)} |"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
