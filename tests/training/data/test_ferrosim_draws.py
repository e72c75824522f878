from __future__ import annotations

import numpy as np
import pytest

from training.data.ferrosim import MODES, STREAMS, TARGETS, draw_ferrosim, triangle
from training.errors import InputError


def test_the_triangle_ends_in_a_cycle_from_its_top_to_its_top_that_passes_zero_exactly() -> None:
    wave = triangle(np.array([2.0, 0.5]), 16)
    assert wave.shape == (2, 4 + 32 + 1)
    cycle = wave[0, -17:]
    assert (wave[0, 0], cycle[0], cycle[4], cycle[8], cycle[12], cycle[16]) == (0, 2, 0, -2, 0, 2)
    np.testing.assert_array_equal(wave[1], wave[0] / 4)
    assert np.abs(np.diff(wave[0])).max() == pytest.approx(0.5)


@pytest.mark.parametrize("mode", MODES)
def test_loops_are_closed_and_their_figures_are_those_of_ferroelectric_loops(mode: str) -> None:
    data = draw_ferrosim(6, mode=mode, n=6, field_disorder=0.2, field_offset=0.1, bond_disorder=0.2, amplitude=(2.0, 2.0), seed=1)
    made, own = data.arrays, MODES[mode]
    np.testing.assert_allclose(made["polarisation"][:, 0], made["polarisation"][:, -1], atol=0.02 * own.spontaneous[0])
    # Slightly rounded and rate-dependent, yet near the uniform lattice at rest.
    assert np.abs(made["coercive"] / own.coercive_field - 1).max() < 0.5
    assert np.abs(made["remanence"] / own.spontaneous[0] - 1).max() < 0.12
    assert np.abs(made["asymmetry"]).max() < 0.15
    assert made["random_field"].shape == (6, own.components, 6, 6)
    np.testing.assert_array_equal(made["y"], made["area"])
    middle = np.abs(made["field"]).argmin(axis=1)
    np.testing.assert_allclose(made["pattern"][:, 0].mean(axis=(1, 2)), made["polarisation"][np.arange(6), middle], atol=1e-6)


def test_a_positive_random_field_shifts_the_loop_to_negative_fields() -> None:
    made = draw_ferrosim(40, n=5, field_disorder=0, field_offset=0.3, bond_disorder=0, amplitude=(2.0, 2.0), samples=100, seed=0).arrays
    assert np.corrcoef(made["random_field"].mean(axis=(1, 2, 3)), made["asymmetry"])[0, 1] > 0.99


def test_the_same_seed_gives_the_same_data_a_longer_set_begins_with_the_shorter_and_streams_share_nothing() -> None:
    sets = [draw_ferrosim(4, n=4, samples=40, seed=0, stream=stream) for stream in ("train", "train", "test")]
    assert sets[0].sha256 == sets[1].sha256
    assert not np.isin(sets[0].arrays["random_field"], sets[2].arrays["random_field"]).any()
    assert not np.isin(sets[0].arrays["amplitude"], sets[2].arrays["amplitude"]).any()
    longer = draw_ferrosim(7, n=4, samples=40, seed=0).arrays
    for name in ("random_field", "bond", "amplitude"):
        np.testing.assert_array_equal(longer[name][:4], sets[0].arrays[name])


def test_every_target_can_be_y() -> None:
    for target in TARGETS:
        made = draw_ferrosim(2, n=3, samples=40, amplitude=(2.5, 2.5), target=target, seed=0)
        np.testing.assert_array_equal(made.arrays["y"], made.arrays[target])
        assert made.quantity == target
    assert len(STREAMS) == 3


def test_a_target_that_a_loop_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="does not switch") as caught:
        draw_ferrosim(3, n=3, samples=40, amplitude=(0.1, 0.1), target="coercive", seed=0)
    assert caught.value.reason == "NOT_SWITCHED"


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"n": 2},
        {"mode": "cubic"},
        {"samples": 10},
        {"target": "width"},
        {"stream": "labelled"},
        {"bond_disorder": 1.5},
        {"field_disorder": -0.1},
        {"field_offset": float("nan")},
        {"depolarisation": -1.0},
        {"amplitude": (0.0, 1.0)},
        {"amplitude": (2.0, 1.0)},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        draw_ferrosim(**{"count": 2, "seed": 0} | wrong)  # type: ignore[arg-type]
    assert caught.value.reason == "INVALID_OPTION"
