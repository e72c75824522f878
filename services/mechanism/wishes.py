"""What a caller asks Suggest for, compared with what there is."""

from __future__ import annotations

import math

import numpy as np

from dichroic.bundle import MechanismSection
from dichroic.errors import InvalidFieldError, InvalidTensorError
from services.engine.model import ServingModel
from services.mechanism.answers import Float64
from services.mechanism.graphs import check_features
from services.mechanism.paths import POOL
from services.mechanism.strategies import GOALS, KAPPA, STRATEGIES, Wish

# Picks of one call: each keeps a column of all candidates for those after it.
MOST_PICKS = 512


def checked_wish(
    section: MechanismSection,
    strategy: str,
    *,
    part: str,
    count: int,
    kappa: float,
    goal: str,
    incumbent: Float64 | None,
    first_path: int = 0,
) -> Wish:
    """The wish, its defaults filled in.

    Raises:
        InvalidFieldError: an unknown strategy, part or goal, or a number out of range.
        InvalidTensorError: the incumbent is not one finite number.
    """
    if strategy not in STRATEGIES:
        raise InvalidFieldError(f"strategy is {strategy!r}; choose one of {', '.join(STRATEGIES)}.", field="strategy")
    if goal and goal not in GOALS:
        raise InvalidFieldError(f"goal is {goal!r}; choose one of {', '.join(GOALS)}.", field="goal")
    if count < 1:
        raise InvalidFieldError(f"count is {count}; ask for 1 or more.", field="count")
    if count > MOST_PICKS:
        message = f"count is {count}; one call picks {MOST_PICKS} at most. Ask for fewer, observe those, and ask again."
        raise InvalidFieldError(message, field="count")
    if not (math.isfinite(kappa) and kappa >= 0):
        raise InvalidFieldError(f"kappa is {kappa:g}; it is 0 (the default, {KAPPA:g}) or more.", field="kappa")
    # The constant is the same everywhere: nothing could be chosen by it.
    parts = [each.name for each in section.parts[1:]]
    if strategy == "part_sd" and part not in parts:
        raise InvalidFieldError(f"part is {part!r}; part_sd needs one of {', '.join(parts)}.", field="part")
    if strategy == "thompson" and count > POOL:
        raise InvalidFieldError(f"count is {count}; thompson takes another path for each pick, and has {POOL}.", field="count")
    return Wish(
        strategy,
        parts.index(part) if strategy == "part_sd" else 0,
        count,
        kappa or KAPPA,
        -1 if goal == "minimise" else 1,
        None if incumbent is None else _number(incumbent),
        first_path,
    )


def check_wish(model: ServingModel, wish: Wish, candidates: int) -> None:
    """Whether there are candidates enough, and paths where the wish needs some.

    Raises:
        InvalidFieldError: fewer candidates than picks.
        UnsupportedCapabilityError: see graphs.check_features.
    """
    if wish.count > candidates:
        message = f"count is {wish.count}, but there are {candidates} candidates, and each is picked once. Ask for fewer."
        raise InvalidFieldError(message, field="count")
    if wish.strategy == "thompson":
        check_features(model)


def _number(incumbent: Float64) -> float:
    if incumbent.dtype != np.float64 or incumbent.size != 1 or not np.isfinite(incumbent).all():
        found = f"{incumbent.dtype.name} of shape {incumbent.shape}" if incumbent.dtype != np.float64 or incumbent.size != 1 else "not finite"
        raise InvalidTensorError(f"incumbent is {found}; send one finite float64, in the unit of y, or leave it out.", field="incumbent")
    return float(incumbent.reshape(()))
