"""A manifest with every field, and files, that mean nothing: for tests of the bundle's form."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from dichroic.bundle import Manifest, write_bundle

FILES = {
    "encode.uint8.onnx": b"graph",
    "weights.safetensors": b"weights",
    "golden.safetensors": b"golden",
    "README.md": "# Drawn\nNothing, é.\n".encode(),
}


def tensor(name: str, *row: int, dtype: str = "float32") -> dict[str, Any]:
    shape, axes = ["n", *row], ["batch", *["axis"] * len(row)]
    bounds = {"range_low": -3.5, "range_high": 3.5}
    return {"name": name, "dtype": dtype, "shape": shape, "axes": axes, "unit": "1", **bounds, "meaning": "nothing"}


def facts() -> dict[str, Any]:
    """bundle.json as Python."""
    return {
        "format_version": "1.0",
        "name": "drawn",
        "version": 1,
        "kind": "latent",
        "created_time": "2026-01-02T03:04:05Z",
        "producer": {"git_commit": "abc", "packages": {"numpy": "2.0"}, "timings_s": {"fit": 1.5}},
        "files": [{"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)} for path, data in FILES.items()],
        "signatures": {
            "encode.uint8": {
                "graph": "encode.uint8.onnx",
                "inputs": [tensor("images", 8, 8, dtype="uint8")],
                "outputs": [tensor("angle_rad"), tensor("content", 2)],
                "max_batch": 64,
            }
        },
        "preprocessing": {"unit": "m", "input_low": [0.0], "input_high": [6e-10], "clip": True, "integer_images": "full_scale"},
        "metrics": [{"name": "angle_error", "value": 0.05, "unit": "rad", "split": "held-out", "meaning": "median"}],
        "calibration": {"reconstruction_error": {"count": 100, "split": "held-out", "quantiles": [{"probability": 0.99, "value": 0.02}]}},
        "training_data": {"source": "drawn", "licence": "MIT", "sha256": ["0" * 64]},
        "latent": {
            "invariances": ["rotation"],
            "image_height_px": 8,
            "image_width_px": 8,
            "channels": 1,
            "channel_names": ["amplitude"],
            "pixel_size_nm": 10.0,
            "content_size": 2,
            "latent_names": ["rotation", "content_1", "content_2"],
            "pose_convention": "object-ccw-row0-top",
            "rotation_prior_sd_rad": 3.0,
            "shift_prior_sd": 0.1,
            "scale_prior_log_sd": 0.1,
            "likelihood": "gaussian",
            "novelty_threshold": 0.02,
            "novelty_false_alarm_rate": 0.01,
        },
    }


def manifest(**changes: Any) -> Manifest:
    return Manifest.model_validate_json(json.dumps(facts() | changes))


def write(bundles: Path, **changes: Any) -> Path:
    folder, _ = write_bundle(bundles, manifest(**changes), FILES)
    return folder
