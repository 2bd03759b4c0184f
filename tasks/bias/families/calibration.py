"""Calibration as a line: the logistic regression of a group's labels on the logit of its scores.

Sources: Cox 1958 (Biometrika 45, 562–565); Albert and Anderson 1984 (Biometrika 71, 1–10) for when such a regression
has no solution. The error over bins of scores is in `calibration_error.py`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tasks.bias.base import CLASSIFIERS, Measured, Metric, View, nothing
from tasks.bias.families.ranking import hits_of
from tasks.bias.families.scores import NEAREST, probabilities
from tasks.bias.rows import loops
from tasks.bias.statistics.intervals import normal_quantile

_CHUNK = 1 << 19  # rows of one part of a sum: fixed, so that the sum does not depend on the cores
_PASSES = 60
_CLOSE = 1e-9  # of a step: the next one is its square


def scores_of(view: View) -> tuple[np.ndarray | None, str]:
    """The positive score as probabilities, or None; and what is lacking."""
    return view.evidence.memo.get(("probabilities", view.members), lambda: probabilities(view))


# ---------------------------------------------------------------- slope and intercept


@dataclass(frozen=True, eq=False)
class Recalibration:
    """The logistic regression of the label on the score's logit, of every group; arrays of one number a group.

    Attributes:
        intercept, slope: NaN where there is none.
        variance: (2, groups) of the two.
        rows, smaller: rows; those of the rarer label.
        lacking: group → why it has no regression.
    """

    intercept: np.ndarray
    slope: np.ndarray
    variance: np.ndarray
    rows: np.ndarray
    smaller: np.ndarray
    lacking: dict[int, str]


def recalibrations(
    codes: np.ndarray, z: np.ndarray, hit: np.ndarray, weight: np.ndarray | None, groups: int
) -> Recalibration:
    """Maximum likelihood by Newton's method on the rows, all groups at once, from the calibrated point (0, 1) on.

    Standard errors are the sandwich's (Huber and White): they hold where the line does not fit, and scaling the weights
    does not change them.

    Args:
        codes: (n,) group of each row.
        z: (n,) logit of the score.
        hit: (n,) int8, −1: no label, left out.
        weight: (n,) ≥ 0, or None.
    """
    extent, counted = loops.extents(codes, z, hit, weight, groups)
    (low_0, high_0), (low_1, high_1) = extent
    rows, smaller = counted.sum(0), counted.min(0)
    lacking = {}
    for g in np.flatnonzero(~((high_0 > low_1) & (high_1 > low_0))):  # the labels' scores do not overlap
        if smaller[g] == 0:
            lacking[int(g)] = "0/0: positive or negative labels are lacking"
        elif low_0[g] == high_0[g] == low_1[g] == high_1[g]:
            lacking[int(g)] = "the scores do not vary"
        else:
            lacking[int(g)] = "the scores part the labels without overlap: the slope is unbounded"
    active = np.ones(groups, bool)
    active[list(lacking)] = False
    at, sums, found = _newton(codes, z, hit, weight, active)
    lacking |= {int(g): "the regression did not converge" for g in np.flatnonzero(active & ~found)}
    at[:, ~found] = np.nan
    h00, h01, h11 = sums[3:6]
    determinant = np.where(found, h00 * h11 - h01**2, np.nan)
    a, b, d = np.stack([h11, -h01, h00]) / determinant
    m00, m01, m11 = sums[6:9]
    variance = np.stack([a * a * m00 + 2 * a * b * m01 + b * b * m11, b * b * m00 + 2 * b * d * m01 + d * d * m11])
    return Recalibration(at[0], at[1], variance, rows, smaller, lacking)


def _newton(
    codes: np.ndarray, z: np.ndarray, hit: np.ndarray, weight: np.ndarray | None, active: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(2, groups) intercepts and slopes, (9, groups) sums there, (groups,) bool: found. A step that loses is halved."""
    groups = len(active)
    at = np.stack([np.zeros(groups), np.ones(groups)])
    step, sums, best = np.zeros((2, groups)), np.zeros((9, groups)), np.full(groups, -np.inf)
    active, found = active.copy(), np.zeros(groups, bool)
    for _ in range(_PASSES):
        if not active.any():
            break
        tried = _summed(codes, z, hit, weight, at + step, active)
        ahead = active & (tried[0] >= best - 1e-12 * np.abs(best)) & np.isfinite(tried[0])
        at[:, ahead] += step[:, ahead]
        sums[:, ahead], best[ahead] = tried[:, ahead], tried[0, ahead]
        step[:, active & ~ahead] /= 2
        g0, g1, h00, h01, h11 = sums[1:6]
        determinant = h00 * h11 - h01**2
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = np.stack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0]) / determinant
        step[:, ahead] = newton[:, ahead]
        close = ahead & (np.abs(step) <= _CLOSE * (1 + np.abs(at))).all(0)
        at[:, close] += step[:, close]
        found |= close
        active &= ~close & np.isfinite(step).all(0)
    return at, sums, found


def _summed(
    codes: np.ndarray, z: np.ndarray, hit: np.ndarray, weight: np.ndarray | None, at: np.ndarray, active: np.ndarray
) -> np.ndarray:
    """(9, groups) sums of the log-likelihood and its derivatives, part by part."""

    def part(start: int) -> np.ndarray:
        rows, sums = slice(start, start + _CHUNK), np.zeros((9, len(active)))
        loops.logistic(codes[rows], z[rows], hit[rows], None if weight is None else weight[rows], at, active, sums)
        return sums

    starts = range(0, len(codes), _CHUNK)
    if len(starts) == 1:
        return part(0)
    with ThreadPoolExecutor(loops.threads()) as pool:
        total = np.zeros((9, len(active)))
        for found in pool.map(part, starts):  # in the order of the rows
            total += found
        return total


def _recalibrated(view: View) -> Recalibration | str:
    score, lacking = scores_of(view)
    if score is None:
        return lacking

    def logits() -> np.ndarray:
        clipped = np.clip(score, NEAREST, 1 - NEAREST)
        return np.log(clipped) - np.log1p(-clipped)

    evidence = view.evidence
    z = evidence.memo.get(("logits", view.members), logits)
    return recalibrations(view.codes, z, hits_of(evidence, view.members), evidence.weight, view.size)


def _coefficient(view: View, which: int) -> Measured:
    found = view.memo.get(("recalibration", view.members), lambda: _recalibrated(view))
    if isinstance(found, str):
        return nothing(view, found)
    value, spread = (found.intercept, found.slope)[which], np.sqrt(found.variance[which])
    half = normal_quantile(view.confidence) * spread
    return Measured(
        value=value, numerator=np.full(view.size, np.nan), denominator=np.full(view.size, np.nan), n=found.rows,
        support=found.smaller, low=value - half, high=value + half, std_error=spread,
        method="wald, sandwich",
        undefined="there is no regression", notes=found.lacking,
    )  # fmt: skip


def _slope(view: View) -> Measured:
    """Slope β of the label's log odds on the score's: logit P(y = 1) = α + β logit(score), both fitted.

    1 is calibrated; below 1 scores are too extreme, above too timid. Range −∞–∞. Wald's interval.
    """
    return _coefficient(view, 1)


def _intercept(view: View) -> Measured:
    """Intercept α of the same regression, fitted with the slope: the log odds of the outcome where the score is ½.

    0 is calibrated (with a slope of 1). Range −∞–∞. Wald's interval.
    """
    return _coefficient(view, 0)


METRICS: tuple[Metric, ...] = (
    Metric("calibration_slope", "calibration slope", _slope, tasks=CLASSIFIERS, of="positive", scores=True,
           per_class=True, lowest=-float("inf"), highest=float("inf")),
    Metric("calibration_intercept", "calibration intercept", _intercept, tasks=CLASSIFIERS, of="positive", scores=True,
           per_class=True, lowest=-float("inf"), highest=float("inf"), signed=True),
)  # fmt: skip
