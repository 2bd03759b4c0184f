"""What a slice of the rows is asked: a rate or a mean over those of its rows that count, and which way is worse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tasks.bias import Evidence


@dataclass(frozen=True, eq=False)
class Question:
    """A metric as one number a row, over some of n rows.

    Attributes:
        metric: its id.
        title: for people.
        lower: whether lower is worse.
        among: (n,) bool: rows that count.
        value: (n,) float64: 0 or 1 for a rate; 0 for rows that do not count.
        rate: whether it is a rate.
    """

    metric: str
    title: str
    lower: bool
    among: np.ndarray
    value: np.ndarray
    rate: bool

    def at(self, rows: np.ndarray) -> Question:
        """The same of some rows."""
        return replace(self, among=self.among[rows], value=self.value[rows])

    @property
    def sign(self) -> float:
        """What makes a difference positive where the slice fares worse."""
        return -1.0 if self.lower else 1.0


def questions_of(evidence: Evidence, rows: np.ndarray) -> list[Question]:
    """The questions that this audit can ask of some rows: those that some row counts for.

    Args:
        rows: (m,) positions among the evidence's rows.
    """
    counts = np.ones(len(rows), bool) if evidence.weight is None else evidence.weight[rows] > 0
    found = []
    label, decision = evidence.label[rows], evidence.decision[rows]
    decided = counts & (decision >= 0)
    if evidence.decides and evidence.favorable:
        chosen = np.isin(decision, evidence.favorable)
        found.append(_rate("selection_rate", "selection rate", True, decided, chosen))
    if evidence.truth is None:
        known = decided & (label >= 0)
        found.append(_rate("accuracy", "accuracy", True, known, label == decision))
        if evidence.positive:
            positive, hit = np.isin(label, evidence.positive), np.isin(decision, evidence.positive)
            found.append(_rate("true_positive_rate", "true positive rate", True, known & positive, hit))
            found.append(_rate("false_positive_rate", "false positive rate", False, known & ~positive, hit))
    else:
        error = np.abs(evidence.scores[rows, 0] - evidence.truth[rows])
        known = counts & np.isfinite(error)
        value = np.where(known, error, 0.0)
        found.append(Question("mean_absolute_error", "mean absolute error", False, known, value, False))
    return [question for question in found if question.among.any()]


def _rate(metric: str, title: str, lower: bool, among: np.ndarray, hit: np.ndarray) -> Question:
    return Question(metric, title, lower, among, (among & hit).astype(float), True)
