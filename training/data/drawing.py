"""What the generators of drawn data share: random streams that are independent of each other, and options that are checked."""

from __future__ import annotations

import numpy as np

from training.errors import InputError


def random_stream(seed: int, *key: int) -> np.random.Generator:
    """The generator of one purpose. The key, not the seed, separates streams: seeds 1 and 2 share nothing, and neither do two keys of seed 1."""
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=key))


def require_option(what: str, holds: bool, rule: str) -> None:
    """Raises INVALID_OPTION, naming the rule that `what` is drawn by, where it does not hold."""
    if not holds:
        raise InputError("INVALID_OPTION", f"{what} cannot be drawn: {rule}.")
