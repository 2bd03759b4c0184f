"""Metrics of a regression: means over rows of the value and its error, and the coefficient of determination."""

from __future__ import annotations

import numpy as np

from tasks.bias.base import Measured, Metric, View, ratio
from tasks.bias.families.scores import row_mean
from tasks.bias.statistics.intervals import student

_REGRESSION = frozenset({"regression"})
_ANY = float("inf")


def _value(view: View) -> tuple[np.ndarray, str]:
    return view.evidence.scores[:, 0], "no predictions"


def _error(view: View) -> tuple[np.ndarray, str]:
    """Prediction − label: positive where the model says too much."""
    truth = view.evidence.truth
    assert truth is not None
    return view.evidence.scores[:, 0] - truth, "no labels"


def _absolute_error(view: View) -> tuple[np.ndarray, str]:
    return np.abs(_error(view)[0]), "no labels"


def _squared_error(view: View) -> tuple[np.ndarray, str]:
    return _error(view)[0] ** 2, "no labels"


def _r2(view: View) -> Measured:
    """1 − Σ(error²)/Σ((label − mean label)²). Range −∞–1, higher is better. Linearised interval.

    0/0 and x/0 are undefined where the labels do not vary; scikit-learn says 1 and 0 there.
    """
    evidence = view.evidence
    assert evidence.truth is not None
    weight = evidence.weight
    known = evidence.labelled if weight is None else evidence.labelled & (weight > 0)
    codes, y = view.codes[known], evidence.truth[known]
    w = np.ones(len(y)) if weight is None else weight[known]

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(codes, values, view.size)

    rows, size = np.bincount(codes, minlength=view.size), total(w)
    centred = y - ratio(total(w * y), size)[codes]
    squared = (evidence.scores[known, 0] - y) ** 2
    lost, there = total(w * squared), total(w * centred**2)
    # The mean's rounding leaves a trace where all labels are one number.
    there = np.where(there <= 1e-24 * total(w * y**2), 0.0, there)
    value = ratio(there - lost, there)
    slope = w * ratio(squared - (1 - value[codes]) * centred**2, there[codes])
    effective = np.nan_to_num(ratio(size**2, total(w * w)))
    spread = np.sqrt(total(np.nan_to_num(slope) ** 2) * ratio(effective, effective - 1))
    low, high = student(value, spread, effective, view.confidence)
    return Measured(
        value=value, numerator=there - lost, denominator=there, n=rows, support=rows, low=low,
        high=np.minimum(high, 1.0), std_error=spread, method="linearised", undefined="0/0: the labels do not vary",
    )  # fmt: skip


METRICS: tuple[Metric, ...] = (
    row_mean("mean_prediction", "mean prediction", _value, tasks=_REGRESSION, lowest=-_ANY, highest=_ANY,
             labels=False, fairlearn=True),
    row_mean("mean_error", "mean error", _error, tasks=_REGRESSION, lowest=-_ANY, highest=_ANY, signed=True),
    row_mean("mean_absolute_error", "mean absolute error", _absolute_error, tasks=_REGRESSION, better="lower",
             highest=_ANY, fairlearn=True),
    row_mean("root_mean_squared_error", "root mean squared error", _squared_error, tasks=_REGRESSION, better="lower",
             highest=_ANY, root=True, fairlearn=True),
    Metric("r2", "coefficient of determination", _r2, tasks=_REGRESSION, better="higher", scores=True, lowest=-_ANY),
)  # fmt: skip
