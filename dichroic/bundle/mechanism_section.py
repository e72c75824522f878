"""The mechanism room's part of the manifest, and what it demands of the graphs' signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from dichroic.bundle.section import Section
from dichroic.bundle.tensors import Signature, TensorSpec

Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Positive = Annotated[float, Field(gt=0)]
MechanismKind = Literal["image", "spectrum", "coordinates", "parameters", "category"]
PartKind = Literal["constant", "mechanism", "interaction", "residual"]
Form = Literal["additive", "product", "mixed", "scaled", "offset_scaled"]
# dtypes a mechanism of each kind may come in; coordinates are float64, or a stage position in nm would lose its last digits.
INPUT_DTYPES: dict[str, tuple[str, ...]] = {
    "image": ("uint8", "uint16", "float32"),
    "spectrum": ("float32",),
    "coordinates": ("float64",),
    "parameters": ("float64",),
    "category": ("int64",),
}
# The posterior's arrays, inputs of `predict` beside the mechanisms'. N: points, r: rows of the inverse's root, T: parts without the constant.
POSTERIOR_INPUTS = ("points", "inverse", "alpha", "reference", "gauge_half", "gauge_mean", "gauge_variance")
# Names of a signature's other tensors, which no mechanism may have.
RESERVED = frozenset({*POSTERIOR_INPUTS, "latents", "y", "position_um", "group", "constant", "interaction", "residual", "total"})
PREDICTED = ("part_mean", "part_covariance", "factor", "factor_variance", "total_mean", "total_variance", "latents")


class Mechanism(Section):
    """One cause, and how it is told.

    Attributes:
        name: of its input in the request.
        kind: what it is.
        unit: of its values; of a category "1".
        meaning: what it is, in words.
        columns: names of the values in a row, of coordinates and parameters.
        categories: of a category, in the order of the index.
        trained_low: least value of each column in training; of coordinates and parameters.
        trained_high: greatest.
        latent_size: how many latents its encoder tells.
        encoder: "identity", "one-hot", or the name and digest of the latent bundle that encodes it.
        kernel: of the function of these latents.
    """

    name: Name
    kind: MechanismKind
    unit: Text
    meaning: Text
    columns: tuple[Text, ...] = ()
    categories: tuple[Text, ...] = ()
    trained_low: tuple[float, ...] = ()
    trained_high: tuple[float, ...] = ()
    latent_size: Annotated[int, Field(ge=1)]
    encoder: Text
    kernel: Literal["rbf", "matern52"]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.name in RESERVED:
            raise ValueError(f"mechanism {self.name!r} has the name of another tensor; call it something else")
        if (self.kind in ("coordinates", "parameters")) != bool(self.columns):
            raise ValueError(f"mechanism {self.name!r}: coordinates and parameters, and nothing else, have named columns")
        if (self.kind == "category") != bool(self.categories) or len(self.categories) == 1:
            raise ValueError(f"mechanism {self.name!r}: a category, and nothing else, has categories, two or more")
        if len(set(self.columns)) != len(self.columns) or len(set(self.categories)) != len(self.categories):
            raise ValueError(f"mechanism {self.name!r}: a name stands twice in its columns or categories")
        if len(self.trained_low) != len(self.columns) or len(self.trained_high) != len(self.columns):
            raise ValueError(f"mechanism {self.name!r}: trained_low and trained_high have one value for each column")
        if any(low > high for low, high in zip(self.trained_low, self.trained_high, strict=True)):
            raise ValueError(f"mechanism {self.name!r}: trained_low is above trained_high")
        return self


class Part(Section):
    """One summand of f: the constant, or a function of `mechanisms` multiplied by the factors of the mechanisms `factors`.

    `centred`: its mean over the reference points is taken from it and given to the constant.
    """

    name: Name
    kind: PartKind
    mechanisms: tuple[Name, ...] = ()
    factors: tuple[Name, ...] = ()
    centred: bool = False


class MeasuredQuantity(Section):
    """What y is. `sd`: standard deviation of the training points', to which errors are compared."""

    name: Text
    unit: Text
    meaning: Text
    sd: Positive


class Noise(Section):
    """Of one measurement of y, in the squared unit of y: N(0, variance), and with probability `outlier_share` N(0, outlier_variance)."""

    variance: Positive
    outlier_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    outlier_variance: Positive | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if bool(self.outlier_share) != (self.outlier_variance is not None):
            raise ValueError("outlier_share and outlier_variance are given together or not at all")
        if self.outlier_variance is not None and self.outlier_variance <= self.variance:
            raise ValueError("outlier_variance is no more than variance: outliers are the noisier points")
        return self


class Truncation(Section):
    """The posterior in low rank: `bound` is what a covariance of parts s and t changes by at most, over s_s s_t."""

    rank: Annotated[int, Field(ge=1)]
    bound: Annotated[float, Field(ge=0, le=1e-6)]


class MechanismSection(Section):
    """The mechanism room's own facts.

    `posterior`: "exact", of all training points, or "inducing", of points that stand for them. `gauge` says in words over which points the parts'
    means are taken. `truncation` is None where the posterior is told without low rank.
    """

    mechanisms: Annotated[tuple[Mechanism, ...], Field(min_length=1)]
    quantity: MeasuredQuantity
    form: Form
    parts: Annotated[tuple[Part, ...], Field(min_length=2)]
    gauge: Text
    noise: Noise
    posterior: Literal["exact", "inducing"]
    points: Annotated[int, Field(ge=2)]
    truncation: Truncation | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [mechanism.name for mechanism in self.mechanisms]
        parts = [part.name for part in self.parts]
        for found in (names, parts):
            if len(set(found)) != len(found):
                raise ValueError(f"a name stands twice in {found}")
        if [part.kind for part in self.parts].count("constant") != 1 or self.parts[0].kind != "constant":
            raise ValueError("parts: the constant is the first of them, and there is one")
        for part in self.parts:
            if not {*part.mechanisms, *part.factors} <= set(names):
                raise ValueError(f"part {part.name!r} names a mechanism that is none of {names}")
            if bool(part.mechanisms) == (part.kind == "constant"):
                raise ValueError(f"part {part.name!r}: every part but the constant is a function of mechanisms")
        return self

    @property
    def latent_size(self) -> int:
        """Latents of all mechanisms together, D."""
        return sum(mechanism.latent_size for mechanism in self.mechanisms)

    @property
    def mechanism_names(self) -> tuple[str, ...]:
        """In the order of their latents."""
        return tuple(mechanism.name for mechanism in self.mechanisms)

    def check_signatures(self, signatures: Mapping[str, Signature]) -> None:
        """Compares what this section says of mechanisms and parts with the tensors that the graphs take and give.

        Raises:
            ValueError: they disagree; names the signature and the tensor.
        """
        dtypes = ("uint8", "uint16", "float32") if any(each.kind == "image" for each in self.mechanisms) else ("float32",)
        wanted = {"rows", *(f"{capability}.{dtype}" for capability in ("encode", "predict") for dtype in dtypes)}
        # `features` are for Thompson sampling.
        if missing := sorted(wanted - signatures.keys()):
            raise ValueError(f"a bundle of kind 'mechanism' lacks the signatures {missing}")
        for name, signature in signatures.items():
            capability, _, dtype = name.partition(".")
            if capability in ("encode", "predict"):
                self._check_raw(name, signature, dtype)
            if capability == "predict":
                self._check_predict(name, signature)
        _expect("signatures.rows: input", signatures["rows"].inputs, "latents", "float64", (self.latent_size,))

    def _check_raw(self, name: str, signature: Signature, dtype: str) -> None:
        if [spec.name for spec in signature.inputs] != list(self.mechanism_names):
            raise ValueError(f"signatures.{name}: its inputs are {[spec.name for spec in signature.inputs]}; expected {list(self.mechanism_names)}")
        for spec, mechanism in zip(signature.inputs, self.mechanisms, strict=True):
            allowed = (dtype,) if mechanism.kind == "image" else INPUT_DTYPES[mechanism.kind]
            if spec.dtype not in allowed:
                raise ValueError(f"signatures.{name}: input {spec.name} is {spec.dtype}; a mechanism of kind {mechanism.kind} takes {allowed}")
            if mechanism.columns and spec.row_shape != (len(mechanism.columns),):
                raise ValueError(f"signatures.{name}: input {spec.name} has rows of {spec.row_shape}; it has {len(mechanism.columns)} columns")
            if mechanism.kind == "category" and spec.row_shape != ():
                raise ValueError(f"signatures.{name}: input {spec.name} is the index of a category, and has shape (n,)")
        _expect(f"signatures.{name}: output", signature.outputs, "latents", "float64", (self.latent_size,))

    def _check_predict(self, name: str, signature: Signature) -> None:
        if tuple(spec.name for spec in signature.fixed) != POSTERIOR_INPUTS:
            raise ValueError(f"signatures.{name}: its fixed inputs are {[s.name for s in signature.fixed]}; expected {list(POSTERIOR_INPUTS)}")
        count = len(self.parts)
        shapes = {
            "part_mean": (count,),
            "part_covariance": (count, count),
            "factor": (count,),
            "factor_variance": (count,),
            "total_mean": (),
            "total_variance": (),
        }
        for tensor, shape in shapes.items():
            _expect(f"signatures.{name}: output", signature.outputs, tensor, "float64", shape)


def _expect(where: str, specs: tuple[TensorSpec, ...], tensor: str, dtype: str, shape: tuple[int, ...]) -> None:
    found = [spec for spec in specs if spec.name == tensor]
    if not found:
        raise ValueError(f"{where} {tensor} is missing")
    if found[0].dtype != dtype or found[0].row_shape != shape:
        raise ValueError(f"{where} {tensor} is {found[0].dtype}{list(found[0].shape)}; by the section mechanism it is {dtype}{['n', *shape]}")
