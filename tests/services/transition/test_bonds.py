import numpy as np
import pytest

from dichroic.errors import BondLengthError, InvalidTensorError
from services.transition.bonds import MOST_ATOMS, bonded, check_positions, check_unit, near_pairs
from tests.services.transition.graphene import patch


@pytest.mark.parametrize("tall", [False, True])
def test_pairs_are_those_that_all_distances_give(tall):
    xy = np.random.default_rng(3).random((150, 2)) * (5, 60) if tall else np.random.default_rng(3).random((150, 2)) * (60, 5)
    begin, end, vector = near_pairs(xy, 2.0)
    distance = np.hypot(*np.moveaxis(xy[None] - xy[:, None], -1, 0))
    np.fill_diagonal(distance, np.inf)
    wanted = np.argwhere(distance <= 2.0)
    assert len(wanted) > 50
    np.testing.assert_array_equal(np.stack([begin, end], axis=1), wanted)
    np.testing.assert_allclose(vector, xy[end] - xy[begin])


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_atoms_of_graphene_have_three_neighbours_counter_clockwise(noise):
    xy = patch(noise=noise)
    neighbours, coordination = bonded(xy)
    inside = (np.abs(xy) < 10).all(axis=1)
    assert (coordination[inside] == 3).all()
    vector = xy[neighbours[inside]] - xy[inside, None]
    assert (np.hypot(vector[..., 0], vector[..., 1]) < 1.8).all()
    following = np.roll(vector, -1, axis=1)
    assert (vector[..., 0] * following[..., 1] - vector[..., 1] * following[..., 0] > 0).all()


def test_fewer_neighbours_are_padded_and_more_are_none():
    xy = np.array([[0, 0], [1.42, 0], [1.42, 1.42], [-1.42, 0], [0, -1.42], [0, 1.42]])
    neighbours, coordination = bonded(xy)
    assert coordination.tolist() == [4, 2, 2, 1, 1, 2]
    assert neighbours[0].tolist() == [-1, -1, -1]
    assert neighbours[3].tolist() == [0, -1, -1]


@pytest.mark.parametrize("scale", [1 / 1.42, 0.1, 100.0, 12.3], ids=["bond lengths", "nm", "pm", "pixels"])
def test_other_units_are_refused(scale):
    with pytest.raises(BondLengthError) as caught:
        check_unit(patch() * scale)
    assert caught.value.reason == "BOND_LENGTH"
    assert float(caught.value.metadata["distance"]) == pytest.approx(1.42 * scale, rel=1e-5)


def test_angstroms_are_not_refused():
    check_unit(patch(noise=0.05))
    check_unit(np.zeros((1, 2)))


def test_a_heap_of_atoms_beside_a_lattice_costs_no_memory():
    heap = np.concatenate([patch(), np.random.default_rng(0).random((MOST_ATOMS - 300, 2))])
    with pytest.raises(BondLengthError):
        near_pairs(heap, 2.0)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((3, 2), np.float32), np.zeros((0, 2)), np.zeros(4), np.zeros((2, 3)), np.zeros((MOST_ATOMS + 1, 2))],
    ids=lambda each: str(each.shape),
)
def test_what_is_no_positions_is_refused(wrong):
    with pytest.raises(InvalidTensorError):
        check_positions(wrong)


def test_nan_is_refused_with_its_row():
    xy = patch()
    xy[7, 1] = np.nan
    with pytest.raises(InvalidTensorError) as caught:
        check_positions(xy)
    assert (caught.value.field, caught.value.row) == ("atoms_xy_angstrom", 7)
