"""The examples of docs/api.md for mechanisms and sessions run as they stand, against the real room."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.docs.page import block, commands, printed, promised, told
from tests.services.conftest import Running
from tests.services.mechanism.world import World
from tests.services.transport.served_lab import served_lab

POINTS = 100


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A server that has the model `divide` of the page."""
    async with served_lab(tmp_path, divide=World()) as (found, _):
        yield found


async def test_the_python_example_runs_and_prints_what_it_says(running: Running) -> None:
    rng = np.random.default_rng(0)
    names: dict[str, Any] = {
        "patches": rng.normal(size=(POINTS, 1, 2)),
        "positions": rng.normal(size=(POINTS, 2)),
        "ages": rng.normal(size=POINTS),
        "measure": np.sin,
    }
    assert await printed("session", running.grpc.port, names) == promised("session")


async def test_every_command_of_the_table_does_what_it_says(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DICHROIC_SERVER", f"127.0.0.1:{running.grpc.port}")
    rng = np.random.default_rng(0)
    places = {"patch": rng.normal(size=(5, 1, 2)), "position": rng.normal(size=(5, 2)), "age": rng.normal(size=5)}
    for name, more in (("scan", {"y": np.zeros(5)}), ("places", {}), ("measured", {"y": np.zeros(5)})):
        np.savez(f"{name}.npz", **places, **more)  # type: ignore[arg-type]
    said: dict[str, str] = {}
    for command in commands("MechanismService"):
        words = command.split()
        name = " ".join(words[:2] if words[0] == "session" else words[:1])
        said[name] = await told(command.replace(" ID", f" {said.get('session create', '')}"), lambda: capsys.readouterr().out)
    assert list(said) == ["predict", "suggest", "session create", "session observe", "session delete"]
    assert said["session observe"].startswith("revision 2, 45 points; weights 1 1 1 1 1")
    with np.load("parts.npz") as parts:
        assert parts["part_mean"].shape == (5, 4)


async def test_every_curl_example_is_answered(running: Running) -> None:
    session_id, asked = "", []
    for line in block("session over HTTP").splitlines():
        prompt, program, silent, *words = shlex.split(line)
        assert (prompt, program, silent) == ("$", "curl", "-s")
        method = "POST"
        if words[0] == "-X":
            _, method, *words = words
        url, *words = words
        body = json.loads(words[1]) if words[:1] == ["-d"] else None
        path = url.removeprefix("localhost:3000").replace("$SESSION", session_id)
        answer = await running.http.request(method, path, json=body)
        assert answer.status_code == 200, f"{line}: {answer.text}"
        session_id = session_id or answer.json()["session_id"]
        asked.append((method, re.sub(r"/v1/(models|sessions)/[^/]+/?", r"\1 ", path).strip()))
    assert asked == [
        ("POST", "models sessions"),
        ("POST", "sessions suggest"),
        ("POST", "sessions observe"),
        ("POST", "sessions predict"),
        ("DELETE", "sessions"),
        ("POST", "models predict"),
        ("POST", "models suggest"),
    ]
