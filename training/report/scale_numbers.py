"""The numbers behind the pictures of scales, as JSON for programs: scales.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from training.data.dataset import Array
from training.report.scale_graphs import ScaleGraphs
from training.report.scale_stages import Stage

_FORMAT = 1


def write_scale_numbers(scales: ScaleGraphs, stages: tuple[Stage, ...], alignment: tuple[Array, Array], folder: Path) -> Path:
    """scales.json: what scale_numbers says; what is not known is null."""
    path = folder / "scales.json"
    text = json.dumps(scale_numbers(scales, stages, alignment), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def scale_numbers(scales: ScaleGraphs, stages: tuple[Stage, ...], alignment: tuple[Array, Array]) -> dict[str, Any]:
    """Every stage at windows of its own length, and how it agrees with the next.

    Args:
        scales: the bundle over a frame.
        stages: over the same.
        alignment: mean canonical correlation and Procrustes residual (K, K).

    Returns:
        `model`, `frame`; `stages`, each with its window, its latents on lines (V, A, KL, whether it is active, and if so its correlation length) and
        quartiles of the windows' explained fraction; `neighbours`, two stages each.
    """
    manifest, frame = scales.graphs.manifest, scales.frame
    correlation, residual = alignment
    return {
        "format": _FORMAT,
        "model": {"name": manifest.name, "version": manifest.version, "digest": manifest.digest},
        "frame": {
            "name": frame.name,
            "height_px": frame.values.shape[0],
            "width_px": frame.values.shape[1],
            "pixel_size_nm": _known(frame.pixel_size_nm),
        },
        "stages": [_stage(stage, frame.pixel_size_nm) for stage in stages],
        "neighbours": [
            {
                "stages": [first + 1, first + 2],
                "canonical_correlation": _known(correlation[first, first + 1]),
                "procrustes_residual": _known(residual[first, first + 1]),
            }
            for first in range(len(stages) - 1)
        ],
    }


def _stage(stage: Stage, pixel_size_nm: float | None) -> dict[str, Any]:
    known = stage.explained[np.isfinite(stage.explained)]
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75]) if known.size else (np.nan,) * 3
    return {
        "window_px": stage.window_px,
        "window_nm": _in_nm(stage.window_px, pixel_size_nm),
        "windows": len(known),
        "explained_fraction": {"quartile_1": _known(low), "median": _known(middle), "quartile_3": _known(high)},
        "active_units": stage.units.active_count,
        "latents": [_latent(stage, index, name, pixel_size_nm) for index, name in enumerate(stage.names)],
    }


def _latent(stage: Stage, index: int, name: str, pixel_size_nm: float | None) -> dict[str, Any]:
    # The map of a unit that is not active holds next to nothing: its length would be chance.
    length = float(stage.length_px[index]) if stage.units.active[index] else None
    return {
        "name": name,
        "variance": _known(stage.units.variance[index]),
        "uncertainty": _known(stage.units.uncertainty[index]),
        "kl_nats": _known(stage.units.divergence_nats[index]),
        "active": bool(stage.units.active[index]),
        "correlation_length_px": _known(length),
        "correlation_length_nm": _in_nm(length, pixel_size_nm),
    }


def _in_nm(length_px: float | None, pixel_size_nm: float | None) -> float | None:
    return None if length_px is None or pixel_size_nm is None else _known(length_px * pixel_size_nm)


def _known(value: float | None) -> float | None:
    """JSON has no NaN and no infinity."""
    return float(value) if value is not None and np.isfinite(value) else None
