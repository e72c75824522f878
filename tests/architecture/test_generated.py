"""The lock and the version are what pyproject.toml says today. (The stubs: tests/dichroic/test_protos.py; the pages: tests/docs.)"""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def test_the_lock_satisfies_every_requirement_of_the_project() -> None:
    locked: dict[str, set[Version]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if pin := re.match(r"([a-z0-9-]+)==(\S+)", line):
            locked.setdefault(pin[1], set()).add(Version(pin[2]))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    requirements = [requirement for requirement in map(Requirement, wanted) if requirement.name != "dichroic"]
    wrong = [
        str(requirement)
        for requirement in requirements
        if not (pins := locked.get(re.sub(r"[-_.]+", "-", requirement.name).lower())) or not all(pin in requirement.specifier for pin in pins)
    ]
    assert wrong == [], "run: make lock"


def test_the_lock_names_no_place() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.lstrip().startswith("#")]
    assert lines
    assert [line for line in lines if not re.match(r"[a-z0-9-]+==[\w.!+]+(?: ; .+?)?\s+# via ", line)] == []


def test_every_file_that_tells_the_version_tells_the_same() -> None:
    told = {
        "pyproject.toml": r'(?m)^version = "(.+)"$',
        "dichroic/__init__.py": r'(?m)^__version__ = "(.+)"$',
        "Dockerfile": r'org\.opencontainers\.image\.version="(.+?)"',
        "deploy/base/kustomization.yaml": r"app\.kubernetes\.io/version: (.+)",
    }
    versions = {name: re.findall(pattern, (ROOT / name).read_text()) for name, pattern in told.items()}
    assert len({tuple(found) for found in versions.values()}) == 1, versions
    assert all(len(found) == 1 for found in versions.values()), versions
