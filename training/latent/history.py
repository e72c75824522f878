"""What each epoch of a fit cost: the parts of −ELBO, kept in the checkpoint and carried by the bundle as history.json. No torch at import.

It holds no time and no name of a machine: one seed gives one history, and so one digest of the bundle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

HISTORY_NAME = "history.json"
_FORMAT = 1
_UNIT = "nats/image"


@dataclass(frozen=True)
class EpochFigures:
    """One epoch, means over its steps, nats per image. None: not known of this epoch.

    The parts of −ELBO of a fit with labels or targets are of the unlabelled images (those without a known target); where every image is labelled,
    of all, each taken as if it were not.

    Attributes:
        epoch: from 1, the taught epochs included.
        loss: what was minimised: weighted by every β, with reminders and pulls; of a taught epoch the lesson, whose unit is 1.
        reconstruction: −log p(x|z) of the training images, a random choice of pixels scaled to all; None in taught epochs and while a
            semi-supervised fit learns from labelled images alone.
        pose_kl: KL of the pose latents, β = 1.
        content_kl: KL of the content latents, β = 1.
        discrete_kl: KL of class and angle bin, β = 1; 0 where the model has neither.
        validation: −ELBO after the epoch on a fixed sample of the validation images, with fixed noise; None where there is no validation set.
    """

    epoch: int
    loss: float
    reconstruction: float | None = None
    pose_kl: float | None = None
    content_kl: float | None = None
    discrete_kl: float | None = None
    validation: float | None = None

    @property
    def negative_elbo(self) -> float | None:
        """−ELBO (β = 1) of the training images, nats per image, while the weights moved; None where its parts are."""
        parts = (self.reconstruction, self.pose_kl, self.content_kl, self.discrete_kl)
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


@dataclass(frozen=True)
class LegStart:
    """One fit out of several in turn, whose epochs are counted on: the first of its own (from 1), and what it learned from, in words."""

    epoch: int
    name: str


@dataclass(frozen=True)
class History:
    """All epochs of the restart that was kept. `taught_epochs`: the first ones, without decoder or bound. `legs`: empty where there was one fit."""

    restart: int
    taught_epochs: int
    epochs: tuple[EpochFigures, ...]
    legs: tuple[LegStart, ...] = ()


class Tally:
    """Sums over the steps of one epoch; they stay on the device until the epoch's end, so that no step waits for them."""

    def __init__(self, zero: Tensor) -> None:
        self._loss, self._parts = zero, [zero, zero, zero, zero]
        self._steps, self._images = 0, 0

    def add_bound(self, reconstruction: Tensor, pose: Tensor, content: Tensor, discrete: Tensor | None) -> None:
        """The parts of −ELBO of each image of one step, or of a piece of it, (n,) each; `discrete` None: the model has no class or bin."""
        news = (reconstruction, pose, content, reconstruction.new_zeros(1) if discrete is None else discrete)
        self._parts = [before + part.detach().mean() * len(reconstruction) for before, part in zip(self._parts, news, strict=True)]
        self._images += len(reconstruction)

    def add_loss(self, loss: Tensor) -> None:
        """A piece of the loss of a step, scalar."""
        self._loss = self._loss + loss.detach()

    def end_step(self) -> None:
        """All pieces of the step's loss have been added."""
        self._steps += 1

    @property
    def loss(self) -> float:
        """Mean over the steps."""
        return float(self._loss) / max(self._steps, 1)

    def figures(self, epoch: int, validation: float | None) -> EpochFigures:
        """The epoch's means; a part that is not finite is not known."""
        parts = [float(part) / self._images if self._images else None for part in self._parts]
        known = [part if part is not None and math.isfinite(part) else None for part in parts]
        return EpochFigures(epoch, self.loss, *known, validation)


def to_rows(epochs: Sequence[EpochFigures]) -> list[dict[str, Any]]:
    """For JSON; floats come back exactly."""
    return [asdict(epoch) for epoch in epochs]


def from_rows(rows: Sequence[dict[str, Any]]) -> tuple[EpochFigures, ...]:
    """The inverse of `to_rows`."""
    return tuple(EpochFigures(**row) for row in rows)


def history_bytes(history: History) -> bytes:
    """history.json: one list for each figure, null where it is not known; the same history gives the same bytes."""
    columns = {field.name: [getattr(epoch, field.name) for epoch in history.epochs] for field in fields(EpochFigures)}
    # Only where there are any: histories of one fit, and the digests of their bundles, are as they were.
    legs = {"legs": [asdict(leg) for leg in history.legs]} if history.legs else {}
    facts = {"format": _FORMAT, "unit": _UNIT, "restart": history.restart, "taught_epochs": history.taught_epochs, **legs, **columns}
    return (json.dumps(facts, allow_nan=False) + "\n").encode("utf-8")


def read_history(content: bytes) -> History | None:
    """The history of a bundle's history.json; None when it is of a format this version does not know."""
    try:
        facts = json.loads(content)
        if facts["format"] != _FORMAT:
            return None
        names = [field.name for field in fields(EpochFigures)]
        rows = [dict(zip(names, values, strict=True)) for values in zip(*(facts[name] for name in names), strict=True)]
        legs = tuple(LegStart(int(leg["epoch"]), str(leg["name"])) for leg in facts.get("legs", ()))
        return History(int(facts["restart"]), int(facts["taught_epochs"]), from_rows(rows), legs)
    except (ValueError, KeyError, TypeError):
        return None
