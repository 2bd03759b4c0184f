"""Shards: what can be shared out, and that pieces from anywhere come to the bits of one process."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.schema import AuditConfig
from tasks.contracts import Done
from tasks.errors import OutputError
from tasks.explain import TECHNIQUES, explain, explain_shard, parts, to_share
from tasks.explain.shards import Shareable
from tasks.explain.stage import PARTS
from tasks.persist import Workspace, take_unfinished
from tasks.watch import Watch


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 rows: 12 batches, two a shard, in parts of 15 rows: no shard is a part."""
    monkeypatch.setattr("tasks.explain.TECHNIQUES", tuple(replace(t, batch=5) for t in TECHNIQUES))
    monkeypatch.setattr("tasks.explain.attributions.ROW_GROUP", 45)
    monkeypatch.setattr("tasks.explain.shards.LEAST", {"table": 10, "image": 10})


def config_of(files: dict[str, Any]) -> AuditConfig:
    return AuditConfig.model_validate({**files, "explain": {**files["explain"], "rows": "all"}})


@pytest.mark.parametrize(
    ("rows", "step", "count", "cuts"),
    [
        (100, 10, 4, [0, 20, 50, 70, 100]),
        (95, 10, 4, [0, 20, 50, 70, 95]),
        (25, 10, 8, [0, 10, 20, 25]),
        (11, 10, 1, [0, 11]),
        (10**9, 1000, 3, [0, 333_333_000, 666_666_000, 10**9]),
    ],
)
def test_ranges(rows: int, step: int, count: int, cuts: list[int]) -> None:
    found = Shareable("", rows, step).ranges(count)
    assert found == list(itertools.pairwise(cuts))


def test_what_can_be_shared_out(audit_files: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(audit_files)
    found = to_share(["permutation", "shap", "lime", "gradcam", "no such"], config)
    assert list(found) == ["shap", "lime"]
    assert {(share.rows, share.step) for share in found.values()} == {(60, 10)}
    short = config.model_copy(update={"explain": config.explain.model_copy(update={"rows": 10})})
    assert to_share(["lime"], short) == {}
    monkeypatch.setenv("KERAS_AUDIT_TRUST", "somewhere")
    assert to_share(["lime"], config) == {}


@pytest.mark.parametrize("name", ["lime", "shap"])
def test_shards_come_to_the_same(
    audit_files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config, watch = config_of(audit_files), Watch()
    alone = Workspace(tmp_path / "alone" / "run", "alone", unfinished=tmp_path / "alone" / ".unfinished")
    whole = explain(name, config, alone, watch)
    shared = Workspace(tmp_path / "shared" / "run", "shared", unfinished=tmp_path / "shared" / ".unfinished")
    share = to_share([name], config)[name]
    assert shared.unfinished is not None
    held = take_unfinished(shared.unfinished, share.folder, run_id="shared", stage=f"explain/{name}")
    assert held is not None
    assert held.claim()
    for rows in reversed(share.ranges(4)):
        shard = Watch()
        assert explain_shard(name, config, shared, shard, rows)
        assert shard.done == rows[1] - rows[0]
    asked: list[slice] = []
    monkeypatch.setattr(parts.Local, "_batch", lambda self, rows: asked.append(rows))
    said: list[str] = []
    joined = explain(name, config, shared, Watch(say=lambda task, sentence: said.append(sentence)))
    held.close()
    assert asked == said == []  # nothing is worked out again, and nobody says that a run had not ended
    assert isinstance(whole, Done)
    assert isinstance(joined, Done)
    assert joined.facts == whole.facts
    assert shared.read_table(f"attributions/{name}").equals(alone.read_table(f"attributions/{name}"))
    importance = f"{PARTS}/importance-{name}.arrow"
    assert shared.place(importance).read_bytes() == alone.place(importance).read_bytes()


def test_a_shard_of_a_run_that_has_no_hold_keeps_nothing(audit_files: dict[str, Any], tmp_path: Path) -> None:
    config, root = config_of(audit_files), tmp_path / ".unfinished"
    share = to_share(["lime"], config)["lime"]
    other = take_unfinished(root, share.folder, run_id="other", stage="explain/lime")
    assert other is not None
    assert other.claim()
    workspace = Workspace(tmp_path / "run", "run", unfinished=root)
    assert not explain_shard("lime", config, workspace, Watch(), (0, 20))
    assert not list(root.glob("*/rows-*"))
    assert not explain_shard("gradcam", config, workspace, Watch(), (0, 20))
    assert not explain_shard("permutation", config, workspace, Watch(), (0, 20))


def test_a_shard_fails_with_the_rows_own_error(
    audit_files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(audit_files)
    original = parts.Local._batch

    def batch(self: parts.Local, rows: slice) -> Any:
        if rows.start >= 30:
            object.__setattr__(self, "explain", lambda r, e: replace(found, values=np.full_like(found.values, np.nan)))
        found = self.explain(self.problem.rows[:5], self.problem.explained[:5]) if rows.start < 30 else first[0]
        first.append(found)
        return original(self, rows)

    first: list[Any] = []
    monkeypatch.setattr(parts.Local, "_batch", batch)
    told = []
    for work in (
        lambda w: explain("lime", config, w, Watch()),
        lambda w: [explain_shard("lime", config, w, Watch(), rows) for rows in ((0, 30), (30, 60))],
    ):
        folder = tmp_path / str(len(told))
        with pytest.raises(OutputError, match="came to NaN or infinity") as error:
            work(Workspace(folder / "run", "run", unfinished=folder / ".unfinished"))
        told.append(str(error.value))
    assert told[0] == told[1]
