"""What a latent bundle says of whole images: window lengths, the descriptor they are resampled to, and the graphs that do it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from dichroic.bundle.section import Section
from dichroic.bundle.tensors import Signature, TensorSpec

Length = Annotated[float, Field(gt=0)]
FRAME_DTYPES = ("uint8", "uint16", "float32")


class FrameStage(Section):
    """One window length with weights of its own: in pixels of the training images, in nm where their pixel size was known."""

    window_px: Length | None = None
    window_nm: Length | None = None

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if self.window_px is None and self.window_nm is None:
            raise ValueError("a stage has window_px, window_nm or both")
        return self


class DenseFrames(Section):
    """The encoder can be evaluated once over a frame. `stride_px`: of its windows, in pixels of the descriptor."""

    stride_px: Annotated[int, Field(ge=1)]


class Frames(Section):
    """Encoding of windows of a whole image, resampled to `descriptor_px` × `descriptor_px`.

    `standardised`: each frame's own mean and standard deviation, over its finite pixels, are taken out inside the graphs. `stages`: k = 1, 2, … in
    ascending order, whose graphs are `frame_<k>.<dtype>`, `explain_<k>.<dtype>` and, where `dense` is given, `dense_<k>.<dtype>`. The last stage's
    decoder is `decode`; those of the others, `decode_<k>`, may be there too.
    """

    descriptor_px: Annotated[int, Field(ge=2, le=4096)]
    standardised: bool
    stages: Annotated[tuple[FrameStage, ...], Field(min_length=1, max_length=64)]
    dense: DenseFrames | None = None

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for unit in ("window_px", "window_nm"):
            lengths = [getattr(stage, unit) for stage in self.stages]
            if lengths == [None] * len(lengths):
                continue
            if None in lengths:
                raise ValueError(f"stages: {unit} is given for every stage or for none")
            if any(short >= long for short, long in pairwise(lengths)):
                raise ValueError(f"stages: {unit} is not ascending: {lengths}")
        return self

    def check_signatures(self, signatures: Mapping[str, Signature], channels: int) -> None:
        """Every stage has its graphs, of the same dtypes, that take and give what they should, in the order of `encode`.

        Raises:
            ValueError: names the signature and the tensor.
        """
        dtypes = [dtype for dtype in FRAME_DTYPES if f"frame_1.{dtype}" in signatures]
        kinds = ("frame", "explain") if self.dense is None else ("frame", "explain", "dense")
        wanted = {f"{kind}_{stage + 1}.{dtype}" for kind in kinds for stage in range(len(self.stages)) for dtype in dtypes}
        self._check_decoders(signatures)
        found = {name for name in signatures if of_frames(name) and not name.startswith("decode_")}
        if not dtypes or wanted != found:
            raise ValueError(
                f"latent.frames has {len(self.stages)} stages; each has {' and '.join(f'{kind}_<k>' for kind in kinds)} of the same dtypes, "
                f"but {sorted(wanted ^ found) or 'no frame_1.<dtype>'} is missing or too much"
            )
        for name in sorted(found):
            encode = signatures.get(f"encode.{name.partition('.')[2]}")
            if encode is None:
                raise ValueError(f"signatures.{name}: there is no encode of its dtype")
            check = _check_dense if name.startswith("dense_") else _check_frame
            check(f"signatures.{name}", name.partition(".")[2], signatures[name], encode, channels)

    def _check_decoders(self, signatures: Mapping[str, Signature]) -> None:
        wanted = {f"decode_{stage}" for stage in range(1, len(self.stages))}
        found = {name for name in signatures if of_frames(name) and name.startswith("decode_")}
        if found and found != wanted:
            raise ValueError(f"every stage but the last has decode_<k>, or none has; {sorted(wanted ^ found)} is missing or too much")
        decode = signatures.get("decode")
        for name in sorted(found):
            if decode is None or _tensors(signatures[name]) != _tensors(decode):
                raise ValueError(f"signatures.{name}: it takes and gives {_tensors(signatures[name])}; expected what decode takes and gives")


def of_frames(name: str) -> bool:
    """Whether a signature's name is that of a graph of frames."""
    kind, _, stage = name.partition(".")[0].partition("_")
    return kind in ("frame", "explain", "dense", "decode") and stage.isdecimal()


def _check_frame(where: str, dtype: str, signature: Signature, encode: Signature, channels: int) -> None:
    _check_rows(where, signature.inputs, (("centre_px", (2,)), ("window_px", ())))
    fixed = [(spec.name, spec.dtype, spec.shape, spec.source) for spec in signature.fixed]
    if fixed != [("frame", dtype, _frame_shape(channels), "request")]:
        raise ValueError(f"{where}: its fixed inputs are {fixed}; expected frame {dtype}{list(_frame_shape(channels))} of source 'request'")
    # A graph of its own: it draws every window again, which takes a hundred times as long as encoding it.
    explains = where.startswith("signatures.explain_")
    _check_outputs(where, signature, [("explained", ())] if explains else [(spec.name, spec.shape[1:]) for spec in encode.outputs])


def _check_dense(where: str, dtype: str, signature: Signature, encode: Signature, channels: int) -> None:
    frames = signature.inputs[0]
    if (frames.name, frames.dtype, frames.shape[1:]) != ("frames", dtype, _frame_shape(channels)) or signature.fixed:
        raise ValueError(f"{where}: its first input is {frames.name} {frames.dtype}{list(frames.shape)}; expected frames and no fixed inputs")
    if frames.takes_non_finite != (dtype == "float32"):
        raise ValueError(f"{where}: frames of float32, and no others, have takes_non_finite: a detector's dead pixel must not spoil the frame")
    _check_rows(where, signature.inputs[1:], (("window_px", ()),))
    if signature.max_batch != 1:
        raise ValueError(f"{where}: max_batch is {signature.max_batch}; it is 1, since frames with different windows have different grids")
    _check_outputs(where, signature, [(spec.name, ("R", "C", *spec.shape[1:])) for spec in encode.outputs])


def _tensors(signature: Signature) -> tuple[object, ...]:
    return tuple([(spec.name, spec.dtype, spec.shape) for spec in side] for side in (signature.inputs, signature.fixed, signature.outputs))


def _frame_shape(channels: int) -> tuple[str | int, ...]:
    return ("H", "W") if channels == 1 else ("H", "W", channels)


def _check_rows(where: str, specs: tuple[TensorSpec, ...], wanted: tuple[tuple[str, tuple[int, ...]], ...]) -> None:
    found = tuple((spec.name, spec.shape[1:]) for spec in specs)
    if found != wanted or any(spec.dtype != "float32" for spec in specs):
        raise ValueError(f"{where}: its inputs are {[spec.name for spec in specs]}; expected {[name for name, _ in wanted]}, float32")


def _check_outputs(where: str, signature: Signature, wanted: list[tuple[str, tuple[str | int, ...]]]) -> None:
    found: list[tuple[str, tuple[str | int, ...]]] = [(spec.name, spec.shape[1:]) for spec in signature.outputs]
    if found != wanted or any(spec.dtype != "float32" for spec in signature.outputs):
        raise ValueError(f"{where}: its outputs are {found}; expected {wanted}, float32, by those of encode")
