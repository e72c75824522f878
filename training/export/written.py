"""What the export of every kind of bundle ends with: the manifest around the files, and the folder."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dichroic.bundle import FORMAT_VERSION, Manifest, write_bundle
from dichroic.bundle.manifest import FileEntry, Kind, Producer
from training.export.parity import Parity


@dataclass(frozen=True)
class Written:
    """Where the bundle lies, its manifest, and the greatest disagreement of graphs and model."""

    folder: Path
    manifest: Manifest
    parity: Parity


def write(
    bundles: Path,
    files: Mapping[str, bytes],
    parity: Parity,
    *,
    kind: Kind,
    name: str,
    packages: Sequence[str],
    timings_s: dict[str, float],
    **sections: Any,
) -> Written:
    """Writes `bundles/<name>/<version>/`, with the next version.

    Args:
        bundles: the folder of bundles.
        files: by path, without the manifest.
        parity: as it was found.
        kind: of the bundle.
        name: of the model.
        packages: whose versions the manifest names.
        timings_s: how long each step took.
        sections: the manifest's further fields.

    Raises:
        OSError: the folder cannot be written.
    """
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        version=1,
        kind=kind,
        created_time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        producer=Producer(git_commit=_git_commit(), packages={each: importlib.metadata.version(each) for each in packages}, timings_s=timings_s),
        files=tuple(FileEntry(path=path, sha256="0" * 64, size_bytes=len(data)) for path, data in files.items()),
        **sections,
    )
    folder, written = write_bundle(bundles, manifest, files)
    return Written(folder, written, parity)


def _git_commit() -> str:
    # Beside this file, not in the caller's folder: the commit of the code that trained.
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False, timeout=10)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() if found.returncode == 0 else "unknown"
