"""The examples of docs/api.md for transitions and plans run as they stand, against the real room."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.docs.page import block, commands, printed, promised, told
from tests.services.conftest import Running, running_on
from tests.services.transition.graphene import nearest
from tests.toy_transition import NDArray, image, states, write_toy_transition


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A server that has the model `dune` of the page."""
    (tmp_path / "bundles").mkdir()
    write_toy_transition(tmp_path / "bundles")
    async with running_on(tmp_path / "bundles") as found:
        yield found


class Microscope:
    """Whatever the beam is put beside hops to the neighbour that is nearest to the beam."""

    def __init__(self) -> None:
        self.atoms, self.numbers = image()

    def image(self) -> tuple[NDArray, NDArray]:
        return self.atoms, self.numbers.copy()

    def dwell(self, beam: NDArray, seconds: float) -> None:
        assert seconds > 0
        dopant = int(np.argmax(self.numbers))
        around = np.argsort(np.hypot(*(self.atoms - self.atoms[dopant]).T))[1:4]
        to = around[nearest(self.atoms[around], beam)]
        self.numbers[[dopant, to]] = 6, 14


async def test_the_python_example_runs_and_prints_what_it_says(running: Running) -> None:
    microscope = Microscope()
    goal = microscope.atoms[nearest(microscope.atoms, np.array([3.0, 2.0]))]
    names: dict[str, Any] = {"image": microscope.image, "dwell": microscope.dwell, "goal": goal}
    assert await printed("transitions", running.grpc.port, names) == promised("transitions")


async def test_every_command_of_the_table_does_what_it_says(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DICHROIC_SERVER", f"127.0.0.1:{running.grpc.port}")
    sent: dict[str, Any] = states(4)
    np.savez("states.npz", **sent)
    atoms, numbers = image()
    goal = np.array([6.1, 3.2])
    # The page's goal is a site of the lattice.
    np.savez("atoms.npz", atoms_xy_angstrom=atoms - atoms[nearest(atoms, goal)] + goal, atomic_numbers=numbers)
    said = {command.split()[0]: await told(command, lambda: capsys.readouterr().out) for command in commands("TransitionService")}
    assert list(said) == ["transitions", "plan"]
    assert said["plan"].startswith("beam at (")
    with np.load("rates.npz") as rates:
        assert rates["occupancy"].shape == (4, 11)


async def test_every_curl_example_is_answered(running: Running) -> None:
    answers = []
    for line in block("transitions over HTTP").splitlines():
        prompt, program, silent, url, option, body = shlex.split(line)
        assert (prompt, program, silent, option) == ("$", "curl", "-s", "-d")
        answer = await running.http.post(url.removeprefix("localhost:3000"), json=json.loads(body))
        assert answer.status_code == 200, f"{line}: {answer.text}"
        answers.append(answer.json())
    assert np.shape(answers[0]["rates_per_s"]) == (1, 3)
    assert (answers[1]["path_index"], answers[1]["goal_index"]) == ([0, 1], 1)
