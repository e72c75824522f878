import numpy as np
import pytest

from dichroic.errors import (
    BondLengthError,
    EdgeSiteError,
    ForbiddenSiteError,
    GoalOffLatticeError,
    GoalUnreachableError,
    InvalidFieldError,
    InvalidTensorError,
    NoDopantError,
    SeveralDopantsError,
)
from services.transition.planning import ASSUMPTIONS, plan
from services.transition.sites import Sites
from services.transition.values import Risk
from services.transition.wishes import Wish
from tests.services.transition.graphene import nearest, occupancy_by, patch, peaked
from tests.services.transition.test_sites import stone_wales

XY = patch(24.0)


def numbers(*dopants):
    found = np.full(len(XY), 6)
    found[list(dopants)] = 14
    return found


def at(*place):
    return nearest(XY, place)


START, GOAL = at(-4, -3), at(4, 2)


def planned(table, start=START, goal=GOAL, **wish):
    return plan(XY, numbers(start), XY[[goal]], table, Wish(**wish))


def test_a_plan_tells_the_next_step_and_what_may_be_expected(table):
    found = planned(table)
    assert (found.dopant, found.goal, found.arrived) == (START, GOAL, False)
    np.testing.assert_allclose(found.beam_xy, XY[START] + found.beam_from_dopant)
    assert 0.5 < np.hypot(*found.beam_from_dopant) < 2.0
    assert found.beam_from_dopant @ (XY[GOAL] - XY[START]) > 0
    assert 0.5 <= found.dwell_s <= 10
    assert found.success_probability > 0.99
    assert found.expected_s == pytest.approx(found.value_s, rel=0.02)
    assert found.assignment.tolist() == [[START, GOAL]]
    assert found.all_expected_s == pytest.approx(found.expected_s)
    assert found.assumptions == ASSUMPTIONS


def test_the_path_leads_over_bonds_to_the_goal(table):
    path = planned(table).path
    assert (path[0], path[-1]) == (START, GOAL)
    assert (np.hypot(*np.diff(XY[path], axis=0).T) < 1.5).all()
    sites = Sites.of(XY)
    assert len(path) - 1 == sites.hops_to(GOAL, ~sites.regular)[START]


def test_in_the_middle_it_is_the_open_lattices_policy(table):
    found = planned(table, at(-1, -1), at(1, 1))
    sites = Sites.of(XY)
    start, goal = at(-1, -1), at(1, 1)
    bonds = XY[sites.neighbours[start]] - XY[start]
    steps = next(s for s in table.open_lattice.displacements.steps if np.allclose(s @ bonds, XY[goal] - XY[start], atol=1e-6))
    assert found.value_s == pytest.approx(float(table.open_lattice.value_s(steps[None])[0]), abs=0.05)
    beam, dwell = table.open_lattice.decide(bonds[None], steps[None])
    assert found.dwell_s == dwell[0]
    assert np.hypot(*(beam[0] - found.beam_from_dopant)) < 1e-6 or np.hypot(*found.beam_from_dopant) == pytest.approx(np.hypot(*beam[0]))


def test_a_turned_or_mirrored_image_gets_the_turned_or_mirrored_plan(table):
    found = planned(table)
    for way in (np.array([[0.6, -0.8], [0.8, 0.6]]), np.array([[1.0, 0.0], [0.0, -1.0]])):
        other = plan(XY @ way.T + 3, numbers(START), XY[[GOAL]] @ way.T + 3, table)
        assert other.value_s == pytest.approx(found.value_s, abs=0.05)
        assert other.success_probability == pytest.approx(found.success_probability, abs=1e-3)


def test_noise_of_positions_changes_little(table):
    noisy = patch(24.0, noise=0.04)
    found = plan(noisy, numbers(START), noisy[[GOAL]] + 0.2, table)
    assert found.value_s == pytest.approx(planned(table).value_s, rel=0.01)


def test_replanned_each_step_it_comes_home(table):
    """Against the chain itself: on every atom's own neighbours, outcomes drawn from the true occupancy, many at once by their policies' plans."""
    stream = np.random.default_rng(5)
    sites = Sites.of(XY)
    within = sites.landings(2).within
    evaluate = occupancy_by(peaked)
    told, seconds = planned(table, at(-2, -1), at(1.5, 1)), []
    plans = {}
    for _ in range(60):
        here, now = at(-2, -1), 0.0
        while here != at(1.5, 1) and now < 600:
            if here not in plans:
                step = planned(table, here, at(1.5, 1))
                bonds = XY[sites.neighbours[here]] - XY[here]
                chances = evaluate(step.beam_from_dopant[None], bonds[None], np.array([step.dwell_s]), np.zeros((1, 2)))[0]
                plans[here] = step.dwell_s, chances
            dwell_s, chances = plans[here]
            now += dwell_s + 2.0
            landed = stream.choice(len(chances), p=chances / chances.sum())
            here = int(within[here, landed])
        seconds.append(now)
    assert max(seconds) < 600
    assert np.mean(seconds) == pytest.approx(told.expected_s, abs=4 * np.std(seconds) / np.sqrt(60))


def test_forbidden_sites_are_gone_round(table):
    free = planned(table)
    wall = tuple(np.flatnonzero((np.abs(XY[:, 0]) < 0.9) & (XY[:, 1] < 7)).tolist())
    walled = planned(table, forbidden=wall)
    assert not set(walled.path.tolist()) & set(wall)
    assert set(free.path.tolist()) & set(wall)
    assert walled.expected_s > free.expected_s + 20
    assert walled.lost_probability < 0.05


def test_foreign_atoms_are_gone_round_like_defects_and_no_place_to_be(table):
    free = planned(table)
    wall = np.flatnonzero((np.abs(XY[:, 0]) < 0.9) & (XY[:, 1] < 7))
    nitrogen = numbers(START)
    nitrogen[wall] = 7
    found = plan(XY, nitrogen, XY[[GOAL]], table)
    assert not set(found.path.tolist()) & set(wall.tolist())
    assert found.value_s == pytest.approx(planned(table, forbidden=tuple(wall.tolist())).value_s)
    # Of a lattice of nitrogen they are no strangers; the carbon is.
    other = np.where(nitrogen == 6, 7, nitrogen)
    assert plan(XY, other, XY[[GOAL]], table, host_number=7).path.tolist() == free.path.tolist()
    nitrogen[GOAL] = 7
    with pytest.raises(ForbiddenSiteError) as caught:
        plan(XY, nitrogen, XY[[GOAL]], table)
    assert (caught.value.field, caught.value.row, caught.value.metadata) == ("goals_xy_angstrom", 0, {"cause": "foreign", "atom": str(GOAL)})


def test_foreign_atoms_across_all_ways_cut_the_goal_off(table):
    nitrogen = numbers(START)
    nitrogen[np.abs(XY[:, 0]) < 1.3] = 7
    with pytest.raises(GoalUnreachableError, match="foreign") as caught:
        plan(XY, nitrogen, XY[[GOAL]], table)
    assert (caught.value.field, caught.value.row, caught.value.metadata) == ("goals_xy_angstrom", 0, {"atom": str(GOAL)})


def test_of_several_goals_the_row_of_the_one_that_cannot_be_is_named(table):
    goals = XY[[at(1, 1), GOAL]]
    with pytest.raises(ForbiddenSiteError, match="Goal 1") as caught:
        plan(XY, numbers(START, at(5, 0)), goals, table, Wish(forbidden=(GOAL,)))
    assert (caught.value.field, caught.value.row, caught.value.metadata["atom"]) == ("goals_xy_angstrom", 1, str(GOAL))
    # Of goals that are only together out of reach no row can be named.
    wall = tuple(np.flatnonzero(np.abs(XY[:, 0]) < 1.3).tolist())
    with pytest.raises(GoalUnreachableError) as together:
        plan(XY, numbers(START, at(-5, 0)), XY[[GOAL, at(-4, 3)]], table, Wish(forbidden=wall))
    assert together.value.row is None


def test_a_deadline_cuts_what_is_promised(table):
    found = planned(table, deadline_s=60.0)
    assert 0.01 < found.success_probability < 0.5
    assert found.expected_s < 60
    assert planned(table, deadline_s=5.0).success_probability == 0.0
    assert np.isnan(planned(table, deadline_s=5.0).expected_s)


def test_a_goal_at_the_border_of_the_view_can_be_reached(table):
    sites = Sites.of(XY)
    regular = np.flatnonzero(sites.regular)
    edge = next(atom for atom in np.flatnonzero(sites.coordination == 2) if np.isin(sites.neighbours[atom], regular).any())
    found = planned(table, at(0, 0), int(edge))
    assert found.path[-1] == edge
    assert found.success_probability > 0.9


def test_who_has_arrived_is_left_alone(table):
    found = planned(table, GOAL, GOAL)
    assert found.arrived
    assert (found.dwell_s, found.success_probability, found.path.tolist()) == (0.0, 1.0, [GOAL])


def test_several_dopants_are_assigned_so_that_the_sum_is_least(table):
    left, right = at(-5, 0), at(5, 0)
    targets = XY[[at(7, 3), at(-7, 3)]]
    found = plan(XY, numbers(left, right), targets, table)
    assert sorted(map(tuple, found.assignment.tolist())) == sorted([(left, at(-7, 3)), (right, at(7, 3))])
    assert found.dopant == found.assignment[0, 0]
    alone = [plan(XY, numbers(dopant), XY[[goal]], table).expected_s for dopant, goal in found.assignment]
    assert found.all_expected_s == pytest.approx(sum(alone), rel=0.02)
    assert found.expected_s == pytest.approx(alone[0], rel=0.02)
    assert alone[0] <= alone[1] + 1e-6


def test_of_several_dopants_those_that_have_arrived_stay(table):
    left, right = at(-5, 0), at(5, 0)
    found = plan(XY, numbers(left, right), XY[[left, at(1, 1)]], table)
    assert found.assignment.tolist() == [[left, left], [right, at(1, 1)]]
    assert found.dopant == right


def test_other_dopants_are_in_the_way(table):
    start, goal = at(-3, 0), at(3, 0)
    others = [int(each) for each in plan(XY, numbers(start), XY[[goal]], table).path[2:4]]
    found = plan(XY, numbers(start, *others), XY[[goal]], table, Wish(dopant=start))
    assert not set(found.path.tolist()) & set(others)
    with pytest.raises(ForbiddenSiteError) as caught:
        plan(XY, numbers(start, goal), XY[[goal]], table, Wish(dopant=start))
    assert (caught.value.row, caught.value.metadata) == (0, {"cause": "dopant", "atom": str(goal)})


def test_a_dopant_at_the_edge_does_not_stop_the_others(table):
    sites = Sites.of(XY)
    edge = int(np.flatnonzero(sites.coordination < 3)[0])
    found = plan(XY, numbers(edge, at(0, 0)), XY[[edge, at(2, 2)]], table)
    assert found.dopant == at(0, 0)


def test_defects_are_gone_round_and_no_place_to_be(table):
    xy, first, _ = stone_wales(XY)
    start, goal = nearest(xy, (-7, 0)), nearest(xy, (7, 0))
    found = plan(xy, numbers(start), xy[[goal]], table)
    assert Sites.of(xy).regular[found.path].all()
    for dopant, target in ((first, goal), (start, first)):
        with pytest.raises(ForbiddenSiteError) as caught:
            plan(xy, numbers(dopant), xy[[target]], table)
        # Of the goals there is one; the dopant is told by its atom.
        row, atom = (0, target) if target == first else (dopant, dopant)
        assert (caught.value.row, caught.value.metadata) == (row, {"cause": "defect", "atom": str(atom)})


def test_aversion_changes_the_value_and_is_safe_to_ask_of_a_single_model(table):
    assert planned(table, risk=Risk(kappa=1.0)).value_s == pytest.approx(planned(table).value_s, abs=0.05)


def test_bad_input_is_refused_by_its_reason(table):
    wall = tuple(np.flatnonzero(np.abs(XY[:, 0]) < 1.3).tolist())
    cases = [
        (NoDopantError, lambda: plan(XY, numbers(), XY[[GOAL]], table)),
        (SeveralDopantsError, lambda: plan(XY, numbers(3, 4), XY[[GOAL]], table)),
        (EdgeSiteError, lambda: planned(table, at(12, 0))),
        (BondLengthError, lambda: plan(XY / 1.42, numbers(START), XY[[GOAL]] / 1.42, table)),
        (GoalOffLatticeError, lambda: plan(XY, numbers(START), np.array([[50.0, 0.0]]), table)),
        (GoalOffLatticeError, lambda: plan(XY, numbers(START), XY[[GOAL]] * 1000, table)),
        (GoalUnreachableError, lambda: planned(table, forbidden=wall)),
        (ForbiddenSiteError, lambda: planned(table, forbidden=(START,))),
        (ForbiddenSiteError, lambda: planned(table, forbidden=(GOAL,))),
        (InvalidFieldError, lambda: planned(table, deadline_s=0.0)),
        (InvalidFieldError, lambda: planned(table, deadline_s=np.nan)),
        (InvalidFieldError, lambda: planned(table, forbidden=(len(XY),))),
        (InvalidFieldError, lambda: planned(table, risk=Risk(kappa=-1.0))),
        (InvalidFieldError, lambda: planned(table, dopant=at(0, 0))),
        (InvalidFieldError, lambda: plan(XY, numbers(START), XY[[GOAL, at(0, 0)]], table)),
        (InvalidFieldError, lambda: plan(XY, numbers(START, 5), XY[[GOAL, GOAL]], table)),
        (InvalidTensorError, lambda: plan(XY, numbers(START), np.array([[np.nan, 0.0]]), table)),
        (InvalidTensorError, lambda: plan(XY, numbers(START), XY[:13], table)),
        (InvalidTensorError, lambda: plan(XY.astype(np.float32), numbers(START), XY[[GOAL]], table)),
    ]
    for kind, call in cases:
        with pytest.raises(kind) as caught:
            call()
        assert type(caught.value) is kind
        assert caught.value.message


def test_the_row_of_a_goal_off_the_lattice_is_named(table):
    with pytest.raises(GoalOffLatticeError) as caught:
        plan(XY, numbers(START, 5), np.concatenate([XY[[GOAL]], [[99.0, 0.0]]]), table)
    assert (caught.value.field, caught.value.row) == ("goals_xy_angstrom", 1)
