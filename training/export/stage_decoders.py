"""Decoders of the stages before the last, decode_<k>: for pictures of what each window length learned; no call of a server runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dichroic.bundle import Preprocessing, Signature
from training.export.frame_models import FrameModels
from training.export.golden import golden_answers
from training.export.parity import Parity, check_parity

Array = np.ndarray[Any, np.dtype[Any]]


def decoder_signatures(frames: FrameModels, decode: Signature) -> dict[str, Signature]:
    """As `decode`, which is the last stage's; none of a single stage."""
    names = [f"decode_{number}" for number in range(1, len(frames.stages))]
    return {name: decode.model_copy(update={"graph": f"{name}.onnx"}) for name in names}


def check_decoders(
    frames: FrameModels, preprocessing: Preprocessing, declared: Mapping[str, Signature], graphs: Mapping[str, bytes], weights: bytes
) -> Parity:
    """Compares each with its own stage's model.

    Raises:
        ParityError: as check_parity.
    """
    worst = Parity(0.0, "")
    for (name, signature), stage in zip(declared.items(), frames.stages, strict=False):
        found = check_parity(stage.model, preprocessing, {name: signature}, graphs, weights)
        worst = max(worst, found, key=lambda parity: parity.worst)
    return worst


def decoder_golden(frames: FrameModels, preprocessing: Preprocessing, declared: Mapping[str, Signature]) -> dict[str, Array]:
    """Golden answers by the names that they have in golden.safetensors."""
    arrays: dict[str, Array] = {}
    for (name, signature), stage in zip(declared.items(), frames.stages, strict=False):
        arrays |= golden_answers(stage.model, preprocessing, {name: signature})
    return arrays
