from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tasks.contracts import Failed, NotApplicable
from tasks.report import RunRecord


def test_a_record_survives_json(run) -> None:
    text = json.dumps(run.record.to_json())
    assert RunRecord.from_json(json.loads(text)) == run.record


@pytest.mark.parametrize("broken", [{}, {"results": [{"kind": "lost"}]}, {"results": []}])
def test_what_is_no_record_is_refused(broken: dict) -> None:
    with pytest.raises((KeyError, TypeError)):
        RunRecord.from_json(broken)


def test_results_by_kind(run_of: Callable) -> None:
    record = run_of("incomplete").record
    assert [r.stage for r in record.failed] == ["explain/lime"]
    assert isinstance(record.result("explain/lime"), Failed)
    assert record.result("never") is None
    image = run_of("image").record
    assert [r.stage for r in image.not_applicable] == ["explain/lime", "drift"]
    assert all(isinstance(r, NotApplicable) for r in image.not_applicable)


def test_facts_of_stages_that_did_not_finish_are_absent(run_of: Callable) -> None:
    record = run_of("incomplete").record
    assert record.fact("load_model", "version") == 2
    assert record.fact("explain/lime", "rows", 0) == 0
    assert record.fact("never", "rows") is None


def test_libraries_are_what_is_no_machine(tabular) -> None:
    assert tabular.record.libraries == {"keras": "3.15.1", "keras-audit": "0.1.0", "shap": "0.51.0"}
