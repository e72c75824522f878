"""The arrays of this room."""

from __future__ import annotations

from typing import Any

import numpy as np

Float64 = np.ndarray[Any, np.dtype[np.float64]]
Int64 = np.ndarray[Any, np.dtype[np.int64]]
Bool = np.ndarray[Any, np.dtype[np.bool_]]
