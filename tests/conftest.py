"""What all tests share: the repository's root as working folder, and the switch for the long forms."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from flows.prefect_api import quiet_environment

ROOT = Path(__file__).resolve().parent.parent

quiet_environment()
# Started in the background, a shell has its children ignore Ctrl-C, and theirs would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long forms of the tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--soak"):
        long = pytest.mark.skip(reason="long form: make soak")
        for item in items:
            if "soak" in item.keywords:
                item.add_marker(long)


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths in the ready configs start at the repository's root."""
    monkeypatch.chdir(ROOT)
