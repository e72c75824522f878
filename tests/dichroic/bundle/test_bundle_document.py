"""docs/bundle-format.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dichroic.bundle import manifest as sections
from dichroic.bundle.files import MAX_VERSION
from dichroic.bundle.reader import MAX_BUNDLE_BYTES, MAX_MANIFEST_BYTES

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/bundle-format.md").read_text(encoding="utf-8")
SECTIONS = [
    each for each in vars(sections).values() if isinstance(each, type) and issubclass(each, sections.Section) and each is not sections.Section
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_field_of_the_manifest_stands_in_the_document_with_whether_it_is_required(section: type[sections.Section]) -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("|")]
    for name, field in section.model_fields.items():
        mine = [row for row in rows if f"`{name}`" in row.split("|")[1]]
        assert mine, f"{section.__name__}.{name} is not in the document"
        word = "required" if field.is_required() else "default"
        assert any(word in row.split("|")[2] for row in mine) or name in {"preprocessing", "latent"}, f"{section.__name__}.{name} is {word}"


def test_every_step_and_cause_of_reader_and_server_stands_in_the_document() -> None:
    sources = [*(ROOT / "dichroic/bundle").glob("*.py"), *(ROOT / "services/engine").glob("*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in sources)
    raised = set(re.findall(r'(?:BundleRefusedError|_refused)\(\s*"?([a-z-]+)"?,\s*"([A-Z_]+)"', code))
    assert {("manifest", "WRONG_PLACE"), ("files", "SYMLINK"), ("step", "NOT_A_FILE"), ("golden", "GOLDEN_DIFFERS")} <= raised
    table = [line for line in TEXT.splitlines() if re.match(r"\| [A-Z_]+", line)]
    for step, cause in raised:
        rows = [row for row in table if cause in re.split(r"[ |,]+", row)]
        assert rows, f"{cause} is not in the document"
        assert step == "step" or step in rows[0].split("|")[2], f"{cause} at step {step} is not in the document"


def test_the_limits_are_those_of_the_code() -> None:
    assert f"version {sections.FORMAT_VERSION}" in TEXT.splitlines()[0]
    assert (MAX_MANIFEST_BYTES, MAX_BUNDLE_BYTES, MAX_VERSION, sections.MAX_ROW_ELEMENTS) == (4 << 20, 2 << 30, 2**53 - 1, 1 << 28)
    for limit in ("4 MiB", "2 GiB", "2⁵³ − 1", "2²⁸"):
        assert limit in TEXT
