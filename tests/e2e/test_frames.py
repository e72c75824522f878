"""Whole images through a real service: right numbers, streams that outlive bad frames and callers that stop reading, and an end in time."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dichroic import Client
from dichroic.errors import DichroicError
from tests.e2e.conftest import Service, serve
from tests.toy_frames import NDArray, ToyFrames, grid, write_frames

TOY = ToyFrames()
FRAME = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("frames")
    write_frames(home / "bundles", TOY)
    with serve(home / "bundles", home / "log", drain_s="10") as running:
        yield running


def resident_bytes(process: int) -> int:
    """What a process holds in memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def test_maps_spectra_and_streams_are_the_models(service: Service) -> None:
    with Client(service.address) as client:
        for found in client.encode_frame("frames", FRAME, pixel_size_nm=2).maps:
            centres = grid(64, 48, found.window_px, found.window_px / 4)
            told = TOY.encode_frame(FRAME, centres, found.window_px, found.stage)
            assert found.evaluated == "dense"
            np.testing.assert_allclose(found.content, told["content"], atol=1e-5)
        spectrum = client.scale_spectrum("frames", FRAME, [[30, 20], [32, 24]], window_px=[4, 8])
        np.testing.assert_allclose(spectrum.content[1], TOY.encode_frame(FRAME, np.array([[30, 20], [32, 24]]), 8, 2)["content"], atol=1e-5)
        frames = [np.roll(FRAME, shift, axis=0) for shift in range(40)]
        for shift, answer in enumerate(client.stream_encode("frames", [*frames[:5], FRAME[:3], *frames[6:]], window_px=8, stride_px=4)):
            assert answer.sequence == shift + 1
            if shift == 5:
                assert "larger than the frame" in str(answer.error)
                continue
            told = TOY.encode_frame(frames[shift], grid(64, 48, 8, 4), 8, 2)
            np.testing.assert_allclose(answer.maps[0].content, told["content"], atol=1e-5)
    metrics = service.get("/metrics")[1]
    assert 'method="EncodeFrame",model="frames"' in metrics
    assert 'dichroic_stream_frames_total{model="frames",outcome="refused"} 1.0' in metrics


def test_a_stream_that_stops_reading_takes_no_more_memory_than_its_credits(service: Service) -> None:
    frame = np.zeros((512, 512), np.uint8)

    def camera() -> Iterator[NDArray]:
        """Far more than the service may hold: some 40 MB, answered with some 200 MB."""
        yield from itertools.repeat(frame, 150)

    with Client(service.address) as client:
        client.encode_frame("frames", frame, window_px=8, stride_px=4)
        before = resident_bytes(service.worker())
        streamed = client.stream_encode("frames", camera(), window_px=8, stride_px=4, max_in_flight=64)
        next(streamed)
        # The credits are out, and nothing is read: meanwhile another caller is served.
        with Client(service.address) as other:
            for _ in range(5):
                other.encode_frame("frames", FRAME)
        assert resident_bytes(service.worker()) - before < 120 << 20
        assert sum(1 for _ in streamed) == 149


def test_a_signal_ends_a_stream_after_what_was_read_is_answered(tmp_path: Path) -> None:
    write_frames(tmp_path / "bundles", TOY)
    answered: list[int] = []
    outcomes: list[object] = []
    under_way = threading.Event()

    def stream(address: str) -> None:
        with Client(address, retry_for_s=0) as client:
            try:
                for answer in client.stream_encode("frames", itertools.repeat(FRAME)):
                    answered.append(answer.sequence)
                    under_way.set()
                outcomes.append("ended")
            except DichroicError as error:
                outcomes.append(error.reason)

    with serve(tmp_path / "bundles", tmp_path / "log", drain_s="10") as service:
        streaming = threading.Thread(target=stream, args=(service.address,))
        streaming.start()
        assert under_way.wait(30)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        streaming.join(30)
    assert outcomes == ["SERVER_STOPPING"]
    assert answered == list(range(1, len(answered) + 1))
