import numpy as np
import pytest

from services.transition.actions import Actions, beam_at, frame_angle, perfect_neighbours, turned
from tests.services.transition.graphene import long_tailed, occupancy_by


@pytest.mark.parametrize("shells", [1, 2, 3])
def test_one_evaluation_serves_all_three_frames(shells):
    actions = Actions(np.array([1.1, 0.4, 1.9]), np.array([0.2, -0.5, 1.0]), np.array([2.0, 5.0, 9.0]))
    neighbours = np.broadcast_to(perfect_neighbours(1.42), (3, 3, 2))
    evaluate = occupancy_by(long_tailed, shells)
    context = np.zeros((3, 2))
    once = turned(evaluate(np.stack([actions.along, actions.across], axis=1), neighbours, actions.dwell_s, context), shells)
    for frame in range(3):
        beam = beam_at(actions.along, actions.across, np.full(3, frame), neighbours)
        direct = evaluate(beam, neighbours, actions.dwell_s, context)
        np.testing.assert_allclose(once[3 * frame : 3 * frame + 3], direct, atol=1e-12)
    assert not np.allclose(once[:3], once[3:6])


def test_a_frame_follows_its_lattice():
    turn = 0.7
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    neighbours = perfect_neighbours(1.42) @ rotation.T
    assert frame_angle(neighbours) == pytest.approx(turn)
    beam = beam_at(np.array([1.42]), np.array([0.0]), np.array([2]), neighbours[None])
    np.testing.assert_allclose(beam[0], neighbours[2], atol=1e-12)
    across = beam_at(np.array([0.0]), np.array([1.0]), np.array([0]), neighbours[None])
    np.testing.assert_allclose(across[0], rotation @ (0, 1), atol=1e-12)


def test_noise_of_one_bond_is_shared_by_three():
    neighbours = perfect_neighbours(1.42)
    neighbours[0] = 1.42 * np.array([np.cos(0.09), np.sin(0.09)])
    assert frame_angle(neighbours) == pytest.approx(0.03, abs=1e-3)


def test_a_grid_fills_one_third_of_the_disc():
    grid = Actions.grid(0.1, 3.0, np.array([1.0, 2.0]))
    assert np.hypot(grid.along, grid.across).max() <= 3.0 + 1e-9
    assert (np.abs(np.arctan2(grid.across, grid.along)) <= np.pi / 3 + 1e-9).all()
    area = len(grid) / 2 * 0.1**2 * np.sqrt(0.75)
    assert area == pytest.approx(np.pi * 9 / 3, rel=0.05)
    assert sorted(set(grid.dwell_s)) == [1.0, 2.0]


def test_steps_around_an_action_are_new_and_allowed():
    one = Actions(np.array([1.0, 1.1]), np.array([0.0, 0.0]), np.array([0.5, 0.5]))
    around = one.around(0.1, 1.15, 0.5)
    found = {(round(a, 3), round(b, 3), d) for a, b, d in zip(around.along, around.across, around.dwell_s, strict=True)}
    assert found == {(0.9, 0.0, 0.5), (1.0, 0.1, 0.5), (1.0, -0.1, 0.5), (1.1, 0.1, 0.5), (1.1, -0.1, 0.5)}
