"""What every example's command line has in common: which service it asks, and how it ends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dichroic import Client
from dichroic.errors import DichroicError
from training.errors import InputError
from training.local_service import service_address


def options(description: str | None, *, model: str, out: str) -> argparse.ArgumentParser:
    """The options of an example that asks a service about one model and draws.

    Args:
        description: the example's text, shown as it is.
        model: asked where none is named.
        out: name of the picture where none is given.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=model, help="of the bundles (default %(default)s)")
    parser.add_argument("--server", help="HOST:PORT of a running service (default: one is started)")
    parser.add_argument("--bundles", type=Path, default=Path(__file__).parents[1] / "bundles", help="that the service of this run has")
    parser.add_argument("--out", type=Path, default=Path(out), help="the picture (default %(default)s)")
    return parser


@contextmanager
def service_client(arguments: argparse.Namespace, interrupted: str) -> Iterator[Client]:
    """A client of the service that `options` asked for, for as long as the block runs.

    Args:
        arguments: of `options`.
        interrupted: said after Ctrl-C.

    Raises:
        SystemExit: as `told`.
    """
    with told(interrupted), service_address(arguments.server, arguments.bundles) as address, Client(address) as client:
        yield client


@contextmanager
def told(interrupted: str) -> Iterator[None]:
    """What goes wrong in the block is told in a line on standard error.

    Args:
        interrupted: said after Ctrl-C.

    Raises:
        SystemExit: 2 after an error of the service or the input, 130 after Ctrl-C.
    """
    try:
        yield
    except (DichroicError, InputError) as error:
        print(f"error: {error} [{error.reason}]", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        raise SystemExit(130) from None
