"""`python -m training fit RECIPE.toml`: data to bundle, with the figures printed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from training.commands.options import INTERRUPTED, add_run_options
from training.export.stage_figures import any_of, split_by_stage, stage_labels
from training.recipe import read_any_recipe
from training.recipe_mechanism import MechanismRecipe
from training.recipe_transition import TransitionRecipe

if TYPE_CHECKING:
    from training.export.written import Written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_run_options(parser)
    parser.add_argument("--licence", type=_text, metavar="TEXT", help="licence of the data files (default: the recipe's for the files it names)")
    parser.add_argument("--out", type=Path, default=Path("bundles"), metavar="BUNDLES_DIR", help="where the bundle goes (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; 0 done, 130 interrupted.

    Raises:
        InputError: anything the user can change.
    """
    recipe = read_any_recipe(arguments.recipe)
    if arguments.seed is not None:
        recipe = recipe.model_copy(update={"seed": arguments.seed})
    # torch takes seconds to import: a typo in a recipe is told before.
    from training.latent.pipeline import Interrupted, Request, fit_latent  # noqa: PLC0415

    common = (tuple(arguments.data), arguments.channel, arguments.out, arguments.device, arguments.resume, arguments.licence)
    try:
        if isinstance(recipe, MechanismRecipe):
            from training.mechanism.pipeline import MechanismRequest, fit_mechanism  # noqa: PLC0415

            written = fit_mechanism(MechanismRequest(recipe, *common, folder=arguments.recipe.parent))
        elif isinstance(recipe, TransitionRecipe):
            from training.transition.recipe_pipeline import TransitionRequest, fit_transition_recipe  # noqa: PLC0415

            written = fit_transition_recipe(TransitionRequest(recipe, *common))
        elif recipe.scales is not None:
            from training.scales.pipeline import fit_scales  # noqa: PLC0415

            written = fit_scales(Request(recipe, *common))
        else:
            written = fit_latent(Request(recipe, *common))
    except KeyboardInterrupt as error:
        folder = error.folder if isinstance(error, Interrupted) and any(error.folder.rglob("*.safetensors")) else None
        told = f"the checkpoint is in {folder}; run the same command with --resume to go on" if folder else "there is no checkpoint yet"
        print(f"\nInterrupted; {told}.", file=sys.stderr)
        return INTERRUPTED
    print(json.dumps(_facts(written), indent=1) if arguments.json else _table(written))
    return 0


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("a text was expected, not nothing")
    return text.strip()


def _facts(written: Written) -> dict[str, object]:
    manifest = written.manifest
    return {
        "bundle": str(written.folder),
        "name": manifest.name,
        "version": manifest.version,
        "digest": manifest.digest,
        "metrics": [metric.model_dump() for metric in manifest.metrics],
        "calibration": manifest.calibration.model_dump(),
        "parity": {"worst": written.parity.worst, "where": written.parity.where},
        "timings_s": manifest.producer.timings_s,
    }


def _table(written: Written) -> str:
    manifest = written.manifest
    latent = manifest.latent
    whole, by_stage = split_by_stage(manifest.metrics, None if latent is None else latent.frames)
    wide = max((len(name) for name in (*(metric.name for metric in whole), *(name for name, _ in by_stage))), default=6)
    lines = [f"{'figure':<{wide}}  {'value':>10}  {'unit':<10}  measured on"]
    lines += [f"{metric.name:<{wide}}  {metric.value:>10.4g}  {metric.unit:<10}  {metric.split}" for metric in whole]
    if latent is not None and latent.frames is not None and by_stage:
        lines += ["", f"{'by window':<{wide}}  {'  '.join(f'{label:>10}' for label in stage_labels(latent.frames))}  unit"]
        for name, row in by_stage:
            values = "  ".join(f"{'-':>10}" if metric is None else f"{metric.value:>10.4g}" for metric in row)
            lines.append(f"{name:<{wide}}  {values}  {any_of(row).unit}")
        lines.append("")
    if latent is not None and latent.novelty_threshold is not None:
        lines.append(f"novelty threshold {latent.novelty_threshold:.4g}, exceeded by {latent.novelty_false_alarm_rate:.3g} of the held-out images")
    coverage = manifest.calibration.interval_coverage
    if coverage is not None:
        told = ", ".join(f"{level.probability:.0%}: {level.covered:.1%}" for level in coverage.levels)
        lines.append(f"central intervals of y held, of {coverage.count} points, {told}")
    hops = manifest.calibration.hop_calibration
    if hops is not None:
        lines.append(f"P(hop) is off by {hops.expected_calibration_error:.4f} in the mean, over {hops.count} transitions")
    lines.append(f"graphs and model agree within {written.parity.worst:.1e} of the output's range ({written.parity.where})")
    lines.append(f"wrote {written.folder} ({sum(entry.size_bytes for entry in manifest.files)} bytes), digest {manifest.digest}")
    return "\n".join(lines)
