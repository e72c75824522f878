"""What a rate model is worth on transitions it never saw: likelihood, calibration of P(hop), symmetry, spread; of drawn ones, the truth too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dichroic.bundle import Metric
from dichroic.bundle.manifest import Calibration, HopCalibration, ReliabilityBin
from training.data.dune.rates import RateModel
from training.data.dune.truth import first_hop_probabilities, outcome_probabilities
from training.transition.likelihood import Likelihood
from training.transition.measure import (
    calibration_error,
    constant_probabilities,
    entropy,
    equivariance_error,
    excess_nll,
    nll,
    predicted,
    rate_map_error,
    rates_of,
)
from training.transition.networks import RateNetwork
from training.transition.pipeline import Fitted
from training.transition.states import Array, Transitions

BINS = 15
# States of which symmetry and rates are looked at, and what counts as a hop that happens, 1/s.
_STATES, _REACHABLE = 5000, 0.01
_SEED = 0


@dataclass(frozen=True)
class Served:
    """What is served, and how it came to be.

    Attributes:
        network: in float64, as its graphs are.
        fitted: the fit.
        likelihood: what outcomes are.
    """

    network: RateNetwork
    fitted: Fitted
    likelihood: Likelihood

    @property
    def shells(self) -> int:
        """Of the chain."""
        return self.fitted.training.shells


def held_out_figures(served: Served, data: Transitions, truth: RateModel | None, split: str) -> tuple[tuple[Metric, ...], Calibration]:
    """The manifest's figures.

    Args:
        served: the model.
        data: held-out transitions.
        truth: the rates behind them, where they were drawn.
        split: how they were held out, in words.
    """
    told = predicted(served.network, data, served.likelihood, served.shells)
    constant = constant_probabilities(served.fitted.constant_rate, data, served.likelihood, served.shells)
    hopped = data.outcome != 0
    rows: list[tuple[str, float, str, str]] = [
        ("nll", nll(told, data.outcome), "nat", "mean −ln p of what happened"),
        ("nll_constant", nll(constant, data.outcome), "nat", "the same of the one rate to every neighbour that suits the training data best"),
    ]
    if truth is not None:
        exact = _truth(truth, data, served.likelihood)
        rows += [
            ("nll_oracle", entropy(exact), "nat", "expected −ln p under the true rates"),
            (
                "nll_above_oracle",
                excess_nll(exact, told),
                "nat",
                "mean Kullback–Leibler divergence of the told from the true outcome probabilities, exact",
            ),
            ("constant_above_oracle", excess_nll(exact, constant), "nat", "the same of the constant rate"),
            (
                "ece_hop_true",
                calibration_error(1 - told[:, 0], 1 - exact[:, 0]),
                "1",
                "mean gap between told and true P(hop), in bins of the told one",
            ),
        ]
    rows.append(("ece_hop", calibration_error(1 - told[:, 0], hopped), "1", "the same gap to how often the atom hopped, which varies by chance"))
    part = data.of(np.arange(min(len(data), _STATES)))
    metrics = _metrics(rows, split) + _metrics(_of_rates(served.network, part, truth), split if len(part) == len(data) else f"{len(part)} of {split}")
    return metrics, Calibration(hop_calibration=hop_calibration(1 - told[:, 0], hopped, split))


def hop_calibration(told: Array, hopped: Array, split: str) -> HopCalibration:
    """Told P(hop) (n,) against what happened (n,) bool, in bins of equal width; bins without a state are left out."""
    which = np.minimum((told * BINS).astype(np.int64), BINS - 1)
    bins = tuple(
        ReliabilityBin(
            predicted=float(np.clip(told[which == k].mean(), 0, 1)), observed=float(hopped[which == k].mean()), count=int((which == k).sum())
        )
        for k in range(BINS)
        if (which == k).any()
    )
    error = sum(abs(each.predicted - each.observed) * each.count for each in bins) / len(told)
    return HopCalibration(count=len(told), split=split, expected_calibration_error=error, bins=bins)


def _metrics(rows: list[tuple[str, float, str, str]], split: str) -> tuple[Metric, ...]:
    return tuple(Metric(name=name, value=value, unit=unit, split=split, meaning=meaning) for name, value, unit, meaning in rows)


def _of_rates(network: RateNetwork, data: Transitions, truth: RateModel | None) -> list[tuple[str, float, str, str]]:
    turned = equivariance_error(network, data, _SEED)
    each = rates_of(network, data.beam, data.neighbours, data.context)
    mean, sd = each.mean(axis=1), each.std(axis=1)
    happens = mean > min(_REACHABLE, float(mean.max()) / 2)
    rows = [
        ("rotation_error", turned["rotation"], "1/s", "largest change of a rate when a state is turned by any angle"),
        ("reflection_error", turned["reflection"], "1/s", "largest change of a rate when a state is reflected"),
        (
            "spread",
            float(np.median(sd[happens] / mean[happens])),
            "1",
            "median, over hops that happen, of the members' standard deviation over their mean rate",
        ),
    ]
    if truth is None:
        return rows
    true = truth.rates(data.beam, data.neighbours, data.context)
    errors = rate_map_error(mean, true)
    inside = np.abs(mean - true)[happens] <= 2 * sd[happens]
    return [
        *rows,
        ("rate_map_rmse", errors["rmse_per_s"], "1/s", "root mean square error of the mean rate, over beams as held out"),
        ("rate_map_error", errors["relative"], "1", "mean absolute error of the mean rate, over the mean true rate"),
        ("rate_inside_2sd", float(inside.mean()), "1", "share of hops that happen whose true rate lies within two standard deviations of the mean"),
    ]


def _truth(truth: RateModel, data: Transitions, likelihood: Likelihood) -> Array:
    asked = data.beam, data.neighbours, data.dwell, data.context
    return first_hop_probabilities(truth, *asked) if likelihood == "first_hop" else outcome_probabilities(truth, *asked)
