"""Advice on tables written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.schema import AuditConfig
from tasks.advice import advise
from tasks.advice.aims import Aim
from tasks.advice.curves import Curves, Cut, curves_of
from tasks.bias import METRICS, Metric, find, measure_bias
from tasks.contracts import Done, NotApplicable
from tasks.persist.store import Workspace
from tasks.watch import Watch


def cut(
    score: Sequence[float], label: Sequence[int], *, threshold: float = 0.5, weight: Sequence[float] | None = None,
    favorable: tuple[bool, bool] = (False, True), positive: tuple[bool, bool] | None = None,
) -> Cut:  # fmt: skip
    """Rows decided at a threshold; label 2 is missing."""
    score = np.asarray(score, float)
    now = np.where(np.isfinite(score), score >= threshold, 0).astype(np.int64)
    return Cut(
        score=score, label=np.asarray(label, np.int64), now=now,
        weight=None if weight is None else np.asarray(weight, float), classes=(0, 1), favorable=favorable,
        positive=positive or favorable, threshold=threshold,
    )  # fmt: skip


def whole(of: Cut, codes: Sequence[int]) -> Curves:
    """The curves of all rows."""
    codes = np.asarray(codes, np.int64)
    return curves_of(of, codes, int(codes.max()) + 1, np.zeros(len(codes), bool))[0]


def aim(metric: str, low: float = -np.inf, high: float = np.inf, group: int | None = None) -> Aim:
    entry = find(metric)
    if isinstance(entry, Metric):
        return Aim("g", metric, entry, "level", (entry,), low, high, group, metric)
    rates = tuple(METRICS[base] for base in entry.bases)
    return Aim("g", metric, entry, entry.comparison, rates, low, high, None, metric)


@dataclass
class Advised:
    """What the stage said, and what the bias stage says of the same rows."""

    config: AuditConfig
    workspace: Workspace
    done: Done | NotApplicable

    def table(self, name: str) -> list[dict[str, Any]]:
        return self.workspace.read_table(name).to_pylist()

    def row(self, **wanted: Any) -> dict[str, Any]:
        found = [row for row in self.table("thresholds") if all(row[key] == value for key, value in wanted.items())]
        assert len(found) == 1, f"{len(found)} rows for {wanted}"
        return found[0]

    def bias(self) -> Done:
        return measure_bias(self.config, self.workspace, Watch())


@dataclass
class Adviser:
    """Runs the stage on columns."""

    folder: Path
    runs: int = 0

    def __call__(
        self, group: Sequence, score: Sequence[float], label: Sequence, *, decision: Sequence | None = None,
        threshold: float = 0.5, task: str = "binary", favorable: Any = "yes", weight: Sequence[float] | None = None,
        sensitive: dict | None = None, outputs: dict[str, Sequence[float]] | None = None, **blocks: Any,
    ) -> Advised:  # fmt: skip
        self.runs += 1
        folder = self.folder / str(self.runs)
        folder.mkdir()
        n = len(score)
        label = [None if v is None else str(v) for v in label]
        columns: dict[str, Any] = {"g": list(group), "y": pa.array(label, pa.string())}
        if weight is not None:
            columns["w"] = pa.array(np.asarray(weight, float))
        pq.write_table(pa.table(columns), folder / "data.parquet")
        if decision is None and task == "binary":
            decision = ["yes" if s >= threshold else "no" for s in score]
        config = AuditConfig.model_validate({
            "name": "test",
            "model": {"path": "none", "task": task, **({"classes": ["no", "yes"]} if task == "binary" else {})},
            "data": {
                "path": str(folder / "data.parquet"),
                "target": {"column": "y", **({} if favorable is None else {"favorable": favorable})},
                "sensitive": {"g": {"column": "g"}} if sensitive is None else sensitive,
                **({"weight": "w"} if weight is not None else {}),
            },
            "bias": {"min_group_size": 1, "decision": {"threshold": threshold} if task == "binary" else {}},
            **blocks,
        })  # fmt: skip
        workspace = Workspace(folder / "run", "20260101T000000Z-00000000")
        by_output = outputs or {"value" if task == "regression" else "yes": score}
        k = len(by_output)
        predictions = pa.table({
            "row_id": np.repeat(np.arange(n), k),
            "output": pa.array(list(by_output) * n, pa.string()),
            "y_true": pa.array([v for v in label for _ in range(k)], pa.string()),
            "score": pa.array(np.array([np.asarray(s, float) for s in by_output.values()]).T.ravel()),
            "decision": pa.array([d for d in (decision or [None] * n) for _ in range(k)], pa.string()),
        })  # fmt: skip
        workspace.write_table("predictions", predictions)
        return Advised(config, workspace, advise(config, workspace, Watch()))


def applicants(n: int, seed: int, *, shift: float = 0.15) -> tuple[list[str], np.ndarray, list[str]]:
    """(groups, scores, labels) of two groups, the second of which scores lower."""
    generator = np.random.default_rng(seed)
    second = generator.random(n) < 0.4
    score = np.clip(generator.normal(0.55 - shift * second, 0.2, n), 0.001, 0.999).round(4)
    label = generator.random(n) < score
    return ["b" if s else "a" for s in second], score, ["yes" if y else "no" for y in label]
