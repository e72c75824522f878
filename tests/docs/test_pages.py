"""Documentation that is made from code is what the code says now."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_configuration_page_is_what_the_settings_say() -> None:
    done = subprocess.run([sys.executable, "tools/configuration.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_file_that_a_page_names_is_there() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("deploy/*.md")]
    assert len(pages) > 5
    assert [f"{page.relative_to(ROOT)}: {name}" for page in pages for name in named(page) if not name.exists()] == []


def named(page: Path) -> list[Path]:
    """Every file of the project that a page mentions in code or links to."""
    text = page.read_text()
    mentioned = re.findall(r"`((?:dichroic|services|training|examples|tools|docs|protos|recipes|deploy|tests|benchmarks)/[\w./-]+)`", text)
    linked = re.findall(r"\]\(((?!https?:|#)[^)#]+)", text)
    return [ROOT / name for name in mentioned] + [page.parent / target for target in linked]
