"""bentofile.yaml says again what pyproject.toml and the Dockerfile say; here they are held together."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def bentofile() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    return content


def test_the_bento_installs_what_the_serving_extra_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {line for line in (*project["dependencies"], *extras["serving-base"], *extras["serving-cpu"]) if not line.startswith("dichroic[")}
    assert set(bentofile()["python"]["packages"]) == wanted


def test_the_bento_holds_the_service_its_bundles_and_nothing_of_training(tmp_path: Path) -> None:
    """Built without resolving packages, so without a network."""
    described = bentofile() | {"python": {"lock_packages": False}}
    file = tmp_path / "bentofile.yaml"
    file.write_text(yaml.safe_dump(described))
    environment = os.environ | {"BENTOML_HOME": str(tmp_path / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-m", "bentoml", "build", "--bentofile", str(file), "--output", "tag", str(ROOT)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (source,) = (tmp_path / "home/bentos/dichroic").glob("*/src")
    held = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert {"services/service.py", "services/__main__.py", "dichroic/v1/latent_pb2.py", "constraints.txt"} <= held
    bundles = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bundles").glob("[!.]*/**/*") if path.is_file()}
    assert bundles
    assert bundles <= held
    assert {name.partition("/")[0] for name in held} == {"services", "dichroic", "bundles", "constraints.txt", "LICENSE", "bentofile.yaml"}
    assert not [name for name in held if "__pycache__" in name or "/." in name]


def test_no_part_of_the_bento_reports_on_its_user() -> None:
    variables = {variable["name"]: variable["value"] for variable in bentofile()["envs"]}
    assert variables["BENTOML_DO_NOT_TRACK"] == "True"
    assert variables["ORT_DISABLE_TELEMETRY"] == "1"
