"""What takes long is run when asked for (`pytest --long`); what a file exports, fits or serves once is made in one process and not in each."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from xdist.scheduler import LoadScopeScheduling

# What takes most of the time begins first, so that no process waits for another in the end.
_LONG = ("tests/training/export", "tests/training/commands", "tests/training/report", "tests/training/mechanism", "tests/e2e", "tests/examples")
# Files whose tests share nothing: each goes where there is room.
_APART = ("tests/training/commands/test_fit_family.py", "tests/e2e/test_promises.py")
# Files that share what the first of them exports.
_TOGETHER = {
    "tests/training/export/test_graph_answers.py": "latent bundles",
    "tests/training/export/test_latent_bundle.py": "latent bundles",
    "tests/training/export/test_model_card.py": "latent bundles",
    "tests/training/export/test_parity.py": "latent bundles",
    "tests/training/export/test_mechanism_bundle.py": "mechanism bundles",
    "tests/training/export/test_mechanism_loading.py": "mechanism bundles",
    "tests/training/export/test_mechanism_parity.py": "mechanism bundles",
    "tests/training/report/test_report_mechanism.py": "mechanism bundles",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests marked slow too")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((place for place, folder in enumerate(_LONG) if item.nodeid.startswith(folder)), len(_LONG)))
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --long"))


class _ByFile(LoadScopeScheduling):
    """Tests of one file run in one process. (xdist's own groups, `--dist loadgroup`, come to nothing with pytest 9.)"""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0]
        return nodeid if file in _APART else _TOGETHER.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    config.option.loadscopereorder = False  # in the order of the collection
    return _ByFile(config, log)


@pytest.fixture
def interrupts_heard() -> Iterator[None]:
    """A shell without job control starts background work with SIGINT ignored, which is inherited; a handler set here is not, and lifts that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
