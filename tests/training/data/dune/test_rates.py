from __future__ import annotations

import math

import numpy as np
import pytest

from training.data.dataset import Array
from training.data.dune.lattice import bonds_at
from training.data.dune.rates import (
    BOND_LENGTH,
    BeyondCarbon,
    Component,
    ContextScaling,
    GaussianMixture,
    HumanPrior,
    RateModel,
    Simple,
    context_rows,
)
from training.errors import InputError

FAMILIES: dict[str, RateModel] = {
    "prior": HumanPrior(),
    "simple": Simple(),
    "beyond": BeyondCarbon(),
    **{f"mixture {seed}": GaussianMixture.drawn(seed) for seed in range(4)},
}
CONTEXT = (0.1, 60.0)


def at(model: RateModel, beam: Array, neighbours: Array) -> Array:
    return model.rates(beam, neighbours, context_rows(CONTEXT, len(beam)))


def states(count: int, seed: int = 0) -> tuple[Array, Array]:
    drawn = np.random.default_rng(seed).random((count, 3))
    return 6 * drawn[:, :2] - 3, bonds_at(2 * math.pi * drawn[:, 2])


@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_rates_turn_and_reflect_with_the_state_and_follow_the_neighbours_order(model: RateModel) -> None:
    beam, neighbours = states(500)
    rates = at(model, beam, neighbours)
    angle = 1.234
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    mirror = np.diag([1.0, -1.0])
    for change in (turn, mirror, turn @ mirror):
        np.testing.assert_allclose(at(model, beam @ change.T, neighbours @ change.T), rates, rtol=1e-9)
    for order in ([1, 2, 0], [0, 2, 1]):
        np.testing.assert_allclose(at(model, beam, neighbours[:, order]), rates[:, order], rtol=1e-12)
    assert (rates >= 0).all()


@pytest.mark.parametrize(
    ("model", "peak", "height"), [(HumanPrior(), 0.85 * 1.42, math.log(2) / 3), (BeyondCarbon(), 1.9, math.log(2) / 3), (Simple(), 1.42, 1.0)]
)
def test_the_peak_lies_on_the_side_of_the_neighbour_and_not_of_its_mirror_image(model: RateModel, peak: float, height: float) -> None:
    # The public human prior peaks at −θ of a neighbour at θ.
    for degrees in (20.0, 75.0, 200.0):
        neighbours = bonds_at(np.radians([degrees]))
        axis = np.arange(-3, 3.0001, 0.02)
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        rates = at(model, grid, np.repeat(neighbours, len(grid), axis=0))
        found = grid[rates[:, 0].argmax()]
        unit = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
        np.testing.assert_allclose(found, peak * unit, atol=0.021)
        assert at(model, peak * unit[None], neighbours)[0, 0] == pytest.approx(height, rel=1e-12)


@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_the_two_minor_channels_are_not_swapped(model: RateModel) -> None:
    # The beam near neighbour 1 but to the side of neighbour 2: neighbour 2 is the next likely, and its mirror image makes it neighbour 3.
    neighbours = np.repeat(bonds_at(np.array([0.4])), 2, axis=0)
    angles = 0.4 + np.array([0.5, -0.5])
    beam = 1.2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    up, down = at(model, beam, neighbours)
    np.testing.assert_allclose(up, down[[0, 2, 1]], rtol=1e-9)
    if isinstance(model, HumanPrior | Simple):
        assert up[0] > up[1] > up[2]


def test_rates_are_in_one_over_seconds_and_no_scores() -> None:
    neighbours = bonds_at(np.array([0.0]))
    total = at(HumanPrior(), np.zeros((1, 2)), neighbours).sum()
    assert total == pytest.approx(math.log(2) * math.exp(-(0.85**2) / 0.2), rel=1e-12)
    assert at(HumanPrior(), np.full((1, 2), 1e13), neighbours).sum() == 0  # kilometres away


def test_lengths_are_angstrom_at_the_beam_and_at_the_neighbours() -> None:
    beam = np.array([[0.85, 0.0]])  # bond lengths, where Å are meant
    neighbours = bonds_at(np.array([0.0]))
    assert at(HumanPrior(), beam, neighbours)[0, 0] < 0.75 * math.log(2) / 3
    with pytest.raises(InputError, match="not bond lengths or nm") as caught:
        at(HumanPrior(), beam, neighbours / BOND_LENGTH)
    assert caught.value.reason == "WRONG_UNITS"
    with pytest.raises(InputError, match=r"neighbour is 0\.142 Å"):
        at(Simple(), beam, neighbours / 10)


def test_simple_rates_follow_the_neighbours_own_distance() -> None:
    neighbours = bonds_at(np.array([0.3]))
    neighbours[0, 1] *= 1.1
    assert at(Simple(), neighbours[:, 1], neighbours)[0, 1] == pytest.approx(1)
    beam = np.array([[0.5, -0.2]])
    expected = 1 / (16 * ((beam[:, None] - neighbours) ** 2).sum(axis=-1) / 1.42**2 + 1)
    np.testing.assert_allclose(at(Simple(), beam, neighbours), expected, rtol=1e-12)


def test_drawn_mixtures_stay_within_the_published_ranges_and_differ() -> None:
    mixtures = [GaussianMixture.drawn(seed) for seed in range(300)]
    assert np.mean([len(each.components) for each in mixtures]) == pytest.approx(3, abs=0.3)
    parts = [part for each in mixtures for part in each.components]
    drawn = (
        ([part.along for part in parts], -2.0, 3.0),
        ([(1.42 * part.width_along) ** 2 for part in parts], 0.1, 5.0),
        ([(1.42 * part.width_across) ** 2 for part in parts], 0.1, 5.0),
        ([max(part.peak_rate for part in each.components) for each in mixtures], 0.01, 1.0),
    )
    for values, low, high in drawn:
        assert low - 1e-9 <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high + 1e-9
        assert np.mean(values) == pytest.approx((low + high) / 2, rel=0.1, abs=0.15)
    assert all(part.across == 0 for part in parts)
    # A wide component has a low peak, at the same weight.
    height, area = (np.array(each) for each in zip(*((part.peak_rate, part.width_along * part.width_across) for part in parts), strict=True))
    assert np.corrcoef(np.log(height), np.log(area))[0, 1] < -0.3
    assert mixtures[7] == GaussianMixture.drawn(7) != mixtures[8]


def test_a_component_has_its_peak_rate_at_its_centre_and_at_its_mirror_image() -> None:
    mixture = GaussianMixture((Component(1.2, 0.5, 0.2, 0.3, 0.4),), background=0.001)
    neighbours = np.repeat(bonds_at(np.array([0.0])), 2, axis=0)
    beam = BOND_LENGTH * np.array([[1.2, 0.5], [1.2, -0.5]])
    np.testing.assert_allclose(at(mixture, beam, neighbours)[:, 0], 0.401, rtol=1e-12)
    np.testing.assert_allclose(at(mixture, beam + 50, neighbours), 0.001, rtol=1e-12)


def test_rates_scale_with_current_and_voltage_where_that_is_asked_for() -> None:
    beam, neighbours = states(5)
    plain, scaled = HumanPrior(), HumanPrior(scaling=ContextScaling(scale_kv=20.0))
    reference = at(plain, beam, neighbours)
    np.testing.assert_allclose(at(scaled, beam, neighbours), reference, rtol=1e-12)
    context = context_rows((0.3, 80.0), 5)
    np.testing.assert_allclose(scaled.rates(beam, neighbours, context), 3 * math.e * reference, rtol=1e-12)
    np.testing.assert_array_equal(plain.rates(beam, neighbours, context), reference)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"beam": np.zeros((2, 3))}, "UNSUPPORTED_SHAPE"),
        ({"neighbours": np.zeros((2, 4, 2))}, "UNSUPPORTED_SHAPE"),
        ({"context": np.ones((1, 2))}, "UNSUPPORTED_SHAPE"),
        ({"beam": np.array([[0.0, np.nan], [0, 0]])}, "NON_FINITE"),
        ({"neighbours": np.full((2, 3, 2), np.inf)}, "NON_FINITE"),
    ],
)
def test_states_that_are_none_are_refused(change: dict[str, Array], reason: str) -> None:
    arguments = {"beam": np.zeros((2, 2)), "neighbours": bonds_at(np.zeros(2)), "context": context_rows(CONTEXT, 2)} | change
    with pytest.raises(InputError) as caught:
        HumanPrior().rates(**arguments)
    assert caught.value.reason == reason


def test_families_and_contexts_out_of_range_are_refused() -> None:
    wrong = (
        lambda: GaussianMixture((), 0.1),
        lambda: GaussianMixture((Component(1, 0, 0, 1, 1),), 0.1),
        lambda: GaussianMixture((Component(1, 0, 1, 1, 1),), -0.1),
        lambda: ContextScaling(current_na=0),
        lambda: ContextScaling(scale_kv=math.inf),
        lambda: context_rows((0.0, 60.0), 3),
    )
    for make in wrong:
        with pytest.raises(InputError) as caught:
            make()
        assert caught.value.reason == "INVALID_OPTION"
