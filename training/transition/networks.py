"""Rates from a state, two ways: equivariant by construction, and in the canonical frame as published. Each holds a whole ensemble.

A state is the beam (Å relative to the atom), the three neighbours (the same) and the context (nA, kV). What a network reads of it, `Prepared`,
does not depend on its weights: training makes it once. Geometry is float64, weights are float32 or, once `double()` was called, float64.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dichroic.honeycomb import surroundings
from training.transition.states import Scales

BOND_LENGTH = 1.42  # Å, the unit of lengths inside the networks
# |across| is smoothed over so many bond lengths: √(across² + c²) − c has no kink where the beam crosses the bond.
SMOOTH = 0.25
# Logarithms of rates in 1/s that a network may give: what lies beyond is a network far outside of what it was trained on.
LEAST_LOG_RATE, MOST_LOG_RATE = -20.0, 5.0
_LEAST_TOTAL = 1e-9  # 1/s


class Prepared(NamedTuple):
    """What a network reads.

    Attributes:
        inputs: (..., 3, F) of each neighbour, or (..., F) of the state, of the network's dtype.
        order: (..., 3) int64, where the neighbours of the request stand in the canonical order; (..., 0) where there is none.
    """

    inputs: Tensor
    order: Tensor

    def of(self, rows: Tensor) -> Prepared:
        """Some rows of the first axis."""
        return Prepared(self.inputs[rows], self.order[rows])


class Layers(nn.Module):
    """Perceptrons side by side, SiLU between the layers: (p, F) → (M, p, out). Weights (M, in, out), biases (M, 1, out)."""

    def __init__(self, members: int, sizes: tuple[int, ...], bias: tuple[float, ...], generator: torch.Generator) -> None:
        """Draws weights; the last layer begins small about `bias`, so that all members begin near to one constant rate."""
        super().__init__()
        last = len(sizes) - 2
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for k, (ins, outs) in enumerate(pairwise(sizes)):
            gain = (0.3 if k == last else 1.5) / math.sqrt(ins)
            self.weights.append(nn.Parameter(gain * torch.randn((members, ins, outs), generator=generator)))
            first = torch.randn((members, 1, outs), generator=generator) if k == 0 else torch.zeros((members, 1, outs))
            self.biases.append(nn.Parameter(torch.tensor(bias).expand(members, 1, -1).clone() if k == last else first))

    def forward(self, inputs: Tensor) -> Tensor:
        """See the class."""
        hidden = inputs[None].expand(self.weights[0].shape[0], -1, -1)
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, nn.functional.silu(hidden) if k else hidden, weight)
        return hidden


class RateNetwork(nn.Module, ABC):
    """An ensemble of M rate models.

    `sharpness` and `pivot` are recalibration's: ln r' = pivot + sharpness (ln r − pivot). As trained they are 1 and ln of the constant rate to each
    neighbour that suits the data best.
    """

    unit: Tensor
    centre: Tensor
    inverse: Tensor
    sharpness: Tensor
    pivot: Tensor

    def __init__(self, members: int, scales: Scales, constant_rate: float) -> None:
        super().__init__()
        self.members = members
        # Tensors: the exporter writes a Python number as float32.
        self.register_buffer("unit", torch.tensor(BOND_LENGTH, dtype=torch.float64))
        self.register_buffer("centre", torch.tensor(scales.centre, dtype=torch.float64))
        self.register_buffer("inverse", torch.tensor(scales.inverse, dtype=torch.float64))
        self.register_buffer("sharpness", torch.tensor(1.0, dtype=torch.float64))
        self.register_buffer("pivot", torch.tensor(math.log(constant_rate), dtype=torch.float64))

    @abstractmethod
    def prepare(self, beam: Tensor, neighbours: Tensor, context: Tensor) -> Prepared:
        """(..., 2) and (..., 3, 2) Å, (..., 2) nA and kV, all float64."""

    @abstractmethod
    def raw_log_rates(self, prepared: Prepared) -> Tensor:
        """ln(r s) (M, ..., 3), in the request's order, before recalibration."""

    def log_rates(self, prepared: Prepared) -> Tensor:
        """ln(r s) (M, ..., 3), in the request's order, of the weights' dtype."""
        raw = torch.clamp(self.raw_log_rates(prepared), LEAST_LOG_RATE, MOST_LOG_RATE)
        return (self.pivot + self.sharpness * (raw - self.pivot)).to(raw.dtype)

    def forward(self, beam: Tensor, neighbours: Tensor, context: Tensor) -> Tensor:
        """Rates of hopping to each neighbour.

        Args:
            beam: (n, 2) float64, Å relative to the atom.
            neighbours: (n, 3, 2) float64, Å relative to it.
            context: (n, 2) float64, nA and kV.

        Returns:
            (n, M, 3) float64, 1/s, in the order of the neighbours.
        """
        return torch.exp(self.log_rates(self.prepare(beam, neighbours, context)).to(beam.dtype)).permute(1, 0, 2)

    def at_sites(self, beam: Tensor, neighbours: Tensor, context: Tensor, shells: int) -> Prepared:
        """What it reads for each site of the surroundings, the beam staying where it is in space: leading axes (n, S)."""
        sites = surroundings(shells)
        steps = torch.tensor(sites.steps, dtype=beam.dtype)
        sign = torch.tensor(1 - 2 * sites.sublattice, dtype=beam.dtype)
        relative = beam[:, None] - torch.matmul(steps, neighbours)
        own = neighbours[:, None] * sign[:, None, None]
        return self.prepare(relative, own, context[:, None].expand(-1, len(sites), -1))

    def rates_at_sites(self, beam: Tensor, neighbours: Tensor, context: Tensor, shells: int) -> Tensor:
        """(n, M, S, 3) float64, 1/s: what the chain takes."""
        return torch.exp(self.log_rates(self.at_sites(beam, neighbours, context, shells)).to(beam.dtype)).transpose(0, 1)

    def _standard(self, bond: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bond length, ln of the current and voltage, standardised."""
        values = (bond, torch.log(context[..., 0]), context[..., 1])
        a, b, c = ((value - self.centre[k]) * self.inverse[k] for k, value in enumerate(values))
        return a, b, c

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype


class Equivariant(RateNetwork):
    """One function of the beam in each neighbour's own frame gives that neighbour's rate: turned or reflected states have the same rates.

    ln r_i = f(along_i, |across_i|, bond length_i, ln current, voltage), along = b·u_i/a, across = u_i × b/a.
    """

    def __init__(
        self, members: int, scales: Scales, constant_rate: float, *, widths: tuple[int, ...] = (32, 32), outputs: int = 1, seed: int = 0
    ) -> None:
        super().__init__(members, scales, constant_rate)
        generator = torch.Generator().manual_seed(seed)
        self.layers = Layers(members, (5, *widths, outputs), (math.log(constant_rate),) + (0.0,) * (outputs - 1), generator)

    def prepare(self, beam: Tensor, neighbours: Tensor, context: Tensor) -> Prepared:
        """See RateNetwork: inputs (..., 3, 5), no order."""
        x, y = beam[..., None, 0], beam[..., None, 1]
        to_x, to_y = neighbours[..., 0], neighbours[..., 1]
        bond = torch.sqrt(to_x * to_x + to_y * to_y)
        along = (x * to_x + y * to_y) / (self.unit * bond)
        across = (to_x * y - to_y * x) / (self.unit * bond)
        distance, current, voltage = self._standard(bond, context[..., None, :])
        columns = (along, torch.sqrt(across * across + SMOOTH**2) - SMOOTH, distance, current.expand_as(along), voltage.expand_as(along))
        return Prepared(torch.stack(columns, dim=-1).to(self.dtype), torch.zeros((*along.shape[:-1], 0), dtype=torch.int64))

    def raw_log_rates(self, prepared: Prepared) -> Tensor:
        """See RateNetwork."""
        return self.outputs(prepared)[..., 0]

    def outputs(self, prepared: Prepared) -> Tensor:
        """All that the layers tell: (M, ..., 3, outputs)."""
        leading = prepared.inputs.shape[:-1]
        return self.layers(prepared.inputs.reshape(-1, 5)).reshape(self.members, *leading, -1)


class Canonical(RateNetwork):
    """As published: the state is turned so that the neighbour nearest to the beam lies on +x, the others counter-clockwise after it.

    A perceptron of (beam x/a, beam y/a, ln current, voltage) gives three scores s and a total rate λ = softplus(·); r_i = λ softmax(s)_i. Where two
    neighbours are as near, it jumps; it has no reflection but the one it learns from reflected data.
    """

    def __init__(self, members: int, scales: Scales, constant_rate: float, *, widths: tuple[int, ...] = (32, 32), seed: int = 0) -> None:
        super().__init__(members, scales, constant_rate)
        generator = torch.Generator().manual_seed(seed)
        # softplus(b) is the constant total rate.
        self.layers = Layers(members, (4, *widths, 4), (0.0, 0.0, 0.0, math.log(math.expm1(3 * constant_rate))), generator)

    def prepare(self, beam: Tensor, neighbours: Tensor, context: Tensor) -> Prepared:
        """See RateNetwork: inputs (..., 4) and the order."""
        square = ((beam[..., None, :] - neighbours) ** 2).sum(dim=-1)
        nearest = torch.argmin(square, dim=-1)
        following, last = (nearest + 1) % 3, (nearest + 2) % 3
        on_x, next_to = self._pick(neighbours, nearest), self._pick(neighbours, following)
        # The following one comes first, counter-clockwise, where it lies within half a turn; else the last one does.
        left = on_x[..., 0] * next_to[..., 1] - on_x[..., 1] * next_to[..., 0] > 0
        second, third = torch.where(left, following, last), torch.where(left, last, following)
        unit = on_x / torch.sqrt((on_x * on_x).sum(dim=-1, keepdim=True))
        x = (beam * unit).sum(dim=-1) / self.unit
        y = (unit[..., 0] * beam[..., 1] - unit[..., 1] * beam[..., 0]) / self.unit
        _, current, voltage = self._standard(x, context)
        inputs = torch.stack((x, y, current.expand_as(x), voltage.expand_as(x)), dim=-1).to(self.dtype)
        # Where the request's neighbour j stands: 0 as the nearest, 1 as the second, 2 as the third.
        places = torch.arange(3)
        order = (places == second[..., None]).to(torch.int64) + 2 * (places == third[..., None]).to(torch.int64)
        return Prepared(inputs, order)

    def raw_log_rates(self, prepared: Prepared) -> Tensor:
        """See RateNetwork."""
        leading = prepared.inputs.shape[:-1]
        told = self.layers(prepared.inputs.reshape(-1, 4)).reshape(self.members, *leading, 4)
        # softplus, which ONNX Runtime lacks in float64.
        softplus = torch.clamp(told[..., 3:], min=0) + torch.log1p(torch.exp(-torch.abs(told[..., 3:])))
        total = torch.log(torch.clamp(softplus, min=_LEAST_TOTAL))
        canonical = total + torch.log_softmax(told[..., :3], dim=-1)
        return torch.gather(canonical, -1, prepared.order[None].expand(self.members, *leading, 3))

    @staticmethod
    def _pick(neighbours: Tensor, which: Tensor) -> Tensor:
        """(..., 2) of (..., 3, 2), by index (...)."""
        index = which[..., None, None].expand(*which.shape, 1, 2)
        return torch.gather(neighbours, -2, index)[..., 0, :]
