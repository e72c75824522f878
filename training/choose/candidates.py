"""What is compared: invariance sets, content sizes and class counts of one recipe, and the recipe of each."""

from __future__ import annotations

import difflib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from training.errors import InputError
from training.recipe import Recipe

INVARIANCES = ("rotation", "translation", "scale")
_LESSONS = ("equivariance", "orientation", "alignment")
_LATENTS = {"rotation": 1, "translation": 2, "scale": 1}


@dataclass(frozen=True)
class Candidate:
    """One model to try. `classes` 0: none."""

    invariances: tuple[str, ...]
    content_size: int
    classes: int = 0
    of_spectra: bool = False

    @property
    def label(self) -> str:
        """For tables: `rotation+translation, content 2, 4 classes`."""
        told = f"{'+'.join(self.invariances) or 'none'}, content {self.content_size}"
        return told + (f", {self.classes} classes" if self.classes else "")

    @property
    def key(self) -> str:
        """For names of files."""
        return f"{'-'.join(self.invariances) or 'none'}_content-{self.content_size}" + (f"_classes-{self.classes}" if self.classes else "")

    @property
    def latents(self) -> int:
        """L: pose latents (a shift has two, along a spectrum one) and content latents."""
        return sum(1 if self.of_spectra else _LATENTS[name] for name in self.invariances) + self.content_size

    @property
    def simplicity(self) -> tuple[int, int]:
        """Less is simpler: latents and classes together; then content latents, since a pose latent says by itself what it means."""
        return self.latents + self.classes, self.content_size


@dataclass(frozen=True)
class Plan:
    """The values tried of each kind, in this order, each at the best of those before. Every tuple holds at least one value."""

    invariances: tuple[tuple[str, ...], ...]
    content_sizes: tuple[int, ...]
    classes: tuple[int, ...]

    def begin(self, recipe: Recipe) -> Candidate:
        """The recipe's own values, where they are among those tried; else the first."""
        own = own_candidate(recipe)
        size = own.content_size if own.content_size in self.content_sizes else self.content_sizes[0]
        return Candidate(own.invariances, size, own.classes if own.classes in self.classes else self.classes[0], own.of_spectra)


def parse_invariances(text: str) -> tuple[str, ...]:
    """`none`, or names joined by `+`, in any order.

    Raises:
        ValueError: an unknown name, or one twice; says which is meant.
    """
    if text == "none":
        return ()
    names = text.split("+")
    for name in names:
        if name not in INVARIANCES:
            near = difflib.get_close_matches(name, (*INVARIANCES, "none"), n=1, cutoff=0.5)
            advice = f"did you mean {near[0]!r}?" if near else f"known: none, {', '.join(INVARIANCES)}, joined by +"
            raise ValueError(f"unknown invariance {name!r}; {advice}")
    if len(set(names)) != len(names):
        raise ValueError(f"an invariance stands twice in {text!r}")
    return tuple(name for name in INVARIANCES if name in names)


def possible_invariances(height_px: int) -> tuple[str, ...]:
    """What data of this height can be invariant to: a line, of height 1, can be moved and stretched along itself, and has no angle."""
    return INVARIANCES if height_px > 1 else ("translation", "scale")


def own_candidate(recipe: Recipe) -> Candidate:
    """The recipe as it stands."""
    model = recipe.model
    return Candidate(
        tuple(name for name in INVARIANCES if name in model.invariances), model.content_size, model.classes, model.output_kind == "spectra"
    )


def make_plan(
    recipe: Recipe,
    allowed: Sequence[str],
    invariances: Sequence[tuple[str, ...]] = (),
    content_sizes: Sequence[int] = (),
    classes: Sequence[int] = (),
) -> Plan:
    """What is tried. An empty argument: the recipe's own value, or, when all are empty, the defaults.

    The defaults: all subsets of the allowed invariances; half, once and twice the recipe's content size; one class less and one more.

    Raises:
        InputError: NO_CLASSES, CLASSES_ARE_LABELS, INVARIANCE_NOT_POSSIBLE, INVALID_CANDIDATE, TOO_FEW_CANDIDATES.
    """
    own = own_candidate(recipe)
    if classes and recipe.model.class_source != "joint":
        if not recipe.model.class_source:
            raise InputError(
                "NO_CLASSES",
                f'Recipe {recipe.name!r} has no classes to count: leave out --classes, or set class_source = "joint" and classes in [model].',
            )
        raise InputError("CLASSES_ARE_LABELS", f"The classes of recipe {recipe.name!r} are those of its labels; leave out --classes.")
    for each in invariances:
        unfit = [name for name in each if name not in allowed]
        if unfit:
            raise InputError(
                "INVARIANCE_NOT_POSSIBLE", f"What is drawn are no images: there is no {unfit[0]} of them. Possible here: none, {', '.join(allowed)}."
            )
    by_default = not (invariances or content_sizes or classes)
    subsets = [each for size in range(len(allowed) + 1) for each in itertools.combinations(allowed, size)]
    plan = Plan(
        _once(invariances) or (tuple(subsets) if by_default else (own.invariances,)),
        _once(content_sizes) or (_sizes_about(own.content_size) if by_default else (own.content_size,)),
        _once(classes) or (_counts_about(own.classes) if by_default and recipe.model.class_source == "joint" else (own.classes,)),
    )
    if by_default and own.content_size == 0:  # a model of no latent is none
        plan = Plan(tuple(each for each in plan.invariances if each), plan.content_sizes, plan.classes)
    if len(plan.invariances) == len(plan.content_sizes) == len(plan.classes) == 1:
        raise InputError("TOO_FEW_CANDIDATES", "One candidate is no comparison: give two or more values of an option, or train it with `fit`.")
    return plan


def variant(recipe: Recipe, candidate: Candidate, *, epochs: int, seed: int) -> Recipe:
    """The recipe of a candidate: its lessons as much shorter as the fit, images kept for validation, and nothing asked of an angle it lacks.

    Raises:
        InputError: INVALID_CANDIDATE.
    """
    facts = recipe.model_dump(mode="json")
    model, training = facts["model"], facts["training"]
    model |= {"invariances": list(candidate.invariances), "content_size": candidate.content_size}
    if recipe.model.topology:  # further content latents are on lines
        model["topology"] = [*model["topology"], *["line"] * candidate.content_size][: candidate.content_size]
    if recipe.model.class_source:
        if candidate.classes != recipe.model.classes:  # a graph of other classes
            model["class_edges"] = []
        model["classes"] = candidate.classes
        model["class_names"] = model["class_names"] if len(model["class_names"]) == candidate.classes else []
    if "rotation" not in candidate.invariances:
        model |= {"angle_bins": 0, "angle_symmetry": 0}
        training["orientation"] = {}
    if not (model["class_source"] or model["angle_bins"]):
        training["classes"] = {}
    share = epochs / recipe.training.epochs
    for name in _LESSONS:
        if training[name].get("epochs"):
            training[name]["epochs"] = math.ceil(share * training[name]["epochs"])
    training |= {"epochs": epochs, "keep_validation": True}
    facts["seed"] = seed
    try:
        return Recipe.model_validate_json(json.dumps(facts))
    except ValidationError as error:
        raise InputError("INVALID_CANDIDATE", f"{candidate.label} cannot be trained: {error.errors()[0]['msg']}.") from error


def toml_changes(recipe: Recipe, candidate: Candidate) -> str:
    """The lines of TOML by which the recipe becomes the candidate's; empty when it is already. Epochs, seed and validation stay the recipe's."""
    sections = []
    before, after = (variant(recipe, each, epochs=recipe.training.epochs, seed=recipe.seed) for each in (own_candidate(recipe), candidate))
    for title, old, new in (
        ("model", before.model, after.model),
        ("training.orientation", before.training.orientation, after.training.orientation),
        ("training.classes", before.training.classes, after.training.classes),
    ):
        was, becomes = old.model_dump(mode="json"), new.model_dump(mode="json")
        # What is JSON here (numbers, texts, lists of texts) is TOML too.
        lines = [f"{key} = {json.dumps(value)}" for key, value in becomes.items() if value != was[key]]
        if lines:
            sections.append("\n".join([f"[{title}]", *lines]))
    return "\n\n".join(sections)


def _once(values: Sequence) -> tuple:  # type: ignore[type-arg]
    return tuple(dict.fromkeys(values))


def _sizes_about(size: int) -> tuple[int, ...]:
    return (0, 1, 2) if size == 0 else _once([max(1, size // 2), size, min(256, 2 * size)])


def _counts_about(count: int) -> tuple[int, ...]:
    return _once([max(2, count - 1), count, min(64, count + 1)])
