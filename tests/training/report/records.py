"""Figures as the words on them: what a reader of a saved picture would read, without the time that rendering takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from matplotlib.figure import Figure
from matplotlib.text import Text

from training.commands import report


@contextmanager
def words_of_figures() -> Iterator[dict[str, str]]:
    """Within, figures are not rendered; every text on each is found here by the file's name, a line each."""
    found: dict[str, str] = {}

    def record(figure: Figure, path: Path, **_: Any) -> None:
        texts = [" ".join(text.get_text().split()) for text in figure.findobj(Text)]
        found[path.name] = "\n".join(text for text in texts if text)
        path.write_bytes(b"a picture")

    with patch.object(Figure, "savefig", record):
        yield found


def report_words(bundle: Path, out: Path, *words: str) -> dict[str, str]:
    """Runs `python -m training report`; the words on each figure."""
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    with words_of_figures() as found:
        assert report.run(parser.parse_args([str(bundle), "--out", str(out), *words])) == 0
    return found
