"""A comparison as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from training.choose.candidates import toml_changes
from training.recipe import FileData, Recipe

if TYPE_CHECKING:  # it brings torch along
    from training.choose.compare import Comparison
    from training.choose.recommend import Row

# [ours] Above this median error an angle is told to be useless: one that ignores images turned by up to ±30°, or ±60°, is off by 15° or 30°.
_USELESS_DEG = 15.0

_BY = {
    "truth": "pose errors: against the drawn truth, each class's median, the worst class",
    "movement": "pose errors: validation images moved by known amounts, median difference of the reported change and the known one",
}


def as_text(recipe: Recipe, made: Comparison) -> str:
    """The table, how to read it, the recommendation, and what to change in the recipe."""
    lines = [
        f"compared on {made.images} validation images that no fit trained on; the held-out images, which `fit` reports on, were not looked at",
        f"each fit: {_counted(made.epochs, 'epoch')} (the recipe has {recipe.training.epochs}), "
        f"{_counted(len(made.seeds), 'seed')}: {', '.join(map(str, made.seeds))}",
        "",
        *_table(made),
        "",
        "−ELBO in nats per image, less is better; ±: one standard error; worse by: paired difference to the best on the same images",
        "→ recommended; = within one standard error of the best",
    ]
    lines += [_BY[by] for by in ("truth", "movement") if any(row.pose.by == by for row in made.rows)]
    if made.independent < 1 and isinstance(recipe.data, FileData):
        count = max(2, round(made.independent * made.images))
        lines.append(f"patches overlap: standard errors count {count} independent images, as many as lie side by side")
    if len(made.seeds) == 1:
        lines.append("one seed: how much a fit depends on its seed is not in the ±; --seeds 0 1 2 takes it in")
    if made.epochs < recipe.training.epochs:
        lines.append(f"short fits favour models that learn quickly: --epochs {recipe.training.epochs} compares at the recipe's full length")
    changes = toml_changes(recipe, made.recommendation.candidate)
    lines += [
        "",
        made.recommendation.sentence,
        *_warning(made),
        "",
        "in the recipe:" if changes else "The recipe already says so: nothing to change.",
    ]
    return "\n".join([*lines, *([changes] if changes else [])])


def as_facts(recipe: Recipe, made: Comparison) -> dict[str, object]:
    """The same for JSON."""
    return {
        "recipe": recipe.name,
        "measured_on": "validation images",
        "images": made.images,
        "independent_share": made.independent,
        "epochs": made.epochs,
        "seeds": list(made.seeds),
        "candidates": [{**asdict(row), "label": row.candidate.label, "latents": row.candidate.latents} for row in made.rows],
        "recommended": asdict(made.recommendation.candidate),
        "reason": made.recommendation.sentence,
        "toml": toml_changes(recipe, made.recommendation.candidate),
    }


def _warning(made: Comparison) -> list[str]:
    """Evidence may be best though the angle is useless: another latent then draws what the turn does."""
    off = next(row.pose.angle_deg for row in made.rows if row.candidate == made.recommendation.candidate)
    if off is None or off <= _USELESS_DEG:
        return []
    return [
        f"Do not trust its angle: it is off by {off:.0f}° (median). More epochs or a lesson before the fit ([training.equivariance]) may mend that."
    ]


def _table(made: Comparison) -> list[str]:
    columns = ["", "candidate", "latents", "−ELBO", "±", "worse by", "±", "angle °", "shift px", "size %", "used", "accuracy"]
    cells = [[_mark(row, made), row.candidate.label, str(row.candidate.latents), *_figures(row)] for row in made.rows]
    # A column that no model has anything to say in is left out.
    kept = [k for k in range(len(columns)) if k < 2 or any(line[k] != "–" for line in cells)]
    wide = [max(len(columns[k]), *(len(line[k]) for line in cells)) for k in kept]
    rows = [[columns[k] for k in kept], *([line[k] for k in kept] for line in cells)]
    lines = ["  ".join(f"{cell:<{wide[k]}}" if k < 2 else f"{cell:>{wide[k]}}" for k, cell in enumerate(row)).rstrip() for row in rows]
    return lines + [f"{row.candidate.label}: {row.failure}" for row in made.rows if row.failure]


def _mark(row: Row, made: Comparison) -> str:
    if row.candidate == made.recommendation.candidate:
        return "→"
    return "=" if row.is_as_good else ""


def _figures(row: Row) -> list[str]:
    if row.failure:
        return ["failed", *["–"] * 8]
    best = row.worse_by == 0 and row.worse_by_standard_error == 0
    apart = ["best", "–"] if best else [_number(row.worse_by, 2), _number(row.worse_by_standard_error, 2)]
    pose = [_number(value, digits) for value, digits in ((row.pose.angle_deg, 1), (row.pose.shift_px, 2), (row.pose.scale_percent, 1))]
    used = "–" if row.classes_used is None else f"{row.classes_used:.3g} of {row.candidate.classes}"
    return [_number(row.negative_elbo, 2), _number(row.standard_error, 2), *apart, *pose, used, _number(row.accuracy, 3)]


def _counted(count: int, name: str) -> str:
    return f"{count} {name if count == 1 else f'{name}s'}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
