from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.transition.recipes import DRAWN, MODEL, STUDENT, transition_recipe
from tests.training.transition.states import drawn
from training.errors import InputError
from training.recipe_transition import TransitionRecipe
from training.transition import stages
from training.transition.stages import Stages, candidates_of, fit_in_stages

BRIEF = "\n[training]\nfirst_hop_batch = 50\nbatch = 50\n"
# Two ways of training, neither of which takes long.
FEW = tuple(stages.Training(members=2, widths=(4,), first_hop_steps=steps, first_hop_batch=50, steps=2, batch=50) for steps in (5, 10))


def brief(folder: Path) -> TransitionRecipe:
    return transition_recipe(folder, DRAWN, MODEL.replace("[16, 16]", "[4]") + 'spread = "student"\n', BRIEF + STUDENT.replace("400", "5"))


def numbers(network: torch.nn.Module) -> np.ndarray:
    return np.concatenate([each.detach().double().numpy().ravel() for each in network.state_dict().values()])


@pytest.fixture(autouse=True)
def _brief_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "candidates_for", lambda count: FEW)


def test_what_a_recipe_says_is_said_to_every_candidate(tmp_path: Path) -> None:
    found = candidates_of(brief(tmp_path), 300)
    assert [each.first_hop_steps for each in found] == [5, 10]
    assert {(each.members, each.widths, each.shells, each.batch, each.first_hop_batch) for each in found} == {(3, (4,), 2, 50, 50)}


def test_a_recipe_that_says_how_long_has_one_candidate(tmp_path: Path) -> None:
    found = candidates_of(transition_recipe(tmp_path, more="\n[training]\nsteps = 7\n"), 300)
    assert [(each.first_hop_steps, each.steps) for each in found] == [(10, 7)]


def test_a_fit_that_was_interrupted_goes_on_after_its_last_stage_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, arrays = brief(tmp_path), drawn(300)
    whole = fit_in_stages(recipe, arrays, Stages(tmp_path / "whole", "a"))
    assert whole.student is not None
    asked, kept = [], Stages(tmp_path / "cut", "a")
    true = stages.fit_transition

    def counted(fit: stages.Fit, *rest: object, **more: object) -> stages.Fitted:
        if len(asked) == 1 and not (tmp_path / "went on").exists():
            (tmp_path / "went on").touch()
            raise KeyboardInterrupt
        asked.append(fit.candidates[0].first_hop_steps)
        return true(fit, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "fit_transition", counted)
    with pytest.raises(KeyboardInterrupt):
        fit_in_stages(recipe, arrays, kept)
    again = fit_in_stages(recipe, arrays, kept)
    assert asked == [5, 10]  # the first was not fitted again
    assert again.student is not None
    np.testing.assert_array_equal(numbers(again.network), numbers(whole.network))
    np.testing.assert_array_equal(numbers(again.student), numbers(whole.student))
    assert again.held_out_nll == whole.held_out_nll
    assert len(whole.held_out_nll) == 2
    once_more = fit_in_stages(recipe, arrays, kept)  # nothing is left to do
    assert once_more.student is not None
    assert asked == [5, 10]
    np.testing.assert_array_equal(numbers(once_more.student), numbers(whole.student))


def test_stages_of_another_recipe_are_refused_and_can_be_cleared(tmp_path: Path) -> None:
    Stages(tmp_path, "a").save("student", {"x": np.zeros(2)}, {})
    with pytest.raises(InputError) as caught:
        Stages(tmp_path, "b").load("student")
    assert caught.value.reason == "CHECKPOINT_MISMATCH"
    Stages(tmp_path, "b").clear()
    assert Stages(tmp_path, "b").load("student") is None
