"""README's code blocks run, and print what README says they print."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.make_heart import body
from tests.e2e.conftest import ROOT, Service, serve

README = (ROOT / "README.md").read_text()
BLOCKS = dict(re.findall(r"<!-- tested: (\w+) -->\n(```.*?```\n\n```text\n.*?```)", README, flags=re.DOTALL))


def code_and_output(name: str) -> tuple[str, str]:
    code, output = re.fullmatch(r"```\w+\n(.*?)```\n\n```text\n(.*?)```", BLOCKS[name], flags=re.DOTALL).groups()  # type: ignore[union-attr]
    return code, output


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("readme")
    with serve(ROOT / "bundles", home / "log") as running:
        yield running


def same_but_for_rounding(found: str, promised: str) -> None:
    """Words are the same; numbers agree to what another processor may round differently."""
    number = re.compile(r"-?\d+\.\d*(?:e-?\d+)?")
    assert number.sub("#", found).split() == number.sub("#", promised).split()
    for mine, theirs in zip(number.findall(found), number.findall(promised), strict=True):
        assert float(mine) == pytest.approx(float(theirs), abs=0.11, rel=1e-2)


def test_the_python_block_runs_and_prints_what_it_says(service: Service) -> None:
    code, promised = code_and_output("python")
    code = code.replace("localhost:50051", service.address)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    same_but_for_rounding(done.stdout, promised)


def test_the_curl_block_runs_and_prints_what_it_says(service: Service) -> None:
    code, promised = code_and_output("curl")
    code = code.replace("localhost:3000", f"127.0.0.1:{service.http_port}")
    if shutil.which("curl"):
        found = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    else:  # a bare Debian has none: the same request, word by word
        program, silent, url, data, file = shlex.split(code)
        assert (program, silent, data, file[0]) == ("curl", "-s", "-d", "@")
        with urllib.request.urlopen(f"http://{url}", (ROOT / file[1:]).read_bytes(), timeout=30) as answer:
            found = answer.read().decode()
    same_but_for_rounding(found, promised)


def test_the_heart_is_the_one_the_project_draws() -> None:
    assert (ROOT / "examples" / "heart.json").read_text() == body()


def test_every_make_target_that_readme_names_is_there() -> None:
    targets = set(re.findall(r"make (demo|serve|test|bundles|protos|image|bench|\w+)", README))
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    assert {"demo", "test"} <= targets


def test_the_tree_names_what_is_there() -> None:
    tree = README.split("```text\nprotos/")[1].split("```")[0]
    for line in ["protos/" + tree.splitlines()[0], *tree.splitlines()[1:]]:
        if line and not line.startswith(" "):
            assert (ROOT / line.split()[0]).exists(), line


def test_every_direct_dependency_has_its_line() -> None:
    table = README.split("## Dependencies")[1]
    pyproject = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")
    base, extras = pyproject[0].split("dependencies = [")[1], pyproject[1].split("dev = [")[0]
    for name in re.findall(r'"([a-z][a-z0-9-]+)(?:\[[^\]]*\])?[><=]', base + extras):
        assert name in table, name


def test_readme_names_no_path_of_a_machine() -> None:
    assert str(Path.home()) not in README
