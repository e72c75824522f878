"""What every section of a recipe is, the smaller sections of [training] (regression and capacities), and the card's texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
DataKind = Literal["images", "spectra"]


class Section(BaseModel):
    """Frozen, closed, and strict: "7", true or NaN where a number belongs is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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


class Card(Section):
    """Text of the model card that no figure can say."""

    title: Text
    description: Text
    limits: Text
    published: Text
    ours: Text
