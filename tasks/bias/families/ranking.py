"""How well scores order the rows: areas under the ROC curve with DeLong's variance, and the area between two groups'
curves.

The rows are sorted by score once for all attributes; every group's area then comes out of two sweeps over them.

Sources: DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44, 837–845), as a sum of the rows' influences, so that
weights and several classes fit in; Gardner, Brooks and Baker 2019 (LAK, 225–234) for ABROCA.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.bias.base import CLASSIFIERS, Measured, Metric, View, nothing, ratio
from tasks.bias.rows import loops
from tasks.bias.rows.evidence import Evidence
from tasks.bias.statistics.intervals import logit, wilson

_MULTICLASS = frozenset({"multiclass"})
_NO_SCORE = "no score of the positive outcome"


@dataclass(frozen=True, eq=False)
class Ranked:
    """The rows that have a score, a label and a weight, by rising score; m of them.

    Attributes:
        order: (m,) int32 rows.
        flags: (m,) uint8: loops.HIT where the label is positive, loops.BEGINS where a run of equal scores begins.
        weight: (m,) as the rows are ordered, so that sweeps read it in a row; or None.
    """

    order: np.ndarray
    flags: np.ndarray
    weight: np.ndarray | None


def hits_of(evidence: Evidence, members: tuple[int, ...]) -> np.ndarray:
    """(n,) int8: 1 for a label among these classes, 0 for another, −1 for none."""

    def made() -> np.ndarray:
        lookup = np.zeros(len(evidence.classes) + 1, np.int8)
        lookup[list(members)] = 1
        lookup[-1] = -1  # where −1, no label, points to
        return lookup[evidence.label]

    return evidence.memo.get(("hits", members), made)


def ranked_of(evidence: Evidence, members: tuple[int, ...]) -> Ranked | None:
    """The rows by rising score of a set of classes; None where there is no such score."""
    score = evidence.positive_score if members == evidence.positive else evidence.score_of(members)
    if score is None:
        return None
    return evidence.memo.get(("ranked", members), lambda: ranked(score, hits_of(evidence, members), evidence.weight))


def ranked(score: np.ndarray, hit: np.ndarray, weight: np.ndarray | None) -> Ranked:
    """Sorts rows.

    Args:
        score: (n,); rows without one (NaN, infinite) are left out.
        hit: (n,) int8, −1: no label, left out.
        weight: (n,) ≥ 0; rows of weight 0 are left out. None: each row counts once.
    """
    usable = np.isfinite(score) & (hit >= 0)
    if weight is not None:
        usable &= weight > 0
    rows = None if usable.all() else np.flatnonzero(usable).astype(np.int32)
    by_score = np.argsort(score if rows is None else score[rows]).astype(np.int32)
    order = by_score if rows is None else rows[by_score]
    flags = hit[order].astype(np.uint8)
    sorted_score = score[order]
    flags[:1] |= loops.BEGINS
    flags[1:][sorted_score[1:] != sorted_score[:-1]] |= loops.BEGINS
    return Ranked(order, flags, None if weight is None else weight[order])


@dataclass(frozen=True, eq=False)
class ByGroup:
    """Ranked rows, group after group.

    Attributes:
        start: (groups + 1,) where each group starts.
        flags: (m,) uint8, runs of equal scores begin within the group.
        weight: (m,), or (0,) without weights.
        sums: (7, groups) as `loops.areas` gives them.
    """

    start: np.ndarray
    flags: np.ndarray
    weight: np.ndarray
    sums: np.ndarray

    def of(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Flags and weights of one group's rows, by rising score."""
        rows = slice(self.start[group], self.start[group + 1])
        return self.flags[rows], self.weight[rows]


def by_group(view: View, own: Ranked) -> ByGroup:
    """The ranked rows of each group, for curves."""

    return view.memo.get(("by group", view.members), lambda: _parted(own, *_swept(own, view.codes, view.size)))


def _swept(own: Ranked, codes: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """The first sweep, as `loops.areas` gives it: sums by group, and the group of each ranked row."""
    return loops.areas(codes, own.order, own.flags, own.weight, groups)


def _parted(own: Ranked, sums: np.ndarray, group: np.ndarray) -> ByGroup:
    start = np.concatenate([[0], np.cumsum(sums[5])]).astype(np.int64)
    return ByGroup(start, *loops.parted(own.flags, own.weight, group, start), sums)


@dataclass(frozen=True, eq=False)
class Areas:
    """Every group's area; arrays of one number a group.

    Attributes:
        value: the area, ties half; NaN where positives or negatives are lacking.
        wins, pairs: Σw of concordant pairs and of pairs.
        rows, smaller: rows; those of the smaller side.
        variance: DeLong's, each side's made unbiased by n/(n − 1) of its (effective) number.
    """

    value: np.ndarray
    wins: np.ndarray
    pairs: np.ndarray
    rows: np.ndarray
    smaller: np.ndarray
    variance: np.ndarray


def areas(own: Ranked, codes: np.ndarray, groups: int, influence: np.ndarray | None = None) -> Areas:
    """Areas under the ROC curve of all groups at once.

    Args:
        codes: (n,) group of each row.
        influence: (n,) float64 to which each row's pull on its group's area is added: the sum over a group of its
            squares is the variance.
    """
    return _areas(own, *_swept(own, codes, groups), influence)


def _areas(own: Ranked, sums: np.ndarray, group: np.ndarray, influence: np.ndarray | None = None) -> Areas:
    """The second sweep."""
    spread = loops.placements(own.order, own.flags, own.weight, group, sums, influence)
    total, square = sums[:2], sums[2:4]
    effective = np.nan_to_num(ratio(total**2, square))
    unbiased = np.where(effective > 1, ratio(effective, effective - 1), 1.0)
    pairs = total[0] * total[1]
    value = ratio(sums[4], pairs)
    variance = (np.nan_to_num(ratio(spread, total**2)) * unbiased).sum(0)
    smaller = np.minimum(sums[6], sums[5] - sums[6])
    return Areas(value, sums[4], pairs, sums[5], smaller, np.where(np.isfinite(value), variance, np.nan))


def _roc_auc(view: View) -> Measured:
    """Chance that a positive row scores above a negative one, ties half. Range 0–1, higher is better. DeLong."""
    own = ranked_of(view.evidence, view.members)
    if own is None:
        return nothing(view, _NO_SCORE)
    sums, group = _swept(own, view.codes, view.size)
    if view.of_class is None:  # the area between curves, and the pictures, ask for them
        view.memo.get(("by group", view.members), lambda: _parted(own, sums, group))
    found = _areas(own, sums, group)
    spread = np.sqrt(found.variance)
    low, high, method = _interval(found.value, spread, found.smaller, view.confidence)
    return Measured(
        value=found.value, numerator=np.where(found.pairs > 0, found.wins, 0.0), denominator=found.pairs, n=found.rows,
        support=found.smaller, low=low, high=high, std_error=spread, method=method,
        undefined="0/0: positive or negative labels are lacking",
    )  # fmt: skip


def _interval(
    area: np.ndarray, spread: np.ndarray, smaller: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray, str]:
    """DeLong on the logit scale; where no pair is out of order (or all are) its spread is 0, and Wilson's interval of
    the smaller side stands in, which is too wide rather than empty."""
    low, high = logit(area, spread, confidence)
    flat = np.isfinite(area) & ~np.isfinite(low)
    stand_in = wilson(area, smaller, confidence)
    return np.where(flat, stand_in[0], low), np.where(flat, stand_in[1], high), "delong, logit"


def _macro_roc_auc(view: View) -> Measured:
    """Mean over the classes of each one's area against the rest. Range 0–1, higher is better.

    The classes share their rows, so a row's pulls on their areas are added before they are squared.
    """
    evidence = view.evidence
    parts, influence = [], np.zeros(evidence.rows)
    for k in range(len(evidence.classes)):
        own = ranked_of(evidence, (k,))
        if own is None:
            return nothing(view, "not every class has a score")
        parts.append(areas(own, view.codes, view.size, influence))
    known = np.stack([np.isfinite(part.value) for part in parts], 1)
    least = np.stack([np.where(np.isfinite(part.value), part.smaller, np.inf) for part in parts], 1).min(1)
    total = np.stack([np.nan_to_num(part.value) for part in parts], 1).sum(1)
    size = known.sum(1)
    value = ratio(total, size)
    spread = np.sqrt(np.bincount(view.codes, influence**2, view.size)) / np.maximum(size, 1)
    low, high, method = _interval(value, spread, np.where(size > 0, least, 0), view.confidence)
    names = np.array(evidence.classes, object)
    notes = {
        g: f"over {row.sum()} of {len(row)} classes; without {', '.join(names[~row])}"
        for g, row in enumerate(known)
        if 0 < row.sum() < len(row)
    }
    return Measured(
        value=value, numerator=total, denominator=size.astype(float), n=parts[-1].rows, support=parts[-1].rows, low=low,
        high=high, std_error=spread, method=method, undefined="0/0: fewer than two classes occur", notes=notes,
    )  # fmt: skip


METRICS: tuple[Metric, ...] = (
    Metric("roc_auc", "area under the ROC curve", _roc_auc, tasks=CLASSIFIERS, better="higher", of="positive",
           scores=True, per_class=True),
    Metric("macro_roc_auc", "mean area under the classes' ROC curves", _macro_roc_auc, tasks=_MULTICLASS,
           better="higher", scores=True),
)  # fmt: skip
