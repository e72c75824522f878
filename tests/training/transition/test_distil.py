from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.transition.states import SCALES, brief_fit, drawn, irregular, tensors
from training.transition.distil import Lesson, Student, distil, places_of
from training.transition.measure import rates_of
from training.transition.states import Transitions


@pytest.mark.parametrize("count", [2, 4, 9])
def test_places_have_the_mean_and_spread_of_what_they_stand_for(count: int) -> None:
    places = places_of(count)
    assert (places.mean(), places.std()) == pytest.approx((0, 1))
    assert np.all(np.diff(places) > 0)
    assert places_of(1).tolist() == [0.0]


def test_a_students_members_have_its_mean_and_spread_of_log_rates() -> None:
    student, states = Student(SCALES, 0.1, Lesson(places=5)).double().requires_grad_(requires_grad=False), tensors(irregular(20))
    mean, sd = student.mean_and_sd(student.prepare(*states))
    log_rates = torch.log(student(*states))
    assert log_rates.shape == (20, 5, 3)
    assert torch.allclose(log_rates.mean(dim=1), mean)
    assert torch.allclose(log_rates.std(dim=1, correction=0), sd)


def test_a_student_tells_what_the_ensemble_tells_and_how_sure_it_is() -> None:
    fitted, data = brief_fit(), Transitions.read(drawn(3000))
    student = distil(fitted.network, data, fitted.scales, 2, lesson=Lesson(steps=900), seed=0, show=False)
    fresh = Transitions.read(drawn(500, stream="test"))
    theirs, ours = (np.log(rates_of(each, fresh.beam, fresh.neighbours, fresh.context)) for each in (fitted.network, student))
    fast = theirs.mean(axis=1) > np.log(0.02)
    assert np.abs(theirs.mean(axis=1) - ours.mean(axis=1))[fast].mean() < 0.06
    spreads = [each.std(axis=1)[fast] for each in (theirs, ours)]
    assert np.median(spreads[1] / spreads[0]) == pytest.approx(1, abs=0.15)
    assert np.corrcoef(np.log(spreads))[0, 1] > 0.6
