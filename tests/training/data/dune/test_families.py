from __future__ import annotations

import numpy as np
import pytest

from training.data.dune.families import FAMILIES, draw_dune, rate_family, rates_from_source
from training.data.dune.rates import BOND_LENGTH, ContextScaling, GaussianMixture, HumanPrior
from training.data.dune.transitions import draw_transitions
from training.errors import InputError

ANGLES = 2 * np.pi * np.arange(3) / 3
NEIGHBOURS = BOND_LENGTH * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)[None]


@pytest.mark.parametrize(("name", "peak"), [("prior", 0.85 * 1.42), ("simple", 1.42), ("beyond_carbon", 1.9)])
def test_a_family_peaks_where_it_is_known_to_and_grows_with_the_current(name: str, peak: float) -> None:
    model = rate_family(name)
    at = np.linspace(0, 3, 301)
    beam = np.stack([at, 0 * at], axis=1)
    context = np.tile([0.1, 60.0], (301, 1))
    rates = model.rates(beam, np.repeat(NEIGHBOURS, 301, axis=0), context)[:, 0]
    assert at[rates.argmax()] == pytest.approx(peak, abs=0.011)
    doubled = model.rates(beam, np.repeat(NEIGHBOURS, 301, axis=0), context * [2, 1])[:, 0]
    np.testing.assert_allclose(doubled, 2 * rates)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_rates_of_drawn_data_are_found_by_its_source(name: str) -> None:
    mixture = 7 if name == "mixture" else 0
    drawn = draw_dune(5, rates=name, mixture=mixture, seed=1, stream="test", dwell=(0.0, 2.0))
    assert rates_from_source(f"{drawn.source}; and something else") == rate_family(name, mixture)


def test_mixtures_of_two_seeds_are_two() -> None:
    assert isinstance(rate_family("mixture", 1), GaussianMixture)
    assert rate_family("mixture", 1) != rate_family("mixture", 2)


def test_drawn_by_name_are_the_familys_transitions_scaled_with_the_context_under_every_option() -> None:
    options = {
        "first_hop": True,
        "beam_radius": 2.0,
        "dwell": (1.0, 9.0),
        "current_na": (0.1, 0.4),
        "voltage_kv": (60.0, 90.0),
        "seed": 3,
        "stream": "test",
    }
    prior = draw_dune(300, rates="prior", **options)  # type: ignore[arg-type]
    same = draw_transitions(300, rates=HumanPrior(scaling=ContextScaling()), **options)  # type: ignore[arg-type]
    assert prior.sha256 == same.sha256 != draw_transitions(300, rates=HumanPrior(), **options).sha256  # type: ignore[arg-type]
    mixture = draw_dune(300, rates="mixture", mixture=6, **options)  # type: ignore[arg-type]
    same = draw_transitions(300, rates=GaussianMixture.drawn(6, scaling=ContextScaling()), **options)  # type: ignore[arg-type]
    assert mixture.sha256 == same.sha256 != draw_dune(300, rates="mixture", mixture=7, **options).sha256  # type: ignore[arg-type]
    told = ", ".join(f"{name}={value!r}" for name, value in options.items())
    assert mixture.source == f"draw_dune(count=300, rates='mixture', mixture=6, {told})"


def test_left_to_themselves_the_options_are_those_of_drawn_transitions() -> None:
    drawn = draw_dune(50, rates="prior", seed=3)
    assert drawn.sha256 == draw_transitions(50, rates=HumanPrior(scaling=ContextScaling()), seed=3).sha256
    assert (drawn.unit, drawn.quantity) == ("1", "outcome at the end of the dwell")


@pytest.mark.parametrize(
    "source",
    [
        "hops.npz",
        "draw_cards(count=3)",
        "draw_dune(count=3",
        "draw_dune(count=3, rates='wishful', mixture=0)",
        "draw_dune(count=3, rates='mixture', mixture='a')",
        "draw_dune(count=3, rates=open('x'), mixture=0)",
        "draw_dune(count=3)",
    ],
)
def test_other_sources_have_no_known_rates(source: str) -> None:
    assert rates_from_source(source) is None


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(InputError, match="prior, mixture, simple, beyond_carbon"):
        rate_family("wishful")
    with pytest.raises(InputError, match="mixture is a seed, 0 or more, not -1"):
        draw_dune(2, rates="mixture", mixture=-1, seed=0)
