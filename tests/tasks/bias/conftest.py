"""Audits of tables written by hand: data and predictions in, the bias stage's tables out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig
from tasks.bias import DISPARITIES, METRICS, measure_bias
from tasks.bias.measure import Compared, Settings, compare, measure
from tasks.bias.rows.evidence import Evidence
from tasks.bias.rows.groups import Attribute
from tasks.contracts import Done
from tasks.persist.store import Workspace
from tasks.watch import Watch

Row = dict[str, Any]


@dataclass
class Audited:
    """What an audit wrote."""

    config: AuditConfig
    workspace: Workspace
    done: Done
    _rows: dict[str, list[Row]] = field(default_factory=dict)

    def table(self, name: str) -> list[Row]:
        if name not in self._rows:
            self._rows[name] = self.workspace.read_table(name).to_pylist()
        return self._rows[name]

    def metric(self, name: str, attribute: str | None = None, group: str | None = None, output=None) -> Row:
        wanted = {"metric": name, "attribute": attribute, "group": group, "output": output}
        return _one(self.table("group_metrics"), wanted)

    def gap(self, name: str, attribute: str, group: str | None = None) -> Row:
        return _one(self.table("disparities"), {"metric": name, "attribute": attribute, "group": group, "output": None})


def _one(rows: list[Row], wanted: Row) -> Row:
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows for {wanted}"
    return found[0]


@dataclass
class Auditor:
    """Runs the stage on columns."""

    folder: Path
    runs: int = 0

    def __call__(
        self,
        columns: dict[str, Sequence],
        *,
        label: Sequence,
        decision: Sequence | None = None,
        score: Sequence | dict[str, Sequence] | None = None,
        sensitive: dict[str, Any] | None = None,
        task: str = "binary",
        classes: list | None = None,
        favorable: Any = "yes",
        **blocks: Any,
    ) -> Audited:
        """Audits rows.

        Args:
            columns: of the data; `sensitive` says which are attributes, default: all.
            label: the target, as in the predictions.
            decision: the decided classes.
            score: of `classes[1]`, or output → scores.
        """
        self.runs += 1
        folder = self.folder / str(self.runs)
        folder.mkdir()
        n = len(label)
        data = {**{name: pa.array(v) if not isinstance(v, pa.Array) else v for name, v in columns.items()}}
        data["y"] = pa.array([None if v is None else str(v) for v in label], pa.string())
        pq.write_table(pa.table(data), folder / "data.parquet")
        if sensitive is None:
            sensitive = {name: {"column": name} for name in columns}
        classes = (["no", "yes"] if task == "binary" else None) if classes is None else classes
        extra = blocks.pop("data", {})
        target = {"column": "y", **({"favorable": favorable} if favorable is not None else {})}
        target |= extra.pop("target", {})
        config = AuditConfig.model_validate(
            {
                "name": "test",
                "model": {"path": "none", "task": task, **({"classes": classes} if classes else {})},
                "data": {
                    "path": str(folder / "data.parquet"),
                    "target": target,
                    "sensitive": sensitive,
                    **extra,
                },
                **blocks,
            }
        )
        if score is None:
            score = [0.9 if d == "yes" else 0.1 for d in (decision if decision is not None else [None] * n)]
        by_output = score if isinstance(score, dict) else {"value" if task == "regression" else classes[1]: score}
        workspace = Workspace(folder / "run", "20260101T000000Z-00000000")
        k = len(by_output)
        predictions = pa.table(
            {
                "row_id": np.repeat(np.arange(n), k),
                "output": pa.array(list(by_output) * n, pa.string()),
                "y_true": pa.array([None if v is None else str(v) for v in label for _ in range(k)], pa.string()),
                "score": pa.array(np.array([np.asarray(s, float) for s in by_output.values()]).T.ravel()),
                "decision": pa.array(
                    [d for d in (decision if decision is not None else [None] * n) for _ in range(k)], pa.string()
                ),
            }
        )
        workspace.write_table("predictions", predictions)
        return Audited(config, workspace, measure_bias(config, workspace, Watch()))


@pytest.fixture
def audit(tmp_path: Path) -> Auditor:
    return Auditor(tmp_path)


def confusion_rows(cells: dict[str, tuple[int, int, int, int]]) -> dict[str, list[str]]:
    """Rows of groups from their counts of (TP, FN, FP, TN)."""
    groups, labels, decisions = [], [], []
    for group, counts in cells.items():
        for count, label, decision in zip(counts, ("yes", "yes", "no", "no"), ("yes", "no", "yes", "no"), strict=True):
            groups += [group] * count
            labels += [label] * count
            decisions += [decision] * count
    return {"group": groups, "label": labels, "decision": decisions}


@pytest.fixture
def audit_cells(audit: Auditor) -> Callable[..., Audited]:
    """Audits groups given as counts of (TP, FN, FP, TN), by the attribute `g`."""

    def run(cells: dict[str, tuple[int, int, int, int]], *, least: int = 1, **blocks: Any) -> Audited:
        rows = confusion_rows(cells)
        blocks["bias"] = {"min_group_size": least, **blocks.get("bias", {})}
        return audit({"g": rows["group"]}, label=rows["label"], decision=rows["decision"], **blocks)

    return run


def compared_rows(
    group: np.ndarray, label: np.ndarray, decision: np.ndarray, names: Sequence[str], *, least: int = 1,
    resamples: int = 200, weight: np.ndarray | None = None, strata: np.ndarray | None = None, groups: int | None = None,
    classes: int = 2,
) -> Compared:  # fmt: skip
    """Comparisons of rows that are given as codes; class 1 is the favourable one."""
    n = len(group)
    names_of = tuple("abcdefghijklmnopqrst")
    cut = None if strata is None else Attribute("strata", tuple(f"s{k}" for k in range(int(strata.max()) + 1)), strata)
    evidence = Evidence(
        task="binary" if classes == 2 else "multiclass", row_id=pa.array(np.arange(n)), position=np.arange(n),
        classes=names_of[:classes], label=label, decision=decision, outputs=names_of[1:2],
        scores=decision[:, None] * 0.5, truth=None, weight=weight, favorable=(1,), positive=(1,), strata=cut,
    )  # fmt: skip
    chosen = [DISPARITIES[name] for name in names]
    bases = dict.fromkeys(["count", "selection_rate", *(base for entry in chosen for base in entry.bases)])
    settings = Settings(least=least, resamples=resamples)
    attribute = Attribute("g", names_of[: groups or int(group.max()) + 1], group)
    return compare(measure(evidence, attribute, [METRICS[base] for base in bases], settings), chosen, settings)


@pytest.fixture(scope="session")
def comparing() -> Callable[..., Compared]:
    """`compared_rows`, for tests of examples that hypothesis makes up too."""
    return compared_rows


@pytest.fixture(scope="session")
def comparing_cells() -> Callable[..., Compared]:
    """The same of groups given as counts of (TP, FN, FP, TN)."""

    def run(cells: Sequence[Sequence[int]], names: Sequence[str], **settings: Any) -> Compared:
        counts = np.array(cells)
        label = np.repeat(np.tile([1, 1, 0, 0], len(cells)), counts.ravel())
        decision = np.repeat(np.tile([1, 0, 1, 0], len(cells)), counts.ravel())
        group = np.repeat(np.arange(len(cells)), counts.sum(1))
        return compared_rows(group, label, decision, names, groups=len(cells), **settings)

    return run
