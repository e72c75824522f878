"""Semi-supervised regression (M2 with a continuous y): a target that is not known is one reparameterised sample of q(y|x).

Unlabelled: L = −log p(x|y, z) + β KL(q(z|x, y) ‖ p) + KL(q(y|x) ‖ N(0, 1)), y = μ_y + σ_y ε; labelled: y as it is, and the Gaussian negative
log-likelihood of y under q(y|x) in place of the last term. Where an image has some targets and lacks others, each goes its own way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from training.latent.divergences import kl_to_standard_normal
from training.latent.model import InvariantVAE


@dataclass(frozen=True)
class Told:
    """Targets as the bound takes them.

    Attributes:
        values: (n, t) standardised: known ones as they are, others drawn from q(y|x).
        divergence: (n,) KL(q(y|x) ‖ N(0, 1)) of those not known, nats.
        surprise: (n,) −log q(y|x) of the known ones, nats.
    """

    values: Tensor
    divergence: Tensor
    surprise: Tensor


def tell(model: InvariantVAE, images: Tensor, known: Tensor, noise: Tensor) -> Told:
    """What q(y|x) says of images.

    Args:
        model: with targets.
        images: (n, h, w, c) in the normalised scale.
        known: (n, t) standardised, NaN where not known.
        noise: (n, t) drawn from N(0, 1).
    """
    mean, sd = model.targets(images)
    is_known = ~torch.isnan(known)
    # Not NaN anywhere, not even where it is not used: its gradient would be.
    taken = torch.where(is_known, known, torch.zeros_like(known))
    values = torch.where(is_known, taken, mean + sd * noise)
    nothing = torch.zeros_like(mean)
    divergence = torch.where(is_known, nothing, kl_to_standard_normal(mean, sd))
    surprise = torch.where(is_known, 0.5 * torch.square((taken - mean) / sd) + torch.log(sd) + 0.5 * math.log(2 * math.pi), nothing)
    return Told(values, divergence.sum(dim=1), surprise.sum(dim=1))
