"""The recipe's smaller sections: what stands beside the data, drawn patches with spectra, and how regression and capacities are learned."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
DataKind = Literal["images", "spectra"]


class Section(BaseModel):
    """Frozen, closed, and strict: "7", true or NaN where a number belongs is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Condition(Section):
    """One column of the array `conditions` (n, k): a number in `unit`, or, with `categories`, the index of one of them."""

    name: Text
    unit: Text = "1"
    meaning: Text
    categories: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _several(self) -> Self:
        if len(self.categories) == 1 or len(set(self.categories)) != len(self.categories):
            raise ValueError("categories are two or more different names, or are left out for a number")
        return self


class Target(Section):
    """One column of the array `targets` (n, t), NaN where it is not known."""

    name: Text
    unit: Text = "1"
    meaning: Text


class PatchSpectrumData(Section):
    """Drawn patches of a domain wall, each with its local hysteresis loop; see training/data/patch_spectra.py."""

    source: Literal["patch_spectra"]
    train: Annotated[int, Field(ge=20)] = 3000
    validation: Annotated[int, Field(ge=5)] = 300
    test: Annotated[int, Field(ge=5)] = 500
    side_px: Annotated[int, Field(ge=8, le=128)] = 24
    points: Annotated[int, Field(ge=16, le=1024)] = 64
    image_noise: NonNegative = 0.05
    spectrum_noise: NonNegative = 0.03
    seed: Annotated[int, Field(ge=0)] = 0


class Regression(Section):
    """How targets are learned; see training/latent/regression.py.

    Attributes:
        labelled_batch_size: images with targets, beside `batch_size` images taken as unlabelled.
        labelled_first: share of the fit in which labelled images alone are learned from.
        label_weight: of the Gaussian negative log-likelihood of known targets.
    """

    labelled_batch_size: Annotated[int, Field(ge=1)] = 32
    labelled_first: Annotated[float, Field(ge=0, lt=1)] = 0.0
    label_weight: NonNegative = 20.0


class Capacity(Section):
    """A capacity in place of β (Burgess et al. 2018, as AtomAI has it): weight · |KL − C(t)|, C rising from 0 to `nats` and staying there.

    Attributes:
        nats: C at the end of its rise, of the mean KL over the batch.
        weight: γ.
        until: share of the fit in which C rises, linearly.
    """

    nats: Positive = 5.0
    weight: Positive = 30.0
    until: Annotated[float, Field(gt=0, le=1)] = 0.5
