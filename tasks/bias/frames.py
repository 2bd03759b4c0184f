"""fairlearn's MetricFrame computes the values that it has, and the table of counts computes them a second time.

MetricFrame is given the non-empty cells of the table with their Σw as sample weights instead of the rows: its answer is
the same, and takes about a millisecond a metric and group instead of growing with the rows (22 s for a million rows and
seven metrics). Where fairlearn says 0.0 for 0/0 the caller's own value, undefined, holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from tasks.bias.base import Metric, View
from tasks.bias.rows.counts import NO, UNKNOWN
from tasks.errors import Incomplete

#: comparison → the rates that it is over
GAPS = {
    "demographic_parity_difference": ("selection_rate",),
    "demographic_parity_ratio": ("selection_rate",),
    "equalized_odds_difference": ("true_positive_rate", "false_positive_rate"),
    "equalized_odds_ratio": ("true_positive_rate", "false_positive_rate"),
    "equal_opportunity_difference": ("true_positive_rate",),
    "equal_opportunity_ratio": ("true_positive_rate",),
}

#: attributes with more groups are measured by the table of counts alone: MetricFrame's cost is by the group
MAX_GROUPS = 250

#: with more rows, what is no count (a regression's errors) is measured by us alone: MetricFrame's cost is by the row
MAX_ROWS = 100_000

#: relative difference between fairlearn and us that is rounding
_ROUNDING = 1e-9


def _functions() -> dict[str, Callable[..., float]]:
    """Metric → the function that fairlearn or scikit-learn has for it."""
    from functools import partial

    import fairlearn.metrics as fair
    import sklearn.metrics as sk

    return {
        "selection_rate": fair.selection_rate,
        "accuracy": sk.accuracy_score,
        "true_positive_rate": fair.true_positive_rate,
        "false_positive_rate": fair.false_positive_rate,
        "true_negative_rate": fair.true_negative_rate,
        "false_negative_rate": fair.false_negative_rate,
        "precision": partial(sk.precision_score, zero_division=0.0),
        "mean_prediction": fair.mean_prediction,
        "mean_absolute_error": sk.mean_absolute_error,
        "root_mean_squared_error": sk.root_mean_squared_error,
    }


def fairlearn_values(view: View, metrics: Iterable[Metric]) -> dict[str, np.ndarray]:
    """fairlearn's values of those metrics that it has.

    Args:
        view: one attribute, no single class.

    Returns:
        metric → (groups,) values, NaN where a group has no row for it.
    """
    functions = _functions()
    asked: dict[tuple[str | None, bool], dict[str, Callable[..., float]]] = {}
    for metric in metrics:
        if metric.fairlearn:
            asked.setdefault((metric.of, metric.labels), {})[metric.name] = functions[metric.name]
    found: dict[str, np.ndarray] = {}
    for (question, labels), chosen in asked.items():
        if question is None and view.evidence.rows > MAX_ROWS:
            continue
        rows = _rows(view, labels) if question is None else _cells(view, question)
        found.update(_framed(view.size, chosen, *rows))
    return found


def _cells(view: View, question: str) -> tuple[np.ndarray, ...]:
    """The non-empty cells of a table as rows: group, label, decision, weight."""
    weight = view.tables[question].weight
    group, cell = np.nonzero(weight)
    label, decision = cell // 3, cell % 3
    known = decision != UNKNOWN
    if question != "favorable":  # the selection rate needs no label
        known &= label != UNKNOWN
    label = np.where(label == UNKNOWN, NO, label)
    return group[known], label[known], decision[known], weight[group, cell][known]


def _rows(view: View, labels: bool) -> tuple[np.ndarray, ...]:
    """The rows of a regression; those without a label have no part in an error."""
    evidence = view.evidence
    assert evidence.truth is not None
    weight = np.ones(evidence.rows) if evidence.weight is None else evidence.weight
    known = (evidence.labelled | (not labels)) & (weight > 0)
    return view.codes[known], np.nan_to_num(evidence.truth[known]), evidence.scores[known, 0], weight[known]


def fairlearn_gaps(view: View, groups: Mapping[str, np.ndarray]) -> dict[str, float]:
    """fairlearn's comparisons of groups, by the name that they have there and here.

    Args:
        groups: comparison → (k ≥ 2,) the groups that it is over.
    """
    import fairlearn.metrics as fair
    import pandas as pd

    found = {}
    for name, chosen in groups.items():
        question = "favorable" if name.startswith("demographic") else "positive"
        group, label, decision, weight = _cells(view, question)
        held = np.isin(group, chosen)
        found[name] = float(
            getattr(fair, name)(
                label[held], decision[held], sensitive_features=pd.Series(group[held]), sample_weight=weight[held]
            )
        )
    return found


def _framed(
    size: int, functions: dict[str, Callable[..., float]], group: np.ndarray, label: np.ndarray, decision: np.ndarray,
    weight: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    import pandas as pd
    from fairlearn.metrics import MetricFrame

    values = {name: np.full(size, np.nan) for name in functions}
    if len(group):
        # Groups go in as a Series: fairlearn takes the axis off an array of one row.
        frame = MetricFrame(
            metrics=functions, y_true=label, y_pred=decision, sensitive_features=pd.Series(group),
            sample_params={name: {"sample_weight": weight} for name in functions},
        ).by_group  # fmt: skip
        for name in functions:
            values[name][frame.index.to_numpy()] = frame[name].to_numpy(dtype=float)
    return values


def agreed(metric: str, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """fairlearn's value wherever ours is defined.

    Raises:
        Incomplete: they differ by more than rounding: one of the two is wrong, and no number is given out.
    """
    both = np.isfinite(ours) & np.isfinite(theirs)
    apart = np.abs(ours - theirs)[both] > _ROUNDING * np.maximum(1, np.abs(ours[both]))
    if apart.any():
        raise Incomplete(
            f"fairlearn and the table of counts disagree on {metric}", where="bias",
            values=[*ours[both][apart][:2], *theirs[both][apart][:2]], code="bias_disagreement",
        )  # fmt: skip
    return np.where(both, theirs, ours)
