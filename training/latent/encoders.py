"""Encoders: an image, or a spectrum as an image of one row, becomes the mean and the standard deviation of each raw latent's posterior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.latent.circles import Circles
from training.latent.specification import ModelSpecification

# A posterior narrower than this carries no more information in float32 and lets log σ run away.
SD_FLOOR = 1e-4


# An image is seen in as many quarter turns: exact for square pixels, nothing is resampled.
_QUARTERS = 4
_KERNEL = 3
# Along a spectrum weights are cheap and peaks wide.
_SPECTRUM_KERNEL = 5


@dataclass(frozen=True)
class Posterior:
    """q(c, b, z|x) = q(c, b|x) N(z; μ, σ²) over classes c, angle bins b and raw latents z.

    Attributes:
        mean: (n, C, B, L) μ; C is 1 where all classes share one z, else K. The rotation latent counts from its bin's centre; circles are in
            [−π, π] radians.
        sd: (n, C, B, L) σ.
        log_q: (n, K, B) log q(c, b|x), natural.
    """

    mean: Tensor
    sd: Tensor
    log_q: Tensor


class GaussianHeads(nn.Module):
    """What encoders of one Gaussian do with their features; whoever inherits makes the heads."""

    mean: nn.Linear
    deviation: nn.Linear
    direction: nn.Linear | None
    cosine: nn.Linear | None
    circles: Circles
    raw_per_turn: float

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, F) to μ (n, L), circles in [−π, π] radians, and σ = softplus(·) (n, L): standard deviations, not log-variances."""
        mean = self.mean(features)
        if self.direction is not None:
            point = self.direction(features)
            mean = torch.cat((self.raw_per_turn * torch.atan2(point[:, :1], point[:, 1:]), mean[:, 1:]), dim=1)
        if self.cosine is not None:
            mean = self.circles.directions(mean, self.cosine(features))
        return mean, functional.softplus(self.deviation(features)) + SD_FLOOR


class Encoder(GaussianHeads):
    """q(z|x) = N(μ(x), σ(x)²): optional stride-2 convolutions, dense layers, and two heads; a third for classes and angle bins, two for targets.

    What the model is told beside the data (conditions; a target's value) enters in one more layer, before the Gaussians' heads alone: classes and
    targets are told from the data.
    """

    def __init__(self, specification: ModelSpecification) -> None:
        super().__init__()
        self.convolutional = bool(specification.encoder_channels)
        self.convolutions = nn.ModuleList()
        height, width, channels = specification.height_px, specification.width_px, specification.channels
        line = specification.input_kind == "spectra"
        kernel, stride = ((1, _SPECTRUM_KERNEL), (1, 2)) if line else ((_KERNEL, _KERNEL), (2, 2))
        for out_channels in specification.encoder_channels:
            self.convolutions.append(nn.Conv2d(channels, out_channels, kernel, stride, padding=(kernel[0] // 2, kernel[1] // 2)))
            height, width, channels = (height + 1) // 2, (width + 1) // 2, out_channels
        self.dense = nn.ModuleList()
        size = height * width * channels
        for out_size in specification.encoder_widths:
            self.dense.append(nn.Linear(size, out_size))
            size = out_size
        self.specification = specification
        self.views = _QUARTERS if specification.angle_bins else 1
        self.bins_per_view = specification.bin_count // self.views
        self.told = nn.Linear(size + specification.context_size, size) if specification.context_size else None
        posteriors = specification.posterior_count * self.bins_per_view
        self.mean = nn.Linear(size, posteriors * specification.latent_size)
        self.deviation = nn.Linear(size, posteriors * specification.latent_size)
        # A number that grows with the angle must fall back somewhere, steeply; the two coordinates of a point on the circle need not.
        self.direction = nn.Linear(size, 2) if specification.angle_symmetry else None
        self.raw_per_turn = 1 / (max(1, specification.angle_symmetry) * specification.rotation_prior_sd_rad)
        # Of circles `mean` tells one coordinate of a point in the plane and this the other.
        self.circles = Circles(specification)
        self.cosine = nn.Linear(size, posteriors * self.circles.count) if self.circles.count else None
        self.pairs = nn.Linear(size, specification.class_count * self.bins_per_view) if specification.is_mixture else None
        self.target_mean = nn.Linear(size, len(specification.targets)) if specification.targets else None
        self.target_deviation = nn.Linear(size, len(specification.targets)) if specification.targets else None

    def forward(self, images: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The posterior of each image.

        Args:
            images: (n, h, w, c) float32 in the normalised scale.
            context: (n, context_size) conditions and targets, as `Context` gives them; None for a model without.

        Returns:
            μ (n, L), circles in [−π, π] radians, and σ = softplus(·) (n, L): standard deviations, not log-variances.
        """
        return self.heads(self._with(self._features(images), context))

    def posterior(self, images: Tensor, context: Tensor | None = None) -> Posterior:
        """The posterior of each image (n, h, w, c) with its context as in `forward`, of a model with classes or angle bins.

        [ours] With angle bins the network sees each image in four quarter turns and finds the bins within one quarter in each, so that what it
        says about an object's class and content does not change with a quarter turn, and a class cannot stand for an orientation.
        """
        specification = self.specification
        features = self._features(_quarter_turns(images) if self.views > 1 else images)
        seen = self._with(features, context)
        mean, deviation = (self._of_bins(head(seen)) for head in (self.mean, self.deviation))
        if self.cosine is not None:
            mean = self.circles.directions(mean, self._of_bins(self.cosine(seen)))
        assert self.pairs is not None  # noqa: S101 (is_mixture)
        logits = self.pairs(features).reshape(-1, self.views, specification.class_count, self.bins_per_view).transpose(1, 2).flatten(2, 3)
        log_q = torch.log_softmax(logits.flatten(1), dim=1).reshape(logits.shape)
        return Posterior(mean, functional.softplus(deviation) + SD_FLOOR, log_q)

    def targets(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """q(y|x) of images (n, h, w, c): mean and standard deviation (n, t) of the standardised targets; with angle bins, of all four turns alike."""
        assert self.target_mean is not None  # noqa: S101 (a model with targets)
        assert self.target_deviation is not None  # noqa: S101 (a model with targets)
        features = self._features(_quarter_turns(images) if self.views > 1 else images)
        features = features.reshape(-1, self.views, features.shape[1]).mean(dim=1)
        return self.target_mean(features), functional.softplus(self.target_deviation(features)) + SD_FLOOR

    def _of_bins(self, outputs: Tensor) -> Tensor:
        """A head's outputs for each view (n·views, ·) as (n, C, B, ·)."""
        counts = (self.views, self.specification.posterior_count, self.bins_per_view)
        return outputs.reshape(-1, *counts, outputs.shape[1] // (counts[1] * counts[2])).transpose(1, 2).flatten(2, 3)

    def _with(self, features: Tensor, context: Tensor | None) -> Tensor:
        """Features (n or 4n, ·) together with what the model is told of each image."""
        if self.told is None or context is None:
            return features
        own = context.repeat_interleave(self.views, dim=0) if self.views > 1 else context
        joined = self.told(torch.cat((features, own), dim=1))
        return functional.relu(joined) if self.convolutional else torch.tanh(joined)

    def _features(self, images: Tensor) -> Tensor:
        features = images
        if self.convolutional:
            features = features.permute(0, 3, 1, 2)
            for convolution in self.convolutions:
                features = functional.relu(convolution(features))
        features = torch.flatten(features, start_dim=1)
        for layer in self.dense:
            # tanh as published on pixels; behind convolutions ReLU, which every runtime computes exactly: ONNX Runtime's tanh is off by 3e-7,
            # which a sharp decoder turns into 1e-5 of an image's range.
            features = functional.relu(layer(features)) if self.convolutional else torch.tanh(layer(features))
        return features


def _quarter_turns(images: Tensor) -> Tensor:
    """Images (n, h, h, c) turned clockwise by 0, 1, 2 and 3 quarters: (4n, h, h, c), the turns of one image together."""
    return torch.stack([torch.rot90(images, -turns, (1, 2)) for turns in range(_QUARTERS)], dim=1).flatten(0, 1)
