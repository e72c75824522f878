"""The file of maps survives what ends its writer."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.errors import InputError
from training.movies import maps_file
from training.movies.maps_file import WindowMaps, create, reopen

ROOT = Path(__file__).parents[3]
# Writes frames 0 and 1, and is killed when the third frame's arrays are written and `done` is not.
KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from training.movies.maps_file import WindowMaps, create
arrays = {"latent_mean": np.ones((3, 4, 2), np.float32), "class_index": np.ones((3, 4), np.int64)}
file = create(Path(sys.argv[1]), 6, [WindowMaps(arrays, {"window_px": 4.0}, {})], {"model": "toy"})
for t in range(2):
    file.write(t, [{name: values * (t + 5) for name, values in arrays.items()}])
file.flush()
settle = file._settle
def killed():
    settle()
    os.kill(os.getpid(), signal.SIGKILL)
file._settle = killed
file.write(2, [{name: values * 7 for name, values in arrays.items()}])
file.flush()
"""


def frame(t: int) -> dict[str, np.ndarray]:
    return {"latent_mean": np.full((3, 4, 2), t + 5, np.float32), "class_index": np.full((3, 4), t + 5)}


@pytest.mark.parametrize("name", ["maps.zarr", "maps.h5"])
def test_a_frame_is_done_only_once_its_arrays_are_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    with reopen(path) as file:
        assert file.facts["model"] == "toy"
        assert file.done.tolist() == [True, True, False, False, False, False]
        for t in range(2, 6):
            file.write(t, [frame(t)])
    with reopen(path, read_only=True) as file:
        assert file.done.all()
        for t in range(6):
            assert (np.asarray(file.groups[0]["latent_mean"][t]) == t + 5).all()
            assert (np.asarray(file.groups[0]["class_index"][t]) == t + 5).all()


@pytest.mark.parametrize("name", ["maps.zarr", "maps.h5"])
def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, window = tmp_path / name, WindowMaps(frame(0), {}, {})
    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", lambda self, target: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(InputError, match="No space left") as refused:
            create(path, 6, [window], {})
    assert refused.value.reason == "CANNOT_WRITE"
    assert not path.exists()
    with create(path, 6, [window], {}) as file:
        assert not file.done.any()
    assert sorted(tmp_path.iterdir()) == [path]


def test_frames_are_held_until_a_few_are_there_and_written_when_the_file_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps_file, "HELD_FRAMES", 3)
    with create(tmp_path / "maps.h5", 9, [WindowMaps(frame(0), {}, {})], {}) as file:
        for t, done in ((0, 0), (1, 0), (2, 3), (3, 3), (5, 4), (6, 4)):  # a gap ends a run
            file.write(t, [frame(t)])
            assert file.done.sum() == done
    with reopen(tmp_path / "maps.h5", read_only=True) as file:
        assert np.flatnonzero(file.done).tolist() == [0, 1, 2, 3, 5, 6]


def test_maps_of_other_shapes_are_refused(tmp_path: Path) -> None:
    with create(tmp_path / "maps.h5", 9, [WindowMaps(frame(0), {}, {})], {}) as file, pytest.raises(InputError) as refused:
        file.write(0, [{name: values[:2] for name, values in frame(0).items()}])
    assert refused.value.reason == "RESUME_MISMATCH"


def test_what_a_kill_left_of_a_chunk_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "maps.zarr"
    create(path, 9, [WindowMaps(frame(0), {}, {})], {})
    left = path / "latent_mean" / "0.abc.partial"
    left.write_bytes(b"half a chunk")
    with reopen(path):
        assert not left.exists()


def test_two_runs_do_not_write_one_hdf5_file(tmp_path: Path) -> None:
    path = tmp_path / "maps.h5"
    code = "import sys; from pathlib import Path; from training.movies.maps_file import reopen; reopen(Path(sys.argv[1]))"
    with create(path, 9, [WindowMaps(frame(0), {}, {})], {}):
        ended = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "is being written by another process" in ended.stderr
