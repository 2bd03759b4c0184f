"""The trade-off between an aim and accuracy: along one threshold for all, and along aims for thresholds by group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.advice.outcomes import Case
from tasks.advice.search import MAX_GROUPS, Board, apart, at_level
from tasks.watch import Watch

#: points along one threshold at most, and aims between what is and the ideal
MAX_POINTS, LEVELS = 201, 21


@dataclass(frozen=True)
class Point:
    """One way to decide.

    Attributes:
        kind: common or group.
        threshold: of all groups; None where each has its own.
        limit: the aim that the thresholds by group were chosen for; None along one threshold.
        value: what the aim's metric comes to.
        accuracy: NaN without labels.
        selection_rate: over all rows.
        changed: Σw of rows whose decision changes.
    """

    kind: str
    threshold: float | None
    limit: float | None
    value: float
    accuracy: float
    selection_rate: float
    changed: float


def tradeoff_of(case: Case, watch: Watch) -> list[Point]:
    """Points on all rows, in the order of thresholds, then of limits."""
    board = case.board(case.whole)
    points = _along_common(case, board)
    if case.aim.comparison == "level" or len(case.attribute.groups) > MAX_GROUPS:
        return points
    now = board.value_of(np.full(board.curves.groups, -1))
    if np.isnan(now):
        return points
    ideal = 0.0 if case.aim.comparison == "difference" else 1.0
    seen: set[bytes] = set()
    for limit in np.linspace(now, ideal, LEVELS):
        choice = apart(at_level(board, float(limit)), watch)
        if choice is not None and choice.tobytes() not in seen:
            seen.add(choice.tobytes())
            points.append(_point(case, board, "group", choice, None, float(limit), board.value_of(choice)))
    return points


def _along_common(case: Case, board: Board) -> list[Point]:
    curves, values = board.curves, board.values
    kept = np.unique(
        np.append(np.linspace(0, len(values) - 1, min(len(values), MAX_POINTS - 1)).round().astype(int), curves.current)
    )
    return [
        _point(case, board, "common", np.full(curves.groups, k), float(curves.thresholds[k]), None, float(values[k]))
        for k in kept
    ]


def _point(
    case: Case, board: Board, kind: str, choice: np.ndarray, threshold: float | None, limit: float | None, value: float
) -> Point:
    moved = board.curves.moved(choice).sum(0)  # label × now × then
    then = moved.sum((0, 1))[:2]
    changed = moved.sum(0)
    return Point(
        kind, threshold, limit, value, board.accuracy(choice),
        float(then[case.cut.wanted] / then.sum()) if then.sum() else float("nan"),
        float(changed[0, 1] + changed[1, 0]),
    )  # fmt: skip
