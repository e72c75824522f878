"""What the command line asked of a fit, whatever kind of model the recipe makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

RecipeT = TypeVar("RecipeT")


@dataclass(frozen=True)
class FitRequest(Generic[RecipeT]):
    """What the command line asked for.

    Attributes:
        recipe: with the command line's seed already in it.
        data: files given; empty: those the recipe names.
        channel: quantity given; None: the recipe's. Transitions have none.
        out: the folder of bundles.
        device: "auto", "cpu" or "cuda", for networks that see images. Gaussian processes (float64) and rates (small networks) are fitted on the
            processor, whatever it says.
        resume: go on from the last checkpoint, or after the last finished stage.
        licence: of the data; None: the recipe's, where the data are those the recipe names.
    """

    recipe: RecipeT
    data: tuple[Path, ...]
    channel: str | None
    out: Path
    device: str
    resume: bool
    licence: str | None = None
