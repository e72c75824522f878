"""What a recipe of kind "mechanism" may say: the data, the mechanisms and their encoders, the form, and the fit."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from dichroic.bundle.mechanism_section import RESERVED, MechanismKind
from training.data.ferrosim import MODES, TARGETS
from training.data.loops import SCALARISERS
from training.recipe_sections import Card, NonNegative, Section, Text

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Count = Annotated[int, Field(ge=20, le=200_000)]
Form = Literal["additive", "product", "mixed", "scaled", "offset_scaled"]
EncoderKind = Literal["identity", "one-hot", "pca", "moments", "bundle", "recipe"]
Baseline = Literal["plain_gp", "deep_kernel", "random_forest", "product_gp"]

# Encoders that suit each kind of mechanism, the first of them by default.
ENCODERS: dict[str, tuple[str, ...]] = {
    "image": ("pca", "moments", "bundle", "recipe"),
    "spectrum": ("pca", "bundle", "recipe"),
    "coordinates": ("identity",),
    "parameters": ("identity",),
    "category": ("one-hot",),
}


class PatchesFieldData(Section):
    """Drawn: patches × field × ageing, with known parts; see training/data/patches_field.py. Held-out points are fresh draws."""

    source: Literal["patches_field"]
    points: Count = 600
    test_points: Count = 2000
    form: Literal["additive", "scaled"] = "additive"
    noise: NonNegative = 0.1
    seed: Annotated[int, Field(ge=0)] = 0


class FerrosimData(Section):
    """Drawn: simulated ferroelectric lattices with disorder; see training/data/ferrosim. Held-out points are fresh draws."""

    source: Literal["ferrosim"]
    points: Count = 600
    test_points: Count = 1000
    mode: str = "uniaxial"
    sites: Annotated[int, Field(ge=3, le=64)] = 10
    target: str = "area"
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _known(self) -> Self:
        for what, value, known in (("mode", self.mode, MODES), ("target", self.target, TARGETS)):
            if value not in known:
                raise ValueError(f"{what} is one of {', '.join(known)}, not {value!r}")
        return self


class LoopsData(Section):
    """Measured hysteresis loops on a grid; y is a figure of each loop, its mechanisms are its place and what its neighbours show.

    Held-out places are blocks, farther from the others than a patch reaches.
    """

    source: Literal["loops"]
    files: Annotated[tuple[Text, ...], Field(max_length=1)] = ()
    channel: str | None = None
    target: str = "imprint"
    neighbours: str | None = None
    half_width_px: Annotated[int, Field(ge=1, le=16)] = 2
    keep_failed: bool = False
    held_out_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    licence: Text
    citation: str = ""
    notes: str = ""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in (self.target, self.neighbours or self.target):
            if name not in SCALARISERS:
                raise ValueError(f"a figure of a loop is one of {', '.join(SCALARISERS)}, not {name!r}")
        return self


class ArraysData(Section):
    """Your own points: files (.npz, HDF5, zarr) with one array for each mechanism, `y` (n,), and maybe `position_um` or `group`.

    Held-out points are whole groups where there is `group`, blocks where there is `position_um`, and random ones otherwise, which flatters where
    neighbours are alike.
    """

    source: Literal["arrays"]
    files: tuple[Text, ...] = ()
    held_out_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    licence: Text
    citation: str = ""
    notes: str = ""


class MechanismSpec(Section):
    """One cause.

    Attributes:
        name: of its input in requests, and, where `array` is left out, of its array in the data.
        kind: what it is.
        unit: of its values; "1" for none.
        meaning: in words, for people.
        array: its name in the data.
        columns: names of the values in a row, of coordinates and parameters.
        categories: of a category, in the order of the index.
        encoder: how it becomes latents. "moments": mean and standard deviation of an image's pixels. "bundle": a latent bundle at `path`; "recipe":
            one that is fitted first, from the recipe at `path`, both from the folder of this recipe on.
        path: of that.
        components: principal components, with "pca".
        latents: which outputs of the latent bundle's encoder are latents; left out: its class probabilities, or else its content.
        kernel: of functions of its latents.
        least_lengthscale: of that kernel, in standard deviations of each latent in training; 0: none. Where mechanisms are correlated in space, as a
            place and what surrounds it are, what varies faster than this is the other's to tell.
    """

    name: Name
    kind: MechanismKind
    unit: Text = "1"
    meaning: Text
    array: Text | None = None
    columns: tuple[Text, ...] = ()
    categories: tuple[Text, ...] = ()
    encoder: EncoderKind | None = None
    path: Text | None = None
    components: Annotated[int, Field(ge=1, le=32)] = 3
    latents: tuple[Text, ...] = ()
    kernel: Literal["rbf", "matern52"] = "rbf"
    least_lengthscale: NonNegative = 0.0

    @property
    def encoding(self) -> str:
        """How it becomes latents, the default filled in."""
        return self.encoder or ENCODERS[self.kind][0]

    @property
    def source_array(self) -> str:
        """Its name in the data."""
        return self.array or self.name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name in RESERVED:
            raise ValueError(f"{self.name!r} is the name of something else in an answer; give the mechanism another, and this one as its array")
        if self.encoding not in ENCODERS[self.kind]:
            raise ValueError(f"a mechanism of kind {self.kind!r} is encoded by {' or '.join(ENCODERS[self.kind])}, not by {self.encoding!r}")
        if (self.encoding in ("bundle", "recipe")) != (self.path is not None):
            raise ValueError(f"mechanism {self.name!r}: the encoders bundle and recipe, and no others, have a path")
        if (self.kind in ("coordinates", "parameters")) != bool(self.columns):
            raise ValueError(f"mechanism {self.name!r}: coordinates and parameters, and nothing else, name their columns")
        if (self.kind == "category") != bool(self.categories):
            raise ValueError(f"mechanism {self.name!r}: a category, and nothing else, names its categories")
        for what, names in (("columns", self.columns), ("categories", self.categories), ("latents", self.latents)):
            if len(set(names)) != len(names):
                raise ValueError(f"mechanism {self.name!r}: a name stands twice in its {what}")
        if len(self.categories) == 1:
            raise ValueError(f"mechanism {self.name!r}: one category says nothing of any point; name two or more")
        if self.latents and self.encoding not in ("bundle", "recipe"):
            raise ValueError(f"mechanism {self.name!r}: latents are chosen from what a latent bundle tells; leave them out")
        return self


class QuantitySpec(Section):
    """What y is."""

    name: Text
    unit: Text = "1"
    meaning: Text


class Structured(Section):
    """The form of f. With "scaled" (b·h) and "offset_scaled" (a + b·h), `factor` is the mechanism that multiplies the function h of `of`.

    `residual`: these two also have a function of all mechanisms together, which takes what they leave; "mixed" has its own.
    """

    form: Form = "additive"
    factor: Name | None = None
    of: Name | None = None
    residual: bool = False

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.form in ("scaled", "offset_scaled")) != (self.factor is not None) or (self.factor is None) != (self.of is None):
            raise ValueError('the forms "scaled" and "offset_scaled", and no others, need factor and of: which mechanism multiplies whose function')
        if self.factor is not None and self.factor == self.of:
            raise ValueError("factor and of are two mechanisms")
        if self.residual and self.factor is None:
            raise ValueError('residual is for the forms "scaled" and "offset_scaled"; "mixed" is a sum and a function of all mechanisms together')
        return self


class GaussianProcessFit(Section):
    """How hyperparameters are found.

    Attributes:
        starts: beginnings, of which the best on the validation points is kept.
        validation_fraction: of the training points, set aside while hyperparameters are fitted.
        outliers: whether some points may be far off, as failed fits are.
        inducing: points that stand for all where there are more than 5 000.
        baselines: fitted beside, on the same points, and told with the figures.
        threads: of a processor.
    """

    starts: Annotated[int, Field(ge=1, le=20)] = 3
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    outliers: bool = False
    inducing: Annotated[int, Field(ge=16, le=2000)] = 512
    baselines: tuple[Baseline, ...] = ("plain_gp", "random_forest")
    threads: Annotated[int, Field(ge=1, le=64)] = 1


class MechanismRecipe(Section):
    """One mechanism model, from data to bundle."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    kind: Literal["mechanism"]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: Annotated[PatchesFieldData | FerrosimData | LoopsData | ArraysData, Field(discriminator="source")]
    mechanisms: Annotated[tuple[MechanismSpec, ...], Field(min_length=1)]
    quantity: QuantitySpec
    structure: Structured = Structured()
    fit: GaussianProcessFit = GaussianProcessFit()
    card: Card

    @model_validator(mode="after")
    def _named(self) -> Self:
        names = [mechanism.name for mechanism in self.mechanisms]
        if len(set(names)) != len(names):
            raise ValueError(f"a mechanism is named twice in {names}")
        for name in (self.structure.factor, self.structure.of):
            if name is not None and name not in names:
                raise ValueError(f"structure names {name!r}, which is no mechanism; they are {', '.join(names)}")
        return self
