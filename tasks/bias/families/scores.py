"""Metrics of scores: means of one number a row.

Source: Brier 1950 (Mon. Weather Rev. 78, 1–3). What is made of the rows is made once for all attributes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.bias.base import CLASSIFIERS, Better, Measured, Metric, Question, View, nothing, ratio
from tasks.bias.families.ranking import hits_of
from tasks.bias.legal.ll144 import above_median
from tasks.bias.rows import loops
from tasks.bias.statistics.intervals import student, wilson

#: probabilities this near to 0 and 1 are taken as such a distance away, as scikit-learn does
NEAREST = float(np.finfo(np.float64).eps)

RowValues = Callable[[View], tuple[np.ndarray | None, str]]


def row_mean(
    name: str,
    title: str,
    values: RowValues,
    *,
    tasks: frozenset[str],
    better: Better = None,
    of: Question | None = None,
    lowest: float = 0.0,
    highest: float = 1.0,
    root: bool = False,
    labels: bool = True,
    scores: bool = True,
    per_class: bool = False,
    signed: bool = False,
    fairlearn: bool = False,
) -> Metric:
    """A metric that is the mean over a group's rows of one number a row, with Student's interval.

    Args:
        values: View → (n,) numbers, NaN where a row has none, or None where no row can have one; and what is lacking.
        root: the square root of the mean is the metric.
    """

    def measure(view: View) -> Measured:
        numbers, lacking = view.evidence.memo.get((name, view.of_class), lambda: values(view))
        if numbers is None:
            return nothing(view, lacking)
        (rows, size, square, total), off = loops.moments(view.codes, numbers, view.evidence.weight, view.size)
        effective = np.nan_to_num(ratio(size**2, square))
        mean = ratio(total, size)
        # n/(n − 1) makes it the usual standard error of a mean
        spread = np.sqrt(ratio(off, size**2) * ratio(effective, effective - 1))
        low, high = student(mean, spread, effective, view.confidence)
        if root:
            mean, low, high = np.sqrt(mean), np.sqrt(np.maximum(low, 0)), np.sqrt(high)
            spread = ratio(spread, 2 * mean)
        return Measured(
            value=mean, numerator=total, denominator=size, n=rows, support=rows, low=np.maximum(low, lowest),
            high=np.minimum(high, highest), std_error=spread, method="student" + (", root" if root else ""),
            undefined=f"0/0: {lacking}",
        )  # fmt: skip

    return Metric(
        name, title, measure, tasks=tasks, better=better, of=of, labels=labels, scores=scores,
        per_class=per_class, lowest=lowest, highest=highest, signed=signed, fairlearn=fairlearn,
    )  # fmt: skip


def _mean_score(view: View) -> tuple[np.ndarray | None, str]:
    return view.score, "no scores"


def probabilities(view: View) -> tuple[np.ndarray | None, str]:
    """The positive score, if all of them are probabilities, or None; and what is lacking."""
    score = view.score
    if score is None:
        return None, "no score of the positive outcome"
    if ((score < -1e-6) | (score > 1 + 1e-6)).any():
        return None, "scores outside 0 to 1 are no probabilities"
    return np.clip(score, 0, 1), "no labels"


def _hits(view: View) -> np.ndarray:
    """(n,) 1.0 for a positive label, 0.0 for another, NaN for none."""
    found = hits_of(view.evidence, view.members)
    return np.where(found < 0, np.nan, found)


def _brier(view: View) -> tuple[np.ndarray | None, str]:
    """(p − y)²; of several classes their sum, Brier's own form, range 0–2."""
    if _several(view):
        scores, lacking = _all_probabilities(view)
        if scores is None:
            return None, lacking
        label = view.evidence.label
        own = scores[np.arange(len(label)), np.maximum(label, 0)]
        return np.where(label < 0, np.nan, (scores**2).sum(1) - 2 * own + 1), "no labels"
    score, lacking = probabilities(view)
    return (None, lacking) if score is None else ((score - _hits(view)) ** 2, lacking)


def _log_loss(view: View) -> tuple[np.ndarray | None, str]:
    """−ln of the probability given to the label, in nats."""
    if _several(view):
        scores, lacking = _all_probabilities(view)
        if scores is None:
            return None, lacking
        label = view.evidence.label
        own = scores[np.arange(len(label)), np.maximum(label, 0)]
        return np.where(label < 0, np.nan, -np.log(np.maximum(own, NEAREST))), "no labels"
    score, lacking = probabilities(view)
    if score is None:
        return None, lacking
    score, y = np.clip(score, NEAREST, 1 - NEAREST), _hits(view)
    return -(y * np.log(score) + (1 - y) * np.log1p(-score)), lacking


def _several(view: View) -> bool:
    return view.evidence.task == "multiclass" and view.of_class is None


def _all_probabilities(view: View) -> tuple[np.ndarray | None, str]:
    """(n, classes) scores in the order of the classes."""
    evidence = view.evidence
    if not set(evidence.classes) <= set(evidence.outputs):
        return None, "not every class has a score"
    if ((evidence.scores < -1e-6) | (evidence.scores > 1 + 1e-6)).any():
        return None, "scores outside 0 to 1 are no probabilities"
    return evidence.scores[:, [evidence.outputs.index(name) for name in evidence.classes]], "no labels"


def _scoring_rate(view: View) -> Measured:
    """Share of rows whose score lies strictly above the median of all rows' scores, those of unknown groups too.

    The score is that of the favourable outcome (where none is declared, of the positive one), or a regression's value.
    Range 0–1. Source: 6 RCNY § 5-300.
    """
    evidence = view.evidence
    if evidence.weight is not None:
        return nothing(view, "scoring rates count people, not weights")
    if evidence.task == "regression":
        score: np.ndarray | None = evidence.scores[:, 0]
    else:
        score = evidence.score_of(evidence.favorable or evidence.positive)
    if score is None:
        return nothing(view, "no score of the favourable outcome")

    def cells() -> np.ndarray:
        known = np.isfinite(score)
        cell = np.full(len(score), loops.NO_BIN, np.uint8)
        cell[known] = above_median(score[known], np.ones(known.sum(), bool), median_of="all")
        return cell

    cell = evidence.memo.get("above the median", cells)
    found = loops.tally(view.codes, cell, score, None, (view.size, 2))[0]
    hits, rows = found[:, 1], found.sum(1)
    share = ratio(hits, rows)
    low, high = wilson(share, rows, view.confidence)
    return Measured(
        value=share, numerator=hits, denominator=rows, n=rows, support=rows, low=low,
        high=high, std_error=np.sqrt(ratio(share * (1 - share), rows)), method="wilson", undefined="0/0: no scores",
    )  # fmt: skip


METRICS: tuple[Metric, ...] = (
    Metric("scoring_rate", "scoring rate", _scoring_rate, tasks=frozenset({"binary", "regression"}), labels=False,
           scores=True, proportion=True, unweighted=True),
    row_mean("mean_score", "mean score of the positive outcome", _mean_score, tasks=CLASSIFIERS, of="positive",
             labels=False, per_class=True),
    row_mean("log_loss", "log loss", _log_loss, tasks=CLASSIFIERS, better="lower", highest=float("inf"),
             per_class=True),
    row_mean("brier_score", "Brier score", _brier, tasks=CLASSIFIERS, better="lower", highest=2.0, per_class=True),
)  # fmt: skip
