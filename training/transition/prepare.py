"""A transition recipe's data: drawn or read, checked, and split into what is learned from and what is held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.dune.families import draw_dune, rate_family
from training.data.dune.rates import RateModel
from training.data.folder import named_files
from training.data.places import held_out_points
from training.data.readers.point_files import read_points
from training.errors import InputError
from training.recipe_transition import DuneData, TransitionFiles, TransitionRecipe
from training.transition.states import Array, Transitions

_NAMES = ("beam_xy_angstrom", "neighbours_xy_angstrom", "dwell_s", "current_na", "voltage_kv", "outcome")
_FEWEST, _FEWEST_HELD_OUT = 50, 20


@dataclass(frozen=True)
class PreparedTransitions:
    """What a fit is told of the data.

    Attributes:
        train: arrays to learn from, by their names.
        held_out: transitions that no part of the fit sees.
        split: how those were chosen, in words.
        source: where they are from.
        licence: of the data.
        sha256: of it.
        notes: what a reader should know; may be empty.
        truth: the rates behind drawn data; None of others.
    """

    train: dict[str, Array]
    held_out: Transitions
    split: str
    source: str
    licence: str
    sha256: tuple[str, ...]
    notes: str
    truth: RateModel | None = None


def prepare_transitions(recipe: TransitionRecipe, files: tuple[Path, ...], channel: str | None, licence: str | None) -> PreparedTransitions:
    """The data of a recipe.

    Raises:
        InputError: DATA_NOT_USED, DATA_REQUIRED, MISSING_ARRAY, TOO_FEW_TRANSITIONS, those of reading and of `Transitions.read`.
    """
    data = recipe.data
    if isinstance(data, DuneData):
        if files or channel or licence:
            raise InputError("DATA_NOT_USED", f"Recipe {recipe.name!r} draws its own data; leave out --data, --channel and --licence.")
        return _drawn(data)
    if channel:
        raise InputError("DATA_NOT_USED", "--channel chooses among a scan's channels; transitions have none: leave it out.")
    return _read(data, files or named_files(data.files), licence or data.licence, recipe.seed)


def _drawn(data: DuneData) -> PreparedTransitions:
    train, test = (
        draw_dune(
            count,
            rates=data.rates,
            mixture=data.mixture,
            first_hop=data.first_hop,
            beam_radius=data.beam_radius_angstrom,
            dwell=data.dwell_s,
            current_na=data.current_na,
            voltage_kv=data.voltage_kv,
            seed=data.seed,
            stream=stream,
        )
        for stream, count in (("train", data.transitions), ("test", data.test_transitions))
    )
    held_out = Transitions.read(test.arrays, first_hop=data.first_hop)
    split = f"{data.test_transitions} fresh draws from an independent stream"
    truth = rate_family(data.rates, data.mixture)
    return PreparedTransitions(train.arrays, held_out, split, f"{train.source}; {test.source}", "MIT", (train.sha256, test.sha256), "", truth)


def _read(data: TransitionFiles, paths: tuple[Path, ...], licence: str, seed: int) -> PreparedTransitions:
    parts = [read_points(path, _NAMES, ["group"], advice=f"Transitions have {', '.join(_NAMES)}.") for path in paths]
    for path, part in zip(paths, parts, strict=True):
        try:
            Transitions.read(part, first_hop=data.first_hop)
        except InputError as error:
            raise InputError(error.reason, f"{path.name}: {error.message}") from error
        group = part.get("group", np.zeros(len(part["outcome"])))
        if group.shape != part["outcome"].shape:
            raise InputError("WRONG_SHAPE", f"group of {path.name} has the shape {group.shape}; expected one for each transition, (n,).")
    names = [*_NAMES]
    if all("group" in part for part in parts):
        names.append("group")
    elif len(parts) > 1:  # of several files each is a group
        parts = [part | {"group": np.full(len(part["outcome"]), number)} for number, part in enumerate(parts)]
        names.append("group")
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in names}
    held, how = held_out_points({name: arrays[name] for name in (names[-1],)} | {"outcome": arrays["outcome"]}, data.held_out_fraction, seed)
    if (~held).sum() < _FEWEST or held.sum() < _FEWEST_HELD_OUT:
        raise InputError(
            "TOO_FEW_TRANSITIONS",
            f"{(~held).sum()} transitions to learn from and {held.sum()} held out are too few; {_FEWEST} and {_FEWEST_HELD_OUT} at least.",
        )
    of = {name: arrays[name] for name in _NAMES}
    held_out = Transitions.read({name: values[held] for name, values in of.items()}, first_hop=data.first_hop)
    digests = tuple(_digest(path, part) for path, part in zip(paths, parts, strict=True))
    notes = " ".join(each for each in (data.citation, data.notes) if each)
    train = {name: values[~held] for name, values in of.items()}
    return PreparedTransitions(train, held_out, how.replace("points", "transitions"), ", ".join(each.name for each in paths), licence, digests, notes)


def _digest(path: Path, arrays: dict[str, Array]) -> str:
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    # A zarr store is a folder.
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()
