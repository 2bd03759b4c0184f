"""An audit that was stopped, run again: it goes on where it ended, says so, and leaves nothing behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.errors import Stopped
from tasks.watch import Watch

CHANGES = {"explain.rows": "all", "explain.techniques": {"lime": {"samples": 200}, "shap": {}}}


@pytest.fixture
def small_parts(monkeypatch):
    from tasks.explain import TECHNIQUES

    monkeypatch.setattr("tasks.explain.TECHNIQUES", tuple(replace(t, batch=20) for t in TECHNIQUES))
    monkeypatch.setattr("tasks.explain.attributions.ROW_GROUP", 80)


def tables(folder: Path):
    root = folder / "artifacts"
    return {p.relative_to(root).as_posix(): pq.read_table(p) for p in sorted(root.rglob("*.parquet"))}


def annotations(folder: str):
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    return {k: v for k, v in manifest["predicate"]["annotations"].items() if k.startswith("resumed")}


def test_a_stopped_audit_goes_on_and_comes_to_the_same(audit, small_parts, tmp_path):
    whole = audit({**CHANGES, "name": "whole"})
    assert annotations(whole.folder) == {}
    assert not (Path(whole.folder).parent / ".unfinished").exists()

    watch, told = Watch(), []

    def report(task, done, total):
        if task == "explain with lime" and done >= 100:
            watch.stop.set()

    watch.report = report
    watch.say = lambda task, sentence: told.append((task, sentence))
    with pytest.raises(Stopped):
        audit(CHANGES, watch=watch)
    kept = tmp_path / "reports" / "credit" / ".unfinished"
    assert {path.name for path in kept.parent.iterdir()} == {".unfinished", ".finished"}
    assert kept.stat().st_mode & 0o777 == 0o700
    assert ("explain with lime", "100 of 200 rows are kept: the same audit, run again, goes on with them") in told

    told.clear()
    resumed = audit(CHANGES, watch=Watch(say=lambda task, sentence: told.append((task, sentence))))
    assert ("explain with lime", "100 of 200 rows were there from a run that did not end") in told
    assert annotations(resumed.folder)["resumed explain/lime"] == "100 rows"
    assert not kept.exists()
    again = tables(Path(resumed.folder))
    for name, table in tables(Path(whole.folder)).items():
        assert again[name].equals(table), name
    said = []
    for outcome in (whole, resumed):
        summary = json.loads((Path(outcome.folder) / "summary.json").read_text())
        said.append(summary["results"]["explanations"])
    assert said[0] == said[1]


def test_an_incomplete_audit_keeps_what_it_has(audit, small_parts, tmp_path):
    """A deadline that no technique can meet: the report is there, and so is what was done."""
    watch, late = Watch(), []

    def report(task, done, total):
        if task == "explain with lime" and done >= 100 and not late:
            late.append(True)

    original = Watch.advance

    def advance(self, units=1):
        if late and self.task == "explain with lime":
            self.deadline = 0.0
        original(self, units)

    watch.report = report
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watch, "advance", advance)
        outcome = audit(CHANGES, watch=watch)
    assert outcome.verdict == "incomplete"
    assert any("goes on with them" in sentence for sentence in outcome.missing)
    kept = tmp_path / "reports" / "credit" / ".unfinished"
    assert {path.name.partition("-")[0] for path in kept.iterdir()} == {"lime", "shap"}
    resumed = audit(CHANGES)
    assert resumed.verdict != "incomplete"
    assert annotations(resumed.folder).keys() == {"resumed explain/lime"}  # shap had ended: its table is taken over
    assert not kept.exists()
