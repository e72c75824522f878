from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from examples.family import ask_family
from training.local_service import running_service

BUNDLES = Path(__file__).parents[2] / "bundles"


def test_the_other_demo_models_answer_about_fresh_drawings_and_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_service(BUNDLES) as service:
        assert ask_family(service.grpc_address, tmp_path / "family.png")
    said = capsys.readouterr().out
    assert "100% named rightly" in said
    assert said.count("class ") == 4  # each suit in a class of its own
    assert "(rms)" in said
    assert (tmp_path / "family.png").stat().st_size > 10_000


def test_a_server_without_these_models_is_asked_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(BUNDLES / "cards", tmp_path / "bundles" / "cards")
    with running_service(tmp_path / "bundles") as service:
        assert not ask_family(service.grpc_address, tmp_path / "family.png")
    assert not capsys.readouterr().out
    assert not (tmp_path / "family.png").exists()
