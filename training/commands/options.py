"""What `fit` and `choose` are both told: a recipe, its data, and how to run."""

from __future__ import annotations

import argparse
from pathlib import Path

INTERRUPTED = 130


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """RECIPE.toml, --data, --channel, --device, --seed, --resume, --json."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="data, model and training; see recipes/")
    parser.add_argument(
        "--data", type=Path, action="extend", nargs="+", default=[], metavar="FILE", help="data files (default: those the recipe names)"
    )
    parser.add_argument("--channel", metavar="QUANTITY", help="which channel of the files, such as AmplitudeRetrace (default: the recipe's)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to train (default: %(default)s)")
    parser.add_argument("--seed", type=seed_value, help="random seed, of the data's split too (default: the recipe's)")
    parser.add_argument("--resume", action="store_true", help="go on from what an interrupted run left")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")


def seed_value(text: str) -> int:
    """An option's seed."""
    value = int(text)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"a seed lies in 0 to {2**31 - 1}, not at {value}")
    return value
