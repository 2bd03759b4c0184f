"""Metrics of scores: means of one number a row, and the area under the ROC curve.

Sources: DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44, 837–845), as a sum of the rows' influences, so that
weights and several classes fit in; Brier 1950 (Mon. Weather Rev. 78, 1–3).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.bias.base import CLASSIFIERS, Better, Measured, Metric, Question, View, ratio
from tasks.bias.intervals import logit, student, wilson
from tasks.bias.ll144 import above_median

#: probabilities this near to 0 and 1 are taken as such a distance away, as scikit-learn does
_NEAREST = float(np.finfo(np.float64).eps)

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
        numbers, lacking = values(view)
        if numbers is None:
            return nothing(view, lacking)
        weight = view.evidence.weight
        known = np.isfinite(numbers) if weight is None else np.isfinite(numbers) & (weight > 0)
        codes, x = view.codes[known], numbers[known]
        rows = np.bincount(codes, minlength=view.size)
        w = None if weight is None else weight[known]
        total = np.bincount(codes, x if w is None else w * x, view.size)
        size = rows.astype(float) if w is None else np.bincount(codes, w, view.size)
        square = size if w is None else np.bincount(codes, w * w, view.size)
        effective = np.nan_to_num(ratio(size**2, square))
        mean = ratio(total, size)
        off = (x - mean[codes]) ** 2 if w is None else (w * (x - mean[codes])) ** 2
        # n/(n − 1) makes it the usual standard error of a mean
        spread = np.sqrt(ratio(np.bincount(codes, off, view.size), size**2) * ratio(effective, effective - 1))
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


def nothing(view: View, lacking: str) -> Measured:
    """The same reason for every group."""
    none, zero = np.full(view.size, np.nan), np.zeros(view.size, np.int64)
    return Measured(none, none, none, zero, zero, none, none, none, None, lacking)


def _mean_score(view: View) -> tuple[np.ndarray | None, str]:
    return view.score, "no scores"


def _probabilities(view: View) -> tuple[np.ndarray | None, str]:
    """The positive score, if all of them are probabilities."""
    score = view.score
    if score is None:
        return None, "no score of the positive outcome"
    if ((score < -1e-6) | (score > 1 + 1e-6)).any():
        return None, "scores outside 0 to 1 are no probabilities"
    return np.clip(score, 0, 1), "no labels"


def hits(view: View) -> np.ndarray:
    """(n,) 1.0 for a positive label, 0.0 for another, NaN for none."""
    label = view.evidence.label
    return np.where(label < 0, np.nan, np.isin(label, view.members))


def _brier(view: View) -> tuple[np.ndarray | None, str]:
    """(p − y)²; of several classes their sum, Brier's own form, range 0–2."""
    if _several(view):
        scores, lacking = _all_probabilities(view)
        if scores is None:
            return None, lacking
        label = view.evidence.label
        own = scores[np.arange(len(label)), np.maximum(label, 0)]
        return np.where(label < 0, np.nan, (scores**2).sum(1) - 2 * own + 1), "no labels"
    score, lacking = _probabilities(view)
    return (None, lacking) if score is None else ((score - hits(view)) ** 2, lacking)


def _log_loss(view: View) -> tuple[np.ndarray | None, str]:
    """−ln of the probability given to the label, in nats."""
    if _several(view):
        scores, lacking = _all_probabilities(view)
        if scores is None:
            return None, lacking
        label = view.evidence.label
        own = scores[np.arange(len(label)), np.maximum(label, 0)]
        return np.where(label < 0, np.nan, -np.log(np.maximum(own, _NEAREST))), "no labels"
    score, lacking = _probabilities(view)
    if score is None:
        return None, lacking
    score, y = np.clip(score, _NEAREST, 1 - _NEAREST), hits(view)
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


def auc_influence(
    score: np.ndarray, hit: np.ndarray, weight: np.ndarray | None
) -> tuple[float, np.ndarray, float, float]:
    """Area under the ROC curve of one group, and each row's pull on it.

    Args:
        score: (n,) finite.
        hit: (n,) 1.0 positive, 0.0 negative.
        weight: (n,) > 0, or None.

    Returns:
        the area (ties count half); (n,) influences, whose squares sum to DeLong's variance; Σw of concordant pairs;
        Σw of pairs. NaN and zeros where one of the sides is empty.
    """
    w = np.ones(len(score)) if weight is None else weight
    order = np.argsort(score, kind="stable")
    ranked, up, wide = score[order], hit[order], w[order]
    new = np.concatenate([[True], ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, bool)
    tie = np.cumsum(new) - 1  # which run of equal scores a row is in
    ups, downs = (np.bincount(tie, wide * side) if len(ranked) else np.zeros(0) for side in (up, 1 - up))
    total_up, total_down = float(ups.sum()), float(downs.sum())
    if total_up == 0 or total_down == 0:
        return float("nan"), np.zeros(len(score)), 0.0, total_up * total_down
    below = (np.cumsum(downs) - downs / 2)[tie]  # Σw of negatives beaten, ties half
    above = (total_up - np.cumsum(ups) + ups / 2)[tie]
    wins = float((wide * up) @ below)
    area = wins / (total_up * total_down)
    pull = np.where(
        up > 0,
        _scaled(below / total_down - area, wide, up, total_up),
        _scaled(above / total_up - area, wide, 1 - up, total_down),
    )
    influence = np.empty(len(score))
    influence[order] = pull
    return area, influence, wins, total_up * total_down


def _scaled(placement: np.ndarray, w: np.ndarray, side: np.ndarray, total: float) -> np.ndarray:
    """w(V − A)/Σw, made unbiased by n/(n − 1) of the side's (effective) number."""
    n = total**2 / float((w * w) @ side)
    return placement * w / total * (np.sqrt(n / (n - 1)) if n > 1 else 1.0)


def _areas(view: View, score: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, ...]:
    """By group: area, wins, pairs, rows, rows of the smaller side; and (n,) influences."""
    weight = view.evidence.weight
    usable = np.isfinite(score) & np.isfinite(hit)
    if weight is not None:
        usable &= weight > 0
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(view.codes[rows], kind="stable")]
    ends = np.cumsum(np.bincount(view.codes[rows], minlength=view.size))
    found = np.full((5, view.size), np.nan)
    influence = np.zeros(len(score))
    start = 0
    for g, end in enumerate(ends):
        own = rows[start:end]
        start = end
        found[0, g], influence[own], found[1, g], found[2, g] = auc_influence(
            score[own], hit[own], None if weight is None else weight[own]
        )
        positives = int(hit[own].sum())
        found[3:, g] = len(own), min(positives, len(own) - positives)
    return *found, influence


def _roc_auc(view: View) -> Measured:
    """Chance that a positive row scores above a negative one, ties half. Range 0–1, higher is better. DeLong."""
    if view.score is None:
        return nothing(view, "no score of the positive outcome")
    area, wins, pairs, rows, smaller, influence = _areas(view, view.score, hits(view))
    spread = np.where(np.isfinite(area), np.sqrt(np.bincount(view.codes, influence**2, view.size)), np.nan)
    low, high, method = _auc_interval(area, spread, smaller, view.confidence)
    return Measured(
        value=area, numerator=np.where(pairs > 0, wins, 0.0), denominator=pairs, n=rows, support=smaller, low=low,
        high=high, std_error=spread, method=method, undefined="0/0: positive or negative labels are lacking",
    )  # fmt: skip


def _auc_interval(
    area: np.ndarray, spread: np.ndarray, smaller: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray, str]:
    """DeLong on the logit scale; where no pair is out of order (or all are) its spread is 0, and Wilson's interval of
    the smaller side stands in, which is too wide rather than empty."""
    low, high = logit(area, spread, confidence)
    flat = np.isfinite(area) & ~np.isfinite(low)
    stand_in = wilson(area, smaller, confidence)
    return np.where(flat, stand_in[0], low), np.where(flat, stand_in[1], high), "delong, logit"


def _macro_roc_auc(view: View) -> Measured:
    """Mean over the classes of each one's area against the rest. Range 0–1, higher is better."""
    evidence = view.evidence
    parts, influence, least = [], np.zeros(evidence.rows), np.full(view.size, np.inf)
    for k in range(len(evidence.classes)):
        score = evidence.score_of([k])
        if score is None:
            return nothing(view, "not every class has a score")
        hit = np.where(evidence.label < 0, np.nan, evidence.label == k)
        area, _, _, rows, smaller, pull = _areas(view, score, hit)
        parts.append(area)
        influence += pull
        least = np.where(np.isfinite(area), np.minimum(least, smaller), least)
    areas = np.stack(parts, 1)
    known = np.isfinite(areas)
    size = known.sum(1)
    value = ratio(np.where(known, areas, 0).sum(1), size)
    spread = np.sqrt(np.bincount(view.codes, influence**2, view.size)) / np.maximum(size, 1)
    low, high, method = _auc_interval(value, spread, np.where(size > 0, least, 0), view.confidence)
    names = np.array(evidence.classes, object)
    notes = {
        g: f"over {row.sum()} of {len(row)} classes; without {', '.join(names[~row])}"
        for g, row in enumerate(known)
        if 0 < row.sum() < len(row)
    }
    return Measured(
        value=value, numerator=np.where(known, areas, 0).sum(1), denominator=size.astype(float), n=rows, support=rows,
        low=low, high=high, std_error=spread, method=method, undefined="0/0: fewer than two classes occur", notes=notes,
    )  # fmt: skip


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
    known = np.isfinite(score)
    above = np.zeros(len(score), bool)
    above[known] = above_median(score[known], view.codes[known] >= 0, median_of="all")
    hits = np.bincount(view.codes[above], minlength=view.size)
    rows = np.bincount(view.codes[known], minlength=view.size)
    share = ratio(hits, rows)
    low, high = wilson(share, rows, view.confidence)
    return Measured(
        value=share, numerator=hits.astype(float), denominator=rows.astype(float), n=rows, support=rows, low=low,
        high=high, std_error=np.sqrt(ratio(share * (1 - share), rows)), method="wilson", undefined="0/0: no scores",
    )  # fmt: skip


_MULTICLASS = frozenset({"multiclass"})

METRICS: tuple[Metric, ...] = (
    Metric("scoring_rate", "scoring rate", _scoring_rate, tasks=frozenset({"binary", "regression"}), labels=False,
           scores=True, proportion=True, unweighted=True),
    row_mean("mean_score", "mean score of the positive outcome", _mean_score, tasks=CLASSIFIERS, of="positive",
             labels=False, per_class=True),
    Metric("roc_auc", "area under the ROC curve", _roc_auc, tasks=CLASSIFIERS, better="higher", of="positive",
           scores=True, per_class=True),
    Metric("macro_roc_auc", "mean area under the classes' ROC curves", _macro_roc_auc, tasks=_MULTICLASS,
           better="higher", scores=True),
    row_mean("log_loss", "log loss", _log_loss, tasks=CLASSIFIERS, better="lower", highest=float("inf"),
             per_class=True),
    row_mean("brier_score", "Brier score", _brier, tasks=CLASSIFIERS, better="lower", highest=2.0, per_class=True),
)  # fmt: skip
