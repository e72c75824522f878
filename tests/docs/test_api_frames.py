"""The examples of docs/api.md for whole images run as they stand, against the real room."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic.cli import main
from tests.docs.page import PAGE, block
from tests.services.conftest import Running, running_on
from tests.toy_frames import NDArray, ToyFrames, write_frames

SIDE = 48


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A server that has the model `scales` of the page."""
    write_frames(tmp_path / "bundles", ToyFrames(), name="scales")
    async with running_on(tmp_path / "bundles") as found:
        yield found


def scan() -> NDArray:
    """Noise, with one half brighter."""
    frame = 0.5 * np.random.default_rng(0).random((SIDE, SIDE))
    frame[:, SIDE // 2 :] += 0.4
    return frame.astype(np.float32)


def camera() -> Iterator[NDArray]:
    """Three frames, the second of which is none for windows of 8 px."""
    yield from (scan(), scan()[:5], scan())


async def test_the_python_example_runs_and_prints_what_it_says(running: Running) -> None:
    code = block("frames").replace("localhost:50051", f"127.0.0.1:{running.grpc.port}")
    promised = PAGE.split("<!-- tested: frames -->")[1].split("```text\n")[1].split("```")[0]
    names: dict[str, Any] = {"frame": scan(), "camera": camera}
    printed = io.StringIO()

    def run() -> None:
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "docs/api.md", "exec"), names)  # noqa: S102 - the page's own code

    await asyncio.to_thread(run)
    assert printed.getvalue() == promised


async def test_every_command_of_the_table_does_what_it_says(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DICHROIC_SERVER", f"127.0.0.1:{running.grpc.port}")
    np.save("frame.npy", scan())
    np.save("movie.npy", np.stack([scan(), scan(), scan()]))
    points = np.array([[20.0, 10], [24, 14], [20, 36], [24, 34]])
    np.savez("points.npz", centres_px=points, grain=np.array([0, 0, 1, 1]))
    commands = re.findall(r"^\| `LatentService\.(?:EncodeFrame|StreamEncode|ScaleSpectrum)` .*\| `dichroic (.+)` \|$", PAGE, flags=re.MULTILINE)
    for command in commands:
        assert await asyncio.to_thread(main, shlex.split(command)) == 0, command
        if command.startswith("map"):
            with np.load("maps.npz") as maps:
                assert maps["content_1"].shape[-1] == 2
    assert [command.split()[0] for command in commands] == ["map", "stream", "spectrum"]
    with np.load("maps.npz") as maps:
        assert maps["content_2"].shape[0] == 3
    assert "separability" in capsys.readouterr().out


async def test_every_curl_example_is_answered_and_streams_are_not_of_http(running: Running) -> None:
    asked = []
    for line in block("frames over HTTP").splitlines():
        prompt, program, silent, url, flag, body = shlex.split(line)
        assert (prompt, program, silent, flag) == ("$", "curl", "-s", "-d")
        path = url.removeprefix("localhost:3000")
        answer = await running.http.post(path, json=json.loads(body))
        assert answer.status_code == 200, f"{line}: {answer.text}"
        asked.append(path.rsplit("/", 1)[1])
    assert asked == ["encode_frame", "scale_spectrum"]
    assert (await running.http.post("/v1/models/scales/stream_encode")).status_code == 501
