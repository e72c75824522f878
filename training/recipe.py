"""What a recipe file (TOML) may say. Unknown keys are errors: a key that is silently ignored is a model nobody asked for."""

from __future__ import annotations

import difflib
import json
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator

from training.data.suits import SUITS
from training.errors import InputError
from training.recipe_data import CardsData, FileData, Normalisation, PatchSpectrumData
from training.recipe_mechanism import MechanismRecipe
from training.recipe_model import Model
from training.recipe_scales import Scales, StripesData, check_scales
from training.recipe_sections import Capacity, Card, NonNegative, Positive, Regression, Section
from training.recipe_transition import TransitionRecipe

LearningRate = Annotated[float, Field(gt=0, le=1)]


class Equivariance(Section):
    """[ours] The encoder is first taught, without decoder or labels, what turning and moving an image does to its pose; see equivariance.py."""

    epochs: Annotated[int, Field(ge=0)] = 0
    learning_rate: LearningRate = 2e-3
    angle_deg: Annotated[float, Field(ge=0, le=180)] = 45.0
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    scale: Annotated[float, Field(ge=1, le=2)] = 1.0
    weight: NonNegative = 0.0
    weight_until: Annotated[float, Field(gt=0, le=1)] = 0.8


class Orientation(Section):
    """[ours] The angle is taught the direction of stripes, without labels; see orientation.py. `weight` 0: not taught.

    The first `epochs` teach nothing else; the weight stays on through the fit.
    """

    epochs: Annotated[int, Field(ge=0)] = 0
    learning_rate: LearningRate = 2e-3
    weight: NonNegative = 0.0


class Alignment(Section):
    """[ours] Classes and poses are first found by multi-reference alignment and taught to the encoder; see alignment.py.

    Attributes:
        epochs: in which nothing else is taught; 0 (the default) and a weight of 0: no alignment.
        learning_rate: of those epochs, falling.
        weight: of the reminder beside the bound, falling linearly to 0.
        weight_until: share of the fit after which it is 0.
        shift: centres are sought within ± this share of the side per axis, with the invariance "translation".
        scale: object sizes sought, least and greatest, as a ratio to the class averages, with the invariance "scale".
        restarts: beginnings tried where there are no labels.
    """

    epochs: Annotated[int, Field(ge=0)] = 0
    learning_rate: LearningRate = 2e-3
    weight: NonNegative = 0.0
    weight_until: Annotated[float, Field(gt=0, le=1)] = 0.5
    shift: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    scale: tuple[Positive, Positive] = (0.8, 1.25)
    restarts: Annotated[int, Field(ge=1, le=100)] = 8

    @property
    def is_on(self) -> bool:
        """Whether anything is aligned."""
        return bool(self.epochs or self.weight)

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.scale[0] >= self.scale[1]:
            raise ValueError("scale is the least and the greatest object size, in this order")
        return self


class Classes(Section):
    """How classes and angle bins are learned; see mixture.py.

    Attributes:
        usage_weight: [ours] of the pull of the mean class probability to the uniform distribution; 0: no such term.
        choice_weight: [ours] of the entropy of each image's own class probabilities, falling linearly to 0: together with the usage term it makes
            classes differ, where the bound alone leaves several classes drawing one average picture for long; 0: no such term.
        choice_until: share of the fit after which it is 0.
        beta_start: [ours] weight of the discrete KL at first, falling linearly to 1; high keeps the choice of class and bin open for longer.
        beta_until: share of the fit after which it is 1.
        pairs_per_step: (class, bin) pairs decoded per image and step, the most probable ones; 0: all.
        random_pairs: further pairs at random that stand for all others, so that the bound stays unbiased.
        labelled_batch_size: of semi-supervised models, beside `batch_size` unlabelled images.
        labelled_first: share of the fit in which labelled images alone are learned from.
        label_weight: of the cross-entropy of labelled images.
        edge_weight: [ours] nats per image and squared step: of model.class_edges; see class_graph.py.
    """

    usage_weight: NonNegative = 0.0
    choice_weight: NonNegative = 0.0
    choice_until: Annotated[float, Field(gt=0, le=1)] = 0.5
    beta_start: NonNegative = 1.0
    beta_until: Annotated[float, Field(gt=0, le=1)] = 0.5
    pairs_per_step: Annotated[int, Field(ge=0)] = 0
    random_pairs: Annotated[int, Field(ge=1)] = 1
    labelled_batch_size: Annotated[int, Field(ge=1)] = 32
    labelled_first: Annotated[float, Field(ge=0, lt=1)] = 0.0
    label_weight: NonNegative = 20.0
    edge_weight: NonNegative = 10.0


class Training(Section):
    """The optimisation. `pixels_per_step` 0: all pixels of each image in each step; `content_beta_start` left out: `beta` from the start.

    `gpu_precision` "bfloat16": on a GPU, the products of the spatial decoder's dense layers are taken in bfloat16 in each step, and nothing else is.
    `keep_validation`: images are set aside for validation though one restart leaves nothing to choose; they are not trained on then.
    `content_capacity` stands in place of β on the content's KL, `class_capacity` in place of β on that of classes and angle bins.
    """

    epochs: Annotated[int, Field(ge=1)] = 50
    batch_size: Annotated[int, Field(ge=1)] = 100
    learning_rate: LearningRate = 1e-3
    learning_rate_end: LearningRate = 1e-4
    pixels_per_step: Annotated[int, Field(ge=0)] = 0
    gpu_precision: Literal["float32", "bfloat16"] = "float32"
    beta: NonNegative = 1.0
    content_beta_start: NonNegative | None = None
    content_beta_until: Annotated[float, Field(gt=0, le=1)] = 0.5
    restarts: Annotated[int, Field(ge=1, le=20)] = 1
    keep_validation: bool = False
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    equivariance: Equivariance = Equivariance()
    orientation: Orientation = Orientation()
    alignment: Alignment = Alignment()
    classes: Classes = Classes()
    regression: Regression = Regression()
    content_capacity: Capacity | None = None
    class_capacity: Capacity | None = None

    @model_validator(mode="after")
    def _capacity_or_beta(self) -> Self:
        if self.content_capacity is not None and self.content_beta_start is not None:
            raise ValueError("content_capacity and content_beta_start both weigh the content's KL: give one of them")
        if self.class_capacity is not None and self.classes.beta_start != Classes().beta_start:
            raise ValueError("class_capacity and classes.beta_start both weigh the discrete KL: give one of them")
        return self

    @property
    def wants_validation(self) -> bool:
        """Whether images are set aside to choose by: between restarts, or between models."""
        return self.restarts > 1 or self.keep_validation

    @model_validator(mode="after")
    def _one_teacher(self) -> Self:
        if self.orientation.weight and (self.equivariance.epochs or self.equivariance.weight):
            raise ValueError("the angle is taught by [training.equivariance] or by [training.orientation], not by both")
        return self


class Recipe(Section):
    """One model, from data to bundle."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    kind: Literal["latent"]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: Annotated[FileData | CardsData | PatchSpectrumData | StripesData, Field(discriminator="source")]
    # Descriptors at several window lengths, a model for each; None: one kind of image.
    scales: Scales | None = None
    normalisation: Normalisation = Normalisation()
    # Of what the model gives, where that is not the kind that goes in.
    output_normalisation: Normalisation = Normalisation()
    model: Model = Model()
    training: Training = Training()
    card: Card

    @model_validator(mode="after")
    def _direction_is_taught_to_an_angle(self) -> Self:
        if self.training.orientation.weight and self.model.angle_symmetry != 2:  # half a turn
            raise ValueError("[training.orientation] teaches a direction, which is the same after half a turn: set model.angle_symmetry = 2")
        if self.training.orientation.weight and not (self.scales or (isinstance(self.data, FileData) and self.data.window_px)):
            raise ValueError("[training.orientation] turns wider patches: it needs data from files with window_px, or [scales]")
        return self

    @model_validator(mode="after")
    def _scales_fit(self) -> Self:
        check_scales(self)
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names: given, the cards' suits, or class_1, class_2, ... ; empty without classes."""
        model = self.model
        if model.class_names or not model.class_source:
            return model.class_names
        if model.class_source == "semi_supervised" and isinstance(self.data, CardsData):
            return SUITS
        return tuple(f"class_{index + 1}" for index in range(model.classes))

    @model_validator(mode="after")
    def _edges_join_classes(self) -> Self:
        for name in (name for edge in self.model.class_edges for name in edge):
            if name not in self.class_names:
                raise ValueError(f"model.class_edges name {name!r}, which is no class; the classes are {', '.join(self.class_names)}")
        return self

    @property
    def translates(self) -> bool:
        """Whether what the model gives is not the kind that goes in (VED)."""
        return self.model.input_kind != self.model.output_kind

    @model_validator(mode="after")
    def _kinds_are_in_the_data(self) -> Self:
        model, training, data = self.model, self.training, self.data
        of_images = model.input_kind == model.output_kind == "images"
        taught = training.equivariance.epochs or training.equivariance.weight or training.orientation.weight or training.alignment.is_on
        if not of_images and taught:
            raise ValueError(
                "[training.equivariance], [training.orientation] and [training.alignment] move images: they are for models from images to images"
            )
        if not of_images and isinstance(data, CardsData):
            raise ValueError("the cards are images: leave out model.input_kind and model.output_kind")
        if not of_images and isinstance(data, FileData) and data.window_px:
            raise ValueError("patches are cut from images alone: leave out window_px with spectra")
        if not self.translates and self.output_normalisation != Normalisation():
            raise ValueError(
                "[output_normalisation] is for models whose output_kind is not their input_kind; [normalisation] is for both sides otherwise"
            )
        return self

    @model_validator(mode="after")
    def _supervision_agrees(self) -> Self:
        model, training, data = self.model, self.training, self.data
        targets = not isinstance(data, (CardsData, StripesData)) and data.targets
        if targets and model.class_source:
            raise ValueError("a model learns classes or targets, not both: leave out class_source or the targets of [data]")
        if not targets and training.regression != Regression():
            raise ValueError("[training.regression] is for models with targets ([[data.targets]], or the drawn patches' own)")
        if targets and (training.equivariance.epochs or training.equivariance.weight or training.orientation.weight):
            raise ValueError(
                "[training.equivariance] and [training.orientation] teach a posterior that sees images alone; one with targets sees those too"
            )
        if isinstance(data, PatchSpectrumData) and model.class_source == "semi_supervised":
            raise ValueError("the drawn patches with spectra have no classes to be taught")
        if isinstance(data, CardsData) and data.condition_on_suit and model.class_source:
            raise ValueError("condition_on_suit tells the suit that classes would have to find: give one of them")
        if training.class_capacity is not None and not (model.class_source or model.angle_bins):
            raise ValueError("class_capacity is for models with class_source or angle_bins")
        return self

    @model_validator(mode="after")
    def _classes_can_be_learned(self) -> Self:
        model, training, data = self.model, self.training, self.data
        several = model.angle_bins or model.class_source == "semi_supervised"
        if several and (training.equivariance.epochs or training.equivariance.weight or training.orientation.weight):
            raise ValueError(
                "[training.equivariance] and [training.orientation] teach one posterior; angle_bins and semi-supervised models have several"
            )
        if training.alignment.is_on and not model.class_source:
            raise ValueError("[training.alignment] finds classes: it is for models with class_source")
        if training.alignment.is_on and (training.equivariance.epochs or training.equivariance.weight):
            raise ValueError("the pose is taught by [training.equivariance] or by [training.alignment], not by both")
        if training.classes != Classes() and not (model.class_source or model.angle_bins):
            raise ValueError("[training.classes] is for models with class_source or angle_bins")
        if isinstance(data, CardsData):
            if bool(data.labelled_per_suit) != (model.class_source == "semi_supervised"):
                raise ValueError("labelled_per_suit is for semi-supervised models, and they need it")
            if model.class_source == "semi_supervised" and model.classes != len(SUITS):
                raise ValueError(f"the cards have {len(SUITS)} suits: a semi-supervised model of them has classes = {len(SUITS)}")
        elif isinstance(data, FileData) and model.class_source and data.window_px:
            raise ValueError("classes are of whole images, not of patches: leave out window_px")
        return self


def read_any_recipe(path: Path) -> Recipe | MechanismRecipe | TransitionRecipe:
    """Reads and checks a recipe file; its `kind` says which sections it has.

    Raises:
        InputError: RECIPE_NOT_FOUND, RECIPE_NOT_TOML, RECIPE_UNKNOWN_KEY (names the key, where, and the nearest right one), RECIPE_INVALID.
    """
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            "RECIPE_NOT_FOUND", f"Recipe {path} cannot be read ({error.strerror}); the recipes of this project are in recipes/."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("RECIPE_NOT_TOML", f"{path} is not TOML: {error}.") from error
    kinds: dict[object, type[Recipe | MechanismRecipe | TransitionRecipe]] = {"mechanism": MechanismRecipe, "transition": TransitionRecipe}
    kind = next((each for name, each in kinds.items() if facts.get("kind") == name), Recipe)
    try:
        # By way of JSON, where a list may become a tuple though types are strict; a date becomes a text and is refused as one.
        return kind.model_validate_json(json.dumps(facts, default=str))
    except ValidationError as error:
        raise _explained(path, kind, error) from error


def read_recipe(path: Path) -> Recipe:
    """A recipe of kind "latent".

    Raises:
        InputError: as read_any_recipe, and RECIPE_INVALID for one of another kind.
    """
    recipe = read_any_recipe(path)
    if not isinstance(recipe, Recipe):
        raise InputError("RECIPE_INVALID", f"{path} is a recipe of kind {recipe.kind!r}; one of kind 'latent' is needed here.")
    return recipe


def _explained(path: Path, kind: type[BaseModel], error: ValidationError) -> InputError:
    details = error.errors()
    unknown = next((detail for detail in details if detail["type"] == "extra_forbidden"), None)
    if unknown is None:
        lines = "; ".join(f"{_place(detail['loc'])}: {detail['msg'].removeprefix('Value error, ')}" for detail in details[:5])
        return InputError("RECIPE_INVALID", f"{path} cannot be used: {lines}.")
    *parents, key = unknown["loc"]
    known = sorted(_keys_at(kind, [part for part in parents if isinstance(part, str)]))
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}."
    section = f"[{_place(tuple(parents))}]" if parents else "the top level"
    return InputError("RECIPE_UNKNOWN_KEY", f"{path}: unknown key {key!r} in {section}; {advice}")


def _place(location: tuple[int | str, ...]) -> str:
    # A discriminated union puts its tag into the location, which the file does not have.
    tags = ("files", "cards", "patch_spectra", "stripes", "patches_field", "ferrosim", "loops", "arrays", "dune")
    parts = [str(part) for index, part in enumerate(location) if not (index == 1 and location[0] == "data" and part in tags)]
    return ".".join(parts) or "the top level"


def _keys_at(section: type[BaseModel], path: list[str]) -> list[str]:
    if not path:
        return list(section.model_fields)
    head, *rest = path
    kinds = _models_in(section.model_fields[head].annotation) if head in section.model_fields else []
    if len(kinds) > 1 and rest:
        tag, *rest = rest
        kinds = [kind for kind in kinds if tag in typing.get_args(kind.model_fields["source"].annotation)]
    return [key for kind in kinds for key in _keys_at(kind, rest)]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
