"""From a movie to its maps, by a client whose answers numpy knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from dichroic.errors import DichroicError, InvalidTensorError, QueueFullError, ServerUnreachableError
from tests.training.movies.conftest import MOVIE, Encode
from tests.training.movies.fake_client import FakeClient, toy_map
from training.errors import InputError
from training.movies import maps_file, progress
from training.movies.maps_file import reopen
from training.movies.pipeline import Interrupted


def arrays(path: Path, window: int = 0) -> dict[str, Any]:
    with reopen(path, read_only=True) as file:
        assert file.done.all()
        return {name: np.asarray(file.groups[window][name][...]) for name in file.groups[window] if not name.startswith("window")}


def same(one: Path, other: Path) -> None:
    first, second = arrays(one), arrays(other)
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


@pytest.mark.parametrize("out", ["maps.zarr", "maps.h5"])
def test_every_frame_has_the_maps_that_it_would_have_alone(encode: Encode, tmp_path: Path, out: str) -> None:
    written = encode(out, window_px=(6.0,), stride_px=3.0)
    found = arrays(tmp_path / out)
    for t, frame in enumerate(MOVIE):
        wanted = toy_map(frame, 6.0, 3.0, None, 0.0)
        np.testing.assert_array_equal(found["latent_mean"][t].reshape(-1, 2), wanted.latent_mean)
        np.testing.assert_array_equal(found["class_index"][t].ravel(), wanted.class_index)
    assert found["latent_mean"].shape == (9, 5, 7, 2)
    assert found["valid"].all()
    np.testing.assert_array_equal(found["centres_px"][:2, 1], [[3, 6], [6, 6]])
    assert (written.frames, written.encoded, written.invalid_windows) == (9, 9, 0)
    assert (written.positions, written.absent_positions) == (0, 0)
    assert (written.facts["model_digest"], written.facts["movie_shape"]) == ("a" * 64, [9, 20, 24])


def test_the_models_own_windows_make_one_group_each_and_nm_need_a_pixel_size(encode: Encode, tmp_path: Path) -> None:
    encode("maps.zarr", pixel_size_nm=1.0)
    with reopen(tmp_path / "maps.zarr", read_only=True) as file:
        assert [float(group.attrs["window_px"]) for group in file.groups] == [8.0, 16.0]
        assert [int(group.attrs["stage"]) for group in file.groups] == [2, 2]
    with pytest.raises(InputError, match="pixel-size-nm") as refused:
        encode("other.zarr", window_nm=(8.0,))
    assert refused.value.reason == "PIXEL_SIZE"


def test_windows_that_touch_nan_are_not_valid_and_counted(encode: Encode, tmp_path: Path) -> None:
    movie = MOVIE.copy()
    movie[4, :2, :3] = np.nan
    np.save(tmp_path / "holes.npy", movie)
    written = encode("maps.zarr", movie="holes.npy", window_px=(4.0,), stride_px=4.0)
    found = arrays(tmp_path / "maps.zarr")
    assert written.invalid_windows == 1
    assert found["invalid_count"].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert np.argwhere(~found["valid"]).tolist() == [[4, 0, 0]]
    assert np.argwhere(np.isnan(found["latent_mean"][..., 0])).tolist() == [[4, 0, 0]]
    assert found["class_index"][4, 0, 0] == -1


@pytest.mark.parametrize("out", ["tracks.zarr", "tracks.h5"])
def test_positions_are_followed_and_nan_where_a_track_is_absent(encode: Encode, client: FakeClient, tmp_path: Path, out: str) -> None:
    positions = np.full((9, 2, 2), 8.0)
    positions[:, 0, 1] += np.arange(9)
    positions[:3, 1] = np.nan
    positions[5] = np.nan
    written = encode(out, positions=positions, window_px=(6.0,))
    assert (written.invalid_windows, written.positions, written.absent_positions) == (0, 18, 5)
    found = arrays(tmp_path / out)
    assert found["latent_mean"].shape == (9, 2, 2)
    assert found["valid"].tolist() == [[t != 5, t > 2 and t != 5] for t in range(9)]
    assert np.isnan(found["latent_mean"][~found["valid"]]).all()
    for t in (0, 8):
        np.testing.assert_array_equal(found["latent_mean"][t, 0], toy_map(MOVIE[t], 6.0, None, positions[t, :1], 0.0).latent_mean[0])
    assert len(client.asked) == 8


def test_places_that_stay_are_asked_in_one_stream(encode: Encode, client: FakeClient, tmp_path: Path) -> None:
    written = encode("fixed.zarr", positions=np.array([[8.0, 8], [np.nan, np.nan], [9, 12]]), window_px=(6.0,))
    assert (written.invalid_windows, written.positions, written.absent_positions) == (0, 27, 9)
    assert client.asked == [str(t) for t in range(9)]
    found = arrays(tmp_path / "fixed.zarr")
    assert found["valid"].tolist() == [[True, False, True]] * 9
    np.testing.assert_array_equal(found["latent_mean"][3, 2], toy_map(MOVIE[3], 6.0, None, np.array([[9.0, 12]]), 0.0).latent_mean[0])


@pytest.mark.parametrize("out", ["maps.zarr", "maps.h5"])
def test_an_interrupted_run_goes_on_where_it_was(
    encode: Encode, client: FakeClient, tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps_file, "HELD_FRAMES", 3)

    def interrupt(asked: int, name: str) -> None:
        if asked == 5:
            raise KeyboardInterrupt

    client.fails = interrupt
    with pytest.raises(Interrupted) as stopped:
        encode(out, window_px=(6.0,))
    assert (stopped.value.done, stopped.value.frames) == (5, 9)
    client.fails = lambda asked, name: None
    assert encode(out, window_px=(6.0,), resume=True).encoded == 4
    assert client.asked == [str(t) for t in range(9)]
    assert encode(out, window_px=(6.0,), resume=True).encoded == 0
    encode("whole.zarr", window_px=(6.0,))
    same(tmp_path / out, tmp_path / "whole.zarr")


def test_a_run_that_nobody_looks_at_says_every_so_often_how_far_it_is(
    encode: Encode, client: FakeClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def pass_time(asked: int, name: str) -> None:
        now[0] += 12

    client.fails = pass_time
    encode("maps.zarr", window_px=(6.0,))
    assert capsys.readouterr().err.splitlines() == [
        "movie: 3 of 9 frames, 33 %, 72 s left",
        "movie: 6 of 9 frames, 66 %, 36 s left",
        "movie: 9 of 9 frames, 100 %, 0 s left",
    ]


def test_a_service_that_is_too_busy_is_asked_again(encode: Encode, client: FakeClient, tmp_path: Path) -> None:
    busy = QueueFullError("full", retry_delay_s=0.001)
    client.fails = lambda asked, name: busy if asked in (0, 3, 4) else None
    encode("maps.zarr", window_px=(6.0,))
    assert client.asked == [*map(str, range(9)), "0", "3", "4"]
    client.asked.clear()
    client.fails = lambda asked, name: None
    encode("whole.zarr", window_px=(6.0,))
    same(tmp_path / "maps.zarr", tmp_path / "whole.zarr")


def test_one_that_stays_too_busy_is_not_asked_for_ever(encode: Encode, client: FakeClient) -> None:
    client.fails = lambda asked, name: QueueFullError("full", retry_delay_s=1e-6)
    with pytest.raises(InputError) as refused:
        encode("maps.zarr", window_px=(6.0,))
    assert refused.value.reason == "QUEUE_FULL"


def test_what_a_frame_is_refused_for_is_told_with_its_number(encode: Encode, client: FakeClient) -> None:
    client.fails = lambda asked, name: InvalidTensorError("frame is complex.") if name == "6" else None
    with pytest.raises(InputError, match=r"Frame 6 .*frame is complex") as refused:
        encode("maps.zarr", window_px=(6.0,))
    assert refused.value.reason == "INVALID_TENSOR"


def test_a_service_that_is_gone_leaves_what_is_done(encode: Encode, client: FakeClient, tmp_path: Path) -> None:
    def gone(asked: int, name: str) -> DichroicError | None:
        if asked == 5:
            raise ServerUnreachableError("nobody is there")
        return None

    client.fails = gone
    with pytest.raises(InputError, match="--resume") as refused:
        encode("maps.zarr", window_px=(6.0,))
    assert refused.value.reason == "SERVER_UNREACHABLE"
    with reopen(tmp_path / "maps.zarr", read_only=True) as file:
        assert file.done.tolist() == [True] * 5 + [False] * 4


@pytest.mark.parametrize("change", ["model", "window", "stride", "movie", "positions"])
def test_another_model_window_or_movie_is_refused_on_resume(encode: Encode, client: FakeClient, tmp_path: Path, change: str) -> None:
    encode("maps.zarr", window_px=(6.0,), stride_px=3.0)
    with pytest.raises(InputError) as there:
        encode("maps.zarr", window_px=(6.0,), stride_px=3.0)
    assert there.value.reason == "FILE_EXISTS"
    np.save(tmp_path / "other.npy", MOVIE + 1)
    if change == "model":
        client.digest = "b" * 64
    wish: dict[str, Any] = {"window_px": (5.0 if change == "window" else 6.0,), "stride_px": {"stride": 2.0, "positions": None}.get(change, 3.0)}
    if change == "positions":
        wish["positions"] = np.array([[9.0, 9]])
    name = {"model": "model_digest", "window": "lengths_px", "stride": "stride_px", "movie": "first_frame_sha256", "positions": "positions_sha256"}
    with pytest.raises(InputError, match=name[change]) as refused:
        encode("maps.zarr", movie="other.npy" if change == "movie" else "movie.zarr", resume=True, **wish)
    assert refused.value.reason == "RESUME_MISMATCH"


def test_a_model_that_is_replaced_while_it_runs_stops_the_run(encode: Encode, client: FakeClient) -> None:
    def replace(asked: int, name: str) -> None:
        client.digest = "b" * 64 if asked == 4 else client.digest

    client.fails = replace
    with pytest.raises(InputError) as refused:
        encode("maps.zarr", window_px=(6.0,))
    assert refused.value.reason == "MODEL_CHANGED"


def test_a_window_larger_than_the_frame_is_told_before_anything_is_sent(encode: Encode, client: FakeClient, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="20 × 24") as refused:
        encode("maps.zarr", window_px=(4.0, 21.0))
    assert refused.value.reason == "WINDOW"
    assert client.asked == []
    assert not (tmp_path / "maps.zarr").exists()


@pytest.mark.parametrize(
    ("positions", "told"),
    [
        (np.array([[9.0, 9], [2.9, 9]]), r"track 1 .*does not lie inside"),
        (np.where(np.arange(36).reshape(9, 2, 2) == 21, 22.0, 9.0), r"track 0 in frame 5 "),
        (np.array([[9.0, np.nan]]), "NaN"),
        (np.full((2, 2), np.nan), "no track"),
        (np.full((8, 1, 2), 9.0), "of 9 frames"),
        (np.full((9, 1, 3), 9.0), r"\(p, 2\) or \(t, p, 2\)"),
    ],
)
def test_positions_that_cannot_be_looked_at_are_told_with_their_place(encode: Encode, client: FakeClient, positions: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as refused:
        encode("maps.zarr", positions=positions, window_px=(6.0,))
    assert refused.value.reason == "POSITIONS"
    assert client.asked == []


def test_a_file_of_another_kind_is_left_alone(encode: Encode, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "maps.zarr", data=MOVIE)
    for out, reason in (("maps.zarr", "NOT_MAPS"), ("maps.png", "UNKNOWN_FORMAT")):
        with pytest.raises(InputError) as refused:
            encode(out, window_px=(6.0,), resume=True)
        assert refused.value.reason == reason
    assert (zarr.open_array(tmp_path / "maps.zarr", mode="r")[...] == MOVIE).all()


def test_a_file_of_positions_that_is_none_is_called_by_its_name_and_never_to_be_loaded_unsafely(
    encode: Encode, client: FakeClient, tmp_path: Path
) -> None:
    for name, content in (("tracks.h5", b"\x89HDF\r\n\x1a\n" + bytes(99)), ("tracks.npy", b"row,column")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"reads \.npy and \.npz") as refused:
            encode("maps.zarr", positions=tmp_path / name, window_px=(6.0,))
        assert refused.value.reason == "UNREADABLE_FILE"
        assert "unsafe" not in str(refused.value)
    with pytest.raises(InputError, match="holds Python objects") as refused:
        encode("maps.zarr", positions=np.array([{}]), window_px=(6.0,))
    assert "pickle" not in str(refused.value)
    assert client.asked == []
