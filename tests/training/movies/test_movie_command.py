"""`python -m training movie` as a user runs it, against a service as a user runs it: killed half-way, in bounded memory."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from benchmarks.processes import high_water_bytes
from tests.toy_frames import ToyFrames, write_frames
from tests.training.movies.conftest import MOVIE
from training.__main__ import main
from training.local_service import LocalService, running_service
from training.movies.encoding import MOST_IN_FLIGHT
from training.movies.maps_file import HELD_FRAMES, reopen
from training.movies.stopping import STOPPING, stop_on_interrupt

ROOT = Path(__file__).parents[3]
FRAMES, SIDE, WINDOW = 300, 512, 32
TOY = ToyFrames()


@dataclass(frozen=True)
class Home:
    """A folder with movie.zarr of 315 MB, of which every tenth frame is stored, and a service of the toy."""

    folder: Path
    service: LocalService

    def command(self, out: str, *options: str) -> list[str]:
        place = ["--server", self.service.grpc_address, "--window-px", str(WINDOW), "--stride-px", str(WINDOW)]
        return [sys.executable, "-m", "training", "movie", "movie.zarr", "--model", "frames", "--out", out, *place, *options]

    def start(self, out: str, *options: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(self.command(out, *options), cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def answered(self) -> int:
        """How many frames the service has encoded in streams."""
        with urllib.request.urlopen(f"{self.service.http_url}/metrics", timeout=10) as page:  # noqa: S310 - loopback
            found = re.search(r'dichroic_stream_frames_total\{model="frames",outcome="answered"\} (\S+)', page.read().decode())
        return int(float(found.group(1))) if found else 0

    def until_done(self, out: str, process: subprocess.Popen[bytes], count: int) -> None:
        """Waits until so many frames are in the file."""
        while not (self.folder / out).exists() or len(done(self.folder / out)) < count:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)


def done(path: Path) -> Any:
    with reopen(path, read_only=True) as file:
        return np.flatnonzero(file.done)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("movie")
    write_frames(folder / "bundles", TOY)
    movie = zarr.create_array(folder / "movie.zarr", shape=(FRAMES, SIDE, SIDE), chunks=(1, SIDE, SIDE), dtype="float32", fill_value=0)
    random = np.random.default_rng(0)
    for t in range(0, FRAMES, 10):
        movie[t] = random.integers(0, 4, (SIDE, SIDE)) / np.float32(4)
    with running_service(folder / "bundles") as service:
        yield Home(folder, service)


def test_a_run_that_is_killed_goes_on_with_nothing_encoded_twice_or_lost(home: Home) -> None:
    # Tests run in any order: another's frames are no part of this one's count.
    begun = settled(home)
    whole = home.start("whole.h5", "--json")
    peak = 0
    while whole.poll() is None:
        peak = max(peak, high_water_bytes(whole.pid))
        time.sleep(0.02)
    told, errors = whole.communicate()
    assert whole.returncode == 0, errors.decode()
    said = json.loads(told)
    assert (said["frames"], said["encoded"], Path(said["picture"]).suffix) == (FRAMES, FRAMES, ".png")
    # The interpreter with its libraries takes 0.25 GB, and runs of frames a little; with the movie, 0.3 GB, it would be 0.6.
    assert 0 < peak < 0.42e9

    before = home.answered()
    assert before - begun == FRAMES
    killed = home.start("killed.zarr", "--no-picture")
    home.until_done("killed.zarr", killed, FRAMES // 3)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    kept = done(home.folder / "killed.zarr")
    assert FRAMES // 3 <= len(kept) < FRAMES
    answered = settled(home)
    assert answered - before - len(kept) <= MOST_IN_FLIGHT + HELD_FRAMES

    resumed = home.start("killed.zarr", "--resume", "--json", "--no-picture")
    told, errors = resumed.communicate()
    assert resumed.returncode == 0, errors.decode()
    assert json.loads(told)["encoded"] == FRAMES - len(kept) == home.answered() - answered

    with reopen(home.folder / "whole.h5", read_only=True) as one, reopen(home.folder / "killed.zarr", read_only=True) as other:
        assert one.done.all()
        assert other.done.all()
        for name in ("latent_mean", "content", "class_index", "valid", "shift_down_px", "centres_px"):
            np.testing.assert_array_equal(np.asarray(one.groups[0][name][...]), np.asarray(other.groups[0][name][...]), err_msg=name)
        centres = np.asarray(one.groups[0]["centres_px"][...]).reshape(-1, 2)[:3]
        frame = np.asarray(zarr.open_array(home.folder / "movie.zarr", mode="r")[20])
        found = np.asarray(one.groups[0]["latent_mean"][20]).reshape(-1, 2)[:3]
    np.testing.assert_allclose(found, TOY.encode_frame(frame, centres, float(WINDOW), 2)["latent_mean"], atol=1e-4)


def settled(home: Home) -> int:
    """How many frames are encoded once the stream of a killed command is closed."""
    count, later = -1, home.answered()
    while count != later:
        time.sleep(0.5)
        count, later = later, home.answered()
    return count


@pytest.mark.usefixtures("interrupts_heard")
def test_ctrl_c_leaves_a_file_to_go_on_with(home: Home) -> None:
    before = settled(home)
    with home.start("stopped.zarr", "--no-picture") as process:
        home.until_done("stopped.zarr", process, 1)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    kept = done(home.folder / "stopped.zarr")
    # What was on its way is waited for: nothing is encoded in vain.
    assert len(kept) == settled(home) - before < FRAMES
    assert f"{len(kept)} of {FRAMES} frames are done" in errors.decode()
    assert STOPPING in errors
    assert "--resume" in errors.decode()


@pytest.mark.usefixtures("interrupts_heard")
def test_only_the_second_ctrl_c_breaks_in() -> None:
    with stop_on_interrupt() as stop:
        assert not stop.asked
        signal.raise_signal(signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_on_interrupt() as stop:
            signal.raise_signal(signal.SIGINT)
        assert not stop.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--model", "nothing"], "UNKNOWN_MODEL"),
        (["--channel", "nothing"], "UNKNOWN_CHANNEL"),
        (["--window-px", "513"], "WINDOW"),
        (["--window-px", "32", "--out", "maps.npz"], "UNKNOWN_FORMAT"),
    ],
)
def test_bad_input_is_told_in_a_line(home: Home, options: list[str], reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(home.folder)
    # The last of an option that is given twice counts.
    arguments = [*home.command("bad.zarr")[3:], *options]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"{reason}: ")
    assert not (home.folder / "bad.zarr").exists()


@pytest.mark.usefixtures("encode")
def test_the_summary_tells_windows_that_touch_nan_from_positions_that_are_absent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    movie = MOVIE.copy()
    movie[4, 6:10, 6:10] = np.nan
    np.save(tmp_path / "holes.npy", movie)
    positions = np.full((9, 2, 2), 8.0)
    positions[:3, 1] = np.nan
    np.save(tmp_path / "tracks.npy", positions)
    command = ["movie", str(tmp_path / "holes.npy"), "--model", "frames", "--server", "nowhere", "--window-px", "6", "--no-picture"]
    tracked = [*command, "--positions", str(tmp_path / "tracks.npy")]
    assert main([*tracked, "--out", str(tmp_path / "maps.zarr")]) == 0
    assert "windows that touch NaN or infinity: 2; absent positions: 3 of 18" in capsys.readouterr().out.splitlines()
    assert main([*tracked, "--out", str(tmp_path / "maps.h5"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["invalid_windows"], told["positions"], told["absent_positions"]) == (2, 18, 3)
    assert main([*command, "--stride-px", "6", "--out", str(tmp_path / "grid.zarr")]) == 0
    assert "windows that touch NaN or infinity: 1" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("options", [["--model", "frames:0"], ["--window-px", "0"], ["--window-px", "4", "--window-nm", "8"], ["--stride-px", "nan"]])
def test_options_that_make_no_sense_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["movie", "movie.zarr", "--model", "frames", "--out", "maps.zarr", *options])
    assert refused.value.code == 2
    assert options[-2] in capsys.readouterr().err
