"""What a decoder is told beside its latents while a figure is drawn: conditions, and targets where it draws by them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dichroic.bundle import Condition, Target
from training.data.dataset import Array
from training.report.canvas import minus
from training.report.graphs import LatentGraphs

# Pictures of so many combinations of categories; more are told and left out.
MOST_SETTINGS = 6


@dataclass(frozen=True)
class Column:
    """One condition or target.

    Attributes:
        name: of the manifest.
        unit: of the manifest; "1" for none.
        categories: a condition's; empty for a number.
        mean: where figures are drawn that vary something else; NaN where it is not known, 0 for categories.
        sd: its spread, NaN where it is not known.
        known_from: what `mean` and `sd` are of, such as "in training".
    """

    name: str
    unit: str
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    sd: float = 1.0
    known_from: str = "in training"

    def told(self, value: float) -> str:
        """A value with its unit, or the category of this index."""
        return self.categories[round(value)] if self.categories else f"{with_unit(value, self.unit)}"


@dataclass(frozen=True)
class Setting:
    """What the decoder is told.

    Attributes:
        conditions: (k,) in their units, a category as its index; None without conditions.
        targets: (t,) in their units; None where the decoder does not draw by targets.
        categories: names of the categories, for panels and files; empty without any.
        numbers: the numbers in words, such as "voltage 0.43 V (mean in training)"; empty without any.
        file_part: the categories as a part of a file's name, such as "-phase_tetragonal"; empty without any.
    """

    conditions: Array | None = None
    targets: Array | None = None
    categories: tuple[str, ...] = ()
    numbers: str = ""
    file_part: str = ""

    def words(self, *, categories: bool = True) -> str:
        """For titles, ", at …"; empty where nothing is told. `categories`: name them too."""
        told = [*(self.categories if categories else ()), *([self.numbers] if self.numbers else [])]
        return f", at {', '.join(told)}" if told else ""


# Of a model without conditions whose decoder takes no targets.
NOTHING_TOLD = Setting()


@dataclass(frozen=True)
class Told:
    """The columns of conditions, and of targets that the decoder draws by."""

    conditions: tuple[Column, ...] = ()
    targets: tuple[Column, ...] = ()

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the numbers whose mean is not known: nothing can be drawn by them."""
        return tuple(column.name for column in (*self.conditions, *self.targets) if math.isnan(column.mean))

    def settings(self) -> tuple[Setting, ...]:
        """Numbers at their mean, every combination of categories; the first six. Empty where a mean is not known."""
        if self.unknown:
            return ()
        choices = [range(len(column.categories)) if column.categories else (column.mean,) for column in self.conditions]
        targets = np.array([column.mean for column in self.targets]) if self.targets else None
        rows = list(itertools.islice(itertools.product(*choices), MOST_SETTINGS))
        parts = ["".join(f"-{re.sub(r'[^A-Za-z0-9]+', '_', name)}" for name in self._names(row)) for row in rows]
        if len(set(parts)) < len(parts):  # names of other letters, or told apart by signs
            parts = [f"-categories_{number}" for number in range(len(rows))]
        return tuple(
            Setting(np.array(row, dtype=np.float64) if row else None, targets, self._names(row), self._numbers(), part)
            for row, part in zip(rows, parts, strict=True)
        )

    def _numbers(self) -> str:
        """Every number at its mean, those of one origin together, such as "voltage 0.43 V, strain 2 % (means in training)"."""
        numbers = [column for column in (*self.conditions, *self.targets) if not column.categories]
        told = []
        for origin, group in itertools.groupby(numbers, key=lambda column: column.known_from):
            parts = [f"{column.name} {column.told(column.mean)}" for column in group]
            told.append(f"{', '.join(parts)} ({'means' if len(parts) > 1 else 'mean'} {origin})")
        return ", ".join(told)

    @property
    def combinations(self) -> int:
        """How many combinations of categories there are, 1 without any."""
        return math.prod(len(column.categories) or 1 for column in self.conditions)

    def _names(self, row: Sequence[float]) -> tuple[str, ...]:
        return tuple(f"{each.name} {each.told(value)}" for each, value in zip(self.conditions, row, strict=True) if each.categories)


def told_to(graphs: LatentGraphs, conditions: Array | None = None, targets: Array | None = None, name: str = "the data") -> Told:
    """The model's columns with their mean and spread: in training, where the decoder's graph holds them, else in the data of this name.

    Args:
        graphs: of the bundle.
        conditions: (n, k) of the data; None: there are none.
        targets: (n, t) of the data, NaN where not known; None: there are none.
        name: of the data.
    """
    own = graphs.latent
    return Told(
        _columns(graphs, "conditions", own.conditions, conditions, name),
        _columns(graphs, "targets", own.targets, targets, name) if graphs.draws_by_targets else (),
    )


def with_unit(value: float, unit: str) -> str:
    """A number of three digits and its unit, with a minus that is one."""
    text = minus(f"{value:.3g}")
    return text if unit in {"1", "unknown"} else f"{text} {unit}"


def told_row(graphs: LatentGraphs, conditions: Array) -> str:
    """The conditions (k,) of one image in words, a line each, such as "voltage 0.43 V"."""
    columns = (Column(each.name, each.unit, each.categories) for each in graphs.latent.conditions)
    return "\n".join(f"{column.name} {column.told(float(value))}" for column, value in zip(columns, conditions, strict=True))


def _columns(graphs: LatentGraphs, array: str, columns: Sequence[Condition | Target], values: Array | None, name: str) -> tuple[Column, ...]:
    found = graphs.standardisation(array) if columns else None
    made = []
    for index, each in enumerate(columns):
        categories = each.categories if isinstance(each, Condition) else ()
        mean, sd, where = math.nan, math.nan, "in training"
        if categories:
            mean, sd = 0.0, 1.0
        elif found is not None:
            mean, sd = float(found[0][index]), float(found[1][index])
        elif values is not None and np.isfinite(values[:, index]).any():
            mean, sd, where = float(np.nanmean(values[:, index])), float(np.nanstd(values[:, index])), f"of {name}"
        made.append(Column(each.name, each.unit, categories, mean, sd, where))
    return tuple(made)
