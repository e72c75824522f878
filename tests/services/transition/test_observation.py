import numpy as np
import pytest

from dichroic.errors import (
    BeamOutOfRangeError,
    BondLengthError,
    EdgeSiteError,
    InvalidFieldError,
    InvalidTensorError,
    NoDopantError,
    NotThreeFoldError,
    SeveralDopantsError,
)
from services.transition.observation import check_atoms, check_beam, check_neighbours, find_dopants, local_state, only_dopant
from tests.services.transition.graphene import nearest, patch


def numbers(xy, *dopants):
    found = np.full(len(xy), 6)
    found[list(dopants)] = 14
    return found


def test_dopants_are_found():
    xy = patch()
    assert find_dopants(numbers(xy, 5, 9)).tolist() == [5, 9]
    assert only_dopant(numbers(xy, 9)) == 9


def test_none_and_several_are_refused():
    xy = patch()
    with pytest.raises(NoDopantError):
        only_dopant(numbers(xy))
    with pytest.raises(SeveralDopantsError) as caught:
        only_dopant(numbers(xy, 5, 9))
    assert caught.value.metadata == {"dopants": "5,9"}


def test_the_local_state_is_the_three_bonds_counter_clockwise():
    xy = patch(noise=0.03)
    state = local_state(xy, nearest(xy, (0, 0)))
    np.testing.assert_allclose(state.neighbours, xy[state.atoms] - xy[state.dopant])
    assert (np.hypot(*state.neighbours.T) < 1.7).all()
    assert (np.cross(np.c_[state.neighbours, np.zeros(3)], np.c_[np.roll(state.neighbours, -1, axis=0), np.zeros(3)])[:, 2] > 0).all()


def test_an_atom_at_the_edge_is_refused():
    xy = patch()
    with pytest.raises(EdgeSiteError) as caught:
        local_state(xy, nearest(xy, (12, 0)))
    assert caught.value.reason == "EDGE_SITE"


def test_three_neighbours_on_one_side_are_an_edge():
    angle = np.array([0.0, 0.8, 1.7])
    xy = np.concatenate([np.zeros((1, 2)), 1.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)])
    with pytest.raises(EdgeSiteError):
        local_state(xy, 0)


def test_a_four_fold_atom_is_refused():
    xy = np.array([[0, 0], [1.9, 0], [-1.9, 0], [0, 1.9], [0, -1.9]])
    with pytest.raises(NotThreeFoldError):
        local_state(xy, 0)


def test_an_atom_that_is_none_is_refused():
    with pytest.raises(InvalidFieldError):
        local_state(patch(), -1)


def test_a_neighbour_nearer_than_a_bond_is_refused_with_its_row():
    neighbours = np.repeat(patch_state()[None], 3, axis=0)
    neighbours[2] /= 1.42
    with pytest.raises(BondLengthError) as caught:
        check_neighbours(neighbours)
    assert caught.value.row == 2
    check_neighbours(neighbours[:2])


@pytest.mark.parametrize(
    ("atomic_numbers", "row"), [(np.full(300, 6, np.int32), None), (np.full(3, 6), None), (np.r_[np.full(9, 6), 0, np.full(999, 6)], 9)]
)
def test_numbers_that_are_none_are_refused(atomic_numbers, row):
    xy = patch()
    given = atomic_numbers[: len(xy)] if len(atomic_numbers) > len(xy) else atomic_numbers
    with pytest.raises(InvalidTensorError) as caught:
        check_atoms(xy, given)
    assert (caught.value.field, caught.value.row) == ("atomic_numbers", row)


@pytest.mark.parametrize("dwell", [0.0, -1.0, 1e4, np.nan])
def test_a_dwell_that_is_none_is_refused_with_its_row(dwell):
    with pytest.raises(InvalidTensorError) as caught:
        check_beam(np.zeros((2, 2)), np.array([1.0, dwell]))
    assert (caught.value.field, caught.value.row) == ("dwell_s", 1)


def test_a_beam_kilometres_away_is_refused():
    with pytest.raises(BeamOutOfRangeError) as caught:
        check_beam(np.array([[1.2, 0], [0, 1e13]]), np.ones(2))
    assert caught.value.row == 1
    check_beam(np.array([[1.2, 0], [3.0, 0]]), np.ones(2))


def test_a_beam_that_is_not_finite_is_refused():
    with pytest.raises(InvalidTensorError):
        check_beam(np.array([[np.inf, 0]]), np.ones(1))


def patch_state():
    xy = patch()
    return local_state(xy, nearest(xy, (0, 0))).neighbours
