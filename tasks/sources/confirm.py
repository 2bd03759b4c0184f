"""How the slices that a search has kept fare in the half of the rows that it has not seen.

Sources: Newcombe 1998 for intervals (Stat. Med. 17, 873–890); Benjamini and Yekutieli 2001 (Ann. Stat. 29, 1165–1188)
for the correction, which holds whatever the slices have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.bias import intervals, significance
from tasks.contracts import ValueStatus
from tasks.sources.features import Part
from tasks.sources.outcomes import Question
from tasks.sources.slices import Kept

#: slices with a q-value below are named
LEVEL = 0.05
NAN = float("nan")


@dataclass(frozen=True)
class Confirmed:
    """A row of the table: a slice against all other rows, on rows that played no part in choosing it."""

    rank: int
    slice: str
    parts: tuple[str, ...]
    metric: str
    value: float
    rest: float
    difference: float
    low: float
    high: float
    numerator: float
    denominator: float
    n: int
    p: float
    status: ValueStatus
    test: str | None
    worse: bool  # than the other rows
    q: float = NAN

    @property
    def named(self) -> bool:
        """Whether a finding names it."""
        return self.worse and self.q < LEVEL


@dataclass(frozen=True, eq=False)
class _Side:
    """The rows of a slice, or the others, that count: a mean and what it rests on."""

    mean: float
    low: float
    high: float
    error: float
    total: float
    weight: float
    n: int


def confirm(
    kept: Sequence[Kept], parts: Sequence[Part], questions: Sequence[Question], weight: np.ndarray | None,
    rows: np.ndarray, least: int, confidence: float,
) -> list[Confirmed]:  # fmt: skip
    """The kept slices on other rows, with q-values over all of them.

    Args:
        parts, questions, weight: of n rows, as searched.
        rows: (m,) the half that was not searched.
    """
    own = [question.at(rows) for question in questions]
    w = None if weight is None else weight[rows]
    found = []
    for one in kept:
        question = own[one.question]
        inside = one.slice.holds(parts, rows)
        slice_side, rest = (_side(question, w, question.among & side, confidence) for side in (inside, ~inside))
        found.append(_confirmed(one, parts, question, slice_side, rest, w is not None, least))
    q = benjamini_yekutieli(np.array([one.p for one in found]))
    return [replace(one, q=float(value)) for one, value in zip(found, q, strict=True)]


def benjamini_yekutieli(p: np.ndarray) -> np.ndarray:
    """q-values under any dependence: Benjamini and Hochberg's times 1 + ½ + … + 1/m. NaN is left out."""
    asked = int(np.count_nonzero(~np.isnan(p)))
    return np.minimum(significance.benjamini_hochberg(p) * (1 / np.arange(1, asked + 1)).sum(), 1.0)


def _side(question: Question, weight: np.ndarray | None, rows: np.ndarray, confidence: float) -> _Side:
    x = question.value[rows]
    w = np.ones(len(x)) if weight is None else weight[rows]
    total = float(w.sum())
    if not total:
        return _Side(NAN, NAN, NAN, NAN, 0.0, 0.0, 0)
    effective = total**2 / float(w @ w)
    mean = float(w @ x) / total
    error = NAN
    if effective > 1:
        error = float(np.sqrt(((w * (x - mean)) ** 2).sum() * effective / (effective - 1))) / total
    if question.rate:
        low, high = intervals.wilson(mean, effective, confidence)
    else:
        low, high = intervals.student(np.asarray(mean), np.asarray(error), np.asarray(effective), confidence)
        low = np.maximum(low, 0)
    return _Side(mean, float(low), float(high), error, float(w @ x), total, len(x))


def _confirmed(
    one: Kept, parts: Sequence[Part], question: Question, own: _Side, rest: _Side, weighted: bool, least: int
) -> Confirmed:
    difference = own.mean - rest.mean
    low, high = intervals.mover_difference(
        np.asarray(own.mean), (np.asarray(own.low), np.asarray(own.high)),
        np.asarray(rest.mean), (np.asarray(rest.low), np.asarray(rest.high)),
    )  # fmt: skip
    status: ValueStatus = "ok" if min(own.n, rest.n) >= least else "insufficient_data"
    p, test = NAN, None
    if not (own.n and rest.n):
        status = "undefined"
    elif status == "ok" and question.rate and not weighted:
        p, test = significance.two_proportions(own.total, own.weight, rest.total, rest.weight)
    elif status == "ok":
        p, test = significance.wald(difference, own.error, rest.error), "wald, linearised" if weighted else "wald"
    return Confirmed(
        rank=one.rank, slice=one.slice.text(parts), parts=tuple(one.slice.names(parts)), metric=question.metric,
        value=own.mean, rest=rest.mean, difference=difference, low=float(low), high=float(high), numerator=own.total,
        denominator=own.weight, n=own.n, p=p, status=status, test=None if np.isnan(p) else test,
        worse=bool(question.sign * difference > 0),
    )  # fmt: skip
