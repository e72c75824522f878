"""The [model] section of a recipe: what the network is."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from training.recipe_sections import DataKind, Positive, Section, Text

Invariance = Literal["rotation", "translation", "scale"]
Width = Annotated[int, Field(ge=1, le=4096)]


class Model(Section):
    """The network; the fields are explained in training/latent/specification.py."""

    input_kind: DataKind = "images"
    output_kind: DataKind = "images"
    invariances: tuple[Invariance, ...] = ()
    content_size: Annotated[int, Field(ge=0, le=256)] = 2
    rotation_prior_sd_rad: Positive = 1.0
    shift_prior_sd: Positive = 0.1
    scale_prior_log_sd: Positive = 0.1
    likelihood: Literal["bernoulli", "continuous_bernoulli", "gaussian"] = "bernoulli"
    noise_sd: Positive | Literal["learned"] = "learned"
    encoder: Literal["mlp", "convolutional", "dense"] = "convolutional"
    encoder_channels: Annotated[tuple[Width, ...], Field(min_length=1)] = (16, 32, 32)
    encoder_widths: tuple[Width, ...] = (128, 128)
    dense_head: Literal["moments", "full"] = "moments"
    decoder_widths: Annotated[tuple[Width, ...], Field(min_length=1)] = (128, 128, 128)
    angle_symmetry: Annotated[int, Field(ge=0, le=12)] = 0
    angle_bins: Annotated[int, Field(ge=0, le=72, multiple_of=4)] = 0
    class_source: Literal["", "joint", "semi_supervised"] = ""
    classes: Annotated[int, Field(ge=0, le=64)] = 0
    class_names: tuple[Text, ...] = ()
    topology: tuple[Literal["line", "circle"], ...] = ()
    class_edges: tuple[tuple[Text, Text], ...] = ()

    @model_validator(mode="after")
    def _has_latents(self) -> Self:
        if not self.invariances and not self.content_size:
            raise ValueError("a model needs content_size >= 1 or an invariance: it has no latent otherwise")
        if len(set(self.invariances)) != len(self.invariances):
            raise ValueError("an invariance is listed twice")
        if self.angle_symmetry and "rotation" not in self.invariances:
            raise ValueError("angle_symmetry is of the angle, which only a model with the invariance 'rotation' has")
        return self

    @model_validator(mode="after")
    def _kinds_allow_it(self) -> Self:
        if self.output_kind == "spectra" and "rotation" in self.invariances:
            raise ValueError(
                "the invariance 'rotation' is impossible for the dimension of the data: a spectrum, which this model gives, does not turn; "
                "leave it out; 'translation' (one shift along its axis) and 'scale' are possible"
            )
        if self.angle_bins and self.input_kind == "spectra":
            raise ValueError("angle_bins turn the images that go in by quarters, and spectra do not turn: leave them out")
        return self

    @model_validator(mode="after")
    def _classes_agree(self) -> Self:
        if bool(self.class_source) != bool(self.classes):
            raise ValueError('class_source ("joint" or "semi_supervised") and classes (how many, at least 2) are given together or not at all')
        if self.classes == 1:
            raise ValueError("classes = 1 says nothing of any image: give 2 or more, or leave out class_source and classes")
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"{len(self.class_names)} class_names for {self.classes} classes; give a name for each, or leave class_names out")
        if len(set(self.class_names)) != len(self.class_names):
            raise ValueError("a class is named twice")
        return self

    @model_validator(mode="after")
    def _every_content_latent_has_a_place(self) -> Self:
        if self.topology and len(self.topology) != self.content_size:
            raise ValueError(
                f"topology has {len(self.topology)} entries for content_size = {self.content_size}; "
                'give "line" or "circle" for each content latent, or leave it out for lines alone'
            )
        return self

    @model_validator(mode="after")
    def _edges_are_a_graph_of_classes(self) -> Self:
        if self.class_edges and not self.class_source:
            raise ValueError("class_edges relate classes, and this model has none: leave them out, or give class_source and classes")
        for parent, child in self.class_edges:
            if parent == child:
                raise ValueError(f"class_edges lead from {parent!r} to itself; an edge joins two classes")
        if len(set(self.class_edges)) != len(self.class_edges):
            raise ValueError("an edge stands twice in class_edges")
        return self

    @model_validator(mode="after")
    def _dense_encoders_tell_one_gaussian(self) -> Self:
        if self.encoder != "dense":
            # Not whether it was given: what was read once is written out whole and read again.
            if self.dense_head != "moments":
                raise ValueError('dense_head is of encoder = "dense": leave it out')
            return self
        if self.class_source or self.angle_bins:
            raise ValueError('encoder = "dense" tells one Gaussian: leave out class_source and angle_bins, or take "convolutional"')
        if self.input_kind != "images" or self.output_kind != "images":
            raise ValueError('encoder = "dense" is of windows of images: leave out input_kind and output_kind, or take "convolutional"')
        if not self.encoder_widths:
            raise ValueError('encoder = "dense" needs a layer after its head: give encoder_widths')
        return self

    @model_validator(mode="after")
    def _bins_have_an_angle(self) -> Self:
        if self.angle_bins and "rotation" not in self.invariances:
            raise ValueError("angle_bins are of the angle, which only a model with the invariance 'rotation' has")
        if self.angle_bins and self.angle_symmetry:
            raise ValueError("angle_bins cover the whole circle and angle_symmetry a part of it: give one of them")
        if self.class_source and self.angle_symmetry:
            raise ValueError("a model with classes has objects of several symmetries: leave out angle_symmetry")
        return self
