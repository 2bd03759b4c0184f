"""Curves of every group's scores, for pictures: ROC, calibration, and the selection rate against the threshold.

Source of the table `curves`. A curve is of a group and an outcome; `(overall)` rows have neither attribute nor group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.bias.base import View, ratio
from tasks.bias.families.calibration_error import binned
from tasks.bias.families.ranking import by_group, ranked_of
from tasks.bias.rows import loops
from tasks.bias.rows.evidence import Evidence
from tasks.bias.rows.groups import Attribute
from tasks.bias.statistics.intervals import wilson
from tasks.contracts import schema_of

#: points of a ROC curve at most, and thresholds from 0 to 1
POINTS = 101
#: groups of an attribute that have curves: the largest
MAX_GROUPS = 50


class Curve(NamedTuple):
    """One curve of one group: (k,) each."""

    output: str
    kind: str
    group: int
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


def curve_table(measured: Sequence[tuple[Attribute, View]]) -> pa.Table:
    """The table `curves`; empty for a regression, which has no outcomes.

    Args:
        measured: attributes with their views, that of all rows (name None) among them.
    """
    columns: dict[str, list] = {name: [] for name in schema_of("curves").names}
    for attribute, view in measured:
        if view.evidence.task == "regression":
            continue
        for curve in curves(view):
            for point in range(len(curve.x)):
                columns["attribute"].append(attribute.name)
                columns["group"].append(None if attribute.name is None else attribute.groups[curve.group])
                columns["output"].append(curve.output)
                columns["curve"].append(curve.kind)
                columns["point"].append(point)
                for name in ("x", "y", "low", "high"):
                    value = float(getattr(curve, name)[point])
                    columns[f"ci_{name}" if len(name) > 1 else name].append(value if np.isfinite(value) else None)
                columns["n"].append(int(curve.n[point]))
    schema = schema_of("curves")
    return pa.table({name: pa.array(values, schema.field(name).type) for name, values in columns.items()})


def curve_limitations(measured: Sequence[tuple[Attribute, View]]) -> Iterator[str]:
    """What the table leaves out."""
    crowded = [attribute.name for attribute, view in measured if view.size > MAX_GROUPS]
    if crowded:
        yield f"{', '.join(map(str, crowded))}: of more than {MAX_GROUPS} groups the largest {MAX_GROUPS} have curves."


def curves(view: View) -> Iterator[Curve]:
    """The curves of one attribute's groups, in the order of the groups."""
    rows = np.bincount(view.counts.group, view.counts.rows, view.size)
    groups = np.sort(np.argsort(-rows, kind="stable")[:MAX_GROUPS])
    yield from _roc(view, groups)
    yield from _calibration(view, groups)
    yield from _selection(view, groups)


def _outcome(evidence: Evidence, members: Sequence[int]) -> str:
    return ", ".join(evidence.classes[k] for k in members)


def _roc(view: View, groups: np.ndarray) -> Iterator[Curve]:
    """x: false, y: true positive rate of deciding from a score on, falling; y with Wilson's interval, n rows.

    Every score that occurs, or, where they are many, corners evenly spaced along the curve.
    """
    own = ranked_of(view.evidence, view.members)
    if own is None:
        return
    rows = by_group(view, own)
    sums = rows.sums
    positives = np.nan_to_num(ratio(sums[0] ** 2, sums[2]))  # effective rows
    for g in groups:
        if sums[0, g] > 0 and sums[1, g] > 0:
            x, y = loops.corners(*rows.of(g), POINTS)
            low, high = wilson(y, positives[g], view.confidence)
            n = np.full(len(x), sums[5, g])
            yield Curve(_outcome(view.evidence, view.members), "roc", int(g), x, y, low, high, n)


def _calibration(view: View, groups: np.ndarray) -> Iterator[Curve]:
    """x: mean score of a bin, y: share of positive labels with Wilson's interval; bins without a row are left out."""
    table = binned(view)
    if isinstance(table, str):
        return
    score, share = ratio(table.score.sum(2), table.size), ratio(table.weight[:, :, 1], table.size)
    low, high = wilson(share, table.effective, view.confidence)
    n = table.rows.sum(2)
    for g in groups:
        held = table.size[g] > 0
        if held.any():
            yield Curve(
                _outcome(view.evidence, view.members), "calibration", int(g), score[g, held], share[g, held],
                low[g, held], high[g, held], n[g, held],
            )  # fmt: skip


def _selection(view: View, groups: np.ndarray) -> Iterator[Curve]:
    """x: threshold 0, 0.01, …, 1, y: share of rows whose score of the favourable outcome reaches it, Wilson's interval.

    What one common threshold would select; decisions by argmax or by rank are others.
    """
    evidence = view.evidence
    score = evidence.score_of(evidence.favorable) if evidence.favorable else None
    if score is None or ((score < -1e-6) | (score > 1 + 1e-6)).any():
        return
    grid = np.arange(POINTS) / (POINTS - 1)  # as a person writes them: 0.57, not 0.5700000000000001

    def reached() -> np.ndarray:
        below = np.searchsorted(grid, np.clip(score, 0, 1), side="right")
        return np.where(np.isfinite(score), below, loops.NO_BIN).astype(np.uint8)

    cell = evidence.memo.get(("thresholds reached", evidence.favorable), reached)
    rows, size, square, _ = loops.tally(view.codes, cell, score, evidence.weight, (view.size, POINTS + 1))
    total = size.sum(1, keepdims=True)
    # A row whose score reaches k thresholds is selected by the first k.
    selected = size[:, ::-1].cumsum(1)[:, ::-1][:, 1:]
    share = ratio(selected, total)
    effective = np.nan_to_num(ratio(total**2, square.sum(1, keepdims=True)))
    low, high = wilson(share, effective, view.confidence)
    for g in groups:
        if total[g] > 0:
            n = np.full(POINTS, rows[g].sum())
            yield Curve(
                _outcome(evidence, evidence.favorable), "selection", int(g), grid, share[g], low[g], high[g], n
            )  # fmt: skip
