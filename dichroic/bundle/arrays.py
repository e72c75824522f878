"""Arrays in a bundle's .safetensors files. Needs the `safetensors` package, which the extras serving-* and training install."""

from __future__ import annotations

from typing import Any

import numpy as np

from dichroic.errors import BundleRefusedError

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def pack(arrays: Arrays) -> bytes:
    """Named arrays as the bytes of a .safetensors file; the same arrays give the same bytes."""
    from safetensors.numpy import save  # noqa: PLC0415 - the client has no safetensors

    packed: bytes = save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)})
    return packed


def unpack(data: bytes, *, path: str) -> Arrays:
    """The named arrays of a .safetensors file.

    Raises:
        BundleRefusedError: step "arrays": the bytes are not a safetensors file.
    """
    from safetensors.numpy import load  # noqa: PLC0415 - the client has no safetensors

    try:
        return dict(load(data))
    except Exception as error:  # the library raises its own type, which it does not export to type checkers
        raise BundleRefusedError("arrays", "INVALID_ARRAYS", f"{path} is not a readable safetensors file: {error}.") from error
