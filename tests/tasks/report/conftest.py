"""Every kind of run, reported on once; tests read what was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from configs.schema import AuditConfig
from tasks.persist import Workspace
from tasks.report import RunRecord, write_report
from tasks.report.reading import Reading
from tests.tasks.report import report_runs
from tests.tasks.report.report_pages import Node, parsed, rendered

KINDS = ("tabular", "image", "refused", "unreadable", "incomplete", "hostile", "large")


@dataclass
class Written:
    """A run with its reports."""

    config: AuditConfig
    workspace: Workspace
    record: RunRecord

    @property
    def folder(self) -> Path:
        return self.workspace.folder

    @cached_property
    def html(self) -> str:
        return (self.folder / "report.html").read_text(encoding="utf-8")

    @cached_property
    def page(self) -> Node:
        return parsed(self.html)

    @cached_property
    def markdown(self) -> str:
        return (self.folder / "report.md").read_text(encoding="utf-8")

    @cached_property
    def markdown_page(self) -> Node:
        return rendered(self.markdown)

    @cached_property
    def summary(self) -> dict[str, Any]:
        import json

        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A table as it was written, read without the report's own code."""
        import pyarrow.parquet as pq

        return pq.read_table(self.workspace.table_path(table)).to_pylist()

    @property
    def reading(self) -> Reading:
        return Reading(self.config, self.workspace, self.record)


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Written]:
    """A run by its kind, made and reported on when it is first asked for."""
    made: dict[str, Written] = {}

    def get(kind: str) -> Written:
        if kind not in made:
            written = Written(*getattr(report_runs, f"{kind}_run")(tmp_path_factory.mktemp(kind)))
            write_report(written.config, written.workspace, written.record)
            made[kind] = written
        return made[kind]

    return get


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest, run_of: Callable[[str], Written]) -> Written:
    """Each kind of run in turn."""
    return run_of(request.param)


@pytest.fixture
def tabular(run_of: Callable[[str], Written]) -> Written:
    return run_of("tabular")


@pytest.fixture
def image(run_of: Callable[[str], Written]) -> Written:
    return run_of("image")


@pytest.fixture
def hostile(run_of: Callable[[str], Written]) -> Written:
    return run_of("hostile")
