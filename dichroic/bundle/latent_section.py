"""The latent room's part of the manifest, and what it demands of the graphs' signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from dichroic.bundle.frames_section import Frames, of_frames
from dichroic.bundle.section import Section
from dichroic.bundle.tensors import Signature, TensorSpec

Text = Annotated[str, StringConstraints(min_length=1)]
Invariance = Literal["rotation", "translation", "scale"]
DataKind = Literal["images", "spectra"]
# Where a content latent lives. On a circle it is an angle in [-pi, pi] radians, with a uniform prior.
TopologyAxis = Literal["line", "circle"]
# What Decode can be asked with; class_weights is made from the caller's class_index.
DECODE_INPUTS = ("content", "angle_rad", "scale", "shift_down_px", "shift_right_px", "class_weights", "conditions", "targets")


class Condition(Section):
    """One column of `conditions`: a real number in `unit`, or, where there are `categories`, a category's index, one-hot inside the graph."""

    name: Text
    unit: Text
    meaning: Text
    categories: tuple[Text, ...] = ()


class Target(Section):
    """One quantity that a regressor tells, in `unit`."""

    name: Text
    unit: Text
    meaning: Text


class LatentSection(Section):
    """The latent room's own facts.

    `pose_convention` names how pose is reported; the only one so far is "object-ccw-row0-top": the object's own pose, angle
    counter-clockwise with row 0 at the top, scale > 1 larger, shift in input-image pixels down and right, about the image's centre.
    `channels` and `channel_names` are the input's. `image_height_px` and `image_width_px` are those of the images, whichever side of the model
    they are on; a model of spectra alone has height 1 and as width the points of its input. `frames`: how windows of whole images are encoded.
    `angle_symmetry`: m; angles are meant modulo 2π/m radians, since the objects look the same after such a turn.
    """

    invariances: tuple[Invariance, ...]
    image_height_px: Annotated[int, Field(ge=1)]
    image_width_px: Annotated[int, Field(ge=2)]
    channels: Annotated[int, Field(ge=1)]
    channel_names: tuple[str, ...] = ()
    pixel_size_nm: Annotated[float, Field(gt=0)] | None = None
    content_size: Annotated[int, Field(ge=0)]
    latent_names: Annotated[tuple[str, ...], Field(min_length=1)]
    pose_convention: Literal["object-ccw-row0-top"] = "object-ccw-row0-top"
    rotation_prior_sd_rad: Annotated[float, Field(gt=0)] | None = None
    angle_symmetry: Annotated[int, Field(ge=1)] = 1
    shift_prior_sd: Annotated[float, Field(gt=0)] | None = None
    scale_prior_log_sd: Annotated[float, Field(gt=0)] | None = None
    likelihood: Literal["bernoulli", "continuous_bernoulli", "gaussian"]
    novelty_threshold: float | None = None
    novelty_false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    class_names: tuple[Text, ...] = ()
    class_source: Literal["", "joint", "semi_supervised"] = ""
    conditions: tuple[Condition, ...] = ()
    targets: tuple[Target, ...] = ()
    topology: tuple[TopologyAxis, ...] = ()
    class_edges: tuple[tuple[Text, Text], ...] = ()
    input_kind: DataKind = "images"
    output_kind: DataKind = "images"
    frames: Frames | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = (tuple(each.name for each in self.conditions), tuple(each.name for each in self.targets))
        categories = tuple(each.categories for each in self.conditions)
        for names in (self.invariances, self.latent_names, self.channel_names, self.class_names, *columns, *categories):
            if len(set(names)) != len(names):
                raise ValueError(f"a name stands twice in {names}")
        if self.channel_names and len(self.channel_names) != self.channels:
            raise ValueError(f"{len(self.channel_names)} channel names for {self.channels} channels")
        if self.content_size > len(self.latent_names):
            raise ValueError(f"content_size {self.content_size} is more than the {len(self.latent_names)} latents")
        if (self.novelty_threshold is None) != (self.novelty_false_alarm_rate is None):
            raise ValueError("novelty_threshold and novelty_false_alarm_rate are given together or not at all")
        if len(self.class_names) == 1 or any(len(each) == 1 for each in categories):
            raise ValueError("one class, or one category, is none: give two or more names, or no names")
        if bool(self.class_names) != bool(self.class_source):
            raise ValueError("class_names and class_source are given together or not at all")
        if self.topology and len(self.topology) != self.content_size:
            raise ValueError(f"topology has {len(self.topology)} entries for {self.content_size} content latents")
        if (self.image_height_px == 1) != (self.input_kind == self.output_kind == "spectra"):
            raise ValueError(f"image_height_px is {self.image_height_px}; it is 1 for a model of spectra alone, and 2 or more where there are images")
        return self

    @model_validator(mode="after")
    def _symmetry_is_of_an_angle(self) -> Self:
        if self.angle_symmetry > 1 and "rotation" not in self.invariances:
            raise ValueError(f"angle_symmetry is {self.angle_symmetry}, but without the invariance rotation there is no angle")
        return self

    @model_validator(mode="after")
    def _frames_become_images(self) -> Self:
        if self.frames is None:
            return self
        if self.input_kind != "images" or self.conditions:
            raise ValueError("frames are of images, and of a model without conditions: no window has any")
        if not self.image_height_px == self.image_width_px == self.frames.descriptor_px:
            raise ValueError(f"frames.descriptor_px is {self.frames.descriptor_px}, the images {self.image_height_px} × {self.image_width_px}")
        return self

    @model_validator(mode="after")
    def _edges_join_classes(self) -> Self:
        for edge in self.class_edges:
            if edge[0] == edge[1] or not set(edge) <= set(self.class_names):
                raise ValueError(f"class_edges: {list(edge)} does not lead from one of the classes {list(self.class_names)} to another")
        if len(set(self.class_edges)) != len(self.class_edges):
            raise ValueError("an edge stands twice in class_edges")
        return self

    def on_circle(self, index: int) -> bool:
        """Whether content latent `index` is an angle; without a topology all are on lines."""
        return bool(self.topology) and self.topology[index] == "circle"

    def check_signatures(self, signatures: Mapping[str, Signature]) -> None:
        """Compares what this section says of kinds, classes, conditions and targets with the tensors that the graphs take and give.

        Raises:
            ValueError: they disagree; names the signature and the tensor.
        """
        capabilities = {name.partition(".")[0] for name in signatures}
        for name, signature in signatures.items():
            capability = name.partition(".")[0]
            if capability == "decode":
                self._check_decode(name, signature)
            elif capability in ("encode", "reconstruct", "classify", "regress"):
                self._check_recognition(name, capability, signature)
        if self.frames is not None:
            self.frames.check_signatures(signatures, self.channels)
        elif told := [name for name in signatures if of_frames(name)]:
            raise ValueError(f"signatures.{told[0]}: latent.frames is null; it says which windows its graphs are of")
        if self.targets and "regress" not in capabilities:
            raise ValueError("latent.targets are given, but no signature regress.<dtype> tells them")
        if self.class_source == "semi_supervised" and "classify" not in capabilities:
            raise ValueError("latent.class_source is 'semi_supervised', but there is no signature classify.<dtype>")

    def _check_recognition(self, name: str, capability: str, signature: Signature) -> None:
        if capability == "reconstruct" and self.input_kind != self.output_kind:
            raise ValueError(f"signatures.{name}: a model from {self.input_kind} to {self.output_kind} reconstructs nothing")
        data = signature.inputs[0]
        if data.name != self.input_kind or data.dtype != name.partition(".")[2] or (data.name == "spectra" and data.dtype != "float32"):
            raise ValueError(
                f"signatures.{name}: its first input is {data.name} {data.dtype}; "
                f"latent.input_kind and the name's end ask for {self.input_kind} {name.partition('.')[2]} (spectra: float32 only)"
            )
        # A classifier or regressor sees the data alone.
        conditions = len(self.conditions) if capability in ("encode", "reconstruct") else 0
        _check_width(f"signatures.{name}: input", signature.inputs[1:], "conditions", conditions, only=True)
        outputs = f"signatures.{name}: output"
        classes, targets = len(self.class_names), len(self.targets) if capability == "regress" else 0
        if capability == "regress" and not targets:
            raise ValueError(f"signatures.{name}: latent.targets is empty; it names what a regressor tells")
        if capability == "classify" and not classes:
            raise ValueError(f"signatures.{name}: latent.class_names is empty; it names what a classifier tells apart")
        # A reconstruct graph may tell the classes; the server asks encode where it does not.
        tells = capability != "reconstruct" or any(spec.name == "class_probabilities" for spec in signature.outputs)
        _check_width(outputs, signature.outputs, "class_probabilities", classes if tells and capability != "regress" else 0)
        for tensor in ("target_mean", "target_sd"):
            _check_width(outputs, signature.outputs, tensor, targets)

    def _check_decode(self, name: str, signature: Signature) -> None:
        unknown = [spec.name for spec in signature.inputs if spec.name not in DECODE_INPUTS]
        if unknown:
            raise ValueError(f"signatures.{name}: no caller could give its inputs {unknown}; known are {list(DECODE_INPUTS)}")
        _check_width(f"signatures.{name}: input", signature.inputs, "class_weights", len(self.class_names))
        _check_width(f"signatures.{name}: input", signature.inputs, "conditions", len(self.conditions))
        # A decoder may do without them; a bundle that was written before decoders saw them does.
        sees = any(spec.name == "targets" for spec in signature.inputs)
        if sees and not self.targets:
            raise ValueError(f"signatures.{name}: input targets is there; latent.targets is empty, which names them")
        _check_width(f"signatures.{name}: input", signature.inputs, "targets", len(self.targets) if sees else 0)
        outputs = [spec.name for spec in signature.outputs]
        if outputs != [self.output_kind]:
            raise ValueError(f"signatures.{name}: its outputs are {outputs}, latent.output_kind is {self.output_kind!r}")


def _check_width(where: str, specs: tuple[TensorSpec, ...], tensor: str, width: int, *, only: bool = False) -> None:
    """The tensor is there, float32 of shape (n, width), exactly when width > 0; with `only`, nothing else is there."""
    found = [spec for spec in specs if spec.name == tensor]
    if bool(found) != bool(width):
        raise ValueError(f"{where} {tensor} is {'there' if found else 'missing'}; by the section latent there are {width} columns of it")
    if found and (found[0].dtype != "float32" or found[0].row_shape != (width,)):
        raise ValueError(f"{where} {tensor} is {found[0].dtype}{list(found[0].shape)}; by the section latent it is float32['n', {width}]")
    if only and len(specs) != len(found):
        raise ValueError(f"{where}s after the first are {[spec.name for spec in specs]}; expected {[tensor] if width else 'none'}")
