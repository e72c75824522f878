"""The invariant VAE: encoder, latents with their meaning, decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.latent.coordinates import object_shift_px, pixel_grid, sampling_shift, transform, wrap_angle
from training.latent.decoders import PlainDecoder, SpatialDecoder
from training.latent.encoders import Encoder
from training.latent.likelihoods import mean_image
from training.latent.specification import ModelSpecification

# Of the Gaussian likelihood's learned σ: an exactly drawn image would otherwise drive it to 0 and the objective to infinity.
NOISE_FLOOR = 1e-3
_NOISE_START = 0.1


@dataclass(frozen=True)
class Sampling:
    """How the decoder's coordinates move: φ (n,) radians, dx (n, 2) grid units, s (n,) > 0; and the content (n, d).

    What the model does not vary stands there once, as the identity, with a first axis of 1.
    """

    angle: Tensor
    shift: Tensor
    scale: Tensor
    content: Tensor


@dataclass(frozen=True)
class ObjectPose:
    """The object's pose in the image, row 0 at the top: (n,) each; radians counter-clockwise, ratio, pixels."""

    angle_rad: Tensor
    scale: Tensor
    shift_down_px: Tensor
    shift_right_px: Tensor


class InvariantVAE(nn.Module):
    """Raw latents z = [φ | dx, dy | s | content], all with prior N(0, 1), of an image (h, w, c) in the normalised scale."""

    grid: Tensor

    def __init__(self, specification: ModelSpecification) -> None:
        super().__init__()
        self.specification = specification
        self.spatial = bool(specification.invariances)
        self.encoder = Encoder(specification)
        self.decoder: SpatialDecoder | PlainDecoder = SpatialDecoder(specification) if self.spatial else PlainDecoder(specification)
        self.register_buffer("grid", pixel_grid(specification.height_px, specification.width_px), persistent=False)
        learned = specification.likelihood == "gaussian" and specification.noise_sd is None
        self.log_noise = nn.Parameter(torch.tensor(math.log(_NOISE_START))) if learned else None

    @property
    def noise_sd(self) -> Tensor:
        """σ of the Gaussian likelihood, scalar, normalised scale; 1 for the other likelihoods, which do not use it."""
        if self.log_noise is not None:
            return torch.exp(self.log_noise) + NOISE_FLOOR
        return self.grid.new_tensor(self.specification.noise_sd or 1.0)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, h, w, c) to posterior mean and standard deviation of the raw latents, (n, L) each."""
        return self.encoder(images)

    def split(self, latents: Tensor) -> Sampling:
        """Raw latents (n, L) to what they mean: φ = p_r z_φ, dx = p_t z_t, s = exp(p_s z_s); identity where an invariance is absent."""
        specification = self.specification
        angle, scale, shift = latents.new_zeros(1), latents.new_ones(1), latents.new_zeros((1, 2))
        at = 0
        if "rotation" in specification.invariances:
            angle = specification.rotation_prior_sd_rad * latents[:, at]
            at += 1
        if "translation" in specification.invariances:
            shift = specification.shift_prior_sd * latents[:, at : at + 2]
            at += 2
        if "scale" in specification.invariances:
            scale = torch.exp(specification.scale_prior_log_sd * latents[:, at])
            at += 1
        return Sampling(angle, shift, scale, latents[:, at:])

    def object_pose(self, sampling: Sampling) -> ObjectPose:
        """The pose of the object that these coordinates draw: angle = φ, scale = 1/s, centre = −(1/s)·dx·Rᵀ."""
        down, right = object_shift_px(sampling.angle, sampling.shift, sampling.scale, self.specification.longer_side_px)
        return ObjectPose(wrap_angle(sampling.angle), 1 / sampling.scale, down, right)

    def sampling_at(self, pose: ObjectPose, content: Tensor) -> Sampling:
        """The inverse of `object_pose`: the coordinates that draw the object at this pose."""
        scale = 1 / pose.scale
        side = self.specification.longer_side_px
        return Sampling(pose.angle_rad, sampling_shift(pose.angle_rad, scale, pose.shift_down_px, pose.shift_right_px, side), scale, content)

    def draw(self, sampling: Sampling, grid: Tensor | None = None) -> Tensor:
        """The likelihood's parameter per pixel.

        Args:
            sampling: the latents' meaning.
            grid: (n, M, 2) the pixels wanted of each image; None: all N. A plain decoder always draws all.

        Returns:
            (n, N or M, c).
        """
        if isinstance(self.decoder, PlainDecoder):
            return self.decoder(sampling.content)
        moved = transform(self.grid if grid is None else grid, sampling.angle, sampling.shift, sampling.scale)
        return self.decoder(moved, sampling.content)

    def images(self, sampling: Sampling) -> Tensor:
        """The mean image (n, h, w, c) in the normalised scale."""
        specification = self.specification
        mean = mean_image(specification.likelihood, self.draw(sampling))
        return mean.reshape(-1, specification.height_px, specification.width_px, specification.channels)
