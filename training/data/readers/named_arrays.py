"""Files that name their arrays as a DataSet does (`images`, `labels`, ...): .npz, and HDF5 and zarr with those names at the root."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from training.data.dataset import COMPANION_NAMES, CONTENT_NAMES, TEXT_NAMES, TRUTH_PREFIX, Array
from training.data.readers.channels import Channel, ChannelInfo, Content


def is_ours(name: str) -> bool:
    """Whether a DataSet has an array of this name."""
    return name in CONTENT_NAMES or name in COMPANION_NAMES or name.startswith(TRUTH_PREFIX)


def named_channel(shapes: Mapping[str, tuple[int, ...]], texts: Mapping[str, str], load: Callable[[str], Array]) -> Channel | None:
    """The whole data set as one channel; None when no array has a name of ours for content.

    Args:
        shapes: every array of the file, by name.
        texts: `unit`, `quantity` and `source` as far as the file has them.
        load: reads one array by its name.
    """
    content = [name for name in CONTENT_NAMES if name in shapes]
    if not content:
        return None

    def load_all() -> Content:
        arrays = {name: load(name) for name in shapes if is_ours(name)}
        if "images" in arrays and arrays["images"].ndim == 2:
            arrays["images"] = arrays["images"][None]
        return Content(arrays)

    info = ChannelInfo(content[0], texts.get("quantity", ""), texts.get("unit", "unknown"), shapes[content[0]])
    return Channel(info, load_all, source=texts.get("source", ""))


def text_of(array: Array) -> str:
    """A zero-dimensional text array as text; empty for anything else."""
    return str(array) if array.ndim == 0 and array.dtype.kind == "U" else ""


def texts_in(load: Callable[[str], Array], names: set[str]) -> dict[str, str]:
    """The text facts among an .npz file's arrays."""
    found = {name: text_of(np.asarray(load(name))) for name in TEXT_NAMES if name in names}
    return {name: text for name, text in found.items() if text}
