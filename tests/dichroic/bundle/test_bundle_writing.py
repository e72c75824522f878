"""Writing: what is read is what was written, whole or not at all, each under its own number."""

from __future__ import annotations

import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from dichroic.bundle import read_bundle, versions_in, write_bundle
from dichroic.bundle.arrays import pack, unpack
from dichroic.errors import BundleRefusedError
from tests.dichroic.bundle.drawn import FILES, facts, manifest, write


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    folder, written = write_bundle(tmp_path, manifest(), FILES)
    bundle = read_bundle(folder)
    assert bundle.manifest == written
    assert bundle.manifest.digest == written.digest
    assert bundle.files == FILES
    assert bundle.model_card == "# Drawn\nNothing, é.\n"
    assert folder == tmp_path / "drawn" / "1"


def test_what_is_left_out_stays_out_of_the_file(tmp_path: Path) -> None:
    """A reader of an older minor version refuses a field that it does not know, though it be the default."""
    folder, written = write_bundle(tmp_path, manifest(), FILES)
    said = json.loads((folder / "bundle.json").read_text())
    assert said.keys() == facts().keys()
    assert said["latent"].keys() == facts()["latent"].keys()
    assert manifest().model_copy(update={"files": written.files}).digest == written.digest


def test_a_relative_path_reads_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path).parent)
    assert read_bundle(Path("1")).manifest.name == "drawn"
    monkeypatch.chdir("1")
    assert read_bundle(Path()).manifest.version == 1


def test_versions_count_up_from_the_highest_present(tmp_path: Path) -> None:
    for name in ("1", "7", "007", "+9", " 10", "٣", "x", "-1", "0", "9" * 30, ".writing-abc"):
        (tmp_path / "drawn" / name).mkdir(parents=True)
    (tmp_path / "drawn" / "8").touch()
    assert versions_in(tmp_path / "drawn") == [1, 7]
    assert write(tmp_path).name == "9", "a stray file bears the number 8"
    assert versions_in(tmp_path / "nobody") == []


def test_a_link_that_bears_a_number_is_stepped_over(tmp_path: Path) -> None:
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "1").symlink_to(tmp_path / "gone")
    assert write(tmp_path).name == "2"


def _write_some(bundles: Path, count: int) -> list[str]:
    return [write(bundles).name for _ in range(count)]


def test_writers_at_once_get_different_versions_all_whole(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(chain.from_iterable(pool.map(lambda _: _write_some(tmp_path, 5), range(8))))
    assert sorted(map(int, names)) == list(range(1, 41))
    for version in versions_in(tmp_path / "drawn"):
        read_bundle(tmp_path / "drawn" / str(version))


def test_writers_in_two_processes_get_different_versions(tmp_path: Path) -> None:
    with get_context("spawn").Pool(2) as pool:
        names = list(chain.from_iterable(pool.starmap(_write_some, [(tmp_path, 10)] * 2)))
    assert sorted(map(int, names)) == list(range(1, 21))


def test_no_reader_ever_sees_half_a_bundle(tmp_path: Path) -> None:
    over = threading.Event()

    def watch() -> int:
        read = 0
        while not over.is_set() or not read:
            for version in versions_in(tmp_path / "drawn"):
                read_bundle(tmp_path / "drawn" / str(version))
                read += 1
        return read

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        for _ in range(20):
            write(tmp_path)
        over.set()
        assert watching.result(60) > 0


@pytest.mark.parametrize("at", range(1, len(FILES) + 3))
def test_a_failure_at_any_file_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    calls = [0]
    sync = os.fsync

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] == at:
            raise OSError(errno.ENOSPC, "no space left")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path)
    assert list((tmp_path / "drawn").iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "a/b", "/x", ".hidden", "bundle.json", "BUNDLE.json", "", "a\n", "a b", "ü"])
def test_a_file_name_that_leaves_the_folder_or_the_rules_is_not_written(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValidationError):
        write_bundle(tmp_path, manifest(), FILES | {path: b""})
    assert [entry for entry in tmp_path.rglob("*") if entry.is_file()] == []


def test_a_bundle_can_be_read_by_another_user(tmp_path: Path) -> None:
    assert write(tmp_path).stat().st_mode & 0o555 == 0o555


@given(st.dictionaries(st.text("abc/._", min_size=1, max_size=8), hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4)), max_size=4))
def test_arrays_come_back_to_the_bit_and_pack_the_same_in_any_order(arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    data = pack(arrays)
    assert data == pack(dict(reversed(arrays.items())))
    back = unpack(data, path="x")
    assert {name: values.tobytes() for name, values in back.items()} == {name: values.tobytes() for name, values in arrays.items()}


def test_strided_arrays_are_packed_as_they_look() -> None:
    values = np.arange(12.0).reshape(3, 4).T[::2]
    np.testing.assert_array_equal(unpack(pack({"a": values}), path="x")["a"], values)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_arrays_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(BundleRefusedError) as caught:
        unpack(b"\xff" + data, path="golden.safetensors")
    assert (caught.value.step, caught.value.cause) == ("arrays", "INVALID_ARRAYS")
