"""Encoders: an image becomes the mean and the standard deviation of each raw latent's posterior."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.latent.specification import ModelSpecification

# A posterior narrower than this carries no more information in float32 and lets log σ run away.
SD_FLOOR = 1e-4


class Encoder(nn.Module):
    """q(z|x) = N(μ(x), σ(x)²): optional stride-2 convolutions, dense layers, and two heads."""

    def __init__(self, specification: ModelSpecification) -> None:
        super().__init__()
        self.convolutional = bool(specification.encoder_channels)
        self.convolutions = nn.ModuleList()
        height, width, channels = specification.height_px, specification.width_px, specification.channels
        for out_channels in specification.encoder_channels:
            self.convolutions.append(nn.Conv2d(channels, out_channels, kernel_size=3, stride=2, padding=1))
            height, width, channels = (height + 1) // 2, (width + 1) // 2, out_channels
        self.dense = nn.ModuleList()
        size = height * width * channels
        for out_size in specification.encoder_widths:
            self.dense.append(nn.Linear(size, out_size))
            size = out_size
        self.mean = nn.Linear(size, specification.latent_size)
        self.deviation = nn.Linear(size, specification.latent_size)
        # A number that grows with the angle must fall back somewhere, steeply; the two coordinates of a point on the circle need not.
        self.direction = nn.Linear(size, 2) if specification.angle_symmetry else None
        self.raw_per_turn = 1 / (max(1, specification.angle_symmetry) * specification.rotation_prior_sd_rad)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior of each image.

        Args:
            images: (n, h, w, c) float32 in the normalised scale.

        Returns:
            μ (n, L) and σ = softplus(·) (n, L): standard deviations, not log-variances.
        """
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
        mean = self.mean(features)
        if self.direction is not None:
            point = self.direction(features)
            mean = torch.cat((self.raw_per_turn * torch.atan2(point[:, :1], point[:, 1:]), mean[:, 1:]), dim=1)
        return mean, functional.softplus(self.deviation(features)) + SD_FLOOR
