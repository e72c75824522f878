"""Which packages a process loads: each room is imported whole, in a process of its own, as a user's machine would."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

# `import grpc` looks for these and takes them along wherever they are installed.
TAKEN_ALONG_BY_GRPC = {"grpc_tools", "grpc_health", "grpc_reflection"}

IMPORT_ALL = """
import importlib, json, pkgutil, sys
before = set(sys.modules)
def walk(name):
    module = importlib.import_module(name)
    for info in pkgutil.iter_modules(getattr(module, "__path__", []), name + "."):
        if not info.name.endswith(".__main__"):
            walk(info.name)
for name in sys.argv[1:]:
    walk(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def run(code: str, *arguments: str, folder: Path, **variables: str) -> str:
    """Run Python in the checkout with an empty home, and return what it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "DICHROIC_", "XDG_"))}
    environment |= {"HOME": str(folder), "TMPDIR": str(folder), "BENTOML_HOME": str(folder / "bentoml"), "MPLCONFIGDIR": str(folder / "mpl")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(*packages: str, folder: Path) -> set[str]:
    return set(json.loads(run(IMPORT_ALL, *packages, folder=folder).splitlines()[-1]))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_by(extras: tuple[str, ...]) -> set[str]:
    """The distributions that `pip install dichroic[extras]` brings, found by following their requirements."""
    seen: set[tuple[str, str]] = set()
    queue = [("dichroic", extra) for extra in ("", *extras)]
    while queue:
        name, extra = queue.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                queue += [(normal(requirement.name), each) for each in ("", *requirement.extras)]
    return {name for name, _ in seen}


@pytest.mark.parametrize(
    ("packages", "extras"),
    [
        pytest.param(("dichroic",), (), id="the client"),
        pytest.param(("services",), ("serving-cpu",), id="the server"),
        pytest.param(("training.data", "dichroic"), ("readers",), id="the readers"),
    ],
)
def test_a_room_loads_nothing_but_what_its_extra_installs(packages: tuple[str, ...], extras: tuple[str, ...], tmp_path: Path) -> None:
    owners = {module: {normal(name) for name in names} for module, names in packages_distributions().items()}
    allowed = installed_by(extras)
    top = {module.partition(".")[0] for module in loaded_by(*packages, folder=tmp_path)}
    foreign = {module: sorted(owners[module]) for module in top - TAKEN_ALONG_BY_GRPC if module in owners and not owners[module] & allowed}
    assert foreign == {}


def test_torch_never_enters_a_serving_process(tmp_path: Path) -> None:
    loaded = loaded_by("services", folder=tmp_path)
    assert {"services.service", "onnxruntime"} <= loaded
    assert not {"torch", "gpytorch", "training", "matplotlib"} & loaded


def test_the_readers_load_no_torch(tmp_path: Path) -> None:
    loaded = loaded_by("training.data", folder=tmp_path)
    assert "training.data" in loaded
    assert not {"torch", "gpytorch", "services", "onnxruntime", "bentoml"} & loaded


@pytest.mark.parametrize("package", ["services", "training"])
def test_onnx_runtime_leaves_no_trace_of_telemetry(package: str, tmp_path: Path) -> None:
    """Its Linux builds send usage to their maker, and keep an identifier in the home folder, unless told not to before the import."""
    run(f"import {package}, onnxruntime", folder=tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
