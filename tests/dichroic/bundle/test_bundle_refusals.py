"""Reading what is damaged or hostile: refused, each with its stable cause, and nothing read outside the folder."""

from __future__ import annotations

import copy
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dichroic.bundle import reader
from dichroic.bundle.manifest import Manifest
from dichroic.bundle.reader import MAX_MANIFEST_BYTES, read_bundle, read_manifest
from dichroic.errors import BundleRefusedError
from tests.dichroic.bundle.drawn import facts, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "bundles")


def refusal(folder: Path) -> tuple[str, str]:
    with pytest.raises(BundleRefusedError) as caught:
        read_bundle(folder)
    assert caught.value.metadata == {"step": caught.value.step, "cause": caught.value.cause}
    return caught.value.step, caught.value.cause


def say(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes what bundle.json says."""
    path = folder / "bundle.json"
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))


def _replace_by_link(path: Path) -> None:
    outside = path.parents[3] / "outside"
    path.rename(outside)
    path.symlink_to(outside)


def _replace_by_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is at most about 100 characters
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


def _replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILE = "weights.safetensors"


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        pytest.param(lambda folder: (folder / FILE).write_bytes(b"WEIGHTS"), "WRONG_HASH", id="one file changed"),
        pytest.param(lambda folder: (folder / FILE).write_bytes(b"weights."), "WRONG_SIZE", id="one byte more"),
        pytest.param(lambda folder: (folder / FILE).write_bytes(b""), "WRONG_SIZE", id="emptied"),
        pytest.param(lambda folder: (folder / FILE).unlink(), "MISSING_FILE", id="missing"),
        pytest.param(lambda folder: (folder / "extra.onnx").touch(), "UNLISTED_FILE", id="an unlisted file"),
        pytest.param(lambda folder: (folder / ".extra").touch(), "UNLISTED_FILE", id="a hidden unlisted file"),
        pytest.param(lambda folder: (folder / "extra").mkdir(), "UNLISTED_FILE", id="an unlisted folder"),
        pytest.param(lambda folder: _replace_by_link(folder / FILE), "SYMLINK", id="a link instead of a file"),
        pytest.param(lambda folder: (folder / "extra").symlink_to(FILE), "SYMLINK", id="one link more"),
        pytest.param(lambda folder: _replace_by_folder(folder / FILE), "NOT_A_FILE", id="a folder instead of a file"),
        pytest.param(lambda folder: _replace_by_fifo(folder / FILE), "NOT_A_FILE", id="a FIFO, without waiting for a writer"),
        pytest.param(lambda folder: _replace_by_socket(folder / FILE), "UNREADABLE_FILE", id="a socket"),
        pytest.param(lambda folder: say(folder, lambda said: said["files"][1].update(size_bytes=2**60)), "TOO_LARGE", id="an exabyte declared"),
    ],
)
def test_files_that_are_not_those_of_the_manifest_are_refused(folder: Path, spoil: Callable[[Path], object], cause: str) -> None:
    spoil(folder)
    assert refusal(folder) == ("files", cause)


def test_a_device_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, flags: opened("/dev/zero" if Path(path).name == FILE else path, flags))
    assert refusal(folder) == ("files", "NOT_A_FILE")


def test_a_size_is_known_before_anything_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / FILE).open("r+b") as file:
        file.truncate(1 << 40)  # sparse: read, it would be a tebibyte
    assert refusal(folder) == ("files", "WRONG_SIZE")
    monkeypatch.setattr(reader, "MAX_MANIFEST_BYTES", 100)
    assert refusal(folder) == ("manifest", "TOO_LARGE")


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        pytest.param(lambda path: path.unlink(), "MISSING_FILE", id="missing"),
        pytest.param(_replace_by_link, "SYMLINK", id="a link"),
        pytest.param(_replace_by_fifo, "NOT_A_FILE", id="a FIFO"),
        pytest.param(_replace_by_folder, "NOT_A_FILE", id="a folder"),
        pytest.param(lambda path: path.write_bytes(b" " * (MAX_MANIFEST_BYTES + 1)), "TOO_LARGE", id="huge"),
        pytest.param(lambda path: path.write_bytes(b""), "NOT_JSON", id="empty"),
        pytest.param(lambda path: path.write_bytes(b"{"), "NOT_JSON", id="cut off"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes() + b"{}"), "NOT_JSON", id="something after it"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe"), "NOT_JSON", id="not UTF-8"),
        pytest.param(lambda path: path.write_text(path.read_text(), encoding="utf-16"), "NOT_JSON", id="UTF-16"),
        pytest.param(lambda path: path.write_text(path.read_text(), encoding="utf-8-sig"), "NOT_JSON", id="a byte order mark"),
        pytest.param(lambda path: path.write_bytes(b"[" * 1_000_000), "NOT_JSON", id="nested a million deep"),
        pytest.param(lambda path: path.write_bytes(b'{"a":' * 500 + b"1" + b"}" * 500), "INVALID_MANIFEST", id="nested 500 deep"),
        pytest.param(lambda path: path.write_bytes(b"9" * 100_000), "NOT_JSON", id="a number of 100 000 digits"),
        pytest.param(lambda path: path.write_bytes(b"[]"), "INVALID_MANIFEST", id="a list"),
        pytest.param(lambda path: path.write_bytes(b"null"), "INVALID_MANIFEST", id="null"),
        pytest.param(lambda path: path.write_text(path.read_text().replace("0.05", "NaN")), "NOT_JSON", id="NaN"),
        pytest.param(lambda path: path.write_text(path.read_text().replace("0.05", "-Infinity")), "NOT_JSON", id="infinity"),
        pytest.param(lambda path: path.write_text(path.read_text().replace("0.05", "1e999")), "INVALID_MANIFEST", id="a number that overflows"),
        pytest.param(lambda path: path.write_text('{"name": "a",' + path.read_text()[1:]), "NOT_JSON", id="a key twice"),
        pytest.param(lambda path: path.write_text(path.read_text().replace('"clip"', '"clip": false, "clip"')), "NOT_JSON", id="a key twice inside"),
    ],
)
def test_a_manifest_that_is_none_is_refused(folder: Path, spoil: Callable[[Path], object], cause: str) -> None:
    spoil(folder / "bundle.json")
    assert refusal(folder) == ("manifest", cause)


@pytest.mark.parametrize("depth", [1, 2], ids=["the version's folder", "the model's folder"])
def test_a_link_in_place_of_a_folder_is_refused(folder: Path, tmp_path: Path, depth: int) -> None:
    place = folder if depth == 1 else folder.parent
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert refusal(folder) == ("manifest", "SYMLINK")


def test_the_bundle_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "bundles")
    assert read_bundle(tmp_path / "link" / "drawn" / "1").manifest.name == "drawn"


@pytest.mark.parametrize("place", ["drawn/2", "other/1"])
def test_a_bundle_in_the_wrong_place_is_refused(folder: Path, place: str) -> None:
    to = folder.parents[1] / place
    to.parent.mkdir(exist_ok=True)
    folder.rename(to)
    assert refusal(to) == ("manifest", "WRONG_PLACE")


@pytest.mark.parametrize(
    ("version", "cause", "advice"),
    [
        ("2.0", "FORMAT_VERSION", "Upgrade the server"),
        ("10.3", "FORMAT_VERSION", "Upgrade the server"),
        ("9" * 5000 + ".0", "FORMAT_VERSION", "Upgrade the server"),
        ("0.9", "FORMAT_VERSION", "Train again"),
        ("²", "INVALID_MANIFEST", "format_version"),
        ("1", "INVALID_MANIFEST", "format_version"),
        ("1.0\n", "INVALID_MANIFEST", "format_version"),
        (1.0, "INVALID_MANIFEST", "format_version"),
    ],
)
def test_another_major_version_is_refused_with_what_to_do(folder: Path, version: Any, cause: str, advice: str) -> None:
    # A newer one may have fields that this reader does not know; the version is what matters.
    say(folder, lambda said: said.update(format_version=version, unheard_of=1) if cause == "FORMAT_VERSION" else said.update(format_version=version))
    with pytest.raises(BundleRefusedError, match=advice) as caught:
        read_bundle(folder)
    assert caught.value.cause == cause
    assert len(caught.value.message) < 1000


def test_a_newer_minor_version_with_known_fields_is_read(folder: Path) -> None:
    say(folder, lambda said: said.update(format_version="1.7"))
    assert read_bundle(folder).manifest.format_version == "1.7"


def _objects(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        # Names of packages, timings and signatures are the writer's own.
        own = at[-1:] in {("packages",), ("timings_s",), ("signatures",)}
        return ([] if own else [at]) + [found for key, each in value.items() for found in _objects(each, (*at, key))]
    return [found for index, each in enumerate(value) for found in _objects(each, (*at, index))] if isinstance(value, list) else []


@pytest.mark.parametrize("at", _objects(facts()), ids=lambda at: ".".join(map(str, at)) or "top")
def test_an_unknown_field_is_refused_wherever_it_stands(folder: Path, at: tuple[Any, ...]) -> None:
    def add(said: Any) -> None:
        for key in at:
            said = said[key]
        said["unheard_of"] = 1

    say(folder, add)
    assert refusal(folder) == ("manifest", "UNKNOWN_FIELD")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda said: said["files"][0].update(path="../../outside"), id="a path that climbs out"),
        pytest.param(lambda said: said["files"][0].update(path="/etc/passwd"), id="an absolute path"),
        pytest.param(lambda said: said["files"][0].update(path="C:\\x"), id="a Windows path"),
        pytest.param(lambda said: said["files"][0].update(path=".."), id="the folder above"),
        pytest.param(lambda said: said["files"][0].update(path="a\x00b"), id="a NUL"),
        pytest.param(lambda said: said["files"][1].update(path="README.md"), id="a path twice"),
        pytest.param(lambda said: said["files"][1].update(path="readme.MD"), id="a path twice but for its case"),
        pytest.param(lambda said: said["files"][0].update(path="bundle.json"), id="the manifest among its own files"),
        pytest.param(lambda said: said["files"][0].update(sha256="A" * 64), id="a hash in capitals"),
        pytest.param(lambda said: said["files"][0].update(size_bytes=-1), id="a negative size"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"].update(graph="../outside.onnx"), id="a graph outside"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"].update(graph="other.onnx"), id="a graph not listed"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"].update(max_batch=0), id="no rows in a batch"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"].update(inputs=[]), id="no inputs"),
        pytest.param(lambda said: said["signatures"].update({"../x": said["signatures"]["encode.uint8"]}), id="a signature's name"),
        pytest.param(lambda said: said["signatures"].clear(), id="no signatures"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"]["outputs"][0].update(name="content"), id="two outputs of one name"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"]["inputs"][0].update(shape=[8, "n", 8]), id="the batch axis not first"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"]["inputs"][0].update(shape=["n", "n", 8]), id="two batch axes"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"]["inputs"][0].update(shape=["n", 8]), id="axes and shape differ"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"]["inputs"][0].update(shape=["n", 1 << 20, 1 << 20]), id="a row of a terabyte"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"]["inputs"][0].update(dtype="object"), id="a dtype of objects"),
        pytest.param(lambda said: said["signatures"]["encode.uint8"]["inputs"][0].update(range_low=9.0), id="a range upside down"),
        pytest.param(lambda said: said["preprocessing"].update(input_high=[0.0]), id="an input range upside down"),
        pytest.param(lambda said: said["preprocessing"].update(input_low=[0.0, 0.0], input_high=[1.0, 1.0]), id="channels that differ"),
        pytest.param(lambda said: said["latent"].update(channel_names=["a", "b"]), id="channel names that differ"),
        pytest.param(lambda said: said["latent"].update(invariances=["rotation", "rotation"]), id="an invariance twice"),
        pytest.param(lambda said: said["latent"].update(content_size=9), id="more content than latents"),
        pytest.param(lambda said: said["latent"].update(novelty_threshold=None), id="half a novelty calibration"),
        pytest.param(lambda said: said["latent"].update(pose_convention="clockwise"), id="another pose convention"),
        pytest.param(lambda said: said.pop("latent"), id="no latent section"),
        pytest.param(lambda said: said.pop("preprocessing"), id="no preprocessing"),
        pytest.param(lambda said: said.update(kind="mechanism"), id="a latent section in another kind"),
        pytest.param(lambda said: said.update(kind="oracle"), id="another kind"),
        pytest.param(lambda said: said.update(version=0), id="version 0"),
        pytest.param(lambda said: said.update(version=True), id="a version that is true"),
        pytest.param(lambda said: said.update(version="1"), id="a version as text"),
        pytest.param(lambda said: said.update(version=2**53), id="a version that JSON cannot hold"),
        pytest.param(lambda said: said.update(name="../drawn"), id="a name that climbs out"),
        pytest.param(lambda said: said.update(name="drawn\n"), id="a name with a line break"),
        pytest.param(lambda said: said.update(created_time="yesterday"), id="a time that is none"),
        pytest.param(lambda said: said["training_data"].update(licence=""), id="no licence"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    say(folder, change)
    with pytest.raises(BundleRefusedError) as caught:
        read_bundle(folder)
    assert (caught.value.step, caught.value.cause) == ("manifest", "INVALID_MANIFEST")
    assert "docs/bundle-format.md" in caught.value.message


@pytest.mark.parametrize("key", sorted(key for key in facts() if Manifest.model_fields[key].is_required()))
def test_a_required_field_that_is_missing_is_refused(folder: Path, key: str) -> None:
    say(folder, lambda said: said.pop(key))
    assert refusal(folder) == ("manifest", "INVALID_MANIFEST")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*facts(), "x"]), inner, max_size=3),
    max_leaves=8,
)
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)


@same_folder
@given(st.data())
def test_no_manifest_does_worse_than_be_refused(folder: Path, data: st.DataObject) -> None:
    """One value, anywhere, replaced by any other: it is read, or refused by name; nothing else happens."""
    said: Any = copy.deepcopy(facts())
    holder, depth = said, data.draw(st.integers(1, 5))
    for step in range(depth):
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else list(range(len(holder)))))
        if step == depth - 1 or not isinstance(holder[key], dict | list) or not holder[key]:
            holder[key] = data.draw(json_values)
            break
        holder = holder[key]
    (folder / "bundle.json").write_text(json.dumps(said))
    refused: BundleRefusedError | None = None
    try:
        assert len(read_manifest(folder).digest) == 64
    except BundleRefusedError as error:
        refused = error
    assert refused is None or refused.step == "manifest"
    assert refused is None or refused.cause in {"NOT_JSON", "UNKNOWN_FIELD", "INVALID_MANIFEST", "FORMAT_VERSION"}


@same_folder
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_do_worse_than_be_refused(folder: Path, data: bytes) -> None:
    (folder / "bundle.json").write_bytes(data)
    with pytest.raises(BundleRefusedError):
        read_bundle(folder)
