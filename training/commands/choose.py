"""`python -m training choose RECIPE.toml`: which invariances, how many content latents, how many classes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from training.choose.candidates import INVARIANCES, make_plan, parse_invariances
from training.choose.scores import SUMMARY_NAME, write_json
from training.commands.options import INTERRUPTED, add_run_options, seed_value
from training.recipe import read_recipe

_DEFAULTS = (
    "With none of --invariances, --content-sizes and --classes: first all sets of rotation, translation and scale at the recipe's content size; then "
    "half, once and twice that size with the set that was recommended; then, for a joint recipe, one class less and one more. With any of them: only "
    "the values given, the others as in the recipe. Candidates are compared on validation images set aside from the training data, never on "
    "the held-out images that `fit` reports on. Recommended is the simplest candidate whose evidence is within one standard error of the best."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = _DEFAULTS
    add_run_options(parser)
    parser.add_argument(
        "--invariances", type=_invariances, nargs="+", default=[], metavar="SET", help="sets to try: none, rotation, rotation+translation, ..."
    )
    parser.add_argument("--content-sizes", type=_size, nargs="+", default=[], metavar="D", help="numbers of content latents to try")
    parser.add_argument("--classes", type=_classes, nargs="+", default=[], metavar="K", help="numbers of classes to try, for joint recipes")
    parser.add_argument(
        "--epochs", type=_epochs, metavar="N", help="epochs of each fit; lessons before it in proportion (default: half the recipe's)"
    )
    parser.add_argument(
        "--seeds", type=seed_value, nargs="+", default=[], metavar="N", help="fit each candidate with each of these (default: --seed)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results and checkpoints go (default: choose-NAME)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; 0 done, 130 interrupted.

    Raises:
        InputError: anything the user can change.
    """
    recipe = read_recipe(arguments.recipe)
    if arguments.seed is not None:
        recipe = recipe.model_copy(update={"seed": arguments.seed})
    tried = (tuple(arguments.invariances), tuple(arguments.content_sizes), tuple(arguments.classes))
    make_plan(recipe, INVARIANCES, *tried)  # torch takes seconds to import: what cannot be compared is told before
    from training.choose.compare import ChooseInterrupted, Options, compare  # noqa: PLC0415
    from training.choose.table import as_facts, as_text  # noqa: PLC0415
    from training.latent.pipeline import Request  # noqa: PLC0415

    folder = arguments.out or Path(f"choose-{recipe.name}")
    request = Request(recipe, tuple(arguments.data), arguments.channel, folder, arguments.device, arguments.resume)
    try:
        made = compare(request, Options(*tried, arguments.epochs, tuple(arguments.seeds)))
    except KeyboardInterrupt as error:
        told = "nothing is kept yet"
        if isinstance(error, ChooseInterrupted) and error.resumable:
            done = "1 fit is" if error.done == 1 else f"{error.done} fits are"
            told = f"{done} done and kept in {error.folder}; run the same command with --resume to go on"
        print(f"\nInterrupted; {told}.", file=sys.stderr)
        return INTERRUPTED
    facts = as_facts(recipe, made)
    write_json(folder / SUMMARY_NAME, facts)
    print(json.dumps(facts, indent=1) if arguments.json else as_text(recipe, made))
    return 0


def _invariances(text: str) -> tuple[str, ...]:
    try:
        return parse_invariances(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _size(text: str) -> int:
    return _whole(text, 0, 256, "a content size")


def _classes(text: str) -> int:
    return _whole(text, 2, 64, "a number of classes")


def _epochs(text: str) -> int:
    return _whole(text, 1, 1_000_000, "a number of epochs")


def _whole(text: str, low: int, high: int, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
        raise argparse.ArgumentTypeError(f"{what} is a whole number from {low} to {high}, not {text!r}")
    return int(text)
