from __future__ import annotations

import numpy as np
import pytest

from training.data.dataset import Array
from training.data.dune.rates import GaussianMixture, HumanPrior, Simple
from training.data.dune.transitions import draw_transitions
from training.data.dune.truth import first_hop_probabilities, outcome_probabilities
from training.errors import InputError


def draw(count: int = 2000, **options: object) -> dict[str, Array]:
    return draw_transitions(count, **{"rates": Simple(), "seed": 0} | options).arrays  # type: ignore[arg-type]


def test_arrays_have_the_names_shapes_and_ranges_that_training_reads() -> None:
    made = draw(current_na=(0.05, 0.2), voltage_kv=(60.0, 100.0))
    assert {name: (array.shape[1:], array.dtype.kind) for name, array in made.items()} == {
        "beam_xy_angstrom": ((2,), "f"),
        "neighbours_xy_angstrom": ((3, 2), "f"),
        "dwell_s": ((), "f"),
        "current_na": ((), "f"),
        "voltage_kv": ((), "f"),
        "outcome": ((), "i"),
        "truth_hops": ((), "i"),
    }
    # Uniform in the disc: a quarter of the beams lies within half its radius.
    radius = np.linalg.norm(made["beam_xy_angstrom"], axis=1)
    assert radius.max() <= 3
    assert (radius < 1.5).mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_allclose(np.linalg.norm(made["neighbours_xy_angstrom"], axis=2), 1.42, rtol=1e-12)
    for name, low, high in (("dwell_s", 0, 5), ("current_na", 0.05, 0.2), ("voltage_kv", 60, 100)):
        assert low <= made[name].min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < made[name].max() <= high
    assert set(made["outcome"]) == {-1, 0, 1, 2, 3}
    direction = made["neighbours_xy_angstrom"][:, 0] / 1.42
    np.testing.assert_allclose(direction.mean(axis=0), 0, atol=0.06)


@pytest.mark.parametrize("first_hop", [False, True])
@pytest.mark.parametrize("rates", [HumanPrior(), Simple(), GaussianMixture.drawn(0)], ids=["prior", "simple", "mixture"])
def test_outcomes_are_drawn_from_the_true_probabilities_in_the_order_of_the_neighbours(rates: HumanPrior, first_hop: bool) -> None:
    made = draw(20_000, rates=rates, first_hop=first_hop, seed=5)
    context = np.stack([made["current_na"], made["voltage_kv"]], axis=1)
    arguments = (rates, made["beam_xy_angstrom"], made["neighbours_xy_angstrom"], made["dwell_s"], context)
    truth = first_hop_probabilities(*arguments) if first_hop else outcome_probabilities(*arguments)
    column = np.where(made["outcome"] < 0, 4, made["outcome"])
    # Weighted by what each transition makes likely, so that swapped channels show: Σ w (1[outcome] − p) has mean 0 and variance Σ w² p (1 − p).
    for outcome in range(truth.shape[1]):
        for weight in (np.ones(len(column)), *truth.T[1:4]):
            p = truth[:, outcome]
            score = (weight * ((column == outcome) - p)).sum() / np.sqrt((weight**2 * p * (1 - p)).sum() + 1e-12)
            assert abs(score) < 4


def test_first_hops_are_never_elsewhere_and_no_fewer_than_what_moved() -> None:
    first, last = draw(first_hop=True), draw()
    assert first["outcome"].min() == 0
    np.testing.assert_array_equal(first["truth_hops"], last["truth_hops"])
    np.testing.assert_array_equal(first["outcome"] > 0, first["truth_hops"] > 0)
    once = last["truth_hops"] == 1
    np.testing.assert_array_equal(first["outcome"][once], last["outcome"][once])
    assert (first["outcome"] != last["outcome"]).any()


def test_the_same_seed_gives_the_same_data_a_longer_set_begins_with_the_shorter_and_streams_share_nothing() -> None:
    short, again, long, test, other = draw(50), draw(50), draw(90), draw(50, stream="test"), draw(50, seed=1)
    for name in short:
        np.testing.assert_array_equal(short[name], again[name])
        np.testing.assert_array_equal(short[name], long[name][:50])
    for name in ("beam_xy_angstrom", "neighbours_xy_angstrom", "dwell_s"):
        assert not np.isin(short[name], test[name]).any()
        assert not np.isin(short[name], other[name]).any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"stream": "labelled"},
        {"beam_radius": 0.0},
        {"beam_radius": float("inf")},
        {"dwell": (2.0, 1.0)},
        {"dwell": (-1.0, 1.0)},
        {"dwell": (0.0, 0.0)},
        {"current_na": (0.0, 1.0)},
        {"voltage_kv": (60.0, float("nan"))},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        draw_transitions(**{"count": 2, "rates": Simple(), "seed": 0} | wrong)  # type: ignore[arg-type]
    assert caught.value.reason == "INVALID_OPTION"
