"""Generates dichroic/v1 from protos/dichroic/v1: messages, services and their types. `--check` only says whether that was forgotten.

Needs grpcio-tools and mypy-protobuf at the versions pinned in pyproject.toml (extra `dev`); others write other bytes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROTOS = ROOT / "protos"
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def generate(out: Path) -> None:
    """Writes dichroic/v1/*_pb2*.py(i) under `out`.

    Raises:
        SystemExit: the plugins are not installed, or a proto is wrong; protoc has said where.
    """
    plugins = []
    for name in PLUGINS:
        # Beside this interpreter first: its environment need not be activated.
        found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
        if found is None:
            raise SystemExit(f"{name} is not installed: pip install -e .[dev]")
        plugins.append(f"--plugin={name}={found}")
    kinds = (f"--python_out={out}", f"--grpc_python_out={out}", f"--mypy_out=quiet:{out}", f"--mypy_grpc_out=quiet:{out}")
    protos = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.glob("dichroic/v1/*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *plugins, *kinds, *protos]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit("protoc refused a proto.")


def stale(out: Path) -> list[str]:
    """The files under `out` that differ from what the protos generate, are missing, or have no proto any more."""
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        made, present = ({path.name: path.read_bytes() for path in (place / "dichroic/v1").glob("*_pb2*.py*")} for place in (Path(fresh), out))
        return sorted(name for name in made.keys() | present.keys() if made.get(name) != present.get(name))


def main(arguments: list[str] | None = None) -> int:
    """0: done, or nothing to do; 1: `--check` found stale files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the stubs are not those of the protos")
    parser.add_argument("--out", type=Path, default=ROOT, metavar="DIR", help="the folder that holds dichroic/v1 (default: this checkout)")
    chosen = parser.parse_args(arguments)
    if not chosen.check:
        generate(chosen.out)
        return 0
    names = stale(chosen.out)
    if names:
        sys.stderr.write(f"Not what the protos generate: {', '.join(names)}. Run: python tools/generate_stubs.py\n")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
