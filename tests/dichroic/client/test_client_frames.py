"""Whole images through both clients: values become what the wire takes, and answers are named arrays."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dichroic import LatentMap
from dichroic.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidFieldError,
    InvalidTensorError,
    MessageTooLargeError,
    QueueFullError,
    UnsupportedCapabilityError,
)
from dichroic.wire import from_array, to_array
from tests.dichroic.fake_server import FakeServer

FRAME = np.arange(42, dtype=np.float32).reshape(6, 7)


def test_a_frame_becomes_maps_under_their_names(client: Any, server: FakeServer) -> None:
    found = client.encode_frame(
        "toy", FRAME, window_px=[2, 4.5], pixel_size_nm=3, stride_px=1.5, stage=2, explain=True, frame_id="f", acquisition_time_unix_ns=7
    )
    assert (found.model.name, found.model.version, found.frame_id, found.acquisition_time_unix_ns) == ("toy", 3, "f", 7)
    assert [(each.window_px, each.window_nm, each.stage, each.evaluated, each.invalid_count) for each in found.maps] == [
        (2, 6, 1, "dense", 1),
        (4.5, 13.5, 2, "dense", 1),
    ]
    first: LatentMap = found.maps[0]
    assert first.valid.tolist() == [True, False, True, True, True, True]
    np.testing.assert_array_equal(first.content[0], [2, FRAME.mean()])
    assert np.isnan(first.content[1]).all()
    assert first.on_grid(first.content).shape == (2, 3, 2)
    np.testing.assert_array_equal(first.on_grid(first.centres_px)[1, 0], [6, 7])
    assert (first.explained.shape, first.angle_rad.shape, first.scale, first.class_index) == ((6,), (6,), None, None)
    first.content[:] = 0  # the caller's own
    request = server.asked("EncodeFrame")[0]
    assert (list(request.window_px), list(request.window_nm), request.pixel_size_nm, request.stride_px) == ([2, 4.5], [], 3, 1.5)
    assert (request.stage, request.explain, request.model_version) == (2, True, 0)
    np.testing.assert_array_equal(from_array(request.frame, field="frame"), FRAME)


def test_what_is_not_given_is_not_sent(client: Any, server: FakeServer) -> None:
    found = client.encode_frame("toy", FRAME)
    request = server.asked("EncodeFrame")[0]
    assert (list(request.window_px), request.pixel_size_nm, request.stride_px, request.stage, request.explain) == ([], 0, 0, 0, False)
    assert not request.HasField("centres_px")
    assert found.maps[0].explained is None


@pytest.mark.parametrize("centres", [[[1, 2], [3, 4]], np.array([[1, 2], [3, 4]], np.float32), [1, 2]])
def test_centres_are_sent_as_float64_and_have_no_grid(client: Any, server: FakeServer, centres: Any) -> None:
    (found,) = client.encode_frame("toy", FRAME, window_nm=6, pixel_size_nm=3, centres_px=centres).maps
    request = server.asked("EncodeFrame")[0]
    assert list(request.window_nm) == [6]
    assert from_array(request.centres_px, field="").dtype == np.float64
    np.testing.assert_array_equal(found.centres_px, np.atleast_2d(centres))
    with pytest.raises(InvalidFieldError, match="no grid"):
        found.on_grid(found.content)


def test_pixels_that_are_not_finite_are_sent_and_float64_is_float32(client: Any, server: FakeServer) -> None:
    frame = FRAME.astype(np.float64)
    frame[0, 0], frame[0, 1], frame[0, 2] = np.nan, -np.inf, 1e300
    client.encode_frame("toy", frame)
    sent = from_array(server.asked("EncodeFrame")[0].frame, field="frame")
    assert sent.dtype == np.float32
    assert np.isnan(sent[0, 0])
    assert sent[0, 1:3].tolist() == [-math.inf, math.inf]
    client.encode_frame("toy", FRAME.astype(">u2"))
    assert from_array(server.asked("EncodeFrame")[1].frame, field="frame").dtype == np.uint16


def test_a_spectrum_is_told_with_and_without_labels(client: Any, server: FakeServer) -> None:
    found = client.scale_spectrum("toy", FRAME, [[3, 3], [2, 2]], labels=[0, 1], window_px=[2, 3], pixel_size_nm=2, stage=1, frame_id="f")
    assert (found.window_px.tolist(), found.window_nm.tolist(), found.stage.tolist(), found.frame_id) == ([2, 3], [4, 6], [1, 2], "f")
    assert (found.separability.tolist(), found.separable_from_px, found.separable_from_nm) == ([0.5, 1], 3, 6)
    assert (found.latent_mean.shape, found.valid.tolist(), found.invalid_count) == ((2, 2, 2), [[False, True], [True, True]], 1)
    assert from_array(server.asked("ScaleSpectrum")[0].labels, field="").dtype == np.int64
    plain = client.scale_spectrum("toy", FRAME, [3, 3])
    assert (plain.separability, plain.separable_from_px, plain.separable_from_nm, plain.window_nm) == (None, None, None, None)
    assert len(plain.window_px) == 3


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a batch axis": ({"frame": FRAME[None, None]}, InvalidTensorError, "frame"),
    "a row": ({"frame": FRAME[0]}, InvalidTensorError, "frame"),
    "nothing": ({"frame": FRAME[:0]}, InvalidTensorError, "frame"),
    "int64": ({"frame": FRAME.astype(int)}, InvalidTensorError, "frame"),
    "a mask": ({"frame": np.ma.masked_less(FRAME, 3)}, InvalidTensorError, "frame"),
    "stride 0": ({"stride_px": 0}, InvalidFieldError, "stride_px"),
    "stride that is no number": ({"stride_px": math.nan}, InvalidFieldError, "stride_px"),
    "pixel size 0": ({"pixel_size_nm": 0, "window_nm": [3]}, InvalidFieldError, "pixel_size_nm"),
    "pixel size missing": ({"window_nm": [3]}, InvalidFieldError, "pixel_size_nm"),
    "window 0": ({"window_px": [3, 0]}, InvalidFieldError, "window_px"),
    "no window": ({"window_px": []}, InvalidFieldError, "window_px"),
    "stage below 0": ({"stage": -1}, InvalidFieldError, "stage"),
    "centres of three": ({"centres_px": [[1, 2, 3]]}, InvalidTensorError, "centres_px"),
    "no model": ({"model_name": ""}, InvalidFieldError, "model_name"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_meant_is_refused_before_it_is_sent(client: Any, server: FakeServer, case: str) -> None:
    change, kind, field = BAD[case]
    given = {"model_name": "toy", "frame": FRAME} | change
    with pytest.raises(kind) as found:
        client.encode_frame(given.pop("model_name"), given.pop("frame"), **given)
    assert found.value.field == field
    assert server.asked("EncodeFrame") == []


@pytest.mark.parametrize("labels", [[0.5, 1.0], [[0, 1]], "ab"])
def test_labels_are_whole_numbers(client: Any, labels: Any) -> None:
    with pytest.raises(InvalidTensorError, match="whole numbers"):
        client.scale_spectrum("toy", FRAME, [[3, 3], [2, 2]], labels=labels)


def test_a_busy_server_is_asked_again_and_a_refusal_is_raised(client: Any, server: FakeServer, time: Any) -> None:
    server.failures["EncodeFrame"] = [QueueFullError("full", retry_delay_s=2.0)]
    server.failures["ScaleSpectrum"] = [UnsupportedCapabilityError("no frames")]
    client.encode_frame("toy", FRAME)
    assert time.slept_s[0] >= 2
    with pytest.raises(UnsupportedCapabilityError):
        client.scale_spectrum("toy", FRAME, [3, 3])


def test_a_frame_that_takes_too_long_is_told_to_have_fewer_windows(client: Any, server: FakeServer) -> None:
    over = threading.Event()
    server.on_call = lambda seen: over.wait(20)
    try:
        with pytest.raises(DeadlineExceededError, match="raise timeout_s or ask for fewer windows: a larger stride_px, or centres_px") as grid:
            client.encode_frame("toy", FRAME, timeout_s=0.05)
        with pytest.raises(DeadlineExceededError, match="fewer centres_px, or fewer lengths"):
            client.encode_frame("toy", FRAME, centres_px=[3, 3], timeout_s=0.05)
        with pytest.raises(DeadlineExceededError, match="fewer centres_px, or fewer lengths"):
            client.scale_spectrum("toy", FRAME, [3, 3], timeout_s=0.05)
    finally:
        over.set()
    assert "send less" not in grid.value.message
    assert str(grid.value) == grid.value.message


def test_what_the_server_says_of_a_frame_that_took_too_long_stays(client: Any, server: FakeServer) -> None:
    server.failures["EncodeFrame"] = [DeadlineExceededError("before all 9 windows were encoded: a larger stride_px")]
    with pytest.raises(DeadlineExceededError, match=r"^before all 9 windows were encoded: a larger stride_px$"):
        client.encode_frame("toy", FRAME)


def test_a_frame_larger_than_the_server_receives_is_not_sent_once_that_is_known(connect: Callable[..., Any], server: FakeServer) -> None:
    server.max_message_bytes = 4000
    client = connect(server.address)
    client.model("toy")
    with pytest.raises(MessageTooLargeError, match="crop or bin"):
        client.encode_frame("toy", np.zeros((100, 100), np.float32))
    assert server.asked("EncodeFrame") == []


def test_an_answer_that_cannot_be_read_is_our_fault(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # One row fewer of whatever has one axis: then a map's arrays have different rows.
    monkeypatch.setattr("tests.dichroic.fake_frames.to_array", lambda values: to_array(values[1:] if values.ndim == 1 else values))
    with pytest.raises(InternalError, match="rows of"):
        client.encode_frame("toy", FRAME)
