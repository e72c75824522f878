"""docs/api.md's examples: found by their names, and run as they stand against a server of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dichroic.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def block(name: str) -> str:
    """The code of the example that is marked by this name."""
    found = re.search(rf"<!-- tested: {name} -->\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL)
    assert found is not None
    return found[1]


def promised(name: str) -> str:
    """What the page says that this example prints."""
    return PAGE.split(f"<!-- tested: {name} -->")[1].split("```text\n")[1].split("```")[0]


async def printed(name: str, port: int, names: dict[str, Any]) -> str:
    """What a Python example prints, given these names, when its server is at this port."""
    code = block(name).replace("localhost:50051", f"127.0.0.1:{port}")
    found = io.StringIO()

    def run() -> None:
        with contextlib.redirect_stdout(found):
            exec(compile(code, "docs/api.md", "exec"), names)  # noqa: S102 - the page's own code

    await asyncio.to_thread(run)
    return found.getvalue()


def commands(service: str) -> list[str]:
    """The command lines, without `dichroic`, that the table of calls names for a service."""
    return re.findall(rf"^\| `{service}\.\w+` .*\| `dichroic (.+)` \|$", PAGE, flags=re.MULTILINE)


async def told(command: str, read: Callable[[], str]) -> str:
    """What a command line says, once it has succeeded. `read`: what was printed since it was last called."""
    assert await asyncio.to_thread(main, shlex.split(command)) == 0, command
    return read().strip()
