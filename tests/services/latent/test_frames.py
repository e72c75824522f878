"""Whole images through the latent room: what the maps hold, what is not valid, what is refused, and what stays bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from dichroic.errors import (
    DeadlineExceededError,
    DichroicError,
    InvalidFieldError,
    InvalidTensorError,
    QueueFullError,
    UnsupportedCapabilityError,
)
from services.latent import LatentMap, Wanted, frames
from services.server import Server
from tests.services.conftest import running_on
from tests.toy_bundle import Toy, write_toy
from tests.toy_frames import NDArray, ToyFrames, grid, write_frames

TOY, PLAIN = ToyFrames(), ToyFrames(window_px=(6.0,), dense_px=0, classes=())
FRAME = np.random.default_rng(0).random((33, 29)).astype(np.float32)


# One server for all of them: making and loading the bundles takes longer than the tests do.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    bundles = tmp_path_factory.mktemp("frames") / "bundles"
    write_frames(bundles, TOY)
    write_frames(bundles, PLAIN, name="plain")
    write_toy(bundles, Toy(side=8), name="patches")
    async with running_on(bundles) as found:
        yield found.server


async def maps(server: Server, wanted: Wanted, frame: NDArray = FRAME, name: str = "frames") -> tuple[LatentMap, ...]:
    deadline = asyncio.get_running_loop().time() + 30
    return (await server.latent.encode_frame(name, 0, frame, wanted, deadline)).maps


def same_as_told(found: LatentMap, frame: NDArray = FRAME, toy: ToyFrames = TOY) -> None:
    """Every array of the map, where it is valid, is what numpy tells."""
    told = toy.encode_frame(frame, found.centres_px, found.window_px, found.stage)
    for name, values in told.items():
        if name != "explained" or found.explained is not None:
            np.testing.assert_allclose(getattr(found, name)[found.valid], values[found.valid], atol=2e-5, err_msg=name)
            assert getattr(found, name).dtype == np.float32
    if toy.classes:
        assert found.class_index[found.valid].tolist() == told["class_probabilities"][found.valid].argmax(axis=1).tolist()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
async def test_each_stage_gives_a_map_with_the_place_of_every_value(server: Server, dtype: str) -> None:
    frame = FRAME if dtype == "float32" else (255 * FRAME).astype(np.uint8)
    found = await maps(server, Wanted(pixel_size_nm=2), frame)
    assert [(each.window_px, each.window_nm, each.stage, each.evaluated) for each in found] == [(4, 8, 1, "dense"), (8, 16, 2, "dense")]
    for each in found:
        np.testing.assert_allclose(each.centres_px, grid(33, 29, each.window_px, each.window_px / 4))
        assert each.rows * each.columns == len(each.valid) == np.count_nonzero(each.valid)
        assert (each.invalid_count, each.explained) == (0, None)
        same_as_told(each, frame)


async def test_window_by_window_agrees_with_the_dense_map_at_the_same_places(server: Server) -> None:
    (dense,) = await maps(server, Wanted(window_px=(5.3,), stride_px=2 * 5.3 / 4))
    (windows,) = await maps(server, Wanted(window_px=(5.3,), centres_px=dense.centres_px))
    assert (dense.evaluated, windows.evaluated) == ("dense", "windows")
    assert (windows.rows, windows.columns) == (0, 0)
    for name in ("content", "content_sd", "latent_mean", "shift_down_px", "shift_right_px", "class_probabilities"):
        np.testing.assert_allclose(getattr(dense, name), getattr(windows, name), atol=1e-5)
    same_as_told(dense)


async def test_centres_are_answered_in_their_order_and_explained_when_asked(server: Server) -> None:
    centres = np.array([[20.0, 11.5], [4.0, 4.0], [29.0, 25.0], [4.0, 4.0]])
    found = await maps(server, Wanted(window_px=(8, 3), centres_px=centres, explain=True))
    assert [each.stage for each in found] == [2, 1]
    for each in found:
        assert each.centres_px.tolist() == centres.tolist()
        assert each.explained is not None
        same_as_told(each)
    (on_grid,) = await maps(server, Wanted(window_px=(8,), explain=True))
    assert on_grid.evaluated == "dense"
    same_as_told(on_grid)


async def test_a_model_without_a_dense_encoder_steps_a_quarter_of_the_window(server: Server) -> None:
    (found,) = await maps(server, Wanted(), name="plain")
    assert (found.evaluated, found.class_index, found.class_probabilities) == ("windows", None, None)
    np.testing.assert_allclose(found.centres_px, grid(33, 29, 6, 1.5))
    same_as_told(found, toy=PLAIN)


@pytest.mark.parametrize("name", ["frames", "plain"])
async def test_a_window_that_touches_a_pixel_which_is_not_finite_is_nan_and_counted(server: Server, name: str) -> None:
    frame = FRAME.copy()
    frame[12, 7], frame[30, 20] = np.nan, np.inf
    wanted = Wanted(window_px=(6,), stride_px=1.5, explain=True)
    (found,) = await maps(server, wanted, frame, name)
    low, high = found.centres_px - 3, found.centres_px + 3
    touched = np.zeros(len(low), bool)
    for pixel in ((12, 7), (30, 20)):
        touched |= ((low < np.add(pixel, 1)) & (high > pixel)).all(axis=1)
    assert found.valid.tolist() == (~touched).tolist()
    assert found.invalid_count == touched.sum() > 0
    for values in (found.content, found.latent_sd, found.shift_down_px, found.explained):
        assert values is not None
        assert np.isnan(values[touched]).all()
        assert np.isfinite(values[~touched]).all()
    if found.class_index is not None:
        assert set(found.class_index[touched]) == {-1}
    same_as_told(found, frame, TOY if name == "frames" else PLAIN)


async def test_a_frame_without_any_finite_pixel_has_nothing_valid(server: Server) -> None:
    for name in ("frames", "plain"):
        for found in await maps(server, Wanted(), np.full((9, 9), np.nan, np.float32), name):
            assert found.invalid_count == len(found.valid) > 0
            assert np.isnan(found.latent_mean).all()


async def test_windows_go_in_pieces_when_their_pixels_are_many(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    with server.repository.lease("plain", 0) as model:
        run = type(model).run

        async def counted(self: Any, name: str, inputs: Any, *others: Any) -> Any:
            pieces.append(len(inputs["window_px"]))
            return await run(self, name, inputs, *others)

        monkeypatch.setattr(type(model), "run", counted)
    monkeypatch.setattr(frames, "PIECE_BYTES", 4 * 8 * 8 * 10)
    (found,) = await maps(server, Wanted(), name="plain")
    assert max(pieces) == 10
    assert sum(pieces) == len(found.valid)
    same_as_told(found, toy=PLAIN)


@pytest.mark.parametrize(
    ("frame", "name", "kind", "field"),
    [
        pytest.param(FRAME[None], "frames", InvalidTensorError, "frame", id="a batch axis"),
        pytest.param(FRAME[0], "frames", InvalidTensorError, "frame", id="a row"),
        pytest.param(FRAME[:0], "frames", InvalidTensorError, "frame", id="nothing"),
        pytest.param(FRAME.astype(np.float64), "frames", InvalidTensorError, "frame", id="another dtype"),
        pytest.param((99 * FRAME).astype(np.uint16), "frames", InvalidTensorError, "frame", id="a dtype this model has not"),
        pytest.param(FRAME, "patches", UnsupportedCapabilityError, "model_name", id="a model of patches"),
        pytest.param(FRAME[:3, :3], "frames", InvalidFieldError, "window_px", id="window larger than the frame"),
    ],
)
async def test_what_cannot_be_encoded_is_refused_by_field(server: Server, frame: NDArray, name: str, kind: type[DichroicError], field: str) -> None:
    with pytest.raises(kind) as found:
        await maps(server, Wanted(), frame, name)
    assert found.value.field == field


async def test_too_many_windows_are_refused_before_they_are_made_and_nothing_stays_counted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    before = server.budget.bytes, server.budget.requests
    with pytest.raises(InvalidFieldError, match="windows are too many") as found:
        await maps(server, Wanted(window_px=(4,), stride_px=0.001))
    assert found.value.field == "stride_px"
    monkeypatch.setattr(server.budget, "max_bytes", 2 * FRAME.nbytes + 4000)
    with pytest.raises(InvalidFieldError, match="Send fewer") as found:
        await maps(server, Wanted(window_px=(4,), centres_px=np.full((100, 2), 9.0)))
    assert found.value.field == "centres_px"
    await maps(server, Wanted(window_px=(4,), centres_px=np.full((10, 2), 9.0)))
    server.budget.reserve(server.budget.max_bytes - 100, 1.0)
    with pytest.raises(QueueFullError) as busy:
        await maps(server, Wanted(window_px=(4,), centres_px=np.full((10, 2), 9.0)))
    assert busy.value.retry_delay_s is not None
    server.budget.release(server.budget.max_bytes - 100)
    assert (server.budget.bytes, server.budget.requests) == before


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(window_px=(4,), stride_px=0.5), "all 3009 windows .* a larger stride_px, or centres_px"),
        (Wanted(window_px=(4,)), "all 780 windows .* a larger stride_px, or centres_px"),
        (Wanted(window_px=(4, 8), centres_px=np.full((10, 2), 9.0), explain=True), "all 20 windows .* fewer centres_px, or fewer lengths"),
    ],
    ids=["a grid of windows", "a dense map", "centres"],
)
async def test_what_was_not_done_in_time_says_how_to_ask_for_fewer_windows(server: Server, wanted: Wanted, told: str) -> None:
    before = server.budget.bytes, server.budget.requests
    late = asyncio.get_running_loop().time() - 1
    with pytest.raises(DeadlineExceededError, match=told):
        await server.latent.encode_frame("frames", 0, FRAME, wanted, late)
    assert (server.budget.bytes, server.budget.requests) == before
