"""Writes docs/configuration.md from services/settings.py, so that the two cannot differ. `python tools/configuration.py [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pydantic.fields import FieldInfo  # noqa: E402

from services.settings import Settings  # noqa: E402 - the checkout comes first

PAGE = ROOT / "docs" / "configuration.md"
HEAD = """# Configuration

Every setting is an environment variable, and an option of `python -m services` (`DICHROIC_GRPC_PORT` is `--grpc-port`), except the
token: a secret on a command line is seen by every user of the machine. A wrong value is a refusal to start with exit code 2.
This page is made by `python tools/configuration.py` from `services/settings.py`.

| variable | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The page's text."""
    lines = [f"| `DICHROIC_{name.upper()}` | `{'' if field.default is None else field.default}` | {field.description} |" for name, field in fields()]
    return HEAD + "\n".join(lines).replace("| `` |", "| unset |") + "\n"


def fields() -> list[tuple[str, FieldInfo]]:
    """Every setting."""
    return list(Settings.model_fields.items())


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else "docs/configuration.md is out of date: run python tools/configuration.py")
    PAGE.write_text(page(), encoding="utf-8")
