"""The closed loop against a real service: it measures where it is told to, learns, and draws."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pytest

from dichroic import Client
from examples.closed_loop import Progress, SimulatedMicroscope, run
from tests.e2e.conftest import ROOT, serve


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Progress, Path]:
    """Four rounds of eight picks."""
    home = tmp_path_factory.mktemp("loop")
    shutil.copytree(ROOT / "bundles" / "patches_start", home / "bundles" / "patches_start")
    wanted = argparse.Namespace(model="patches_start", rounds=4, picks=8, places=300, seed=1, out=home / "loop.png")
    with serve(home / "bundles", home / "log", sessions=str(home / "sessions")) as service, Client(service.address) as client:
        return run(client, wanted), wanted.out


def test_each_round_measures_new_places_and_the_error_falls(done: tuple[Progress, Path]) -> None:
    progress, _ = done
    chosen = np.concatenate(progress.places)
    assert len(set(chosen.tolist())) == 32
    assert progress.measured == [0, 8, 16, 24, 32]
    assert progress.chosen[-1] < 0.8 * progress.chosen[0]


def test_the_picture_is_there_whole(done: tuple[Progress, Path]) -> None:
    _, picture = done
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(picture.parent.glob(".*.part")) == []


def test_the_simulated_microscope_tells_nothing_of_a_place_but_what_is_known_before_it_is_measured() -> None:
    microscope = SimulatedMicroscope(10, seed=0)
    assert set(microscope.candidates) == {"patch", "position", "age"}
    assert microscope.measure(np.array([3, 1])).shape == (2,)
