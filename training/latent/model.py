"""The invariant VAE: encoder, latents with their meaning, decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.latent.circles import Circles
from training.latent.context import Context
from training.latent.coordinates import object_shift_px, pixel_grid, sampling_shift, transform, wrap_angle
from training.latent.decoders import PlainDecoder, SpatialDecoder
from training.latent.dense_encoder import DenseEncoder
from training.latent.encoders import Encoder, Posterior
from training.latent.likelihoods import mean_image
from training.latent.specification import ModelSpecification

# Of the Gaussian likelihood's learned σ: an exactly drawn image would otherwise drive it to 0 and the objective to infinity.
NOISE_FLOOR = 1e-3
_NOISE_START = 0.1


@dataclass(frozen=True)
class Sampling:
    """How the decoder's coordinates move: φ (n,) radians, dx (n, 2) grid units, s (n,) > 0; the content (n, d); class weights (n, K) or None.

    Content on circles is any angle in radians. `context` (n, ·): conditions and targets as the networks see them, or None. What the model does
    not vary stands there once, as the identity, with a first axis of 1.
    """

    angle: Tensor
    shift: Tensor
    scale: Tensor
    content: Tensor
    class_weights: Tensor | None = None
    context: Tensor | None = None


@dataclass(frozen=True)
class Reading:
    """What is reported of each image.

    Attributes:
        mean: (n, L) posterior mean of the raw latents, circles in [−π, π]; with angle bins the rotation latent counts from angle 0, not its bin.
        sd: (n, L) posterior standard deviation of the raw latents; of circles of the angle before it is wrapped.
        sampling: what `mean` means, with the most probable class.
        angle_sd_rad: (n,) root mean square of the short way from the reported angle, over all bins; None without rotation.
        class_probabilities: (n, K), rows sum to 1; None without classes.
    """

    mean: Tensor
    sd: Tensor
    sampling: Sampling
    angle_sd_rad: Tensor | None
    class_probabilities: Tensor | None


@dataclass(frozen=True)
class ObjectPose:
    """The object's pose in the image, row 0 at the top: (n,) each; radians counter-clockwise, ratio, pixels."""

    angle_rad: Tensor
    scale: Tensor
    shift_down_px: Tensor
    shift_right_px: Tensor


class InvariantVAE(nn.Module):
    """Raw latents z = [φ | dx, dy | s | content], all with prior N(0, 1) but content on circles, of an image (h, w, c) in the normalised scale.

    Spectra (l, c) are images of one row, (1, l, c), on either side. What is drawn need not be the kind that goes in.
    """

    grid: Tensor
    bin_angles: Tensor

    def __init__(self, specification: ModelSpecification) -> None:
        super().__init__()
        self.specification = specification
        self.spatial = bool(specification.invariances)
        self.encoder: Encoder | DenseEncoder = DenseEncoder(specification) if specification.dense_head else Encoder(specification)
        self.decoder: SpatialDecoder | PlainDecoder = SpatialDecoder(specification) if self.spatial else PlainDecoder(specification)
        self.context = Context(specification)
        self.circles = Circles(specification)
        self.register_buffer("grid", pixel_grid(*specification.drawn_shape[:2]), persistent=False)
        self.register_buffer("bin_angles", torch.tensor(bin_angles_rad(specification.angle_bins), dtype=torch.float32), persistent=False)
        learned = specification.likelihood == "gaussian" and specification.noise_sd is None
        self.log_noise = nn.Parameter(torch.tensor(math.log(_NOISE_START))) if learned else None

    @property
    def noise_sd(self) -> Tensor:
        """σ of the Gaussian likelihood, scalar, normalised scale; 1 for the other likelihoods, which do not use it."""
        if self.log_noise is not None:
            return torch.exp(self.log_noise) + NOISE_FLOOR
        return self.grid.new_tensor(self.specification.noise_sd or 1.0)

    def encode(self, images: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images (n, h, w, c) and what is told of them (n, ·) to posterior mean and standard deviation of the raw latents, (n, L) each."""
        return self.encoder(images, context)

    def posterior(self, images: Tensor, context: Tensor | None = None) -> Posterior:
        """As `encode`, to the posterior over classes, angle bins and raw latents, of a model that has classes or angle bins."""
        return self.encoder.posterior(images, context)

    def targets(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """q(y|x) of images (n, h, w, c): mean and standard deviation (n, t) of the standardised targets, of a model that has targets."""
        return self.encoder.targets(images)

    def context_of(self, images: Tensor, conditions: Tensor | None = None) -> Tensor | None:
        """What the networks are told of images (n, h, w, c): conditions (n, k) in their units, and targets at q(y|x)'s mean; None for neither."""
        return self.context(conditions, self.targets(images)[0] if self.specification.targets else None)

    def read(self, images: Tensor, conditions: Tensor | None = None) -> Reading:
        """What is reported of images (n, h, w, c): the most probable class, its most probable bin, and that bin's Gaussian.

        Conditions (n, k) are in their units; targets are taken at their mean, q(y|x)'s.
        """
        specification = self.specification
        context = self.context_of(images, conditions)
        if not specification.is_mixture:
            return self.reading(*self.encode(images, context), context)
        found = self.posterior(images, context)
        q = torch.exp(found.log_q)
        of_class = q.sum(dim=2)
        best_class = torch.argmax(of_class, dim=1, keepdim=True)  # (n, 1)
        of_bin = torch.gather(q, 1, best_class[:, :, None].expand(-1, -1, q.shape[2]))[:, 0]
        best_bin = torch.argmax(of_bin, dim=1, keepdim=True)
        mean, sd = (_of_class(part, best_class) for part in (found.mean, found.sd))  # (n, B, L) each
        every = self.placed(mean, torch.arange(q.shape[2], device=q.device)[None])
        pick = best_bin[:, :, None].expand(-1, -1, mean.shape[2])
        best_mean, best_sd = torch.gather(every, 1, pick)[:, 0], torch.gather(sd, 1, pick)[:, 0]
        angle_sd = None
        if "rotation" in specification.invariances:
            p_r = specification.rotation_prior_sd_rad
            way = wrap_angle(p_r * (every[:, :, 0] - best_mean[:, :1]))
            spread = torch.square(way) + torch.square(p_r * sd[:, :, 0])
            angle_sd = torch.sqrt((of_bin * spread).sum(dim=1) / of_bin.sum(dim=1))
        if not specification.class_source:
            return Reading(best_mean, best_sd, self.split(best_mean, context=context), angle_sd, None)
        class_weights = functional.one_hot(best_class[:, 0], specification.class_count).to(best_mean.dtype)
        return Reading(best_mean, best_sd, self.split(best_mean, class_weights, context), angle_sd, of_class)

    def reading(self, mean: Tensor, sd: Tensor, context: Tensor | None = None) -> Reading:
        """What is reported of one Gaussian, μ and σ (n, L) each."""
        specification = self.specification
        angle_sd = specification.rotation_prior_sd_rad * sd[:, 0] if "rotation" in specification.invariances else None
        return Reading(mean, sd, self.split(mean, context=context), angle_sd, None)

    def placed(self, latents: Tensor, bins: Tensor) -> Tensor:
        """Raw latents (n, m, L) with the rotation latent counted from angle 0 in place of from the centre of its bin (n or 1, m)."""
        if not self.specification.angle_bins:
            return latents
        centre = self.bin_angles[bins] / self.specification.rotation_prior_sd_rad
        return torch.cat((latents[:, :, :1] + centre[:, :, None], latents[:, :, 1:]), dim=2)

    def split(self, latents: Tensor, class_weights: Tensor | None = None, context: Tensor | None = None) -> Sampling:
        """Raw latents (n, L) to what they mean: φ = p_r z_φ, dx = p_t z_t, s = exp(p_s z_s); identity where an invariance is absent."""
        specification = self.specification
        angle, scale, shift = latents.new_zeros(1), latents.new_ones(1), latents.new_zeros((1, 2))
        at = 0
        if "rotation" in specification.invariances:
            angle = specification.rotation_prior_sd_rad * latents[:, at]
            at += 1
        if "translation" in specification.invariances:
            shifts = 2 if specification.output_kind == "images" else 1
            shift = specification.shift_prior_sd * latents[:, at : at + shifts]
            if shifts == 1:  # along the columns; a spectrum has one row
                shift = torch.cat((torch.zeros_like(shift), shift), dim=1)
            at += shifts
        if "scale" in specification.invariances:
            scale = torch.exp(specification.scale_prior_log_sd * latents[:, at])
            at += 1
        return Sampling(angle, shift, scale, latents[:, at:], class_weights, context)

    def object_pose(self, sampling: Sampling) -> ObjectPose:
        """The pose of the object that these coordinates draw: angle = φ, scale = 1/s, centre = −(1/s)·dx·Rᵀ."""
        down, right = object_shift_px(sampling.angle, sampling.shift, sampling.scale, self.specification.longer_side_px)
        return ObjectPose(wrap_angle(sampling.angle), 1 / sampling.scale, down, right)

    def sampling_at(self, pose: ObjectPose, content: Tensor, class_weights: Tensor | None = None, context: Tensor | None = None) -> Sampling:
        """The inverse of `object_pose`: the coordinates that draw the object at this pose."""
        scale = 1 / pose.scale
        side = self.specification.longer_side_px
        shift = sampling_shift(pose.angle_rad, scale, pose.shift_down_px, pose.shift_right_px, side)
        return Sampling(pose.angle_rad, shift, scale, content, class_weights, context)

    def draw(self, sampling: Sampling, grid: Tensor | None = None) -> Tensor:
        """The likelihood's parameter per pixel.

        Args:
            sampling: the latents' meaning.
            grid: (n, M, 2) the pixels wanted of each image; None: all N. A plain decoder always draws all.

        Returns:
            (n, N or M, c).
        """
        content = self.circles.seen(sampling.content)
        if isinstance(self.decoder, PlainDecoder):
            return self.decoder(content, sampling.class_weights, sampling.context)
        moved = transform(self.grid if grid is None else grid, sampling.angle, sampling.shift, sampling.scale)
        return self.decoder(moved, content, sampling.class_weights, sampling.context)

    def images(self, sampling: Sampling) -> Tensor:
        """The mean image (n, h, w, c), or spectrum (n, 1, l, c), in the normalised scale of what is drawn."""
        mean = mean_image(self.specification.likelihood, self.draw(sampling))
        return mean.reshape(-1, *self.specification.drawn_shape)


def bin_angles_rad(bins: int) -> list[float]:
    """Centres of the angle bins, radians: quarter by quarter, within each symmetric about its middle; [0.0] for 0 bins."""
    if not bins:
        return [0.0]
    per_quarter = bins // 4
    within = [(index - (per_quarter - 1) / 2) * 2 * math.pi / bins for index in range(per_quarter)]
    return [quarter * math.pi / 2 + angle for quarter in range(4) for angle in within]


def _of_class(part: Tensor, index: Tensor) -> Tensor:
    """(n, C, B, L) at the class (n, 1) of each image, or the one that all classes share: (n, B, L)."""
    if part.shape[1] == 1:
        return part[:, 0]
    return torch.gather(part, 1, index[:, :, None, None].expand(-1, -1, *part.shape[2:]))[:, 0]
