"""Macro averages over several classes, each held against the rest.

The mean is over the classes that have a value in the group; where that is not all of them, the note says so.
"""

from __future__ import annotations

import numpy as np

from tasks.bias.base import Measured, Metric, View, ratio
from tasks.bias.statistics.intervals import mean_of, student, wilson

_MULTICLASS = frozenset({"multiclass"})


def _by_class(view: View) -> tuple[np.ndarray, ...]:
    """Σw of hits, labels and decisions, and the effective numbers of labels and decisions: (groups, classes) each."""
    counts, classes = view.counts, len(view.evidence.classes)
    known = (counts.label >= 0) & (counts.decision >= 0)

    def total(codes: np.ndarray, values: np.ndarray, where: np.ndarray) -> np.ndarray:
        key = counts.group[where] * classes + codes[where]
        return np.bincount(key, values[where], view.size * classes).reshape(view.size, classes)

    hits = total(counts.label, counts.weight, known & (counts.label == counts.decision))
    labels, decisions = (total(codes, counts.weight, known) for codes in (counts.label, counts.decision))
    squares = [total(codes, counts.square, known) for codes in (counts.label, counts.decision)]
    effective = [np.nan_to_num(ratio(w**2, s)) for w, s in ((labels, squares[0]), (decisions, squares[1]))]
    return hits, labels, decisions, *effective


def _rows(view: View) -> np.ndarray:
    known = (view.counts.label >= 0) & (view.counts.decision >= 0)
    return np.bincount(view.counts.group[known], view.counts.rows[known], view.size)


def _averaged(view: View, parts: np.ndarray, effective: np.ndarray, lacking: str) -> Measured:
    """The mean of shares of disjoint sets of rows, which are independent given the sizes of the sets."""
    low, high = mean_of(parts, *wilson(parts, effective, view.confidence))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(effective > 0, parts * (1 - parts) / effective, 0)
    defined = np.isfinite(parts).sum(1)
    return _measured(
        view, parts, low, high, np.sqrt(np.nansum(spread, 1)) / np.maximum(defined, 1), "wilson, mover", lacking
    )


def _measured(
    view: View, parts: np.ndarray, low: np.ndarray, high: np.ndarray, spread: np.ndarray, method: str, lacking: str
) -> Measured:
    defined = np.isfinite(parts)
    names = np.array(view.evidence.classes, object)
    notes = {
        g: f"over {row.sum()} of {len(row)} classes; without {', '.join(names[~row])}"
        for g, row in enumerate(defined)
        if 0 < row.sum() < len(row)
    }
    total, size = np.where(defined, parts, 0).sum(1), defined.sum(1).astype(float)
    rows = _rows(view)
    return Measured(
        value=ratio(total, size), numerator=total, denominator=size, n=rows, support=rows, low=low, high=high,
        std_error=spread, method=method, undefined=f"0/0: {lacking}", notes=notes,
    )  # fmt: skip


def macro_recall(view: View) -> Measured:
    """Mean over the classes of TPR, as scikit-learn's balanced accuracy. Range 0–1, higher is better."""
    hits, labels, _, effective, _ = _by_class(view)
    return _averaged(view, ratio(hits, labels), effective, "no labels")


def macro_precision(view: View) -> Measured:
    """Mean over the classes of precision. Range 0–1, higher is better."""
    hits, _, decisions, _, effective = _by_class(view)
    return _averaged(view, ratio(hits, decisions), effective, "no decisions")


def macro_f1(view: View) -> Measured:
    """Mean over the classes of F1. Range 0–1, higher is better.

    The interval is linearised: d F1ₖ / d n(label i, decision j) summed over the cells with their Σw².
    """
    hits, labels, decisions, *_ = _by_class(view)
    size = labels + decisions
    parts = ratio(2 * hits, size)
    counts = view.counts
    known = (counts.label >= 0) & (counts.decision >= 0)
    group, label, decision = counts.group[known], counts.label[known], counts.decision[known]
    pull = np.nan_to_num(ratio(parts, size))  # F1ₖ / (labels + decisions)
    slope = np.where(label == decision, np.nan_to_num(ratio(2.0, size))[group, label], 0.0)
    slope -= pull[group, label] + pull[group, decision]
    variance = np.bincount(group, counts.square[known] * slope**2, view.size)
    defined = np.isfinite(parts).sum(1)
    spread = np.sqrt(variance) / np.maximum(defined, 1)
    value = ratio(np.nansum(parts, 1), defined)
    sums = [np.bincount(group, sums[known], view.size) for sums in (counts.weight, counts.square)]
    effective = np.nan_to_num(ratio(sums[0] ** 2, sums[1]))
    low, high = student(value, spread, effective, view.confidence)
    return _measured(view, parts, np.maximum(low, 0), np.minimum(high, 1), spread, "linearised", "no labels")


METRICS: tuple[Metric, ...] = (
    Metric("macro_true_positive_rate", "mean true positive rate of the classes", macro_recall, tasks=_MULTICLASS,
           better="higher"),
    Metric("macro_precision", "mean precision of the classes", macro_precision, tasks=_MULTICLASS, better="higher"),
    Metric("macro_f1", "mean F1 score of the classes", macro_f1, tasks=_MULTICLASS, better="higher"),
)  # fmt: skip
