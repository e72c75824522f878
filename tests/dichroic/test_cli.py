"""The `dichroic` command: files in, files out, exit codes, and nothing half done."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dichroic.cli_show import ProgressLine
from dichroic.errors import AdminOnlyError, InternalError, InvalidTensorError, UnknownModelError
from tests.dichroic.conftest import IMAGES, saved
from tests.dichroic.fake_server import FakeServer, serving


def test_encode_writes_every_attribute_under_its_name(dichroic: Callable[..., int]) -> None:
    assert dichroic("encode", "toy", "images.npy", "--out", "latents.npz") == 0
    found = saved("latents.npz")
    np.testing.assert_allclose(found["content"][:, 0], IMAGES.mean(axis=(1, 2)))
    assert (str(found["model_name"]), int(found["model_version"]), str(found["model_digest"])) == ("toy", 3, "a" * 64)
    assert "scale" not in found, "this model has none"
    assert sorted(os.listdir()) == ["images.npy", "latents.npz"]  # noqa: PTH208


def test_what_encode_wrote_can_be_decoded_with_changes(dichroic: Callable[..., int], server: FakeServer) -> None:
    dichroic("encode", "toy", "images.npy", "--out", "latents.npz")
    assert dichroic("decode", "toy", "latents.npz", "--scale", "1.5", "--shift-down-px", "-1", "0", "1", "--out", "images.npz") == 0
    request = server.asked("Decode")[0]
    assert list(request.content.shape) == [3, 2]
    assert np.frombuffer(request.scale.data, "<f4").tolist() == [1.5] * 3
    assert np.frombuffer(request.shift_down_px.data, "<f4").tolist() == [-1, 0, 1]
    assert saved("images.npz")["images"].shape == (3, 4, 4)


def test_decode_takes_numbers_alone(dichroic: Callable[..., int]) -> None:
    assert dichroic("decode", "toy", "--content", "-0.5", "1", "--angle-rad", "0", "1", "2", "--out", "a.npz") == 0
    assert (saved("a.npz")["images"] == -0.5).all()
    assert saved("a.npz")["images"].shape == (3, 4, 4)


def test_reconstruct_writes_error_and_novel(dichroic: Callable[..., int]) -> None:
    np.savez("scan.npz", IMAGES)
    assert dichroic("reconstruct", "toy", "scan.npz", "--out", "a.npz") == 0
    assert saved("a.npz")["novel"].tolist() == [True] * 3
    assert float(saved("a.npz")["error_threshold"]) == 0.5


def test_classify_and_regress_write_what_they_are_told(dichroic: Callable[..., int], server: FakeServer) -> None:
    server.classes = 2
    assert dichroic("classify", "toy", "images.npy", "--out", "a.npz") == 0
    assert saved("a.npz")["class_index"].tolist() == [0, 1, 0]
    assert saved("a.npz")["class_names"].tolist() == ["class_0", "class_1"]
    np.save("spectra.npy", IMAGES[0])
    assert dichroic("regress", "toy", "spectra.npy", "--spectra", "--out", "a.npz") == 0
    assert (saved("a.npz")["target_mean"].shape, saved("a.npz")["units"].tolist()) == ((4, 1), ["%"])
    assert list(server.asked("Regress")[0].spectra.shape) == [4, 4]


def test_conditions_come_from_an_option_or_from_the_file(dichroic: Callable[..., int], server: FakeServer) -> None:
    np.savez("scan.npz", images=IMAGES, voltage=np.arange(3.0)[:, None])
    assert dichroic("encode", "toy", "scan.npz", "--conditions-array", "voltage", "--out", "a.npz") == 0
    assert dichroic("reconstruct", "toy", "scan.npz", "--conditions", "-0.5", "2", "--out", "a.npz") == 0
    assert dichroic("encode", "toy", "scan.npz", "--conditions-array", "current", "--out", "a.npz") == 2
    assert np.frombuffer(server.asked("Encode")[0].conditions.data, "<f4").tolist() == [0, 1, 2]
    assert np.frombuffer(server.asked("Reconstruct")[0].conditions.data, "<f4").tolist() == [-0.5, 2] * 3


def test_the_class_that_encode_wrote_is_decoded_or_another(dichroic: Callable[..., int], server: FakeServer) -> None:
    server.classes = 2
    dichroic("encode", "toy", "images.npy", "--out", "latents.npz")
    assert dichroic("decode", "toy", "latents.npz", "--conditions", "4", "--targets", "1.5", "2", "--out", "a.npz") == 0
    assert dichroic("decode", "toy", "latents.npz", "--class-index", "1", "--out", "a.npz") == 0
    first, second = server.asked("Decode")
    assert np.frombuffer(first.class_index.data, "<i8").tolist() == [0, 1, 0]
    assert np.frombuffer(first.conditions.data, "<f4").tolist() == [4, 4, 4]
    assert np.frombuffer(first.targets.data, "<f4").tolist() == [1.5, 2] * 3
    assert np.frombuffer(second.class_index.data, "<i8").tolist() == [1, 1, 1]


def test_manifold_writes_the_grid(dichroic: Callable[..., int], server: FakeServer) -> None:
    arguments = ("--axes", "1", "0", "--counts", "2", "3", "--range-1", "-2", "2", "--class-index", "1", "--content", "0", "0", "7")
    assert dichroic("manifold", "toy", *arguments, "--out", "a.npz") == 0
    assert saved("a.npz")["images"].shape == (2, 3, 4, 4)
    request = server.asked("DecodeManifold")[0]
    assert (request.axis_1, request.axis_2, request.low_1, request.high_1, request.high_2) == (1, 0, -2, 2, 0)
    assert np.frombuffer(request.content.data, "<f4").tolist() == [0, 0, 7]
    assert dichroic("manifold", "toy", "--axes", "0", "-1", "--out", "a.npz") == 2


def test_of_several_arrays_one_is_chosen_or_images_is_taken(dichroic: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("two.npz", height=IMAGES, phase=IMAGES[:2].astype(np.uint8))
    assert dichroic("encode", "toy", "two.npz", "--out", "a.npz") == 2
    assert "choose one with --array: height (3, 4, 4) float32, phase (2, 4, 4) uint8" in capsys.readouterr().err
    assert dichroic("encode", "toy", "two.npz", "--array", "width", "--out", "a.npz") == 2
    assert "no array 'width'" in capsys.readouterr().err
    assert dichroic("encode", "toy", "two.npz", "--array", "phase", "--out", "a.npz") == 0
    assert len(saved("a.npz")["content"]) == 2
    np.savez("three.npz", images=IMAGES[:1], other=IMAGES)
    assert dichroic("encode", "toy", "three.npz", "--out", "a.npz") == 0
    assert len(saved("a.npz")["content"]) == 1


def _objects(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def _object_archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, images=np.array([{"a": 1}], dtype=object))


def _many_fields(path: Path) -> None:
    np.save(path, np.zeros(1, dtype=[(f"field_{number}", "f4") for number in range(2000)]))


def _archive_of_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "measured on a Monday")


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: path.write_bytes(b"not an array"), id="text"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b"PK\x03\x04 cut off"), id="a damaged archive"),
        pytest.param(_objects, id="Python objects"),
        pytest.param(_object_archive, id="Python objects in an archive"),
        pytest.param(lambda path: path.mkdir(), id="a folder"),
        pytest.param(lambda path: None, id="missing"),
    ],
)
def test_a_file_that_is_none_exits_2_and_nothing_in_it_runs(
    dichroic: Callable[..., int], server: FakeServer, make: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    make(Path("bad.npy"))
    assert dichroic("encode", "toy", "bad.npy", "--out", "a.npz") == 2
    assert "bad.npy" in capsys.readouterr().err
    assert server.seen == []


def _zarr(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text("{}")


# The file's name, what makes it, and what is told of it.
OTHERS: dict[str, tuple[str, Callable[[Path], object], tuple[str, ...]]] = {
    "HDF5": ("scan.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), ("an HDF5 file", "h5py.File('scan.h5')")),
    "TIFF": ("scan.tif", lambda path: path.write_bytes(b"II*\0" + bytes(99)), ("a TIFF file", "tifffile.imread('scan.tif')")),
    "zarr": ("scan.zarr", _zarr, ("a zarr store", "zarr.open_array('scan.zarr/NAME'")),
    "another format": ("scan.dm4", lambda path: path.write_bytes(bytes(99)), ("neither .npy nor .npz", "numpy.save('scan.npy', ")),
    "objects": ("scan.npy", _objects, ("scan.npy holds Python objects", "dtype=numpy.float32")),
    "objects in an archive": ("scan.npz", _object_archive, ("images in scan.npz holds Python objects", "dtype=numpy.float32")),
    "a header that numpy does not trust": ("scan.npy", _many_fields, ("damaged", "Save")),
    "an archive of something else": ("scan.npz", _archive_of_text, ("a zip archive without an array", "numpy.savez")),
}


@pytest.mark.parametrize("case", OTHERS)
@pytest.mark.parametrize("command", ["encode", "stream"])
def test_a_file_of_another_kind_is_called_by_its_name_and_never_to_be_loaded_unsafely(
    dichroic: Callable[..., int], capsys: pytest.CaptureFixture[str], command: str, case: str
) -> None:
    name, make, told = OTHERS[case]
    make(Path(name))
    assert dichroic(command, "toy", name, "--out", "a.npz") == 2
    said = capsys.readouterr().err
    assert [each for each in (name, *told) if each not in said] == []
    assert "pickle" not in said
    assert "unsafe" not in said


def test_an_archive_may_hold_more_than_arrays(dichroic: Callable[..., int]) -> None:
    np.savez("scan.npz", images=IMAGES)
    with zipfile.ZipFile("scan.npz", "a") as archive:
        archive.writestr("notes.txt", "measured on a Monday")
    assert dichroic("encode", "toy", "scan.npz", "--out", "a.npz") == 0
    assert len(saved("a.npz")["content"]) == len(IMAGES)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "no space left")])
def test_a_file_is_replaced_whole_or_stays_as_it_was(dichroic: Callable[..., int], monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    Path("a.npz").write_bytes(b"before")

    def break_off(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise error

    with monkeypatch.context() as broken:
        broken.setattr("dichroic.cli_files.np.savez", break_off)
        assert dichroic("encode", "toy", "images.npy", "--out", "a.npz") in {2, 130}
    assert Path("a.npz").read_bytes() == b"before"
    assert {path.name for path in Path().iterdir()} == {"a.npz", "images.npy"}
    with Path("a.npz").open("rb") as reader:
        assert dichroic("encode", "toy", "images.npy", "--out", "a.npz") == 0
        assert reader.read() == b"before", "a reader of the old file is not disturbed"


@pytest.mark.parametrize("out", ["a.txt", "nowhere/a.npz", "folder.npz"])
def test_a_place_that_cannot_be_written_is_found_before_the_work(dichroic: Callable[..., int], server: FakeServer, out: str) -> None:
    Path("folder.npz").mkdir()
    assert dichroic("encode", "toy", "images.npy", "--out", out) == 2
    assert server.seen == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidTensorError("wrong side", field="images"), 2),
        (UnknownModelError("no such model"), 2),
        (AdminOnlyError("not you"), 3),
        (InternalError("id 5"), 3),
    ],
)
def test_the_exit_code_says_whose_fault_it_was(
    dichroic: Callable[..., int], server: FakeServer, error: Any, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server.failures["Encode"] = [error]
    Path("a.npz").write_bytes(b"before")
    assert dichroic("encode", "toy", "images.npy", "--out", "a.npz") == code
    assert f"{error.reason}: {error.message}" in capsys.readouterr().err
    assert Path("a.npz").read_bytes() == b"before"


def test_nan_exits_2_and_names_the_row(dichroic: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    images = IMAGES.copy()
    images[1, 0, 0] = np.nan
    np.save("nan.npy", images)
    assert dichroic("encode", "toy", "nan.npy", "--out", "a.npz") == 2
    assert "row 1" in capsys.readouterr().err


def test_nobody_there_exits_3(dichroic: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert dichroic("models", "--server", "127.0.0.1:1") == 3
    assert "SERVER_UNREACHABLE" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["encode"], ["dream"], [], ["models", "--timeout-s", "-1"], ["encode", "toy", "images.npy"]])
def test_a_wrong_command_line_exits_2(dichroic: Callable[..., int], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        dichroic(*arguments)
    assert caught.value.code == 2


def test_models_and_model_print_for_people_and_for_programs(dichroic: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert dichroic("models") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "3 (default)" in lines[1]
    assert "WRONG_HASH" in lines[2]
    assert dichroic("models", "--json") == 0
    assert [model["state"] for model in json.loads(capsys.readouterr().out)] == ["ready", "failed"]
    assert dichroic("model", "toy") == 0
    assert "(n, 4, 4)" in capsys.readouterr().out
    assert dichroic("model", "toy", "--json") == 0
    facts = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert facts["signatures"][0]["inputs"][0]["range_high"] is None
    assert facts["manifest"]["name"] == "toy"


def test_load_and_unload_use_the_token_of_the_environment_and_only_they(
    dichroic: Callable[..., int], server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DICHROIC_ADMIN_TOKEN", "secret")
    assert dichroic("load", "toy", "--model-version", "3") == 0
    assert dichroic("unload", "toy") == 0
    assert dichroic("models") == 0
    assert [seen.metadata.get("authorization") for seen in server.seen] == ["Bearer secret", "Bearer secret", None]


def test_a_missing_certificate_exits_2(dichroic: Callable[..., int]) -> None:
    assert dichroic("models", "--tls-root-certificates", "none.pem") == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_for_long_work_and_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("dichroic.cli_show.time.monotonic", lambda: now[0])
    line = ProgressLine("encode", Terminal())
    line(1, 10)
    assert line._stream.getvalue() == "", "short work says nothing"  # type: ignore[attr-defined]
    now[0] = 2.0
    line(5, 10)
    line.close()
    assert line._stream.getvalue() == "\rencode: 5 of 10 rows, 50 %, 2 s left \x1b[K\r\x1b[K"  # type: ignore[attr-defined]
    now[0] = 0.0
    silent = ProgressLine("encode", io.StringIO())
    now[0] = 9.0
    silent(5, 10)
    assert silent._stream.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.usefixtures("interrupts_heard")
@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_exits_130_and_leaves_no_half_file(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((64, 4, 4), np.float32))
    arrived, over = threading.Event(), threading.Event()

    def hold(seen: Any) -> None:
        if seen.rpc == "Encode":
            arrived.set()
            over.wait(60)

    with serving(FakeServer(on_call=hold)) as server:
        command = [sys.executable, "-m", "dichroic", "encode", "toy", "images.npy", "--server", server.address, "--out", "latents.npz"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert arrived.wait(60)
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=30)
            finally:
                over.set()
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]
