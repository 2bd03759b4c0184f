"""Many rows and many groups: the same numbers however the rows are read, bounded work whatever the groups are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tasks.bias.frames
import tasks.bias.rows.loops
import tasks.bias.rows.predictions
import tasks.bias.stage
from configs.schema import AuditConfig
from tasks.bias import measure_bias
from tasks.contracts import Done
from tasks.persist.store import Workspace
from tasks.watch import Watch

ROWS = 3000


@pytest.fixture
def people(tmp_path: Path) -> AuditConfig:
    """Two attributes and their crossing; weights; some ages and labels missing."""
    rng = np.random.default_rng(0)
    score = rng.random(ROWS).round(3)
    label = np.where(rng.random(ROWS) < score, "yes", "no").astype(object)
    label[::50] = None
    data = pa.table({
        "sex": rng.choice(["Female", "Male"], ROWS),
        "age": pa.array(np.where(rng.random(ROWS) < 0.1, None, rng.integers(18, 80, ROWS)), pa.int64()),
        "w": rng.random(ROWS),
        "y": pa.array(label, pa.string()),
    })  # fmt: skip
    pq.write_table(data, tmp_path / "data.parquet", row_group_size=700)
    predictions = pa.table({
        "row_id": np.arange(ROWS), "output": ["yes"] * ROWS, "y_true": pa.array(label, pa.string()), "score": score,
        "decision": np.where(score >= 0.5, "yes", "no"),
    })  # fmt: skip
    _run(tmp_path, "first").write_table("predictions", predictions)
    return AuditConfig.model_validate({
        "name": "t",
        "model": {"path": "m", "task": "binary", "classes": ["no", "yes"]},
        "data": {
            "path": str(tmp_path / "data.parquet"), "target": {"column": "y", "favorable": "yes"},
            "sensitive": {"sex": {"column": "sex"}, "age": {"column": "age", "bins": [40]}},
            "intersections": [["sex", "age"]],
        },
        "bias": {"resamples": 20},
    })  # fmt: skip


def _run(folder: Path, name: str) -> Workspace:
    return Workspace(folder / name, "20260101T000000Z-00000000")


def _measured(config: AuditConfig, folder: Path, name: str) -> tuple[Done, Workspace]:
    again = _run(folder, name)
    if name != "first":
        again.write_table("predictions", _run(folder, "first").read_table("predictions"))
    return measure_bias(config, again, Watch()), again


@pytest.mark.parametrize("weight", [None, "w"])
def test_how_rows_are_read_and_written_changes_no_bit(
    people: AuditConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: str | None
) -> None:
    config = people.model_copy(update={"data": people.data.model_copy(update={"weight": weight})})
    done, first = _measured(config, tmp_path, "first")
    monkeypatch.setattr(tasks.bias.rows.predictions, "BATCH", 111)
    monkeypatch.setattr(tasks.bias.stage, "ROW_GROUP", 97)
    again, second = _measured(config, tmp_path, "second")
    for ref in done.tables:
        assert second.read_table(ref.name).equals(first.read_table(ref.name)), ref.name
    assert again.facts == done.facts
    assert pq.ParquetFile(second.table_path("groups")).num_row_groups == 3 * -(-ROWS // 97)


def test_the_number_of_threads_changes_no_bit(
    people: AuditConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for threads in (1, 3):
        monkeypatch.setattr(tasks.bias.rows.loops, "threads", lambda threads=threads: threads)
        done, _ = _measured(people, tmp_path, f"with {threads}")
        digests.append([(ref.name, ref.sha256) for ref in done.tables])
    assert digests[0] == digests[1]


def test_tables_of_a_large_file_are_the_same_as_of_a_small_one(
    people: AuditConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data that would be large in memory are mapped from a file."""
    import tasks.load.tables

    done, first = _measured(people, tmp_path, "first")
    monkeypatch.setattr(tasks.load.tables, "LIMIT", 1)
    tasks.load.tables._tables = type(tasks.load.tables._tables)(4)
    _, second = _measured(people, tmp_path, "second")
    for ref in done.tables:
        assert second.read_table(ref.name).equals(first.read_table(ref.name)), ref.name


def test_errors_of_many_rows_are_computed_once(audit, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"label": np.arange(80.0), "score": np.arange(80.0) + 1, "task": "regression", "favorable": None}
    both = audit({"g": ["a", "b"] * 40}, **given)
    asked: list[str | None] = []
    monkeypatch.setattr(tasks.bias.frames, "MAX_ROWS", 79)
    monkeypatch.setattr(tasks.bias.stage, "MAX_ROWS", 79)
    monkeypatch.setattr(tasks.bias.frames, "_rows", lambda *_: asked.append("rows"))
    once = audit({"g": ["a", "b"] * 40}, **given)
    assert not asked
    assert [r["value"] for r in once.table("group_metrics")] == [r["value"] for r in both.table("group_metrics")]
    said = "With more than 79 rows, errors are computed once, without fairlearn's second computation."
    assert said in once.done.limitations
    assert said not in both.done.limitations


def test_a_crossing_of_hundreds_of_groups(audit) -> None:
    rng = np.random.default_rng(0)
    n = 4000
    columns = {"a": rng.integers(0, 20, n), "b": rng.integers(0, 20, n)}
    found = audit(
        columns, label=rng.choice(["yes", "no"], n), decision=rng.choice(["yes", "no"], n),
        data={"intersections": [["a", "b"]]}, bias={"resamples": 50, "min_group_size": 5},
    )  # fmt: skip
    cells = np.unique(np.stack([columns["a"], columns["b"]]), axis=1).shape[1]
    crossing = found.done.facts["attributes"][2]
    assert len(crossing["groups"]) == cells
    assert sum(g["n"] for g in crossing["groups"]) == n
    own = [r for r in found.table("group_metrics") if r["metric"] == "selection_rate" and r["attribute"] == "a × b"]
    selected = sum(r["numerator"] for r in own)
    assert selected == found.metric("selection_rate")["numerator"]
    assert any("a × b" in text and "without fairlearn" in text for text in found.done.limitations)
