from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.transition.recipes import DRAWN, FILES, transition_recipe
from tests.training.transition.states import drawn
from training.data.dune.rates import BeyondCarbon, ContextScaling
from training.errors import InputError
from training.transition.prepare import prepare_transitions

NAMES = ("beam_xy_angstrom", "neighbours_xy_angstrom", "dwell_s", "current_na", "voltage_kv", "outcome")


def written(path: Path, count: int = 200, seed: int = 0, **more: np.ndarray) -> Path:
    arrays = {name: values for name, values in drawn(count, seed).items() if name in NAMES}
    np.savez(path, **(arrays | more))
    return path


def reason(folder: Path, *files: Path, data: str = FILES, channel: str | None = None, licence: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        prepare_transitions(transition_recipe(folder, data), files, channel, licence)
    return caught.value.reason


def test_drawn_transitions_have_fresh_ones_beside_them_and_their_truth(tmp_path: Path) -> None:
    data = DRAWN.replace("3000", "60").replace("1500", "50") + 'rates = "beyond_carbon"\ndwell_s = [1.0, 2.0]\n'
    found = prepare_transitions(transition_recipe(tmp_path, data), (), None, None)
    assert (len(found.train["outcome"]), len(found.held_out), found.licence) == (60, 50, "MIT")
    assert found.truth == BeyondCarbon(scaling=ContextScaling())
    assert found.train["dwell_s"].min() >= 1
    assert not np.isin(found.held_out.dwell, found.train["dwell_s"]).any()
    assert len(set(found.sha256)) == 2


def test_random_transitions_of_one_file_are_held_out_and_said_to_be(tmp_path: Path) -> None:
    path = written(tmp_path / "hops.npz")
    found = prepare_transitions(transition_recipe(tmp_path, FILES), (path,), None, "CC-BY-4.0")
    assert (len(found.train["outcome"]), len(found.held_out)) == (160, 40)
    assert (found.licence, found.source, found.truth) == ("CC-BY-4.0", "hops.npz", None)
    assert "transitions at random" in found.split
    with np.load(path) as file:
        np.testing.assert_array_equal(np.sort(np.concatenate([found.train["dwell_s"], found.held_out.dwell])), np.sort(file["dwell_s"]))


def test_whole_groups_are_held_out(tmp_path: Path) -> None:
    group = np.arange(200) // 20
    path = written(tmp_path / "hops.npz", group=group)
    found = prepare_transitions(transition_recipe(tmp_path, FILES), (path,), None, None)
    with np.load(path) as file:
        of = {dwell: int(number) for dwell, number in zip(file["dwell_s"], group, strict=True)}
    held, kept = ({of[dwell] for dwell in dwells} for dwells in (found.held_out.dwell, found.train["dwell_s"]))
    assert found.split == "held-out groups"
    assert not held & kept
    assert len(held) == 2


def test_of_several_files_each_is_a_group(tmp_path: Path) -> None:
    paths = tuple(written(tmp_path / f"{number}.npz", count=100, seed=number) for number in range(3))
    found = prepare_transitions(transition_recipe(tmp_path, FILES), paths, None, None)
    assert (len(found.train["outcome"]), len(found.held_out), len(found.sha256)) == (200, 100, 3)


def test_what_cannot_be_used_is_refused_with_its_reason(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.npz")
    assert reason(tmp_path) == "DATA_REQUIRED"
    assert reason(tmp_path, whole, channel="a") == "DATA_NOT_USED"
    assert reason(tmp_path, whole, data=DRAWN) == "DATA_NOT_USED"
    assert reason(tmp_path, licence="MIT", data=DRAWN) == "DATA_NOT_USED"
    assert reason(tmp_path, written(tmp_path / "few.npz", count=60)) == "TOO_FEW_TRANSITIONS"
    assert reason(tmp_path, written(tmp_path / "group.npz", group=np.zeros((200, 2)))) == "WRONG_SHAPE"
    assert reason(tmp_path, written(tmp_path / "one.npz", group=np.zeros(200))) == "TOO_FEW_GROUPS"
    assert reason(tmp_path, written(tmp_path / "bonds.npz", neighbours_xy_angstrom=drawn(200)["neighbours_xy_angstrom"] / 1.42)) == "WRONG_UNITS"


def test_a_wrong_file_is_named_among_several(tmp_path: Path) -> None:
    good, bad = written(tmp_path / "good.npz"), written(tmp_path / "bad.npz", dwell_s=np.zeros(200))
    with pytest.raises(InputError, match=r"^bad.npz: .*dwell_s"):
        prepare_transitions(transition_recipe(tmp_path, FILES), (good, bad), None, None)


def test_a_missing_array_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", outcome=np.zeros(100, np.int64))
    with pytest.raises(InputError, match=r"no array 'beam_xy_angstrom'; it has outcome. Transitions have beam_xy_angstrom"):
        prepare_transitions(transition_recipe(tmp_path, FILES), (tmp_path / "bare.npz",), None, None)
