"""The contract on the wire: every word of it is explained, and the stubs are made from it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "protos/dichroic/v1").glob("*.proto"))
# A field, an enum value, or what opens a block or declares a call.
STATEMENT = re.compile(r"^\s*(?:(?:repeated )?[\w.]+ \w+ = \d+;|\w+ = \d+;|(?:message|enum|service|rpc) \w+)")


@pytest.mark.parametrize("proto", PROTOS, ids=lambda path: path.stem)
def test_every_message_field_value_service_and_call_has_a_comment(proto: Path) -> None:
    lines = proto.read_text(encoding="utf-8").splitlines()
    found = [index for index, line in enumerate(lines) if STATEMENT.match(line)]
    assert found
    assert [lines[index].strip() for index in found if not lines[index - 1].strip().startswith("//")] == []
    assert "//" in proto.read_text(encoding="utf-8").split("package")[0], "the file says what it is"


@pytest.mark.parametrize("proto", PROTOS, ids=lambda path: path.stem)
def test_the_basic_calls_stay_flat_for_labview(proto: Path) -> None:
    code = "\n".join(line.split("//")[0] for line in proto.read_text(encoding="utf-8").splitlines())
    assert re.findall(r"\b(oneof|map\s*<|optional)\b", code) == []


def test_the_stubs_are_those_of_the_protos_and_stale_ones_are_found(tmp_path: Path) -> None:
    tool = [sys.executable, str(ROOT / "tools/generate_stubs.py")]
    subprocess.run([*tool, "--check"], check=True)
    subprocess.run([*tool, "--out", str(tmp_path)], check=True)
    stub = tmp_path / "dichroic/v1/array_pb2.py"
    assert stub.read_bytes() == (ROOT / "dichroic/v1/array_pb2.py").read_bytes()
    stub.write_text(stub.read_text() + "# edited\n")
    (tmp_path / "dichroic/v1/gone_pb2.py").touch()
    done = subprocess.run([*tool, "--check", "--out", str(tmp_path)], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "array_pb2.py, gone_pb2.py" in done.stderr


def test_import_dichroic_loads_nothing_heavy() -> None:
    heavy = ["torch", "onnxruntime", "onnx", "safetensors", "bentoml", "fastapi", "starlette", "matplotlib", "scipy", "h5py"]
    code = f"import sys, dichroic, dichroic.cli, dichroic.bundle; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
