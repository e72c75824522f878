from __future__ import annotations

import numpy as np
import pytest

from tests.training.transition.states import BRIEF, brief_fit, drawn
from training.errors import InputError
from training.transition.distil import Lesson
from training.transition.ensemble import Training
from training.transition.measure import constant_probabilities, nll, rates_of
from training.transition.pipeline import Fit, candidates_for, constant_rate, fit_transition
from training.transition.states import Transitions


def test_rates_at_a_current_between_two_that_were_measured() -> None:
    """Rates are proportional to the current: at 0.1 nA they lie between those of 0.06 and 0.16, which no model without the current could tell."""
    low, high = (drawn(2500, seed, current_na=(current, current)) for seed, current in ((1, 0.06), (2, 0.16)))
    both = {name: np.concatenate([low[name], high[name]]) for name in low}
    fitted = fit_transition(Fit(candidates=(BRIEF,), recalibrate=False), both, seed=0, show=False)
    assert fitted.ranges.current_na == (0.06, 0.16)
    between = Transitions.read(drawn(4000, 3, current_na=(0.1, 0.1)))
    rates = {
        current: rates_of(fitted.network, between.beam, between.neighbours, between.context * [current / 0.1, 1]).mean(axis=1).mean()
        for current in (0.06, 0.1, 0.16)
    }
    assert rates[0.1] / rates[0.06] == pytest.approx(0.1 / 0.06, rel=0.15)
    assert rates[0.16] / rates[0.1] == pytest.approx(0.16 / 0.1, rel=0.15)
    from training.transition.measure import predicted

    told = nll(predicted(fitted.network, between, "end_of_dwell", 2), between.outcome)
    assert told < nll(constant_probabilities(fitted.constant_rate, between, "end_of_dwell", 2), between.outcome) - 0.08


def test_a_model_of_one_context_says_so_and_does_not_guess_others() -> None:
    fitted = brief_fit()
    assert fitted.ranges.current_na == (0.1, 0.1)
    data = Transitions.read(drawn(20))
    assert np.array_equal(
        rates_of(fitted.network, data.beam, data.neighbours, data.context), rates_of(fitted.network, data.beam, data.neighbours, 2 * data.context)
    )


def test_the_constant_rate_is_the_likeliest() -> None:
    data = Transitions.read(drawn(1000, first_hop=True), first_hop=True)
    rate, best = constant_rate(data, "first_hop", 2)
    for other in (0.95 * rate, 1.05 * rate):
        assert nll(constant_probabilities(other, data, "first_hop", 2), data.outcome) > best


def test_the_candidate_that_tells_best_what_its_members_have_not_seen_is_kept() -> None:
    hopeless = Training(members=3, widths=(4,), first_hop_steps=3, first_hop_batch=50, steps=1, batch=50)
    fitted = fit_transition(Fit(candidates=(hopeless, BRIEF), recalibrate=False), drawn(800), seed=0, show=False)
    assert fitted.training is BRIEF
    assert fitted.held_out_nll[1] < fitted.held_out_nll[0]


def test_few_transitions_try_several_ways_of_training() -> None:
    assert len(candidates_for(1000)) > 1
    assert len(candidates_for(20_000)) == 1


def test_first_hops_are_fitted_without_a_chain() -> None:
    training = Training(members=2, widths=(8,), first_hop_steps=120, first_hop_batch=200)
    fitted = fit_transition(Fit(likelihood="first_hop", candidates=(training,)), drawn(1500, first_hop=True), seed=0, show=False)
    assert fitted.held_out_nll[0] < fitted.constant_nll - 0.03
    assert fitted.recalibration is not None


def test_a_student_is_taught_when_asked_for() -> None:
    training = Training(members=2, widths=(4,), first_hop_steps=5, first_hop_batch=50, steps=1, batch=50)
    fitted = fit_transition(Fit(candidates=(training,), lesson=Lesson(steps=3, places=3)), drawn(100), seed=0, show=False)
    assert fitted.student is not None
    assert fitted.student.members == 3
    assert brief_fit().student is None


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (drawn(20), "TOO_FEW_TRANSITIONS"),
        (drawn(100) | {"outcome": np.zeros(100, np.int64)}, "NOTHING_HOPPED"),
        (drawn(100) | {"dwell_s": np.zeros(100)}, "INVALID_DWELL"),
    ],
)
def test_data_that_tells_no_rates_is_refused(arrays: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(InputError) as refused:
        fit_transition(Fit(), arrays, seed=0, show=False)
    assert refused.value.reason == reason
