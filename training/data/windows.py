"""Which windows of which images become descriptors: grids of centres at several lengths, as many each, held out by blocks common to all lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.data.dataset import Array
from training.data.drawing import random_stream
from training.data.resample import TOLERANCE_PX, resample, touched_pixels
from training.data.splits import Blocks, Span, hold_out_blocks
from training.errors import InputError

# Centres stand a quarter of a window apart, or a pixel where that is more: nearer ones add next to nothing.
_PITCH = 0.25
_FEWEST_HELD_OUT = 5
_PARTS = ("train", "validation", "held_out")


@dataclass(frozen=True)
class WindowedImage:
    """One image and the lengths of the windows cut from it.

    Attributes:
        name: of its file or generator, for messages.
        values: (h, w, c) float, any unit.
        windows_px: K lengths, ascending, pixels of this image.
    """

    name: str
    values: Array
    windows_px: tuple[float, ...]


@dataclass(frozen=True)
class Windows:
    """Windows of one length; in pixels it is each image's own.

    Attributes:
        image: (n,) int64, which image, ascending.
        centres_px: (n, 2) float64, row and column of the middle.
        windows_px: (n,) float64; of windows to be turned, of what is cut.
    """

    image: Array
    centres_px: Array
    windows_px: Array

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True)
class WindowSplit:
    """Windows of one length for each purpose; those of one purpose share no pixel with those of another, at any length."""

    train: Windows
    validation: Windows
    held_out: Windows


def lengths_in_px(windows_nm: Sequence[float], pixel_size_nm: float | None, name: str) -> tuple[float, ...]:
    """Physical lengths in pixels of an image.

    Raises:
        InputError: PIXEL_SIZE_REQUIRED, INVALID_PIXEL_SIZE.
    """
    if pixel_size_nm is None:
        raise InputError(
            "PIXEL_SIZE_REQUIRED",
            f"{name} tells no pixel size, and windows_nm asks for lengths in nanometres; give a file with `pixel_size_nm`, or lengths in pixels "
            "(windows_px).",
        )
    if not (np.isfinite(pixel_size_nm) and pixel_size_nm > 0):
        raise InputError("INVALID_PIXEL_SIZE", f"{name} has a pixel size of {pixel_size_nm:g} nm; it is finite and above 0.")
    return tuple(float(window / pixel_size_nm) for window in windows_nm)


def grid_axis(side_px: int, window_px: float, stride_px: float) -> Array:
    """Middles (m,) float64 of windows along an axis: the first half a window from the border, then a stride farther while inside; maybe none."""
    count = math.floor((side_px - window_px + TOLERANCE_PX) / stride_px) + 1
    found: Array = window_px / 2 + stride_px * np.arange(max(0, count))
    return found


def grid_centres(shape: tuple[int, ...], window_px: float, pitch_px: float) -> Array:
    """Centres (n, 2) float64 of a grid in reading order: the first half a window from the border, then every `pitch_px` while inside."""
    rows, columns = np.meshgrid(*(grid_axis(side, window_px, pitch_px) for side in shape[:2]), indexing="ij")
    return np.stack([rows.ravel(), columns.ravel()], axis=1)


def split_windows(
    images: Sequence[WindowedImage],
    size: int,
    count: int,
    held_out_fraction: float,
    seed: int,
    *,
    validation: bool,
    training_size: int | None = None,
) -> tuple[WindowSplit, ...]:
    """Chooses windows at each length.

    Blocks are sized for the longest window and held out once for all lengths: what one length holds out, no length trains on. A window whose
    descriptor touches both sides belongs to neither. Each image gives as many windows at one length as at another.

    Args:
        images: what to cut from; all have as many lengths.
        size: d, side of a descriptor, pixels: enlarging looks one pixel beyond the window.
        count: training windows at each length, over all images.
        held_out_fraction: wanted share of held-out windows, in (0, 1); there may be fewer.
        seed: chooses blocks and windows.
        validation: whether windows to choose by are set aside too, as many as are held out.
        training_size: side of a training descriptor with pixels as large as the others', where those are cut wider, to be turned; None: `size`.

    Returns:
        One split for each length, in the order of `windows_px`.

    Raises:
        InputError: WINDOW_TOO_LARGE, TOO_FEW_WINDOWS, and those of hold_out_blocks.
    """
    lengths = range(len(images[0].windows_px))
    # By length, then image: centres (n, 2), and for each purpose the rows of them that may be taken.
    wide = training_size or size
    candidates = [[_candidates(image, index, (size, wide), held_out_fraction, seed, validation=validation) for index in lengths] for image in images]
    held_count = max(_FEWEST_HELD_OUT, round(count * held_out_fraction / (1 - held_out_fraction)))
    wanted = {"train": count, "validation": held_count if validation else 0, "held_out": held_count}
    shares = {part: _shares(images, [[len(rows[part]) for _, rows in each] for each in candidates], part, wanted[part]) for part in _PARTS}

    def drawn(index: int, part: str) -> Windows:
        own = [(each[index][0], each[index][1][part]) for each in candidates]
        found = _drawn(images, own, index, shares[part], (seed, index, _PARTS.index(part)))
        return replace(found, windows_px=wide / size * found.windows_px) if part == "train" and wide != size else found

    return tuple(WindowSplit(*(drawn(index, part) for part in _PARTS)) for index in lengths)


def whole_windows(images: Sequence[WindowedImage], count: int, seed: int) -> tuple[Windows, ...]:
    """Up to `count` windows at each length, as many from each image, of images that are never trained on.

    Raises:
        InputError: WINDOW_TOO_LARGE.
    """
    found = []
    for index in range(len(images[0].windows_px)):
        grids = [(centres, np.arange(len(centres))) for centres in (_grid(image, index) for image in images)]
        shares = _filled([len(centres) for centres, _ in grids], count)
        found.append(_drawn(images, grids, index, shares, (seed, index, len(_PARTS))))
    return tuple(found)


def cut_descriptors(images: Sequence[WindowedImage], windows: Windows, size: int) -> Array:
    """The windows' descriptors, (n, d, d, c) float32."""
    parts = []
    for index, image in enumerate(images):
        own = windows.image == index
        parts.append(resample(image.values, windows.centres_px[own], windows.windows_px[own], size).astype(np.float32))
    return np.concatenate(parts)


def _grid(image: WindowedImage, index: int) -> Array:
    window, (height, width) = image.windows_px[index], image.values.shape[:2]
    if window > min(height, width) + TOLERANCE_PX:
        raise InputError(
            "WINDOW_TOO_LARGE",
            f"A window of {window:g} px does not fit {image.name}, an image of {height} × {width} px; leave that length out, or the image.",
        )
    return grid_centres(image.values.shape, window, max(1.0, _PITCH * window))


def _candidates(
    image: WindowedImage, index: int, sizes: tuple[int, int], fraction: float, seed: int, *, validation: bool
) -> tuple[Array, dict[str, Array]]:
    """Centres of one image at one length, and which of them may train, validate and be held out; `sizes` of other and of training descriptors."""
    size, wide = sizes
    longest = len(image.windows_px) - 1
    shape, window = image.values.shape, image.windows_px[longest]
    at_longest = _spans(shape, _grid(image, longest), window, size)
    outer = hold_out_blocks(*at_longest, window, shape, fraction, seed)
    centres, own = _grid(image, index), image.windows_px[index]
    cut = wide / size * own  # for training
    spans, seen = _spans(shape, centres, own, size), _spans(shape, centres, cut, wide)
    free, held_out = outer.sides(*spans)
    train, chosen = np.intersect1d(outer.sides(*seen)[0], _inside(shape, centres, cut)), free[:0]
    if validation:
        inner_rows = outer.sides(*at_longest)[0]
        inner: Blocks = hold_out_blocks(*((first[inner_rows], stop[inner_rows]) for first, stop in at_longest), window, shape, fraction, seed + 1)
        train, chosen = np.intersect1d(train, inner.sides(*seen)[0]), np.intersect1d(free, inner.sides(*spans)[1])
    return centres, {"train": train, "validation": chosen, "held_out": held_out}


def _spans(shape: tuple[int, ...], centres: Array, window_px: float, size: int) -> tuple[Span, Span]:
    """Rows and columns that descriptors of this side touch."""
    rows, columns = (touched_pixels(centres[:, axis], window_px, size, shape[axis]) for axis in (0, 1))
    return rows, columns


def _inside(shape: tuple[int, ...], centres: Array, window_px: float) -> Array:
    """Which of these centres (n, 2) have a window of this length inside the image, indices, ascending."""
    reach = np.asarray(shape[:2]) - window_px / 2 + TOLERANCE_PX
    return np.flatnonzero(((centres >= window_px / 2 - TOLERANCE_PX) & (centres <= reach)).all(axis=1))


def _shares(images: Sequence[WindowedImage], available: list[list[int]], part: str, wanted: int) -> Array:
    """How many windows each image gives at every length, (m,) int64; `available`: by image, then length."""
    least = [min(each) for each in available]
    needed = wanted if part == "train" else min(wanted, _FEWEST_HELD_OUT)
    if sum(least) < needed:
        index = int(np.argmin(np.sum(available, axis=0)))
        lengths = " and ".join(dict.fromkeys(f"{image.windows_px[index]:.4g} px" for image in images))
        purpose = {"train": "train on", "validation": "choose by", "held_out": "hold out"}[part]
        raise InputError(
            "TOO_FEW_WINDOWS",
            f"{len(images)} image(s) give {sum(least)} windows to {purpose} at every length, and {needed} are needed; the fewest are of {lengths}. "
            "Lower patches_per_scale, leave out the longest window, or give more or larger images.",
        )
    return _filled(least, wanted)


def _filled(available: Sequence[int], wanted: int) -> Array:
    """Equal shares of `wanted`, (m,) int64; what one has too little of is taken from those that have more."""
    shares, left = np.zeros(len(available), dtype=np.int64), min(wanted, sum(available))
    room = np.asarray(available, dtype=np.int64)
    while left:
        open_to = np.flatnonzero(room > shares)
        each = max(1, left // len(open_to))
        for index in open_to:
            more = min(each, int(room[index] - shares[index]), left)
            shares[index] += more
            left -= more
    return shares


def _drawn(images: Sequence[WindowedImage], candidates: list[tuple[Array, Array]], index: int, shares: Array, key: tuple[int, ...]) -> Windows:
    """Windows of one length and purpose, drawn without repetition, in each image's reading order."""
    seed, *purpose = key
    image, centres, windows = [], [], []
    for number, ((grid, rows), share) in enumerate(zip(candidates, shares, strict=True)):
        chosen = np.sort(random_stream(seed, *purpose, number).permutation(rows)[:share])
        image.append(np.full(len(chosen), number, dtype=np.int64))
        centres.append(grid[chosen])
        windows.append(np.full(len(chosen), images[number].windows_px[index]))
    return Windows(np.concatenate(image), np.concatenate(centres), np.concatenate(windows))
