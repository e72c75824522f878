"""A service's answer to one frame as the arrays of the file: grids as (R, C, ...), tracks as (p, ...) with NaN where one is absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dichroic.client.frame_answers import LatentMap
from training.data.dataset import Array
from training.movies.maps_file import WindowMaps, fill_of
from training.movies.tracks import Tracks

NAMES = (
    *("latent_mean", "latent_sd", "content", "content_sd", "angle_rad", "angle_sd_rad", "scale", "shift_down_px", "shift_right_px"),
    *("class_probabilities", "class_index", "explained", "valid"),
)


def windows_of(maps: Sequence[LatentMap], tracks: Tracks | None, t: int) -> list[WindowMaps]:
    """Frame t's arrays for each window, what describes the window, and where its values lie."""
    found = []
    for each in maps:
        fixed: dict[str, Array] = {}
        if tracks is not None:
            fixed["positions_px"] = tracks.positions_px
        elif each.centres_px is not None:
            fixed["centres_px"] = each.centres_px.reshape(each.rows, each.columns, 2)
        facts = {"window_px": each.window_px, "window_nm": each.window_nm, "stage": each.stage, "evaluated": each.evaluated}
        found.append(WindowMaps(_arrays(each, tracks, t), facts, fixed))
    return found


def arrays_of(maps: Sequence[LatentMap], tracks: Tracks | None, t: int) -> list[Mapping[str, Array]]:
    """Frame t's arrays for each window."""
    return [_arrays(each, tracks, t) for each in maps]


def _arrays(each: LatentMap, tracks: Tracks | None, t: int) -> dict[str, Array]:
    told = {name: values for name in NAMES if (values := getattr(each, name)) is not None and values.size}
    present = None if tracks is None else tracks.at(t)[0]
    arrays: dict[str, Array] = {}
    for name, values in told.items():
        if present is None:
            arrays[name] = values.reshape(each.rows, each.columns, *values.shape[1:])
            continue
        arrays[name] = np.full((len(present), *values.shape[1:]), fill_of(name, values.dtype), values.dtype)
        arrays[name][present] = values
    return arrays | {"invalid_count": np.array(each.invalid_count, np.int64)}
