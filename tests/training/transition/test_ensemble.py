from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tests.training.transition.states import BRIEF, SCALES, brief_fit, drawn
from training.transition.ensemble import Training, bootstrap_counts, left_out_probabilities, member_probabilities, train
from training.transition.measure import nll
from training.transition.networks import Equivariant
from training.transition.states import Transitions

SHORT = Training(members=2, widths=(8,), first_hop_steps=6, first_hop_batch=50, steps=4, batch=50, checks=2)


def trained(seed: int = 0, training: Training = SHORT, count: int = 200) -> Equivariant:
    network = Equivariant(training.members, SCALES, 0.03, widths=training.widths, seed=0)
    train(network, Transitions.read(drawn(count)), training, "end_of_dwell", seed, show=False)
    return network


def test_a_members_sample_has_as_many_transitions_and_leaves_a_third_out() -> None:
    counts = bootstrap_counts(2000, 4, 0)
    assert counts.sum(axis=1).tolist() == [2000] * 4
    assert np.abs((counts == 0).mean(axis=1) - np.exp(-1)).max() < 0.03
    assert not np.array_equal(counts[0], counts[1])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = trained(), trained(), trained(seed=1)
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_members_learn_nothing_from_each_other() -> None:
    """One member's weights are the same beside members that begin elsewhere."""
    network = Equivariant(2, SCALES, 0.03, widths=(8,), seed=0)
    with torch.no_grad():
        for each in network.parameters():
            each[1] += 0.3
    train(network, Transitions.read(drawn(200)), SHORT, "end_of_dwell", 0, show=False)
    for ours, beside in zip(network.parameters(), trained().parameters(), strict=True):
        assert (ours[0] - beside[0]).abs().max() < 1e-6
        assert not torch.equal(ours[1], beside[1])


def test_the_best_weights_by_what_was_left_out_are_kept() -> None:
    """A learning rate that ruins everything after some steps: what is kept is no worse than at any check."""
    training = replace(SHORT, first_hop_steps=2, steps=40, checks=8, learning_rate=1.0)
    network = Equivariant(2, SCALES, 0.03, widths=(8,), seed=0)
    data = Transitions.read(drawn(300))
    told = train(network, data, training, "end_of_dwell", 0, show=False)
    probabilities = member_probabilities(network, data, "end_of_dwell", 2).numpy()
    of_kept = [nll(probabilities[m][told.left_out[m]], data.outcome[told.left_out[m]]) for m in range(2)]
    assert np.allclose(of_kept, told.held_out, rtol=1e-4)
    assert np.mean(of_kept) <= min(value for _, value in told.history) + 1e-6
    assert max(value for _, value in told.history) > np.mean(of_kept) + 1e-3


def test_an_ensemble_beats_the_constant_rate_and_its_members() -> None:
    fitted, fresh = brief_fit(), Transitions.read(drawn(2000, stream="test"))
    each = member_probabilities(fitted.network, fresh, "end_of_dwell", 2).numpy()
    of_mean, of_members = nll(each.mean(axis=0), fresh.outcome), [nll(told, fresh.outcome) for told in each]
    assert of_mean < np.mean(of_members)
    assert of_mean < fitted.constant_nll - 0.08


def test_penalised_weights_are_smaller() -> None:
    plain, penalised = trained(), trained(training=replace(SHORT, weight_decay=10.0))
    ours, theirs = (sum(float(weight.detach().square().sum()) for weight in each.layers.weights) for each in (penalised, plain))
    assert ours < theirs - 0.1


def test_the_mean_of_rates_is_one_member_whose_rates_are_the_mean() -> None:
    fitted, fresh = brief_fit(), Transitions.read(drawn(50, stream="test"))
    told = member_probabilities(fitted.network, fresh, "first_hop", 2, mean_of_rates=True)
    rates = fitted.network(*(torch.from_numpy(each) for each in (fresh.beam, fresh.neighbours, fresh.context))).mean(dim=1)
    assert told.shape == (1, 50, 4)
    assert torch.allclose(told[0, :, 0], torch.exp(-rates.sum(dim=1) * torch.from_numpy(fresh.dwell)), rtol=1e-5)


def test_only_members_that_have_not_seen_a_transition_judge_it() -> None:
    told = torch.tensor([[[0.2, 0.8], [0.5, 0.5], [0.1, 0.9]], [[0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]], dtype=torch.float64)
    mean, known = left_out_probabilities(told, np.array([[True, False, False], [True, True, False]]))
    assert torch.allclose(mean[:2], torch.tensor([[0.4, 0.6], [0.7, 0.3]], dtype=torch.float64))
    assert known.tolist() == [True, True, False]


def test_a_canonical_ensemble_learns_the_mirror_from_reflected_data() -> None:
    from training.transition.measure import equivariance_error
    from training.transition.pipeline import Fit, fit_transition

    fitted = fit_transition(Fit("canonical", candidates=(BRIEF,), recalibrate=False), drawn(3000), seed=0, show=False)
    error = equivariance_error(fitted.network, Transitions.read(drawn(300, stream="test")), 0)
    assert 1e-6 < error["reflection"] < 0.25
    assert fitted.held_out_nll[0] < fitted.constant_nll - 0.06
