from __future__ import annotations

import numpy as np
import pytest

from tests.training.transition.states import drawn, irregular
from training.errors import InputError
from training.transition.states import Ranges, Scales, Transitions


def spoilt(name: str, value: float, row: int = 3) -> dict[str, np.ndarray]:
    arrays = drawn(10)
    arrays[name] = arrays[name].copy()
    arrays[name][row] = value
    return arrays


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (spoilt("outcome", 4), "INVALID_OUTCOME"),
        (spoilt("outcome", -2), "INVALID_OUTCOME"),
        (spoilt("dwell_s", 0.0), "INVALID_DWELL"),
        (spoilt("dwell_s", -1.0), "INVALID_DWELL"),
        (spoilt("beam_xy_angstrom", np.nan), "NON_FINITE"),
        (spoilt("dwell_s", np.inf), "NON_FINITE"),
        (spoilt("current_na", 0.0), "INVALID_CONTEXT"),
        (drawn(10) | {"neighbours_xy_angstrom": drawn(10)["neighbours_xy_angstrom"] / 1.42}, "WRONG_UNITS"),
        (drawn(10) | {"neighbours_xy_angstrom": drawn(10)["neighbours_xy_angstrom"] / 10}, "WRONG_UNITS"),
        (drawn(10) | {"dwell_s": np.ones(9)}, "WRONG_SHAPE"),
        (drawn(10) | {"beam_xy_angstrom": np.ones((10, 3))}, "WRONG_SHAPE"),
        ({name: array for name, array in drawn(10).items() if name != "voltage_kv"}, "MISSING_ARRAY"),
        ({name: array[:0] for name, array in drawn(10).items()}, "NO_DATA"),
    ],
)
def test_what_is_no_transition_is_refused_for_its_reason(arrays: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(InputError) as refused:
        Transitions.read(arrays)
    assert refused.value.reason == reason


def test_the_first_bad_row_is_named() -> None:
    with pytest.raises(InputError, match=r"1 of 10 transitions, the first number 7, `dwell_s` is not above 0"):
        Transitions.read(spoilt("dwell_s", 0.0, row=7))


def test_first_hops_lead_to_a_neighbour() -> None:
    assert len(Transitions.read(spoilt("outcome", -1))) == 10
    with pytest.raises(InputError, match="0 stay, 1 to 3 the neighbour"):
        Transitions.read(spoilt("outcome", -1), first_hop=True)


def test_what_does_not_vary_is_not_standardised() -> None:
    one = Scales.of(Transitions.read(drawn(50)))
    assert one.inverse == (0.0, 0.0, 0.0)
    assert all(value > 0 for value in Scales.of(irregular(50)).inverse)


def test_ranges_are_those_of_the_data() -> None:
    data = irregular(200)
    ranges = Ranges.of(data)
    assert 2.8 < ranges.beam_radius_angstrom <= 3.0
    assert 4.5 < ranges.dwell_s_max <= 5.0
    assert (ranges.current_na, ranges.voltage_kv) == tuple((column.min(), column.max()) for column in data.context.T)
    assert 1.3 < ranges.neighbour_angstrom[0] < 1.42 < ranges.neighbour_angstrom[1] < 1.55


def test_in_the_mirror_the_neighbours_keep_their_numbers() -> None:
    data = irregular(5)
    assert np.array_equal(data.reflected().outcome, data.outcome)
    assert np.array_equal(data.reflected().neighbours[..., 1], -data.neighbours[..., 1])
    assert np.array_equal(data.reflected().beam[:, 1], -data.beam[:, 1])
