"""[ours] What the encoder can be taught before and beside the bound, so that the bound starts in the right valley: relations, directions, classes.

A teacher alone fills the first epochs of a fit; then its reminder is added to the bound with a weight that may fall to zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.latent.alignment import Aligned, Search, movement_between
from training.latent.checkpoint import Array
from training.latent.coordinates import wrap_angle
from training.latent.encoders import Posterior
from training.latent.equivariance import Movement, draw_movement, equivariance_error, move_images
from training.latent.model import InvariantVAE
from training.latent.orientation import crop, direction_error, stripe_direction, turn_and_crop
from training.latent.schedule import falling
from training.recipe import Alignment, Equivariance, Orientation

# Holds the raw latents near their prior while nothing but relations between poses is taught.
_ANCHOR = 0.01
# Of the squared errors of raw pose latents beside the cross-entropy of class and bin: of the angle from its bin's middle, which is small, and of
# shift and scale, whose errors would drown the class.
_ANGLE_WEIGHT, _PLACE_WEIGHT = 10.0, 1.0


@dataclass(frozen=True)
class View:
    """A batch as the encoder sees it: `images` (n, h, w, c), their `rows` (n,) in the data, and the `turn` (n,) radians they were turned by.

    `context` (n, ·): what the networks are told of them.
    """

    images: Tensor
    rows: Tensor
    turn: Tensor | None = None
    context: Tensor | None = None


class Teacher(Protocol):
    """What a fit asks of a teacher."""

    epochs: int
    learning_rate: float

    def view(self, images: Tensor, rows: Tensor, generator: torch.Generator) -> View:
        """The batch of these rows of all images."""

    def lesson(self, model: InvariantVAE, view: View, generator: torch.Generator) -> Tensor:
        """The loss while nothing else is taught, scalar."""

    def reminder(self, model: InvariantVAE, view: View, told: Tensor | Posterior, fraction: float, generator: torch.Generator) -> Tensor | None:
        """What is added to the bound after `fraction` of the fit, scalar; None: nothing more. `told`: the posterior means (n, L), or the mixture."""


class EquivarianceTeacher:
    """What turning and moving an image does to its pose; see equivariance.py."""

    def __init__(self, recipe: Equivariance, invariances: tuple[str, ...]) -> None:
        self.epochs, self.learning_rate = recipe.epochs, recipe.learning_rate
        self._recipe, self._invariances = recipe, invariances

    def view(self, images: Tensor, rows: Tensor, generator: torch.Generator) -> View:
        """See Teacher."""
        return View(images[rows], rows)

    def lesson(self, model: InvariantVAE, view: View, generator: torch.Generator) -> Tensor:
        """See Teacher."""
        mean, _ = model.encode(view.images, view.context)
        return self._disagreement(model, view, mean, generator) + _ANCHOR * torch.square(model.circles.on_lines(mean)).mean()

    def reminder(self, model: InvariantVAE, view: View, told: Tensor | Posterior, fraction: float, generator: torch.Generator) -> Tensor | None:
        """See Teacher."""
        weight = falling(self._recipe.weight, self._recipe.weight_until, fraction)
        if weight <= 0:
            return None
        mean = model.encode(view.images, view.context)[0] if isinstance(told, Posterior) else told
        return weight * self._disagreement(model, view, mean, generator)

    def _disagreement(self, model: InvariantVAE, view: View, mean: Tensor, generator: torch.Generator) -> Tensor:
        recipe, present = self._recipe, self._invariances
        movement = draw_movement(
            len(mean),
            math.radians(recipe.angle_deg) if "rotation" in present else 0.0,
            2 * recipe.shift if "translation" in present else 0.0,  # a fraction of the side; the side is 2 grid units
            recipe.scale if "scale" in present else 1.0,
            generator,
        )
        moved_mean, _ = model.encode(move_images(view.images, model.grid, movement), view.context)
        return equivariance_error(model, mean, moved_mean, movement)


class OrientationTeacher:
    """The direction of stripes; see orientation.py. Images are wider than the model's and seen at a new angle in each step."""

    def __init__(self, recipe: Orientation, images: Array, grid: Tensor, side_px: int) -> None:
        self.epochs, self.learning_rate = recipe.epochs, recipe.learning_rate
        self._weight, self._grid, self._side_px = recipe.weight, grid, side_px
        found = stripe_direction(crop(images, side_px))
        self._angle, coherence = (torch.from_numpy(values.astype(np.float32)).to(grid.device) for values in (found.angle_rad, found.coherence))
        self._coherence = coherence / coherence.mean().clamp_min(1e-6)

    def view(self, images: Tensor, rows: Tensor, generator: torch.Generator) -> View:
        """See Teacher."""
        turn = math.pi * (2 * torch.rand(len(rows), generator=generator, device=rows.device) - 1)
        return View(turn_and_crop(images[rows], self._grid, turn, self._side_px), rows, turn)

    def lesson(self, model: InvariantVAE, view: View, generator: torch.Generator) -> Tensor:
        """See Teacher."""
        mean, _ = model.encode(view.images, view.context)
        # With its weight here too: Adam's second moments must not be those of a loss a thousand times smaller when the bound joins in.
        return self._weight * (self._misdirection(model, view, mean) + _ANCHOR * torch.square(model.circles.on_lines(mean)).mean())

    def reminder(self, model: InvariantVAE, view: View, told: Tensor | Posterior, fraction: float, generator: torch.Generator) -> Tensor | None:
        """See Teacher."""
        mean = model.encode(view.images, view.context)[0] if isinstance(told, Posterior) else told
        return self._weight * self._misdirection(model, view, mean)

    def _misdirection(self, model: InvariantVAE, view: View, mean: Tensor) -> Tensor:
        assert view.turn is not None  # noqa: S101 (its own view)
        return direction_error(model.split(mean).angle, self._angle[view.rows] + view.turn, self._coherence[view.rows])


class AlignmentTeacher:
    """The class and the pose that multi-reference alignment found; see alignment.py. In its lessons images are moved to poses drawn anew."""

    def __init__(self, recipe: Alignment, aligned: Aligned, search: Search) -> None:
        self.epochs, self.learning_rate = recipe.epochs, recipe.learning_rate
        self._recipe, self._aligned, self._search = recipe, aligned, search

    def view(self, images: Tensor, rows: Tensor, generator: torch.Generator) -> View:
        """See Teacher."""
        return View(images[rows], rows)

    def lesson(self, model: InvariantVAE, view: View, generator: torch.Generator) -> Tensor:
        """See Teacher."""
        # Where they stand they fill the range of poses thinly, and the encoder would learn them by heart.
        poses = self._aligned.poses.at(view.rows)
        wanted = self._search.draw(poses, generator)
        found = model.posterior(move_images(view.images, model.grid, movement_between(poses, wanted)), view.context)
        return placement_error(model, found, self._aligned.classes[view.rows], wanted)

    def reminder(self, model: InvariantVAE, view: View, told: Tensor | Posterior, fraction: float, generator: torch.Generator) -> Tensor | None:
        """See Teacher."""
        weight = falling(self._recipe.weight, self._recipe.weight_until, fraction)
        if weight <= 0:
            return None
        assert isinstance(told, Posterior)  # noqa: S101 (alignment is of models with classes)
        return weight * placement_error(model, told, self._aligned.classes[view.rows], self._aligned.poses.at(view.rows))


def placement_error(model: InvariantVAE, found: Posterior, classes: Tensor, poses: Movement) -> Tensor:
    """−log q(class, nearest bin | x) and the weighted squared error of that bin's raw pose latents, mean over images, scalar.

    Args:
        model: with classes.
        found: its posterior of n images.
        classes: (n,) int64, taught.
        poses: (n,) the sampling taught.
    """
    specification = model.specification
    apart = wrap_angle((poses.angle[:, None] - model.bin_angles[None]).flatten()).reshape(len(classes), -1)  # (n, B)
    bins = apart.abs().argmin(dim=1)
    rows = torch.arange(len(classes), device=classes.device)
    error = functional.nll_loss(found.log_q.flatten(1), classes * specification.bin_count + bins)
    mean = found.mean[rows, classes if found.mean.shape[1] > 1 else 0, bins]
    wanted, weights = [], []
    if "rotation" in specification.invariances:
        wanted.append(apart[rows, bins][:, None] / specification.rotation_prior_sd_rad)
        weights.append(_ANGLE_WEIGHT)
    if "translation" in specification.invariances:
        wanted.append(poses.shift / specification.shift_prior_sd)
        weights += [_PLACE_WEIGHT] * poses.shift.shape[1]
    if "scale" in specification.invariances:
        wanted.append(torch.log(poses.scale)[:, None] / specification.scale_prior_log_sd)
        weights.append(_PLACE_WEIGHT)
    if wanted:
        target = torch.cat(wanted, dim=1)
        squares = torch.square(mean[:, : target.shape[1]] - target)
        error = error + (squares * squares.new_tensor(weights)).sum(dim=1).mean()
    return error
