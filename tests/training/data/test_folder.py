from __future__ import annotations

from pathlib import Path

import pytest

from training.data.folder import named_files
from training.errors import InputError


def test_files_are_found_in_the_folder_and_one_level_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICHROIC_DATA", str(tmp_path))
    (tmp_path / "a.h5").touch()
    (tmp_path / "pzt").mkdir()
    (tmp_path / "pzt" / "b.h5").touch()
    assert named_files(("b.h5", "a.h5")) == (tmp_path / "pzt" / "b.h5", tmp_path / "a.h5")


def test_the_folder_itself_comes_before_those_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICHROIC_DATA", str(tmp_path))
    (tmp_path / "old").mkdir()
    for place in (tmp_path / "a.h5", tmp_path / "old" / "a.h5"):
        place.touch()
    assert named_files(("a.h5",)) == (tmp_path / "a.h5",)


def test_a_file_that_is_nowhere_is_told_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICHROIC_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"no a\.h5 in .*--data FILE") as caught:
        named_files(("a.h5",))
    assert caught.value.reason == "DATA_NOT_FOUND"


@pytest.mark.parametrize(
    ("names", "folder", "word"), [((), "somewhere", "--data scan.h5"), (("a.h5",), None, "DICHROIC_DATA to the folder that holds a.h5")]
)
def test_without_names_or_folder_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], folder: str | None, word: str) -> None:
    monkeypatch.delenv("DICHROIC_DATA", raising=False)
    if folder is not None:
        monkeypatch.setenv("DICHROIC_DATA", folder)
    with pytest.raises(InputError) as caught:
        named_files(names)
    assert caught.value.reason == "DATA_REQUIRED"
    assert word in caught.value.message
