"""[ours] What turning and moving an image does to its pose, taught to the encoder without decoder or labels.

Trained by the ELBO alone from scratch, the angle latent of several different objects folds: two opposite turns share one value (a zigzag of
reported against true angle), and content takes over the rest. The pose of a moved image is known relative to the pose of the image itself,
whatever the object is, so a short first stage on that relation puts the encoder on the right branch; the decoder then agrees with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.latent.coordinates import object_centre, transform
from training.latent.model import InvariantVAE

# Weights of squared errors of the centre (grid units) and of log scale beside 1 − cos of the angle's error.
_CENTRE_WEIGHT = 4.0
_SCALE_WEIGHT = 4.0


@dataclass(frozen=True)
class Movement:
    """How images are resampled, x' = s·(x R(δ)) + dx: `angle` δ (n,) radians, `shift` dx (n, 2) grid units, `scale` s (n,)."""

    angle: Tensor
    shift: Tensor
    scale: Tensor

    def at(self, rows: Tensor) -> Movement:
        """Those of some images."""
        return Movement(self.angle[rows], self.shift[rows], self.scale[rows])


def draw_movement(count: int, angle_rad: float, shift: float, scale: float, generator: torch.Generator) -> Movement:
    """Movements drawn uniformly: angle in ±angle_rad, shift in ±shift (grid units) per axis, log scale in ±log(scale)."""
    drawn = torch.rand((count, 4), generator=generator, device=generator.device) * 2 - 1
    return Movement(angle_rad * drawn[:, 0], shift * drawn[:, 1:3], torch.exp(torch.log(drawn.new_tensor(scale)) * drawn[:, 3]))


def move_images(images: Tensor, grid: Tensor, movement: Movement) -> Tensor:
    """Images (n, h, w, c) sampled at the moved coordinates, bilinear, edge values beyond the border; same shape."""
    count, height, width, _ = images.shape
    longer = max(height, width) - 1
    moved = transform(grid, movement.angle, movement.shift, movement.scale)
    # grid_sample wants (x to the right, y down), each in [−1, 1] over its own side.
    points = torch.stack((-moved[..., 1] * (longer / (width - 1)), moved[..., 0] * (longer / (height - 1))), dim=-1)
    points = points.reshape(count, height, width, 2)
    sampled = functional.grid_sample(images.permute(0, 3, 1, 2), points, padding_mode="border", align_corners=True)
    return sampled.permute(0, 2, 3, 1)


def equivariance_error(model: InvariantVAE, mean: Tensor, moved_mean: Tensor, movement: Movement) -> Tensor:
    """Mean disagreement of the poses of images and of the same images moved, scalar.

    With the image's pose (φ, c, s) and a movement (δ, dx, σ), the moved image has φ + δ, s·σ and centre (1/σ)(c − dx) Rᵀ(δ).

    Args:
        model: whose latents these are.
        mean: (n, L) posterior means of the images.
        moved_mean: (n, L) of the moved images.
        movement: how they were moved.
    """
    before, after = model.split(mean), model.split(moved_mean)
    error = mean.new_zeros(())
    if "rotation" in model.specification.invariances:
        error = error + (1 - torch.cos(after.angle - before.angle - movement.angle)).mean()
    if "translation" in model.specification.invariances:
        centre = torch.stack(object_centre(before.angle, before.shift, before.scale), dim=1)
        expected = torch.stack(object_centre(movement.angle, movement.shift - centre, movement.scale), dim=1)
        found = torch.stack(object_centre(after.angle, after.shift, after.scale), dim=1)
        error = error + _CENTRE_WEIGHT * torch.square(found - expected).sum(dim=1).mean()
    if "scale" in model.specification.invariances:
        error = error + _SCALE_WEIGHT * torch.square(torch.log(after.scale / (before.scale * movement.scale))).mean()
    return error
