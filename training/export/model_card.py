"""The bundle's README.md: what the model is and what it is not, its figures, written from the manifest's own numbers."""

from __future__ import annotations

from collections.abc import Sequence

from dichroic.bundle import LatentSection, Metric, Preprocessing, TrainingData
from dichroic.bundle.frames_section import Frames
from dichroic.bundle.manifest import Calibration
from training.export.stage_figures import Series, any_of, split_by_stage, stage_labels
from training.latent.figures import FEWEST_FOR_NOMINAL_RATE
from training.recipe_sections import Card


def model_card(
    *,
    card: Card,
    name: str,
    latent: LatentSection,
    preprocessing: Preprocessing,
    training_data: TrainingData,
    notes: str,
    remark: str,
    metrics: Sequence[Metric],
    calibration: Calibration,
    drawn: Preprocessing | None = None,
) -> str:
    """Markdown. Holds no date, version or timing: those are no part of what a bundle answers.

    `remark`, where there is one, comes before the recipe's own texts: what a reader must know before believing them. `drawn`: preprocessing of
    what is drawn, where another kind goes in.
    """
    whole, by_stage = split_by_stage(metrics, latent.frames)
    figures = metrics_table(whole)
    if latent.frames is not None and by_stage:
        figures += f"\n\nBy window length, each on held-out windows of its own:\n\n{stage_table(by_stage, latent.frames)}"
    return framed(
        card,
        use=_use(name, latent, preprocessing, drawn),
        data=data_section(training_data, notes),
        measured_on="images",
        figures=figures,
        calibration=_calibration(calibration, latent),
        remark=remark,
    )


def framed(card: Card, *, use: str, data: str, measured_on: str, figures: str, calibration: str, remark: str = "") -> str:
    """The card of any kind of bundle: the recipe's texts around what its kind has to say. `measured_on`: what the figures' rows are."""
    parts = [
        f"# {card.title}",
        *([f"**{remark}**"] if remark else []),
        card.description,
        "## Use",
        use,
        "## Data",
        data,
        "## Figures",
        f"Measured on {measured_on} that no part of the fit saw. A row's last column says on which.",
        figures,
        "## Calibration",
        calibration,
        "## Limits",
        card.limits,
        "## What is published and what is ours",
        f"Published: {card.published}",
        f"Our reconstruction or choice: {card.ours}",
        "## Licence",
        "Weights, graphs and this card: MIT, as the project. The data's licence stands above.",
    ]
    return "\n\n".join(parts) + "\n"


def data_section(training_data: TrainingData, notes: str) -> str:
    """Where the numbers came from, as a Markdown list."""
    lines = [f"- Source: {training_data.source}", f"- Licence of the data: {training_data.licence}"]
    return "\n".join([*lines, *(f"- SHA-256: `{value}`" for value in training_data.sha256), *([f"- {notes}"] if notes else [])])


def metrics_table(metrics: Sequence[Metric]) -> str:
    """A Markdown table, one row for each figure."""
    rows = [f"| {metric.name} | {metric.value:.4g} | {_cell(metric.unit)} | {_cell(metric.meaning)} | {_cell(metric.split)} |" for metric in metrics]
    return "\n".join(["| figure | value | unit | meaning | measured on |", "|---|---|---|---|---|", *rows])


def stage_table(by_stage: Sequence[Series], frames: Frames) -> str:
    """A Markdown table, one row for each figure and one column for each window length."""
    rows = []
    for name, row in by_stage:
        values, one = " | ".join("–" if metric is None else f"{metric.value:.4g}" for metric in row), any_of(row)
        rows.append(f"| {name} | {values} | {_cell(one.unit)} | {_cell(one.meaning)} |")
    labels = stage_labels(frames)
    return "\n".join([f"| figure | {' | '.join(labels)} | unit | meaning |", "|---" * (len(labels) + 3) + "|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", r"\|")  # a bare one would begin the next column


def _use(name: str, latent: LatentSection, preprocessing: Preprocessing, drawn: Preprocessing | None) -> str:
    size = f"images of {latent.image_height_px} × {latent.image_width_px} px" + (f" × {latent.channels} channels" if latent.channels > 1 else "")
    if latent.input_kind == "spectra":
        size = "spectra" + (f" of {latent.channels} channels" if latent.channels > 1 else "")
    ranges = _ranges(preprocessing)
    outside = "clipped" if preprocessing.clip else "taken as they are"
    integers = "span that range" if preprocessing.integer_images == "full_scale" else f"are values in {preprocessing.unit}"
    lines = [
        f"- Model `{name}`; {size}; values in {preprocessing.unit}, {ranges}.",
        f"- Values beyond that range are {outside}" + (f"; uint8 and uint16 images {integers}." if latent.input_kind == "images" else "."),
        *([f"- It gives {latent.output_kind}, in {drawn.unit}, {_ranges(drawn)}."] if drawn is not None else []),
        f"- Invariances: {', '.join(latent.invariances) or 'none'}; {latent.content_size} content latents.",
        *_topology(latent),
        f"- Likelihood of a pixel: {latent.likelihood.replace('_', ' ')}.",
        "- Pose is the object's: angle counter-clockwise with row 0 at the top, scale above 1 is larger,",
        "  shifts in pixels down and right of the image's centre.",
    ]
    if latent.angle_symmetry > 1:
        lines.append(f"- Angles are meant modulo {360 / latent.angle_symmetry:g}°: the objects look the same after such a turn.")
    if latent.class_names:
        found = "found without labels" if latent.class_source == "joint" else "learned from few labelled images and many without"
        lines.append(f"- Classes, {found}: {', '.join(latent.class_names)}. Decode wants the number of one of them, from 0.")
    if latent.class_edges:
        lines.append(f"- Declared graph of the classes, each edge meant as one step: {', '.join(' → '.join(edge) for edge in latent.class_edges)}.")
    if latent.conditions:
        told = "; ".join(f"{each.name} ({', '.join(each.categories) or each.unit}): {each.meaning}" for each in latent.conditions)
        lines.append(f"- Conditions that it must be told, in this order: {told}.")
    if latent.targets:
        told = "; ".join(f"{each.name} ({each.unit}): {each.meaning}" for each in latent.targets)
        lines.append(f"- Targets that it tells, learned from rows with and without them: {told}. Decode wants their values.")
    if latent.pixel_size_nm is not None:
        lines.append(f"- Pixel size of the training images: {latent.pixel_size_nm:.4g} nm.")
    return "\n".join(lines)


def _topology(latent: LatentSection) -> list[str]:
    on_circles = [str(index + 1) for index, axis in enumerate(latent.topology) if axis == "circle"]
    if not on_circles:
        return []
    return [f"- On circles: content {', '.join(on_circles)}, in radians from −π to π, with a uniform prior; any angle may be decoded."]


def _ranges(preprocessing: Preprocessing) -> str:
    return ", ".join(f"{low:.4g} to {high:.4g}" for low, high in zip(preprocessing.input_low, preprocessing.input_high, strict=True))


def _calibration(calibration: Calibration, latent: LatentSection) -> str:
    errors = calibration.reconstruction_error
    if errors is None:
        return "None."
    quantiles = ", ".join(f"{quantile.probability:g}: {quantile.value:.3g}" for quantile in errors.quantiles)
    told = f"Quantiles of the reconstruction error over {errors.count} images ({errors.split}): {quantiles}."
    if latent.novelty_threshold is None or latent.novelty_false_alarm_rate is None:
        return told
    rate = f"{latent.novelty_false_alarm_rate:.3g} of those images are"
    if errors.count < FEWEST_FOR_NOMINAL_RATE:
        rate += f", as measured: {errors.count} images are too few to fix a rate of one in a hundred"
    return f"{told} An image is called novel above {latent.novelty_threshold:.3g}; {rate}."
