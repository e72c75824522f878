"""Latents against window length: the room's answer, and separability against a loop that leaves one point out after another."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from dichroic.errors import DichroicError, InvalidTensorError
from services.latent import Asked, Spectrum, Wanted
from services.latent.spectrum import checked_labels, separability_of, separable_from
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
    np.testing.assert_allclose(found.window_px, np.geomspace(2, 16, 16))
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
    told = [by_leaving_out(latents, labels) for latents in found.content]
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


def by_leaving_out(latents: NDArray, labels: NDArray) -> float:
    """Each point in turn: the means of all others, class by class, and which is nearest."""
    classes = [each for each in np.unique(labels) if each >= 0 and np.count_nonzero(labels == each) >= 2]
    shares = []
    for each in classes:
        right = 0
        for i in np.flatnonzero(labels == each):
            others = np.arange(len(labels)) != i
            distance = [float(((latents[i].astype(float) - latents[others & (labels == c)].astype(float).mean(axis=0)) ** 2).sum()) for c in classes]
            best = min(distance)
            right += distance.count(best) == 1 and classes[distance.index(best)] == each
        shares.append(right / np.count_nonzero(labels == each))
    return float(np.mean(shares)) if len(classes) > 1 else math.nan


@pytest.mark.parametrize("seed", range(12))
def test_separability_is_that_of_a_loop_that_leaves_one_out(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(-1, 4, 25)
    labels[0] = 9  # a class of one point is left out
    latents = (random.standard_normal((25, 3)) + 0.8 * labels[:, None]).astype(np.float32)
    found = separability_of(latents, labels)
    assert found == pytest.approx(by_leaving_out(latents, labels), abs=1e-12)
    assert 0 < found <= 1


def test_separability_of_too_few_is_not_a_number_and_a_tie_is_an_error() -> None:
    assert math.isnan(separability_of(np.zeros((3, 1)), np.array([0, 0, 1])))
    assert math.isnan(separability_of(np.zeros((0, 1)), np.zeros(0, np.int64)))
    assert separability_of(np.ones((4, 1)), np.array([0, 0, 1, 1])) == 0


def test_the_length_from_which_on_is_the_least_of_those_up_to_the_greatest() -> None:
    windows = np.array([1.0, 16, 4, 2, 8])
    assert separable_from(windows, np.array([1, 0.9, 0.95, 0.5, 1])) == 4
    assert separable_from(windows, np.array([1, 0.89, 1, 1, 1])) == 0
    assert separable_from(windows, np.array([1, 1, math.nan, 1, 1.0])) == 8
    assert separable_from(windows, np.ones(5)) == 1


def test_labels_of_points_that_are_not_known_are_no_class() -> None:
    checked_labels(np.array([-1, 3, 3, 7, 7]), 5)
    with pytest.raises(InvalidTensorError, match="0 classes"):
        checked_labels(np.full(5, -1), 5)
