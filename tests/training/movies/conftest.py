from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.training.movies.fake_client import FakeClient
from training.movies import pipeline
from training.movies.asked import Wish
from training.movies.pipeline import Request, Written, encode_movie

MOVIE = np.random.default_rng(0).random((9, 20, 24)).astype(np.float32)

Encode = Callable[..., Written]


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def encode(tmp_path: Path, client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Encode:
    """encode("maps.zarr", window_px=(6.0,), ...): the movie, in pieces of two frames, by the fake client. `positions`: an array, or a file."""
    monkeypatch.setattr(pipeline, "Client", client)
    zarr.create_array(tmp_path / "movie.zarr", data=MOVIE, chunks=(2, 20, 24))

    def run(out: str, *, movie: str = "movie.zarr", positions: Any = None, resume: bool = False, **wish: Any) -> Written:
        place = positions if isinstance(positions, Path) else None
        if positions is not None and place is None:
            place = tmp_path / "tracks.npz"
            np.savez(place, positions_px=positions)
        given = Wish(**wish)
        return encode_movie(Request(tmp_path / movie, tmp_path / out, "frames", server="nowhere", wish=given, positions=place, resume=resume))

    return run
