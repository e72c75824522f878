"""A rate model as ONNX graphs from raw inputs, in as few operations as will do: of one state, what takes time is their number.

Equal to training/transition/predict.py but for rounding, which the parity check holds it to. What differs: the beam in the frames of all neighbours
of all sites comes of two products with constants; what did not vary in training is not read; the generator Q of the chain is one product with
the rates; and Σ_k e^(−m) m^k / k! (I + Q/q)^k is e^(−m) exp(m (I + Q/q)), the same sum of what is not negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from dichroic.bundle import Signature
from dichroic.honeycomb import surroundings
from training.export.graphs import exported, value_info
from training.transition.chain import DEGREE, LEAST_RATE, MOST_HOPS, SQUARINGS
from training.transition.distil import LEAST_LOG_SD, MOST_LOG_SD, SD_SHIFT, Student
from training.transition.networks import BOND_LENGTH, LEAST_LOG_RATE, MOST_LOG_RATE, SMOOTH, Canonical, Equivariant, RateNetwork

_EXAMPLE_ROWS = 3


class SiteRates(nn.Module):
    """(n, M, 3 S) 1/s of an equivariant network or a student, at every site of the surroundings; of 0 shells, at the atom alone."""

    def __init__(self, network: Equivariant | Student, shells: int) -> None:
        super().__init__()
        inner = network.network if isinstance(network, Student) else network
        sites = surroundings(max(shells, 1))
        self.count, self.student = len(sites) if shells else 1, isinstance(network, Student)
        sign = 1.0 - 2.0 * sites.sublattice[:, None]
        # sign (beam − site), as a product with the neighbours and the beam.
        relative = sign * np.concatenate([-sites.steps, np.ones((len(sites), 1))], axis=1)
        self.register_buffer("relative", _constant(relative[: self.count]))
        self.register_buffer("quarter_turn", _constant([[0.0, -1.0], [1.0, 0.0]]))
        self.register_buffer("each_site", _constant(np.ones((self.count, 1))))
        self.register_buffer("each_hop", _constant(np.ones((1, 3 * self.count))))
        self.varies, self.recalibrated = [value != 0 for value in inner.inverse.tolist()], float(network.sharpness) != 1.0
        self.register_buffer("centre", inner.centre.clone())
        self.register_buffer("inverse", inner.inverse.clone())
        self.register_buffer("sharpness", network.sharpness.clone())
        self.register_buffer("shift", (1 - network.sharpness) * network.pivot)
        # Along and across, and of the other inputs those that vary: what is scaled by 0 is 0.
        read = [0, 1, *(2 + k for k in range(3) if self.varies[k])]
        weights = [each.detach().double().transpose(-1, -2) for each in inner.layers.weights]
        weights[0] = weights[0][..., read]
        biases = [each.detach().double().transpose(-1, -2) for each in inner.layers.biases]
        if isinstance(network, Student):
            weights, biases = [each[0] for each in weights], [each[0] for each in biases]
            biases[-1] = biases[-1] - _constant([[0.0], [SD_SHIFT]])
            self.register_buffer("offsets", network.offsets.double()[:, None].clone())
        self.weights = nn.ParameterList([nn.Parameter(each.contiguous(), requires_grad=False) for each in weights])
        self.biases = nn.ParameterList([nn.Parameter(each.contiguous(), requires_grad=False) for each in biases])

    def forward(self, beam: Tensor, neighbours: Tensor, current: Tensor, voltage: Tensor) -> Tensor:
        """(n, 2), (n, 3, 2) Å, (n,) nA, (n,) kV → (n, M, 3 S)."""
        relative = torch.matmul(self.relative, torch.cat((neighbours, beam[:, None]), dim=1))
        of_neighbours = neighbours.transpose(1, 2)
        bond = torch.sqrt((of_neighbours * of_neighbours).sum(dim=1, keepdim=True))
        units = of_neighbours / (BOND_LENGTH * bond)
        along = torch.matmul(relative, units).reshape(-1, 1, 3 * self.count)
        across = torch.matmul(relative, torch.matmul(self.quarter_turn, units)).reshape(-1, 1, 3 * self.count)
        columns = [along, torch.sqrt(across * across + SMOOTH**2) - SMOOTH]
        if self.varies[0]:
            columns.append(self._standard(0, self.each_site * bond).reshape(-1, 1, 3 * self.count))
        if self.varies[1]:
            columns.append(self._standard(1, torch.log(current)).reshape(-1, 1, 1) * self.each_hop)
        if self.varies[2]:
            columns.append(self._standard(2, voltage).reshape(-1, 1, 1) * self.each_hop)
        hidden = torch.cat(columns, dim=1)
        if not self.student:
            hidden = hidden[:, None]
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.matmul(weight, hidden * torch.sigmoid(hidden) if k else hidden) + bias
        return torch.exp(self._recalibrated(torch.clamp(self._log_rates(hidden), LEAST_LOG_RATE, MOST_LOG_RATE)))

    def _log_rates(self, told: Tensor) -> Tensor:
        if not self.student:
            return told.reshape(-1, told.shape[1], 3 * self.count)
        mean, log_sd = torch.split(told, 1, dim=1)
        return mean + self.offsets * torch.exp(torch.clamp(log_sd, LEAST_LOG_SD, MOST_LOG_SD))

    def _standard(self, column: int, values: Tensor) -> Tensor:
        return (values - self.centre[column]) * self.inverse[column]

    def _recalibrated(self, raw: Tensor) -> Tensor:
        return self.sharpness * raw + self.shift if self.recalibrated else raw


class CanonicalRates(nn.Module):
    """The same of a canonical network."""

    def __init__(self, network: Canonical, shells: int) -> None:
        super().__init__()
        self.network, self.shells, self.hops = network, shells, 3 * len(surroundings(shells))

    def forward(self, beam: Tensor, neighbours: Tensor, current: Tensor, voltage: Tensor) -> Tensor:
        """See SiteRates."""
        at_sites = self.network.rates_at_sites(beam, neighbours, torch.stack((current, voltage), dim=1), self.shells)
        return at_sites.reshape(-1, self.network.members, self.hops)


class Chain(nn.Module):
    """Where the atom is at the end of the dwell: (n, M, 3 S) 1/s and (n,) s → (n, M, S + 1)."""

    def __init__(self, members: int, shells: int) -> None:
        super().__init__()
        neighbour = surroundings(shells).neighbour
        self.members, self.size = members, len(neighbour) + 1
        generator = np.zeros((len(neighbour), 3, self.size, self.size))
        for site, own in enumerate(neighbour.tolist()):
            for j, reached in enumerate(own):
                generator[site, j, site, reached] += 1
                generator[site, j, site, site] -= 1
        self.register_buffer("generator", _constant(generator.reshape(3 * len(neighbour), -1)))
        self.register_buffer("unit", _constant(np.eye(self.size)))
        # The series in blocks of four powers (Paterson and Stockmeyer, 1973): what multiplies 1; A, A², A³.
        factorial = np.array([1 / math.factorial(k) for k in range(DEGREE)]).reshape(3, 4)
        self.register_buffer("constants", _constant(factorial[:, :1, None] * np.eye(self.size)))
        self.register_buffer("coefficients", _constant(factorial[:, 1:]))

    def forward(self, rates: Tensor, dwell: Tensor) -> Tensor:
        """See the class."""
        change = torch.matmul(rates, self.generator)
        # The most negative entry of Q is minus the fastest rate of leaving a site.
        fastest = torch.clamp(-change.amin(dim=2, keepdim=True), min=LEAST_RATE)
        mean = torch.clamp(fastest * dwell.reshape(-1, 1, 1), max=MOST_HOPS) * 2.0**-SQUARINGS
        chance = (change / fastest).reshape(-1, self.members, self.size, self.size) + self.unit
        mean = mean[..., None]
        found = torch.exp(-mean) * self._exponential(mean * chance)
        for _ in range(SQUARINGS - 1):
            found = torch.matmul(found, found)
        return torch.matmul(found[:, :, :1], found).reshape(-1, self.members, self.size)

    def _exponential(self, first: Tensor) -> Tensor:
        """Σ_k A^k / k! to k = 12, (n, M, s, s)."""
        second = torch.matmul(first, first)
        third, fourth = torch.matmul(second, first), torch.matmul(second, second)
        powers = torch.cat((first, second, third), dim=2).reshape(-1, self.members, 3, self.size * self.size)
        blocks = torch.matmul(self.coefficients, powers).reshape(-1, self.members, 3, self.size, self.size) + self.constants
        lowest, middle, highest = (each.reshape(-1, self.members, self.size, self.size) for each in torch.split(blocks, 1, dim=2))
        total = torch.matmul(highest + fourth / math.factorial(DEGREE), fourth) + middle
        return torch.matmul(total, fourth) + lowest


class ServedRates(nn.Module):
    """Signature `rates`; see training/transition/predict.py."""

    def __init__(self, network: RateNetwork) -> None:
        super().__init__()
        self.rates = network if isinstance(network, Canonical) else SiteRates(network, 0)  # type: ignore[arg-type]

    def forward(self, beam: Tensor, neighbours: Tensor, current: Tensor, voltage: Tensor) -> tuple[Tensor]:
        """See Rates."""
        if isinstance(self.rates, Canonical):
            return (self.rates(beam, neighbours, torch.stack((current, voltage), dim=1)),)
        return (self.rates(beam, neighbours, current, voltage),)


class ServedPredict(nn.Module):
    """Signature `predict`."""

    def __init__(self, network: RateNetwork, shells: int) -> None:
        super().__init__()
        self.rates = CanonicalRates(network, shells) if isinstance(network, Canonical) else SiteRates(network, shells)  # type: ignore[arg-type]
        self.chain = Chain(network.members, shells)

    def forward(self, beam: Tensor, neighbours: Tensor, dwell: Tensor, current: Tensor, voltage: Tensor) -> tuple[Tensor, ...]:
        """See Predict."""
        at_sites = self.rates(beam, neighbours, current, voltage)
        rates, occupied = at_sites[:, :, :3], self.chain(at_sites, dwell)
        total = rates.sum(dim=2, keepdim=True)
        stay = torch.exp(-(total * dwell.reshape(-1, 1, 1)))
        values = torch.cat((rates, stay, rates * ((1 - stay) / total), occupied), dim=2)
        mean = values.mean(dim=1, keepdim=True)
        apart = values - mean
        sd = torch.sqrt((apart * apart).mean(dim=1))
        sizes = [3, 4, self.chain.size]
        means, sds = torch.split(mean.reshape(-1, sum(sizes)), sizes, dim=1), torch.split(sd, sizes, dim=1)
        return tuple(each for pair in zip(means, sds, strict=True) for each in pair)


def transition_graphs(network: RateNetwork, shells: int, signatures: dict[str, Signature]) -> dict[str, onnx.ModelProto]:
    """The graphs of both signatures, all float64, by name.

    Args:
        network: in float64 (`double()`).
        shells: of the surroundings.
        signatures: what they take and give.
    """
    modules: dict[str, nn.Module] = {"rates": ServedRates(network), "predict": ServedPredict(network, shells)}
    return {name: _graph(modules[name], signature) for name, signature in signatures.items()}


def _graph(module: nn.Module, signature: Signature) -> onnx.ModelProto:
    example = tuple(_example(spec.name, spec.row_shape) for spec in signature.inputs)
    rows = {0: torch.export.Dim("n")}
    inputs, outputs = ([value_info(spec) for spec in specs] for specs in (signature.inputs, signature.outputs))
    return _unrounded(exported(module, example, tuple(rows for _ in example), inputs, outputs))


def _unrounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The exporter writes Python's numbers as float32, whatever they are used with. The bond length is the only one here that this changes."""
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.DOUBLE and not tensor.dims and float(numpy_helper.to_array(tensor)) == float(np.float32(BOND_LENGTH)):
            tensor.CopyFrom(numpy_helper.from_array(np.array(BOND_LENGTH), tensor.name))
    return model


def _example(name: str, row: Sequence[int]) -> Tensor:
    drawn = np.random.default_rng(0).random((_EXAMPLE_ROWS, *row)) + 0.5
    return _constant(drawn)


def _constant(values: object) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float64)
