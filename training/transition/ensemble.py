"""Trains an ensemble: each member on its own bootstrap sample, all at once, and each stopped by the transitions that its sample left out.

First come cheap steps, in which the outcome stands for the first hop (−1: of one that is not known); then steps on the likelihood asked for,
where that is the end of the dwell. Adam, its rate rising at first and falling to nought along a cosine over both. Members share batches and
nothing else: their weights are slices of the same tensors and each step is elementwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.data.drawing import random_stream
from training.errors import InputError
from training.transition.likelihood import Likelihood, end_of_dwell, end_of_dwell_probabilities, first_hop, first_hop_probabilities
from training.transition.networks import Canonical, Prepared, RateNetwork
from training.transition.states import Array, Transitions

# Streams of a seed.
_BOOTSTRAP, _ORDER, _MIRROR, _HELD_OUT = range(4)
# Transitions that decide when to stop, at most, and rows at a time where no gradient is asked for.
_JUDGES, _TILE = 3000, 200
_BETAS = (0.9, 0.99)
# Steps in which the learning rate rises: at once, 0.02 leaves members whose units are all dead.
_RISE = 100


@dataclass(frozen=True)
class Training:
    """How an ensemble is trained.

    Attributes:
        members: M.
        widths: units of the hidden layers.
        learning_rate: Adam's, at first.
        first_hop_steps: with outcomes taken for first hops.
        first_hop_batch: transitions in each of them.
        steps: on the end of the dwell; none where the likelihood is that of first hops.
        batch: transitions in each of them.
        checks: how often members are judged and the best weights kept, spread over the last steps.
        weight_decay: λ of the penalty λ |W|²/2 per transition, weights alone.
        shells: of the sites that the chain runs over.
    """

    members: int = 5
    widths: tuple[int, ...] = (32, 32)
    learning_rate: float = 0.02
    first_hop_steps: int = 800
    first_hop_batch: int = 500
    steps: int = 400
    batch: int = 500
    checks: int = 4
    weight_decay: float = 0.0
    shells: int = 2


@dataclass(frozen=True)
class Trained:
    """What training tells beside the network.

    Attributes:
        left_out: (M, n) bool, transitions that a member has not seen.
        held_out: (M,) NLL of each member on (some of) those, nats per transition: it chose when to stop.
        history: (step, mean over members of the held-out NLL) at each check.
    """

    left_out: Array
    held_out: Array
    history: tuple[tuple[int, float], ...]


def bootstrap_counts(count: int, members: int, seed: int) -> Array:
    """(M, n) int64: how often each of n transitions is in each member's sample of n with replacement."""
    drawn = random_stream(seed, _BOOTSTRAP).integers(0, count, (members, count))
    return np.stack([np.bincount(each, minlength=count) for each in drawn])


def train(network: RateNetwork, data: Transitions, training: Training, likelihood: Likelihood, seed: int, *, show: bool = True) -> Trained:
    """Trains the network in place, deterministically.

    Args:
        network: with `training.members` members, float32.
        data: what to learn from.
        training: how.
        likelihood: what outcomes are.
        seed: of the samples and the order.
        show: a progress bar.

    Raises:
        InputError: TRAINING_DIVERGED.
    """
    counts = bootstrap_counts(len(data), network.members, seed)
    task = _Task(network, data, counts, training=training, likelihood=likelihood, seed=seed)
    total, first = task.total, training.first_hop_steps
    judged = sorted({total - round(k * task.judged_steps / max(1, training.checks)) for k in range(training.checks)})
    optimiser = torch.optim.Adam(network.parameters(), lr=training.learning_rate, betas=_BETAS)
    best, held_out, history = {name: each.detach().clone() for name, each in network.named_parameters()}, np.full(network.members, np.inf), []
    with tqdm(total=total, desc="rates", unit="step", delay=2, leave=False, disable=None if show else True) as bar:
        for step, rows in enumerate(task.batches(), start=1):
            for group in optimiser.param_groups:
                group["lr"] = training.learning_rate * min(1.0, step / _RISE) * 0.5 * (1 + math.cos(math.pi * (step - 1) / total))
            optimiser.zero_grad()
            loss = task.loss(rows, first_hop_only=step <= first)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            bar.update(1)
            if step in judged:
                values = task.judge()
                history.append((step, float(values.mean())))
                if not np.isfinite(values).all():
                    raise InputError(
                        "TRAINING_DIVERGED", f"The likelihood is not finite at step {step}; lower the learning rate in the recipe and run again."
                    )
                better = torch.from_numpy(values < held_out)
                held_out = np.minimum(held_out, values)
                for name, each in network.named_parameters():
                    best[name][better] = each.detach()[better]
    network.load_state_dict(best, strict=False)
    return Trained(counts == 0, held_out, tuple(history))


class _Task:
    """The data as the network reads it, and the losses."""

    def __init__(self, network: RateNetwork, data: Transitions, counts: Array, *, training: Training, likelihood: Likelihood, seed: int) -> None:
        self.network, self.training, self.likelihood, self.seed = network, training, likelihood, seed
        self.count = len(data)
        self.dwell, self.outcome = torch.from_numpy(data.dwell), torch.from_numpy(data.outcome)
        self.weights = torch.from_numpy(counts).to(torch.float32)
        seen = [data, data.reflected()] if isinstance(network, Canonical) else [data]
        self.prepared = [prepared_sites(network, each, self.shells) for each in seen]
        self.total = training.first_hop_steps + (training.steps if self.shells else 0)
        self.judged_steps = training.steps if self.shells else training.first_hop_steps // 2
        chosen = random_stream(seed, _HELD_OUT).permutation(self.count)[:_JUDGES]
        self.judges = torch.from_numpy(np.sort(chosen))

    @property
    def shells(self) -> int:
        """Of the chain; 0 where there is none."""
        return self.training.shells if self.likelihood == "end_of_dwell" else 0

    def batches(self) -> Iterator[Tensor]:
        """Rows of each step: all transitions in turn, in a new order each time round."""
        drawing = random_stream(self.seed, _ORDER)
        left = np.zeros(0, np.int64)
        for step in range(self.total):
            size = min(self.count, self.training.first_hop_batch if step < self.training.first_hop_steps else self.training.batch)
            while len(left) < size:
                left = np.concatenate([left, drawing.permutation(self.count)])
            yield torch.from_numpy(left[:size])
            left = left[size:]

    def loss(self, rows: Tensor, *, first_hop_only: bool) -> Tensor:
        """Mean over the batch of −ln p weighted by the members' samples, summed over members, and the penalty."""
        prepared = self.prepared[0].of(rows)
        if len(self.prepared) > 1:
            # Every second time a transition is seen in the mirror: its neighbours keep their numbers, and its outcome is what it was.
            mirrored = torch.from_numpy(random_stream(self.seed, _MIRROR, int(rows[0]), int(rows[-1])).random(len(rows)) < 0.5)
            other = self.prepared[1].of(rows)
            prepared = Prepared(*(torch.where(_as_wide(mirrored, a), b, a) for a, b in zip(prepared, other, strict=True)))
        surprise = -self._log_likelihood(prepared, self.dwell[rows], self.outcome[rows], first_hop_only=first_hop_only)
        found = (surprise * self.weights[:, rows]).mean(dim=1).sum()
        if self.training.weight_decay:
            squares = [torch.square(each).sum() for name, each in self.network.named_parameters() if "weights" in name]
            found = found + self.training.weight_decay / 2 * torch.stack(squares).sum()
        return found

    def judge(self) -> Array:
        """(M,) NLL of each member on what its sample left out."""
        with torch.no_grad():
            told = [self._log_likelihood(self.prepared[0].of(rows), self.dwell[rows], self.outcome[rows]) for rows in self.judges.split(_TILE)]
        unseen = (self.weights[:, self.judges] == 0).to(torch.float64)
        found: Array = (-(torch.cat(told, dim=1) * unseen).sum(dim=1) / torch.clamp(unseen.sum(dim=1), min=1)).numpy()
        return found

    def _log_likelihood(self, prepared: Prepared, dwell: Tensor, outcome: Tensor, *, first_hop_only: bool = False) -> Tensor:
        if first_hop_only or not self.shells:
            return first_hop(self.network.log_rates(Prepared(prepared.inputs[:, 0], prepared.order[:, 0])), dwell, outcome)
        return end_of_dwell(self.network.log_rates(prepared), dwell, outcome, self.shells)


def prepared_sites(network: RateNetwork, data: Transitions, shells: int) -> Prepared:
    """What the network reads of each site, leading axes (n, S); with no shells of the atom's own alone, (n, 1)."""
    states = tuple(torch.from_numpy(each) for each in (data.beam, data.neighbours, data.context))
    if shells:
        return network.at_sites(*states, shells)
    return network.prepare(*(each[:, None] for each in states))


def member_probabilities(network: RateNetwork, data: Transitions, likelihood: Likelihood, shells: int, *, mean_of_rates: bool = False) -> Tensor:
    """Of each outcome by each member: (M, n, 5) float64, stay, neighbours 1, 2, 3, elsewhere; of first hops (M, n, 4). No outcome is looked at.

    `mean_of_rates`: by one member whose rates are the mean of theirs.
    """
    found, chained = [], likelihood == "end_of_dwell"
    with torch.no_grad():
        for start in range(0, len(data), _TILE):
            part = data.of(np.arange(start, min(start + _TILE, len(data))))
            dwell = torch.from_numpy(part.dwell)
            log_rates = network.log_rates(prepared_sites(network, part, shells if chained else 0)).to(torch.float64)
            if mean_of_rates:
                log_rates = torch.logsumexp(log_rates, dim=0, keepdim=True) - math.log(len(log_rates))
            found.append(end_of_dwell_probabilities(log_rates, dwell, shells) if chained else first_hop_probabilities(log_rates[:, :, 0], dwell))
    return torch.cat(found, dim=1)


def left_out_probabilities(probabilities: Tensor, left_out: Array) -> tuple[Tensor, Tensor]:
    """The mean over the members that have not seen a transition, (n, outcomes), and whether there is any, (n,) bool."""
    unseen = torch.from_numpy(left_out).to(probabilities)[..., None]
    return (probabilities * unseen).sum(dim=0) / torch.clamp(unseen.sum(dim=0), min=1), unseen.sum(dim=(0, 2)) > 0


def _as_wide(rows: Tensor, like: Tensor) -> Tensor:
    return rows.reshape(-1, *[1] * (like.ndim - 1))
