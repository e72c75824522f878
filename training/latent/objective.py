"""The evidence lower bound: L = −E_q log p(x|z) + β KL(q(z|x) ‖ N(0, I))."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.latent.likelihoods import log_probability
from training.latent.model import InvariantVAE


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

    def loss(self, pose_beta: float, content_beta: float, pose_size: int) -> Tensor:
        """Mean over images of −log p(x|z) + β_pose KL_pose + β_content KL_content, scalar."""
        pose, content = self.divergences(pose_size)
        return (self.reconstruction + pose_beta * pose + content_beta * content).mean()

    def divergences(self, pose_size: int) -> tuple[Tensor, Tensor]:
        """KL of the pose latents (n,) and of the content latents (n,), nats."""
        return self.divergence[:, :pose_size].sum(dim=1), self.divergence[:, pose_size:].sum(dim=1)

    def total(self) -> Tensor:
        """−ELBO (n,) with β = 1."""
        return self.reconstruction + self.divergence.sum(dim=1)


def kl_to_standard_normal(mean: Tensor, sd: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½(μ² + σ² − 1) − log σ, elementwise."""
    return 0.5 * (torch.square(mean) + torch.square(sd) - 1) - torch.log(sd)


def bound(model: InvariantVAE, images: Tensor, noise: Tensor, chosen: Tensor | None = None) -> Bound:
    """One-sample estimate of −ELBO.

    Args:
        model: the model.
        images: (n, h, w, c) in the normalised scale, clipped to [0, 1] for both Bernoulli kinds.
        noise: (n, L) drawn from N(0, 1).
        chosen: (n, M) int64, pixels drawn uniformly for each image. The sum over all N pixels is then estimated by N/M times the sum over
            these, whose expectation is the whole sum: the bound stays unbiased. None: all pixels.

    Returns:
        The bound's parts; the reconstruction is summed over pixels and channels.
    """
    mean, sd = model.encode(images)
    sampling = model.split(mean + sd * noise)  # z = μ + σ ε
    values = images.flatten(1, 2)
    if chosen is None:
        output, weight = model.draw(sampling), 1.0
    else:
        values = torch.gather(values, 1, chosen[:, :, None].expand(-1, -1, values.shape[2]))
        output, weight = model.draw(sampling, model.grid[chosen]), model.specification.pixels / chosen.shape[1]
    log_p = log_probability(model.specification.likelihood, output, values, model.noise_sd)
    return Bound(-weight * log_p.sum(dim=(1, 2)), kl_to_standard_normal(mean, sd), mean, sd)
