"""Rates: shares of a group's rows, and what is made of them. Everything here follows from the table of counts.

A rate is a line of METRICS: which cells are counted, among which. A cell is label then decision: `10` is a positive
label that the model decided against, `?1` a favourable decision without a label.
"""

from __future__ import annotations

import numpy as np

from tasks.bias.base import ALL_TASKS, CLASSIFIERS, Better, Measured, Metric, Question, View, ratio
from tasks.bias.rows.counts import CELLS
from tasks.bias.statistics.intervals import mean_of, wilson

DECIDED = "00 01 10 11 ?0 ?1"
LABELLED = "00 01 0? 10 11 1?"
BOTH = "00 01 10 11"


def cells(names: str) -> np.ndarray:
    """(9,) 1.0 for the named cells."""
    wanted = names.split()
    return np.array([float(cell in wanted) for cell in CELLS])


def _rate(
    name: str,
    title: str,
    of: Question,
    counted: str,
    among: str,
    lacking: str,
    better: Better = None,
    over: str = BOTH,
    *,
    fairlearn: bool = False,
    labels: bool = True,
    per_class: bool = True,
) -> Metric:
    """A share with Wilson's interval: cells counted / cells among."""
    top, bottom, whole = cells(counted), cells(among), cells(over)

    def measure(view: View) -> Measured:
        table = view.tables[of]
        numerator, denominator = table.sum(top), table.sum(bottom)
        value = ratio(numerator, denominator)
        effective = table.effective(bottom)
        low, high = wilson(value, effective, view.confidence)
        return Measured(
            value=value,
            numerator=numerator,
            denominator=denominator,
            n=table.rows @ whole,
            support=table.rows @ bottom,
            low=low,
            high=high,
            std_error=_linearised(table.square, top, bottom, value, denominator),
            method="wilson" if not table.weighted else "wilson, effective n",
            undefined=f"0/0: {lacking}",
        )

    return Metric(
        name, title, measure, tasks=ALL_TASKS if of != "correct" else CLASSIFIERS, better=better, of=of, labels=labels,
        per_class=per_class, fairlearn=fairlearn, proportion=True, shares=((top, bottom),),
        from_cells=lambda table: ratio(table @ top, table @ bottom),
    )  # fmt: skip


def _linearised(
    square: np.ndarray, top: np.ndarray, bottom: np.ndarray, value: np.ndarray, denominator: np.ndarray
) -> np.ndarray:
    """Standard error of a share Σw over Σw: √Σw²(x − p)² / Σw. Without weights √(p(1 − p)/n)."""
    hit = square @ top * (1 - value) ** 2 + square @ (bottom - top) * value**2
    return np.sqrt(ratio(hit, denominator**2))


def _count(view: View) -> Measured:
    rows = view.counts.rows
    total = np.bincount(view.counts.group, rows, view.size)
    nothing = np.full(view.size, np.nan)
    return Measured(
        value=total, numerator=total, denominator=nothing, n=total, support=total, low=nothing, high=nothing,
        std_error=nothing, method=None, undefined="",
    )  # fmt: skip


def _f1(view: View) -> Measured:
    """2·TP/(2·TP + FP + FN): a rising function of TP's share of all rows but the true negatives, as is its interval."""
    table = view.tables["positive"]
    hits, others = cells("11"), cells("01 10 11")
    jaccard = ratio(table.sum(hits), table.sum(others))
    effective = table.effective(others)
    low, high = wilson(jaccard, effective, view.confidence)
    spread = _linearised(table.square, hits, others, jaccard, table.sum(others))
    return Measured(
        value=ratio(table.sum(2 * hits), table.sum(hits + others)),
        numerator=table.sum(2 * hits),
        denominator=table.sum(hits + others),
        n=table.rows @ cells(BOTH),
        support=table.rows @ others,
        low=2 * low / (1 + low),
        high=2 * high / (1 + high),
        std_error=spread * 2 / (1 + jaccard) ** 2,
        method="wilson, transformed",
        undefined="0/0: neither a positive label nor a positive decision",
    )


def _balanced(table: np.ndarray) -> np.ndarray:
    return (ratio(table @ cells("11"), table @ cells("10 11")) + ratio(table @ cells("00"), table @ cells("00 01"))) / 2


def _balanced_accuracy(view: View) -> Measured:
    """Mean of TPR and TNR, which is also the ROC area of the decision. Counts are of pairs of rows."""
    table = view.tables["positive"]
    positives, negatives = cells("10 11"), cells("00 01")
    parts = np.stack(
        [ratio(table.sum(cells("11")), table.sum(positives)), ratio(table.sum(cells("00")), table.sum(negatives))], -1
    )
    counts = np.stack([table.effective(positives), table.effective(negatives)], -1)
    low, high = mean_of(parts, *wilson(parts, counts, view.confidence))
    spread = [
        _linearised(table.square, cells(hit), among, parts[:, k], table.sum(among))
        for k, (hit, among) in enumerate((("11", positives), ("00", negatives)))
    ]
    value = parts.mean(-1)
    pairs = 2 * table.sum(positives) * table.sum(negatives)
    wins = table.sum(cells("11")) * table.sum(negatives) + table.sum(cells("00")) * table.sum(positives)
    return Measured(
        value=value,
        numerator=wins,
        denominator=pairs,
        n=table.rows @ cells(BOTH),
        support=np.minimum(table.rows @ positives, table.rows @ negatives),
        low=np.where(np.isnan(value), np.nan, low),
        high=np.where(np.isnan(value), np.nan, high),
        std_error=np.hypot(*spread) / 2,
        method="wilson, mover",
        undefined="0/0: positive or negative labels are lacking",
    )


METRICS: tuple[Metric, ...] = (
    Metric("count", "number of rows", _count, tasks=ALL_TASKS, labels=False, highest=float("inf")),
    # name, title, question, counted, among, what is lacking at 0/0, better, over
    _rate("selection_rate", "selection rate", "favorable", "01 11 ?1", DECIDED, "no decisions", None, DECIDED,
          fairlearn=True, labels=False),
    _rate("label_rate", "rate of favourable labels", "favorable", "10 11 1?", LABELLED, "no labels", None, LABELLED,
          per_class=False),
    _rate("prevalence", "rate of positive labels", "positive", "10 11 1?", LABELLED, "no labels", None, LABELLED),
    _rate("accuracy", "accuracy", "correct", "11", "10 11", "no labels", "higher", "10 11",
          fairlearn=True, per_class=False),
    Metric("balanced_accuracy", "balanced accuracy", _balanced_accuracy, tasks=ALL_TASKS, better="higher",
           of="positive", per_class=True, from_cells=_balanced,
           shares=((cells("11"), cells("10 11")), (cells("00"), cells("00 01")))),
    _rate("true_positive_rate", "true positive rate", "positive", "11", "10 11", "no positive labels", "higher",
          fairlearn=True),
    _rate("false_positive_rate", "false positive rate", "positive", "01", "00 01", "no negative labels", "lower",
          fairlearn=True),
    _rate("true_negative_rate", "true negative rate", "positive", "00", "00 01", "no negative labels", "higher",
          fairlearn=True),
    _rate("false_negative_rate", "false negative rate", "positive", "10", "10 11", "no positive labels", "lower",
          fairlearn=True),
    _rate("precision", "precision", "positive", "11", "01 11", "no positive decisions", "higher", fairlearn=True),
    _rate("negative_predictive_value", "negative predictive value", "positive", "00", "00 10",
          "no negative decisions", "higher"),
    _rate("false_discovery_rate", "false discovery rate", "positive", "01", "01 11", "no positive decisions", "lower"),
    _rate("false_omission_rate", "false omission rate", "positive", "10", "00 10", "no negative decisions", "lower"),
    _rate("acceptance_rate", "acceptance rate", "favorable", "11", "01 11", "no favourable decisions", per_class=False),
    _rate("rejection_rate", "rejection rate", "favorable", "00", "00 10", "no unfavourable decisions",
          per_class=False),
    Metric("f1", "F1 score", _f1, tasks=ALL_TASKS, better="higher", of="positive", per_class=True,
           shares=((cells("11"), cells("01 10 11")),),
           from_cells=lambda table: ratio(table @ cells("11") * 2, table @ (cells("11") + cells("01 10 11")))),
)  # fmt: skip
