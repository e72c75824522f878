"""Graphs of frames say what the float64 reference says; and their golden answers."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dichroic.bundle import Preprocessing, Signature
from training.export.frame_answers import FrameReference
from training.export.frame_models import FrameModels
from training.export.golden import CLEAR_OF_JUMP_RAD, CLEAR_OF_TIE, ROWS, margin
from training.export.golden import TOLERANCE as GOLDEN_TOLERANCE
from training.export.parity import TOLERANCE, Parity, ParityError, allowance, difference, output_range, require_finite, shaken
from training.export.probes import smooth_pictures
from training.export.sessions import GraphRunner

Array = np.ndarray[Any, np.dtype[Any]]

_ROWS, _TRIES, _DENSE_TRIES = 48, 100, 12
_SEED, _GOLDEN_SEED = 20261126, 11
# Lengths of windows that are tried, of the descriptor's: enlarged, as they are, shrunk.
_SHORTEST, _LONGEST = 0.6, 1.7
_DENSE_WINDOWS = (0.75, 1.0, 1.35)
_GOLDEN_WINDOW = 1.25


def check_frame_parity(
    frames: FrameModels, preprocessing: Preprocessing, declared: Mapping[str, Signature], graphs: Mapping[str, bytes], weights: bytes
) -> Parity:
    """Compares every graph of frames with the float64 reference, and a batch of windows with its rows alone.

    Raises:
        ParityError: a difference above 1e-5 of the output's range (and above three times the model's own rounding), or an answer that is not finite.
    """
    worst = Parity(0.0, "")
    single = FrameReference(frames, preprocessing)
    stages = tuple(replace(stage, model=copy.deepcopy(stage.model).double()) for stage in frames.stages)
    exact = FrameReference(replace(frames, stages=stages), preprocessing)
    circles = frames.specification.circle_columns
    for name, signature in declared.items():
        runner = GraphRunner(graphs[name], weights, [spec.name for spec in signature.outputs])
        for inputs in _examples(name, frames, preprocessing, _ROWS, _SEED):
            wanted, rounded = (reference.answer(name, signature, inputs) for reference in (exact, single))
            require_finite(name, wanted)
            answers = runner.run(inputs)
            alone = {} if name.startswith("dense_") else runner.run(_row(inputs, 1))
            for spec in signature.outputs:
                whole, columns = output_range(spec, wanted[spec.name]), circles(spec.name)
                pairs = [(answers[spec.name], wanted[spec.name], allowance(spec, [rounded], wanted, columns, whole))]
                pairs += [(alone[spec.name], answers[spec.name][1:2], TOLERANCE)] if alone else []
                for found, other, allowed in pairs:
                    if found.shape != other.shape:
                        raise ParityError(f"{name}/{spec.name} has the shape {found.shape}, the model's answer {other.shape}.")
                    share = difference(spec, found, other, columns) / whole
                    limit = allowed
                    if limit < share and other is wanted[spec.name]:
                        again = (reference.answer(name, signature, inputs) for reference in _shaken(single))
                        limit = allowance(spec, again, wanted, columns, whole)
                    if not share <= limit:  # NaN included
                        where = f"{name}/{spec.name}"
                        raise ParityError(f"Graph and model differ by {share:.2e} of the range in {where}; at most {limit:.2e} is allowed.")
                    worst = max(worst, Parity(share, f"{name}/{spec.name}"), key=lambda parity: parity.worst)
    return worst


def _shaken(reference: FrameReference) -> Iterator[FrameReference]:
    """The reference with models each weight of which is a last digit off."""
    for models in zip(*(shaken(stage.model) for stage in reference.frames.stages), strict=True):
        stages = tuple(replace(stage, model=model) for stage, model in zip(reference.frames.stages, models, strict=True))
        yield replace(reference, frames=replace(reference.frames, stages=stages))


def frame_golden(frames: FrameModels, preprocessing: Preprocessing, declared: Mapping[str, Signature]) -> dict[str, Array]:
    """Golden answers of every graph of frames, by the names that they have in golden.safetensors: the frame is among the inputs."""
    arrays: dict[str, Array] = {}
    reference = FrameReference(frames, preprocessing)
    for name, signature in declared.items():
        inputs = _clear_of_jumps(reference, name, signature)
        outputs = reference.answer(name, signature, inputs)
        arrays |= {f"{name}/in/{tensor}": values for tensor, values in inputs.items()}
        for spec in signature.outputs:
            values = outputs[spec.name].astype(np.float32)
            arrays[f"{name}/out/{spec.name}"] = values
            arrays[f"{name}/atol/{spec.name}"] = np.array([GOLDEN_TOLERANCE * output_range(spec, values)])
    return arrays


def _examples(name: str, frames: FrameModels, preprocessing: Preprocessing, rows: int, seed: int) -> list[dict[str, Array]]:
    generator = np.random.default_rng(seed)
    specification, dtype = frames.specification, name.partition(".")[2]
    size = specification.height_px
    if name.startswith("dense_"):
        return [_dense_example(frames, preprocessing, dtype, share, 2, generator) for share in _DENSE_WINDOWS]
    height, width = math.ceil(2 * size), math.ceil(2.3 * size)
    windows = generator.uniform(_SHORTEST * size, _LONGEST * size, rows).astype(np.float32)
    windows[0] = size
    room = np.array([height, width]) - windows[:, None]
    centres = (windows[:, None] / 2 + generator.random((rows, 2)) * room).astype(np.float32)
    frame = smooth_pictures((1, height, width, specification.channels), (size, size), dtype, preprocessing, generator)[0]
    return [{"centre_px": centres, "window_px": windows, "frame": _damaged(frame, generator)}]


def _dense_example(  # noqa: PLR0917 - one order, two callers
    frames: FrameModels, preprocessing: Preprocessing, dtype: str, share: float, count: int, generator: np.random.Generator
) -> dict[str, Array]:
    """Frames of two by three windows and some pixels more."""
    specification = frames.specification
    size, stride = specification.height_px, specification.dense_stride_px
    height, width = (math.ceil(share * (size + strides * stride)) for strides in (1.4, 2.4))
    shape = (count, height, width, specification.channels)
    pictures = smooth_pictures(shape, (size, size), dtype, preprocessing, generator)
    shown = np.stack([_damaged(frame, generator) for frame in pictures])
    return {"frames": shown, "window_px": np.full(count, share * size, np.float32)}


def _damaged(frame: Array, generator: np.random.Generator) -> Array:
    """(h, w[, c]) with one pixel that is not finite, where the dtype has such."""
    if frame.dtype == np.float32:
        frame[generator.integers(frame.shape[0]), generator.integers(frame.shape[1])] = np.nan
    return frame[..., 0] if frame.shape[2] == 1 else frame


def _row(inputs: Mapping[str, Array], row: int) -> dict[str, Array]:
    return {name: values if name == "frame" else values[row : row + 1] for name, values in inputs.items()}


def _clear_of_jumps(reference: FrameReference, name: str, signature: Signature) -> dict[str, Array]:
    """An example in which no angle lies where it could come out on its other side, and no class next to another."""
    frames, preprocessing = reference.frames, reference.preprocessing
    if name.startswith("dense_"):
        generator = np.random.default_rng(_GOLDEN_SEED)
        inputs = _dense_example(frames, preprocessing, name.partition(".")[2], _GOLDEN_WINDOW, _DENSE_TRIES, generator)
        rows = 2
    else:
        (inputs,) = _examples(name, frames, preprocessing, _TRIES, _GOLDEN_SEED)
        rows = ROWS
    tries, specification = len(inputs["window_px"]), frames.specification
    bad = np.zeros(tries)
    answers = reference.answer(name, signature, inputs)
    for spec in signature.outputs:
        columns, values = list(specification.circle_columns(spec.name)), np.abs(answers[spec.name])
        if spec.name == "angle_rad":
            bad += (values > CLEAR_OF_JUMP_RAD / max(1, specification.angle_symmetry)).reshape(tries, -1).any(axis=1)
        elif columns:
            bad += (values[..., columns] > CLEAR_OF_JUMP_RAD).reshape(tries, -1).any(axis=1)
    if specification.is_mixture:
        model = frames.stages[int(name.partition(".")[0].partition("_")[2]) - 1].model
        values = reference.descriptors(model, name.partition(".")[2], inputs["frame"], inputs["centre_px"], inputs["window_px"])
        bad += margin(model, reference.seen(values)) < CLEAR_OF_TIE
    best = np.argsort(bad, kind="stable")[:rows]
    return {tensor: values if tensor == "frame" else np.ascontiguousarray(values[best]) for tensor, values in inputs.items()}
