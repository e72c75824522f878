"""Where the atom is at the end of a dwell: the Markov chain over the sites around it, the beam fixed in space. The simulator's truth is its twin.

exp(QT) = Σ_k e^(−qT) (qT)^k / k! (I + Q/q)^k with q at least the fastest rate of leaving a site (uniformisation): no term is negative, nothing
cancels, so that small probabilities come out as well as large ones. Two ways of summing: `occupancy` squares a matrix, with a number of operations
that no value changes, as a graph needs; `occupancy_rows` follows one row, with as many terms as the batch asks for, as training does.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from dichroic.honeycomb import surroundings

# exp(QT) = (exp(QT / 2^SQUARINGS))^(2^SQUARINGS), with that by its series up to DEGREE: what it leaves out is at most 4e-12 of a
# probability at qT = 128, and 1e-22 at 20. Where rates and dwell make for more hops than MOST_HOPS, they are taken for so many.
SQUARINGS, DEGREE = 8, 12
MOST_HOPS = 128.0
# What the row's series leaves out at most, as a probability.
_LEFT_OUT = 1e-13
LEAST_RATE = 1e-12  # 1/s, of q where nothing moves


def occupancy(rates_at: Tensor, dwell: Tensor, shells: int) -> Tensor:
    """The atom's probabilities of being at each site at the end of the dwell. For ONNX: no branch, no loop over values.

    Args:
        rates_at: (n, S, 3) float64, 1/s, of hopping from each site of `surroundings(shells)` along its own three neighbours.
        dwell: (n,) float64, s, >= 0.
        shells: of the surroundings. Who leaves them is elsewhere and does not come back.

    Returns:
        (n, S + 1) float64, the last elsewhere; rows sum to 1.
    """
    count = len(surroundings(shells))
    leaving = rates_at.sum(dim=2)
    fastest = torch.clamp(leaving.amax(dim=1), min=LEAST_RATE)
    hops = torch.clamp(fastest * dwell, max=MOST_HOPS) / 2.0**SQUARINGS
    moves = torch.matmul((rates_at / fastest[:, None, None]).reshape(-1, 3 * count), _places(shells, rates_at))
    # Elsewhere keeps what it has: nothing leaves it.
    kept = torch.nn.functional.pad(1 - leaving / fastest[:, None], (0, 1), value=1.0)
    chance = moves.reshape(-1, count + 1, count + 1) + kept[:, :, None] * torch.eye(count + 1, dtype=rates_at.dtype)
    found = _series(chance, hops)
    for _ in range(SQUARINGS - 1):
        found = torch.matmul(found, found)
    return torch.matmul(found[:, :1], found)[:, 0]


def occupancy_rows(rates: Tensor, dwell: Tensor, shells: int) -> Tensor:
    """The same for training: differentiable, sites first, which is fast.

    Args:
        rates: (S, 3, n), 1/s.
        dwell: (n,), s, of the same dtype.
        shells: of the surroundings.

    Returns:
        (S + 1, n), the last elsewhere; columns sum to 1 to rounding.
    """
    sites, inner, crossing = _indices(shells)
    leaving = rates.sum(dim=1)
    # Any q that is fast enough gives the same sum, so that none of the gradient is its own.
    fastest = torch.clamp(leaving.detach().amax(dim=0), min=LEAST_RATE)
    mean = fastest * dwell
    hop, stay = rates / fastest, 1 - leaving / fastest
    none = torch.zeros_like(mean)[None]
    # Neighbour j of a site has it as its own neighbour j.
    arriving = torch.stack([torch.cat((hop[:, j], none))[inner[j]] for j in range(3)])
    lost = torch.stack([hop[:, j] * crossing[j][:, None].to(hop) for j in range(3)]).sum(dim=0)
    chances = torch.zeros((sites, len(dwell)), dtype=rates.dtype)
    chances[0] = 1
    weight = torch.exp(-mean)
    inside, outside, gone = weight * chances, none[0], none[0]
    for k in range(1, _terms(float(mean.max()) if len(mean) else 0.0) + 1):
        gone = gone + (chances * lost).sum(dim=0)
        chances = stay * chances + (arriving * torch.cat((chances, none))[inner]).sum(dim=0)
        weight = weight * mean / k
        inside, outside = inside + weight * chances, outside + weight * gone
    return torch.cat((inside, outside[None]))


def outcomes(occupied: Tensor) -> Tensor:
    """(S + 1, ...) → (5, ...): stay, neighbours 1, 2, 3, elsewhere."""
    return torch.cat((occupied[:4], occupied[4:].sum(dim=0, keepdim=True)))


def _series(chance: Tensor, mean: Tensor) -> Tensor:
    """Σ_k e^(−mean) mean^k / k! chance^k to k = 12, (n, s, s) of (n, s, s) and (n,) <= 1/2, in five products (Paterson and Stockmeyer, 1973)."""
    size = chance.shape[-1]
    unit = torch.eye(size, dtype=chance.dtype)
    second = torch.matmul(chance, chance)
    third, fourth = torch.matmul(second, chance), torch.matmul(second, second)
    # What is multiplied by the fourth power twice, once and not at all: rows of coefficients times the lower powers.
    powers = torch.stack((unit + 0 * chance, chance, second, third), dim=1).reshape(-1, 4, size * size)
    order = torch.arange(DEGREE, dtype=chance.dtype).reshape(1, 3, 4)
    factorial = torch.tensor([math.factorial(k) for k in range(DEGREE + 1)], dtype=chance.dtype)
    weight, mean = torch.exp(-mean)[:, None, None], mean[:, None, None]
    blocks = torch.matmul(weight * mean**order / factorial[:DEGREE].reshape(1, 3, 4), powers).reshape(-1, 3, size, size)
    total = blocks[:, 2] + weight * mean**DEGREE / factorial[DEGREE] * fourth
    for first in (1, 0):
        total = blocks[:, first] + torch.matmul(total, fourth)
    return total


def _places(shells: int, like: Tensor) -> Tensor:
    """Where each hop belongs in a matrix from site to site: (3 S, (S + 1)²) of 0 and 1."""
    neighbour = surroundings(shells).neighbour
    count = len(neighbour)
    places = torch.zeros((count, 3, count + 1, count + 1), dtype=like.dtype)
    for site, own in enumerate(neighbour.tolist()):
        for j, reached in enumerate(own):
            places[site, j, site, reached] = 1
    return places.reshape(3 * count, -1)


@cache
def _indices(shells: int) -> tuple[int, Tensor, Tensor]:
    """S, the neighbours (3, S), and whether the hop there crosses the last shell (3, S)."""
    neighbour = torch.from_numpy(surroundings(shells).neighbour.T.copy())
    return neighbour.shape[1], neighbour, neighbour == neighbour.shape[1]


def _terms(mean: float) -> int:
    """The least K with P(more than K events of a Poisson distribution) < _LEFT_OUT: its tail is below its next term times 1/(1 − mean/(K + 2))."""
    k, log_term = 0, -mean
    while mean > 0:
        log_term += math.log(mean / (k + 1))
        if k + 2 > mean and log_term - math.log1p(-mean / (k + 2)) < math.log(_LEFT_OUT):
            break
        k += 1
    return k
