"""The command's calls of whole images: a frame, or many, in; maps out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic import ModelIdentity, ScaleSpectrum
from dichroic.cli_show import spectrum_table
from dichroic.errors import QueueFullError, UnsupportedCapabilityError
from dichroic.v1 import frames_pb2
from dichroic.wire import from_array
from tests.dichroic.conftest import saved
from tests.dichroic.fake_server import FakeServer

FRAME = np.arange(42, dtype=np.float32).reshape(6, 7)


@pytest.fixture
def scan(dichroic: Callable[..., int]) -> Callable[..., int]:
    """The command, in a folder that holds frame.npy, scan.npz, movie.npy and centres.npz."""
    np.save("frame.npy", FRAME)
    np.savez("scan.npz", frame=FRAME, other=np.zeros(3))
    np.save("movie.npy", np.stack([FRAME + number for number in range(5)]))
    np.savez("centres.npz", centres_px=np.array([[1.0, 2.0], [3.0, 4.0]]), grain=np.array([0, 1]))
    return dichroic


@pytest.mark.parametrize("name", ["frame.npy", "scan.npz"])
def test_map_writes_every_map_as_a_picture(scan: Callable[..., int], server: FakeServer, capsys: pytest.CaptureFixture[str], name: str) -> None:
    options = ("--window-px", "2", "3.5", "--pixel-size-nm", "2", "--stride-px", "1.5", "--explain", "--stage", "1", "--model-version", "3")
    assert scan("map", "toy", name, *options, "--out", "maps.npz") == 0
    found = saved("maps.npz")
    assert found["content_1"].shape == (2, 3, 2)
    assert found["content_2"][0, 0, 0] == np.float32(3.5)
    assert found["explained_2"].shape == found["valid_1"].shape == (2, 3)
    assert found["centres_px_1"].shape == (2, 3, 2)
    assert (found["window_px"].tolist(), found["window_nm"].tolist(), found["rows"].tolist()) == ([2, 3.5], [4, 7], [2, 2])
    assert (str(found["model_name"]), found["invalid_count"].tolist(), "scale_1" in found) == ("toy", [1, 1], False)
    assert capsys.readouterr().out.splitlines() == [
        "maps.npz: map 1, 2 px, stage 1, 2 x 3, 1 not valid",
        "maps.npz: map 2, 3.5 px, stage 2, 2 x 3, 1 not valid",
    ]
    (request,) = server.asked("EncodeFrame")
    assert (request.stride_px, request.explain, request.stage, request.model_version) == (1.5, True, 1, 3)


def test_map_at_centres_that_are_given(scan: Callable[..., int], server: FakeServer) -> None:
    assert (
        scan("map", "toy", "frame.npy", "--window-nm", "6", "--pixel-size-nm", "2", "--centre", "1", "2", "--centre", "3", "4", "--out", "a.npz") == 0
    )
    assert saved("a.npz")["content_1"].shape == (2, 2)
    assert scan("map", "toy", "frame.npy", "--centres", "centres.npz", "--out", "a.npz") == 0
    for request in server.asked("EncodeFrame"):
        assert from_array(request.centres_px, field="").tolist() == [[1, 2], [3, 4]]


def test_spectrum_prints_a_line_for_each_window(scan: Callable[..., int], server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--window-px", "2", "8", "--pixel-size-nm", "0.5", "--centres", "centres.npz", "--labels", "grain", "--out", "s.npz")
    assert scan("spectrum", "toy", "frame.npy", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["window", "px", "nm", "stage", "valid", "median", "explained", "separability"],
        ["2", "1", "1", "1", "0.5", "0.5"],
        ["8", "4", "2", "2", "0.5", "1"],
        ["classes", "can", "be", "told", "apart", "from", "8", "px", "on"],
    ]
    assert saved("s.npz")["separability"].tolist() == [0.5, 1]
    assert from_array(server.asked("ScaleSpectrum")[0].labels, field="").tolist() == [0, 1]
    assert scan("spectrum", "toy", "frame.npy", "--centre", "3", "3", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["separability"], told["explained"][0], len(told["window_px"])) == (None, [None], 3)
    assert scan("spectrum", "toy", "frame.npy", "--centre", "3", "3") == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["window", "px", "stage", "valid", "median", "explained"]


def _spectrum(**changes: Any) -> ScaleSpectrum:
    """Two windows, three points, of which one is not valid through the second and one is hardly explained."""
    latents = np.zeros((2, 3, 1), np.float32)
    explained = np.array([[0.75, -300, 0.25], [0.5, np.nan, 0.75]], np.float32)
    found = ScaleSpectrum(
        model=ModelIdentity("toy", 3, ""),
        frame_id="",
        acquisition_time_unix_ns=0,
        window_px=np.array([2.0, 8.0]),
        stage=np.array([1, 2]),
        valid=np.isfinite(explained),
        invalid_count=1,
        explained=explained,
        content=latents,
        latent_mean=latents,
        latent_sd=latents,
    )
    return replace(found, **changes)


def test_what_is_explained_is_the_median_over_the_valid_points() -> None:
    head, *rows = spectrum_table(_spectrum()).splitlines()
    assert head.split()[-2:] == ["median", "explained"]
    assert [row.split()[-2:] for row in rows] == [["3", "0.25"], ["2", "0.625"]]
    nowhere = spectrum_table(_spectrum(valid=np.zeros((2, 3), bool))).splitlines()
    assert [row.split()[-2:] for row in nowhere[1:]] == [["0", "nan"], ["0", "nan"]]


@pytest.mark.parametrize("separability", [[0.4, 0.6], [1.0, 0.8], [math.nan, math.nan]])
def test_classes_that_no_length_tells_apart_are_said_to_be_so(separability: list[float]) -> None:
    told = spectrum_table(_spectrum(separability=np.array(separability))).splitlines()
    assert len(told) == 4
    assert told[-1].startswith("the classes are not told apart: from none of these lengths on")
    apart = spectrum_table(_spectrum(separability=np.array([0.4, 1.0]), separable_from_px=8.0)).splitlines()
    assert apart[-1] == "classes can be told apart from 8 px on"
    assert len(spectrum_table(_spectrum()).splitlines()) == 3, "without labels nothing is said of classes"


def test_stream_writes_the_maps_of_all_frames(scan: Callable[..., int], server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert scan("stream", "toy", "movie.npy", "--window-px", "2", "3", "--stride-px", "1", "--max-in-flight", "3", "--out", "maps.npz") == 0
    found = saved("maps.npz")
    assert found["content_2"].shape == (5, 2, 3, 2)
    np.testing.assert_allclose(found["content_1"][:, 0, 0, 1], FRAME.mean() + np.arange(5))
    assert (found["sequence"].tolist(), found["invalid_count"].shape, found["window_px"].tolist()) == ([1, 2, 3, 4, 5], (5, 2), [2, 3])
    assert str(found["model_name"]) == "toy"
    assert capsys.readouterr().out == "maps.npz: 5 frames\n"
    (header,) = server.asked("StreamEncode")
    assert (header.max_in_flight, header.mode, header.stride_px) == (3, frames_pb2.STREAM_MODE_BLOCK, 1)
    server.drops = 2
    assert scan("stream", "toy", "movie.npy", "--drop-oldest", "--out", "maps.npz") == 0
    assert capsys.readouterr().out == "maps.npz: 5 frames, 2 dropped\n"
    assert server.asked("StreamEncode")[1].mode == frames_pb2.STREAM_MODE_DROP_OLDEST


def test_a_stream_with_a_bad_frame_names_it_and_writes_nothing(scan: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    np.save("movie.npy", np.stack([FRAME, np.full_like(FRAME, -1), FRAME]))
    assert scan("stream", "toy", "movie.npy", "--out", "maps.npz") == 2
    assert "INVALID_FIELD: frame 2 of 3: a frame of -1" in capsys.readouterr().err
    assert not Path("maps.npz").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["map", "toy", "frame.npy", "--stride-px", "0", "--out", "a.npz"], id="stride 0"),
        pytest.param(["map", "toy", "frame.npy", "--window-nm", "5", "--out", "a.npz"], id="no pixel size"),
        pytest.param(["map", "toy", "frame.npy", "--window-nm", "5", "--pixel-size-nm", "0", "--out", "a.npz"], id="pixel size 0"),
        pytest.param(["map", "toy", "movie.npy", "--centre", "1", "1", "--centres", "centres.npz", "--out", "a.npz"], id="centres twice"),
        pytest.param(["map", "toy", "frame.npy", "--out", "a.txt"], id="no .npz"),
        pytest.param(["map", "toy", "none.npy", "--out", "a.npz"], id="no file"),
        pytest.param(["spectrum", "toy", "frame.npy"], id="no points"),
        pytest.param(["spectrum", "toy", "frame.npy", "--centre", "1", "1", "--labels", "grain"], id="labels of no file"),
        pytest.param(["stream", "toy", "frame.npy", "--out", "a.npz"], id="a stream of one frame"),
        pytest.param(["stream", "toy", "movie.npy", "--max-in-flight", "0", "--out", "a.npz"], id="no credits"),
    ],
)
def test_what_cannot_be_used_exits_2(scan: Callable[..., int], server: FakeServer, arguments: list[str]) -> None:
    assert scan(*arguments) == 2
    assert not Path("a.npz").exists()
    assert server.asked("EncodeFrame") + server.asked("ScaleSpectrum") + server.asked("StreamEncode") == []


@pytest.mark.parametrize(("error", "code"), [(UnsupportedCapabilityError("no frames"), 2), (QueueFullError("full"), 3)])
def test_what_the_caller_can_mend_exits_2(scan: Callable[..., int], server: FakeServer, error: Exception, code: int) -> None:
    server.failures["EncodeFrame"] = [error]  # type: ignore[list-item]
    assert scan("map", "toy", "frame.npy", "--out", "a.npz") == code
