"""KL of one latent's posterior to its prior: a Gaussian on a line, a wrapped normal on a circle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Standard deviation in radians up to which a normal distribution's tails beyond ±π do not count: two per million lie there at 0.65.
_NARROW_RAD = 0.65
# q = exp(−0.65²) = 0.655 at the most: 0.655⁴⁰ and 0.655^(11·12/2) are below float32's last digit.
_FACTORS = 40
_TERMS = 11


def kl_to_standard_normal(mean: Tensor, sd: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½(μ² + σ² − 1) − log σ, elementwise."""
    return 0.5 * (torch.square(mean) + torch.square(sd) - 1) - torch.log(sd)


def kl_to_uniform_circle(sd: Tensor) -> Tensor:
    """KL(wrapped normal ‖ uniform on the circle) = log 2π − H, elementwise, nats, >= 0; the mean direction does not matter.

    With q = exp(−σ²) and φ(q) = Π_{n>=1} (1 − qⁿ) [Mardia and Jupp's density as Jacobi's triple product]:
    H = −log(φ(q)/2π) + 2 Σ_{n>=1} (−1)ⁿ/n · q^{(n²+n)/2}/(1 − qⁿ). For small σ the sums grow long, and H is the normal's ½ log(2πe σ²).

    Args:
        sd: σ > 0, radians, before wrapping.
    """
    # Each branch sees only what it is meant for: `where` would pass on the other's infinite gradient times 0, which is NaN.
    narrow = 0.5 * math.log(2 * math.pi / math.e) - torch.log(sd.clamp_max(_NARROW_RAD))
    q = torch.exp(-torch.square(sd.clamp_min(_NARROW_RAD)))
    wide = torch.zeros_like(sd)
    for n in range(1, _FACTORS + 1):
        wide = wide + torch.log1p(-(q**n))
    for n in range(1, _TERMS + 1):
        wide = wide - 2 * (-1) ** n / n * q ** (n * (n + 1) // 2) / (1 - q**n)
    return torch.where(sd < _NARROW_RAD, narrow, wide.clamp_min(0))
