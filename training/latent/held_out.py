"""Which images train, which choose between restarts, which measure: patches by spatial block, whole images by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.dataset import DataSet
from training.data.patches import cut_patches
from training.data.splits import block_split
from training.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]

_BLOCKS_PER_AXIS = 5


@dataclass(frozen=True)
class Split:
    """Three sets of images (·, h, w, c) that share no pixel. `validation` is empty when it was not asked for."""

    train: Array
    validation: Array
    held_out: Array


def held_out_unit(made: DataSet, window_px: int | None) -> str:
    """What is held out of a file as a whole.

    Groups where it names several; else blocks of patches, a run of frames, blocks of positions where spectra were taken at places, or images.
    """
    if len(np.unique(made.arrays.get("group", np.zeros(1)))) > 1:
        return "groups"
    if window_px:
        return "blocks"
    if "frames" in made.arrays and "images" not in made.arrays:
        return "frames"
    if "spectra" in made.arrays and len(np.unique(_position_blocks(made))) > 1:
        return "position blocks"
    return "images"


def split_rows(made: DataSet, unit: str, fraction: float, seed: int, *, validation: bool) -> Split:
    """Which rows of a file train, validate and are held out, (·,) int64 each; `unit` is anything but "blocks".

    Raises:
        InputError: TOO_FEW_IMAGES, TOO_FEW_GROUPS.
    """
    content = next(made.arrays[name] for name in ("images", "frames", "spectra") if name in made.arrays)
    rows = np.arange(len(content))
    if unit == "frames":
        return split_frames(rows, fraction, validation=validation)
    group = _position_blocks(made) if unit == "position blocks" else made.arrays.get("group")
    return split_images(rows, group, fraction, seed, validation=validation)


def _position_blocks(made: DataSet) -> Array:
    """The block of each place (n,): the scanned area in 5 × 5; neighbouring spectra, and images cut about them, are nearly one."""
    if "position_um" not in made.arrays:
        return np.zeros(1)
    place = made.arrays["position_um"]
    span = np.ptp(place, axis=0)
    share = (place - place.min(axis=0)) / np.where(span > 0, span, 1)
    cell = np.minimum((share * _BLOCKS_PER_AXIS).astype(np.int64), _BLOCKS_PER_AXIS - 1)
    blocks: Array = cell @ np.array([1, _BLOCKS_PER_AXIS])[: cell.shape[1]]
    return blocks


def split_patches(images: Array, window_px: int, stride_px: int, fraction: float, seed: int, *, validation: bool) -> Split:
    """Cuts each image (n, h, w, c) into patches and splits them by blocks, the same blocks of every image.

    Images of one file may show one area (frames of a movie, scans again and again): a place held out in one is held out in all.

    Raises:
        InputError: those of cut_patches and block_split.
    """
    cut = [cut_patches(image, window_px, stride_px) for image in images]
    place = (cut[0].top_px, cut[0].left_px)  # of all images: they have one shape
    train, held_out = block_split(*place, window_px, images.shape[1:], fraction, seed)
    chosen = train[:0]
    if validation:
        inner, inner_held = block_split(*(axis[train] for axis in place), window_px, images.shape[1:], fraction, seed + 1)
        train, chosen = train[inner], train[inner_held]
    return Split(*(np.concatenate([patches.images[rows] for patches in cut]) for rows in (train, chosen, held_out)))


def split_images(images: Array, group: Array | None, fraction: float, seed: int, *, validation: bool) -> Split:
    """Splits whole images (n, h, w, c) at random; with `group` (n,), by whole groups.

    Raises:
        InputError: TOO_FEW_GROUPS, TOO_FEW_IMAGES: fewer groups, or images, than sets.
    """
    labels = np.arange(len(images)) if group is None else np.asarray(group)
    names = np.random.default_rng(seed).permutation(np.unique(labels))
    wanted = 3 if validation else 2
    if len(names) < wanted:
        sets = "training, validation and held-out ones" if validation else "training and held-out ones"
        if group is None:
            raise InputError(
                "TOO_FEW_IMAGES",
                f"The file's rows ({len(names)}) are too few to be split into {sets}; give more images or spectra, or cut patches from a large image "
                "(window_px).",
            )
        raise InputError(
            "TOO_FEW_GROUPS", f"The file's groups ({len(names)}) are too few to be split into {sets}; give more, or leave out the array 'group'."
        )
    size = max(1, round(fraction * len(names)))
    held, chosen = names[:size], names[size : 2 * size] if validation else names[:0]
    is_held, is_chosen = np.isin(labels, held), np.isin(labels, chosen)
    return Split(images[~is_held & ~is_chosen], images[is_chosen], images[is_held])


def split_frames(frames: Array, fraction: float, *, validation: bool) -> Split:
    """Splits the frames (t, h, w, c) of a movie by time: the last run is held out, the run before it validates.

    Neighbouring frames are nearly one image: drawn at random, each held-out frame would have a training frame beside it.
    """
    size = max(1, round(fraction * len(frames)))
    end = len(frames) - size
    begin = end - size if validation else end
    if begin < 1:
        raise InputError(
            "TOO_FEW_IMAGES",
            f"The file's frames ({len(frames)}) are too few to be split into runs to train on and to hold out; give more, or hold out fewer.",
        )
    return Split(frames[:begin], frames[begin:end], frames[end:])
