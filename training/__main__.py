"""`python -m training fit|choose|data|report|movie`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from training.errors import InputError

BAD_INPUT = 2
_INTERRUPTED = 130
_COMMANDS = {
    "fit": "train a model from a recipe, measure it, and write its bundle",
    "choose": "compare invariances, content sizes and class counts of a recipe, and recommend",
    "data": "make or fetch a data set",
    "report": "draw the figures of a bundle",
    "movie": "encode every frame of a movie by a service, and write latent maps",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code: 0 done, 2 bad input, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Trains models and writes them as bundles.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {}
    for name, purpose in _COMMANDS.items():
        modules[name] = importlib.import_module(f"training.commands.{name}")
        modules[name].add_arguments(commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}."))
    arguments = parser.parse_args(argv)
    try:
        return int(modules[arguments.command].run(arguments))
    except InputError as error:
        print(f"{error.reason}: {error.message}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
