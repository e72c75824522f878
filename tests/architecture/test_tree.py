"""What the committed files may not hold, whoever writes them."""

import ast
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = ("dichroic/v1/", "bundles/", "constraints.txt")
LONGEST = 400

# A path of the machine something was written on, and hosts and options that name a package or image registry.
LOCAL = re.compile(r"(?<![\w.-])/(?:work|opt/wheels|opt/pypi|root|home/\w+)/")
REGISTRY = re.compile(
    r"(?:pypi\.org|pythonhosted\.org|download\.pytorch\.org|conda\.anaconda\.org|docker\.io|ghcr\.io|quay\.io|nvcr\.io|gcr\.io|index-url|find-links)"
)
MEASURED = {".h5", ".hdf5", ".nc", ".dm3", ".dm4", ".emd", ".ibw", ".mib", ".tif", ".tiff", ".npy", ".npz", ".mat", ".zarr", ".pkl", ".pt", ".pth"}
BINARY = {".onnx": "bundles/", ".safetensors": "bundles/", ".png": "docs/"}
PICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve"}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "base"}


@cache
def committed() -> tuple[Path, ...]:
    """Every file that git tracks or would add, relative to the root."""
    done = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.decode().strip()}")
    names = {name for name in done.stdout.decode().split("\0") if name}
    return tuple(Path(name) for name in sorted(names) if (ROOT / name).is_file())


def texts() -> Iterator[tuple[Path, str]]:
    for path in committed():
        content = (ROOT / path).read_bytes()
        if b"\0" not in content and path.suffix not in BINARY:
            yield path, content.decode()


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path, text in texts():
        if path.suffix == ".py":
            yield path, ast.parse(text, str(path))


def test_no_text_names_a_path_of_this_machine_or_a_registry() -> None:
    own = Path(__file__).relative_to(ROOT)
    found = [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in texts()
        if path != own
        for number, line in enumerate(text.splitlines(), 1)
        if LOCAL.search(line) or REGISTRY.search(line)
    ]
    assert found == []


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    long = {str(path): lines for path, text in texts() if not str(path).startswith(GENERATED) and (lines := text.count("\n")) > LONGEST}
    assert long == {}


def test_no_measured_data_is_committed() -> None:
    assert [str(path) for path in committed() if path.suffix in MEASURED] == []


@pytest.mark.measured
def test_no_file_is_a_copy_of_a_measured_one() -> None:
    folder = os.environ.get("DICHROIC_DATA")
    if not folder:
        pytest.skip("DICHROIC_DATA is unset, so there is nothing to compare with")
    measured = {hashlib.sha256(path.read_bytes()).digest() for path in Path(folder).rglob("*") if path.is_file() and path.suffix == ".h5"}
    assert measured
    assert [str(path) for path in committed() if hashlib.sha256((ROOT / path).read_bytes()).digest() in measured] == []


def test_binary_files_stand_where_they_belong() -> None:
    readable = {path for path, _ in texts()}
    stray = [str(path) for path in committed() if path not in readable and not str(path).startswith(BINARY.get(path.suffix, "nowhere"))]
    assert stray == []


def modules_named(node: ast.AST) -> set[str]:
    match node:
        case ast.Import(names=names):
            return {name.name.partition(".")[0] for name in names}
        case ast.ImportFrom(module=str(name)):
            return {name.partition(".")[0]}
        case _:
            return set()


def unpickles(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr="load" | "loads"), keywords=keywords):
            allowed = [keyword.value for keyword in keywords if keyword.arg == "allow_pickle"]
            return owner in {"torch", *PICKLERS} or any(not (isinstance(value, ast.Constant) and value.value is False) for value in allowed)
        case _:
            return False


def test_nothing_unpickles() -> None:
    """Loading a pickle runs whatever its writer wanted. Tests may write one, to see it refused."""
    assert [f"{path}:{node.lineno}" for path, module in modules() for node in ast.walk(module) if unpickles(node)] == []


def test_no_code_but_a_test_knows_a_pickler() -> None:
    product = [(path, module) for path, module in modules() if path.parts[0] != "tests"]
    assert [f"{path}:{node.lineno}" for path, module in product for node in ast.walk(module) if modules_named(node) & PICKLERS] == []


def test_every_name_says_what_is_inside() -> None:
    vague = [str(path) for path in committed() if VAGUE & {part.partition(".")[0] for part in path.parts}]
    assert [name for name in vague if not name.startswith("deploy/base/")] == []


def test_no_python_file_is_unfinished() -> None:
    marks = re.compile(r"#.*\b(?:TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    own = Path(__file__).relative_to(ROOT)
    written = [(path, text) for path, text in texts() if path.suffix == ".py" and path != own and not str(path).startswith(GENERATED)]
    assert [f"{path}:{number}" for path, text in written for number, line in enumerate(text.splitlines(), 1) if marks.search(line)] == []
