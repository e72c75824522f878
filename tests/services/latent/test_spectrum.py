"""Latents against window length, and from which length on classes are told apart: the room's answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from dichroic.errors import DichroicError, InvalidTensorError
from dichroic.separability import separability_of
from services.latent import Asked, Spectrum, Wanted
from services.latent.spectrum import checked_labels
from services.server import Server
from tests.services.conftest import running_on
from tests.toy_frames import NDArray, ToyFrames, write_frames

TOY = ToyFrames()
FRAME = np.random.default_rng(0).random((40, 40)).astype(np.float32)
POINTS = np.array([[20.0, 20.0], [15.5, 21.0], [24.0, 16.0], [20.0, 25.0]])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    bundles = tmp_path_factory.mktemp("spectrum") / "bundles"
    write_frames(bundles, TOY)
    async with running_on(bundles) as found:
        yield found.server


async def spectrum(server: Server, wanted: Wanted, labels: NDArray | None = None, frame: NDArray = FRAME) -> Spectrum:
    deadline = asyncio.get_running_loop().time() + 30
    return await server.latent.scale_spectrum("frames", 0, frame, Asked(wanted, labels), deadline)


@pytest.mark.asyncio(loop_scope="module")
async def test_every_window_of_every_point_is_told(server: Server) -> None:
    found = await spectrum(server, Wanted(window_px=(12, 3, 8), pixel_size_nm=0.5, centres_px=POINTS))
    assert (found.window_px.tolist(), found.stage.tolist()) == ([12, 3, 8], [1, 1, 1])  # 6, 1.5 and 4 nm, beside 8 and 16
    assert found.window_nm is not None
    assert found.window_nm.tolist() == [6, 1.5, 4]
    for row, window in enumerate((12, 3, 8)):
        told = TOY.encode_frame(FRAME, POINTS, window, 1)
        for name in ("content", "latent_mean", "explained"):
            np.testing.assert_allclose(getattr(found, name)[row], told[name], atol=1e-5)
    assert (found.separability, found.separable_from_px, found.separable_from_nm) == (None, 0, 0)
    assert found.valid.all()


@pytest.mark.asyncio(loop_scope="module")
async def test_without_windows_there_are_16_ascending_ones(server: Server) -> None:
    found = await spectrum(server, Wanted(centres_px=POINTS))
    np.testing.assert_allclose(found.window_px, np.geomspace(2, 8, 16))
    assert found.window_nm is None
    assert set(found.stage) == {1, 2}
    assert found.latent_mean.shape == (16, 4, 2)


@pytest.mark.asyncio(loop_scope="module")
async def test_classes_that_differ_in_brightness_are_told_apart_from_a_length_on(server: Server) -> None:
    frame = np.zeros((60, 60), np.float32)
    # A checkerboard of 2 px, the same everywhere; one half is brighter by a little.
    frame[::4], frame[1::4] = 1, 1
    frame[:, 30:] += 0.6
    points = np.array([[r, c] for r in np.linspace(15, 45, 8) for c in (14.0, 45.0)])
    labels = np.tile([0, 1], 8)
    found = await spectrum(server, Wanted(centres_px=points, window_px=(1, 2, 4, 8, 16), pixel_size_nm=3, stage=1), labels, frame)
    assert found.separability is not None
    told = [separability_of(latents, labels) for latents in found.content]
    np.testing.assert_allclose(found.separability, told)
    assert found.separability[-1] == 1
    least = next(w for w, rest in ((w, found.separability[i:]) for i, w in enumerate(found.window_px)) if (rest >= 0.9).all())
    assert (found.separable_from_px, found.separable_from_nm) == (least, 3 * least)


@pytest.mark.asyncio(loop_scope="module")
async def test_points_that_are_not_valid_are_left_out(server: Server) -> None:
    frame = FRAME.copy()
    frame[20, 26] = np.nan
    labels = np.array([0, 1, 0, 1])
    found = await spectrum(server, Wanted(window_px=(4, 14), centres_px=POINTS), labels, frame)
    assert found.valid.tolist() == [[True, True, True, False], [False, False, True, False]]
    assert found.invalid_count == np.count_nonzero(~found.valid)
    assert found.separability is not None
    assert np.isnan(found.separability).all()  # class 1 has one point left
    assert found.separable_from_px == 0


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("wanted", "labels", "field"),
    [
        pytest.param(Wanted(), None, "centres_px", id="no points"),
        pytest.param(Wanted(centres_px=np.array([[0.5, 20.0]])), None, "centres_px", id="a point at the border"),
        pytest.param(Wanted(centres_px=np.array([[-5.0, 100.0]])), None, "centres_px", id="a point outside"),
        pytest.param(Wanted(centres_px=POINTS, window_px=(41,)), None, "window_px", id="window larger than the frame"),
        pytest.param(Wanted(centres_px=POINTS, window_nm=(4,)), None, "pixel_size_nm", id="no pixel size"),
        pytest.param(Wanted(centres_px=POINTS, pixel_size_nm=-2), None, "pixel_size_nm", id="pixel size below zero"),
        pytest.param(Wanted(centres_px=POINTS), np.zeros(4, np.int64), "labels", id="one class"),
        pytest.param(Wanted(centres_px=POINTS), np.array([0, 0, 0, 1]), "labels", id="a class of one point"),
        pytest.param(Wanted(centres_px=POINTS), np.array([0, 0, 1, 1, 1]), "labels", id="another number of labels"),
        pytest.param(Wanted(centres_px=POINTS), np.array([0.0, 0, 1, 1]), "labels", id="labels of another dtype"),
        pytest.param(Wanted(centres_px=POINTS), np.array([0, -2, 1, 1]), "labels", id="a label below -1"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_field(server: Server, wanted: Wanted, labels: NDArray | None, field: str) -> None:
    with pytest.raises(DichroicError) as found:
        await spectrum(server, wanted, labels)
    assert found.value.field == field


def test_labels_of_points_that_are_not_known_are_no_class() -> None:
    checked_labels(np.array([-1, 3, 3, 7, 7]), 5)
    with pytest.raises(InvalidTensorError, match="0 classes"):
        checked_labels(np.full(5, -1), 5)
    with pytest.raises(InvalidTensorError, match=r"has 1 class; .* two or more"):
        checked_labels(np.array([-1, 3, 3, 3, 3]), 5)
