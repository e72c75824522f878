"""`python -m services`: reads the settings, says clearly what is wrong with them, and runs BentoML's supervisor."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from pydantic import ValidationError

from services.engine.device import DeviceError, choose_device
from services.settings import START_REPORT, Settings


def main() -> int:
    """Starts the service; the arguments override the environment.

    Returns:
        0 after a signal, 1 when the worker could not start, 2 when a setting is wrong.
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
    # For the worker, which inherits it: glibc's arena for every thread would keep a quarter more memory under load, and let it creep.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    return supervise(settings)


def supervise(settings: Settings) -> int:
    """Runs BentoML's supervisor in this process until a signal ends it, or its worker cannot start.

    Returns:
        0 after a signal; 1 when the worker gave up, whose reason is printed.
    """
    from bentoml_cli.cli import cli  # noqa: PLC0415 - half a second that a wrong setting need not wait for

    arguments = [
        *("serve", "services.service:Dichroic", "--host", settings.host, "--port", str(settings.http_port)),
        # HTTP's own waiting; the drain of accepted work, inside the shutdown hook, comes on top of it.
        *("--timeout-graceful-shutdown", str(int(settings.drain_s) + 5)),
    ]
    with tempfile.TemporaryDirectory(prefix="dichroic-") as folder:
        report = Path(folder) / "start-failure"
        os.environ[START_REPORT] = str(report)
        try:
            with contextlib.suppress(SystemExit):
                cli.main(arguments, standalone_mode=False)
        except OSError as error:
            address = f"{settings.host}:{settings.http_port}"
            print(f"error: HTTP cannot listen on {address} ({error.strerror}). Set --http-port or DICHROIC_HTTP_PORT.", file=sys.stderr)
            return 1
        if report.exists():
            print(f"error: the service did not start: {report.read_text(encoding='utf-8')}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
