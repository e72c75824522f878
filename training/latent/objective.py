"""The evidence lower bound: L = −E_q log p(x|z) + β KL(q(z|x) ‖ p(z)), p = N(0, 1) of each latent, or uniform on its circle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.latent.likelihoods import log_probability
from training.latent.model import InvariantVAE


@dataclass(frozen=True)
class CapacityNow:
    """A capacity at one step of the fit: `nats` C(t), and `weight` γ."""

    nats: float
    weight: float

    def penalty(self, divergence: Tensor) -> Tensor:
        """γ |mean KL − C|, scalar, of KL (n,)."""
        return self.weight * torch.abs(divergence.mean() - self.nats)


def weighed(free: Tensor, parts: tuple[tuple[Tensor, float | CapacityNow], ...]) -> Tensor:
    """The mean over images of `free` (n,) and each part's KL (n,) times its β, plus the capacities' penalties, scalar."""
    for divergence, weight in parts:
        if not isinstance(weight, CapacityNow):
            free = free + weight * divergence
    total = free.mean()
    for divergence, weight in parts:
        if isinstance(weight, CapacityNow):
            total = total + weight.penalty(divergence)
    return total


@dataclass(frozen=True)
class Bound:
    """The parts of −ELBO of each image.

    Attributes:
        reconstruction: (n,) −log p(x|z), nats.
        divergence: (n, L) KL of each latent, nats.
        mean: (n, L) μ of the posterior.
        sd: (n, L) σ of the posterior.
    """

    reconstruction: Tensor
    divergence: Tensor
    mean: Tensor
    sd: Tensor

    def loss(self, pose_beta: float, content_beta: float | CapacityNow, pose_size: int) -> Tensor:
        """Mean over images of −log p(x|z) + β_pose KL_pose + β_content KL_content, scalar; the last term may be a capacity's."""
        pose, content = self.divergences(pose_size)
        return weighed(self.reconstruction, ((pose, pose_beta), (content, content_beta)))

    def divergences(self, pose_size: int) -> tuple[Tensor, Tensor]:
        """KL of the pose latents (n,) and of the content latents (n,), nats."""
        return self.divergence[:, :pose_size].sum(dim=1), self.divergence[:, pose_size:].sum(dim=1)

    def total(self) -> Tensor:
        """−ELBO (n,) with β = 1."""
        return self.reconstruction + self.divergence.sum(dim=1)


def bound(
    model: InvariantVAE,
    images: Tensor,
    noise: Tensor,
    chosen: Tensor | None = None,
    *,
    context: Tensor | None = None,
    outputs: Tensor | None = None,
) -> Bound:
    """One-sample estimate of −ELBO.

    Args:
        model: the model.
        images: (n, h, w, c) in the normalised scale, clipped to [0, 1] for both Bernoulli kinds.
        noise: (n, L) drawn from N(0, 1).
        chosen: (n, M) int64, pixels drawn uniformly for each image. The sum over all N pixels is then estimated by N/M times the sum over
            these, whose expectation is the whole sum: the bound stays unbiased. None: all pixels.
        context: (n, ·) conditions and targets as the networks see them, for a model that has some: log p(x|z, c), q(z|x, c).
        outputs: (n, h', w', c') what the decoder draws, where that is not the images (VED): log p(outputs|z), q(z|images).

    Returns:
        The bound's parts; the reconstruction is summed over pixels and channels.
    """
    mean, sd = model.encode(images, context)
    sampling = model.split(mean + sd * noise, context=context)  # z = μ + σ ε
    values = (images if outputs is None else outputs).flatten(1, 2)
    if chosen is None:
        output, weight = model.draw(sampling), 1.0
    else:
        values = torch.gather(values, 1, chosen[:, :, None].expand(-1, -1, values.shape[2]))
        output, weight = model.draw(sampling, model.grid[chosen]), model.specification.pixels / chosen.shape[1]
    log_p = log_probability(model.specification.likelihood, output, values, model.noise_sd)
    return Bound(-weight * log_p.sum(dim=(1, 2)), model.circles.divergence(mean, sd), mean, sd)
