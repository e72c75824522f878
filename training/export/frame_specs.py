"""Names, shapes and meanings of the tensors of the graphs of frames."""

from __future__ import annotations

import math

from dichroic.bundle import Preprocessing, Signature, TensorSpec
from dichroic.bundle.tensors import FixedSpec
from training.export.frame_models import FrameModels, StageModel
from training.export.specs import ACTIVATION_BYTES, ImageDType, decode_max_batch, encode_outputs, images_in

# The pixels around the centres of one run stay below this, for windows half as long again as the stage's.
_TAP_BYTES = 64 << 20
_MOST_ROWS = 4096
_DTYPES: tuple[ImageDType, ...] = ("uint8", "uint16", "float32")

_CENTRE = TensorSpec(
    name="centre_px",
    dtype="float32",
    shape=("n", 2),
    axes=("window", "row and column"),
    unit="px",
    meaning="middle of the window; the first pixel's is (0.5, 0.5)",
)
_WINDOW = TensorSpec(name="window_px", dtype="float32", shape=("n",), axes=("window",), unit="px", range_low=0.0, meaning="side of the window")
_EXPLAINED = TensorSpec(
    name="explained",
    dtype="float32",
    shape=("n",),
    axes=("window",),
    unit="1",
    range_high=1.0,
    meaning="1 - MSE/Var of the window's reconstruction at the posterior mean; 0 where the window is constant",
)


def frame_signatures(frames: FrameModels, preprocessing: Preprocessing) -> dict[str, Signature]:
    """All signatures of frames, by name; the graph's file is the name and ".onnx"."""
    specification = frames.specification
    outputs = tuple(_of_frame(spec) for spec in encode_outputs(specification))
    found: dict[str, Signature] = {}
    for number, stage in enumerate(frames.stages, start=1):
        rows = frame_max_batch(stage)
        for dtype in _DTYPES:
            images = images_in(specification, preprocessing, dtype)
            meaning = "any unit: the frame's own mean and standard deviation are taken out" if frames.standardised else images.meaning
            shape: tuple[str | int, ...] = ("H", "W") if specification.channels == 1 else ("H", "W", specification.channels)
            fixed = (FixedSpec(name="frame", dtype=dtype, shape=shape, source="request", meaning=f"the whole frame; {meaning}"),)
            for kind, told, most in (("frame", outputs, rows), ("explain", (_EXPLAINED,), min(rows, decode_max_batch(specification, rows)))):
                name = f"{kind}_{number}.{dtype}"
                found[name] = Signature(graph=f"{name}.onnx", inputs=(_CENTRE, _WINDOW), fixed=fixed, outputs=told, max_batch=most)
            if specification.dense_head:
                name = f"dense_{number}.{dtype}"
                frames_in = _frames_in(images, shape, meaning)
                found[name] = Signature(graph=f"{name}.onnx", inputs=(frames_in, _WINDOW), outputs=_maps(outputs), max_batch=1)
    return found


def frame_max_batch(stage: StageModel) -> int:
    """Windows of one run, 8 to 4096: many, as each run reads the whole frame; what is gathered of it, and two layers of features, stay bounded."""
    specification = stage.model.specification
    taps = math.ceil(1.5 * (stage.window_px or 2 * specification.height_px)) + 2
    gathered = (8 + 4 * specification.channels) * taps**2  # where each pixel lies, and its values
    features = 2 * 4 * specification.pixels * max((1, *specification.encoder_channels))
    return max(8, min(_MOST_ROWS, _TAP_BYTES // gathered, ACTIVATION_BYTES // features))


def _of_frame(spec: TensorSpec) -> TensorSpec:
    changes: dict[str, object] = {"axes": ("window", *spec.axes[1:])}
    if spec.name in ("shift_down_px", "shift_right_px"):
        changes["meaning"] = f"{spec.meaning.replace('image', 'window')}, in pixels of the frame"
    return spec.model_copy(update=changes)


def _frames_in(images: TensorSpec, shape: tuple[str | int, ...], meaning: str) -> TensorSpec:
    facts = images.model_dump(exclude_unset=True) | {"name": "frames", "shape": ("n", *shape), "meaning": f"whole frames; {meaning}"}
    facts["axes"] = ("frame", *images.axes[1:])
    return TensorSpec(**facts, **({"takes_non_finite": True} if images.dtype == "float32" else {}))


def _maps(outputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    return tuple(
        spec.model_copy(update={"shape": ("n", "R", "C", *spec.shape[1:]), "axes": ("frame", "window row", "window column", *spec.axes[1:])})
        for spec in outputs
    )
