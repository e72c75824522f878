"""Content latents on circles: angles in radians among the raw latents, where each has a uniform prior in place of N(0, 1).

A circle's posterior is a wrapped normal: its mean direction is atan2 of two outputs of the encoder, which has no jump; θ = μ + σ ε; decoders see
(cos θ, sin θ). Two circles are a torus.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.latent.coordinates import wrap_angle
from training.latent.divergences import kl_to_standard_normal, kl_to_uniform_circle
from training.latent.specification import ModelSpecification


class Circles(nn.Module):
    """Which columns of latents are angles, and what is done with them. Of a model without circles every method leaves latents as they are."""

    in_latents: Tensor
    in_content: Tensor
    latent_order: Tensor
    content_order: Tensor
    lines: Tensor

    def __init__(self, specification: ModelSpecification) -> None:
        super().__init__()
        content, latents = specification.circle_columns("content"), specification.circle_columns("latent_mean")
        self.count = len(content)
        lines = [column for column in range(specification.latent_size) if column not in latents]
        for name, indices in (
            ("in_latents", latents),
            ("in_content", content),
            ("latent_order", _order(latents, specification.latent_size)),
            ("content_order", _order(content, specification.content_size)),
            ("lines", lines),
        ):
            self.register_buffer(name, torch.tensor(indices, dtype=torch.int64), persistent=False)

    def directions(self, mean: Tensor, cosine: Tensor) -> Tensor:
        """The posterior mean of raw latents (..., L) from the encoder's outputs.

        Args:
            mean: (..., L) the means of lines; of circles the sine's coordinate.
            cosine: (..., c) the other coordinate of each circle.

        Returns:
            (..., L), circles in [−π, π] radians.
        """
        angle = wrap_angle(torch.atan2(mean.index_select(-1, self.in_latents), cosine))
        return torch.cat((mean, angle), dim=-1).index_select(-1, self.latent_order)

    def seen(self, content: Tensor) -> Tensor:
        """What decoders see of content (n, d), circles as any angle in radians: (n, d + c), cosines in the circles' places and then the sines."""
        if not self.count:
            return content
        angle = content.index_select(1, self.in_content)
        lines_and_cosines = torch.cat((content, torch.cos(angle)), dim=1).index_select(1, self.content_order)
        return torch.cat((lines_and_cosines, torch.sin(angle)), dim=1)

    def divergence(self, mean: Tensor, sd: Tensor) -> Tensor:
        """KL of each raw latent's posterior to its prior, of μ and σ (..., L): N(0, 1) on lines, uniform on circles; (..., L) nats."""
        on_lines = kl_to_standard_normal(mean, sd)
        if not self.count:
            return on_lines
        on_circles = kl_to_uniform_circle(sd.index_select(-1, self.in_latents))
        return torch.cat((on_lines, on_circles), dim=-1).index_select(-1, self.latent_order)

    def on_lines(self, latents: Tensor) -> Tensor:
        """The columns of raw latents (..., L) whose prior has a mean, 0."""
        return latents.index_select(-1, self.lines) if self.count else latents


def _order(columns: Sequence[int], width: int) -> list[int]:
    """Where each of `width` columns stands once the circles' values are appended behind them."""
    return [width + columns.index(column) if column in columns else column for column in range(width)]
