"""`python -m services`: reads the settings, says clearly what is wrong with them, and hands the process to BentoML."""

from __future__ import annotations

import argparse
import os
import sys

from pydantic import ValidationError

from services.engine.device import DeviceError, choose_device
from services.settings import Settings


def main() -> int:
    """Starts the service; the arguments override the environment.

    Returns:
        2 when the settings are wrong; otherwise this process becomes BentoML's and its exit code counts.
    """
    parser = argparse.ArgumentParser(prog="python -m services", description="Serve bundles over gRPC and HTTP.")
    for name, field in Settings.model_fields.items():
        if name != "admin_token":  # a secret on a command line is seen by every user of the machine
            parser.add_argument(
                f"--{name.replace('_', '-')}", metavar=name.upper(), help=f"{field.description} Environment: DICHROIC_{name.upper()}."
            )
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    os.environ.update({f"DICHROIC_{name.upper()}": value for name, value in given.items()})
    try:
        settings = Settings()
        # Here as well as in the worker: BentoML would restart a worker that refuses, over and over.
        choose_device(settings.device, intra_op_threads=settings.intra_op_threads)
    except ValidationError as error:
        for problem in error.errors():
            print(f"error: DICHROIC_{str(problem['loc'][0]).upper()}={problem['input']!r}: {problem['msg']}", file=sys.stderr)
        return 2
    except DeviceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not settings.bundles.is_dir():
        print(f"error: the bundle folder {settings.bundles} does not exist; set --bundles or DICHROIC_BUNDLES", file=sys.stderr)
        return 2
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    become_bentoml(settings)
    return 1  # not reached: exec replaces the process


def become_bentoml(settings: Settings) -> None:
    """Replaces this process by `bentoml serve`, so that signals reach it directly."""
    arguments = [
        *(sys.executable, "-m", "bentoml", "serve", "services.service:Dichroic"),
        *("--host", settings.host, "--port", str(settings.http_port)),
        # HTTP's own waiting; the drain of accepted work, inside the shutdown hook, comes on top of it.
        *("--timeout-graceful-shutdown", str(int(settings.drain_s) + 5)),
    ]
    os.execv(sys.executable, arguments)  # noqa: S606 - our own interpreter, our own arguments


if __name__ == "__main__":
    sys.exit(main())
