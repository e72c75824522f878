"""Writes examples/heart.json, the body of README's curl request: one drawn heart, 48 × 48, uint8, in base64. `python examples/make_heart.py`."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.data.cards import draw_cards


def body() -> str:
    """The request's text."""
    drawn = draw_cards(1, angle_deg=60, shear_deg=1, shift=0.1, seed=4, stream="test")
    heart = (255 * drawn.arrays["images"][1:2]).round().astype(np.uint8)
    packed = {"dtype": "uint8", "shape": list(heart.shape), "data_base64": base64.b64encode(heart.tobytes()).decode("ascii")}
    return json.dumps({"images": packed}) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("heart.json").write_text(body(), encoding="utf-8")
