"""How well codes tell a group from the rest, without having been fitted on the rows that they are judged by.

The rows are parted into folds, each with its share of every group. What predicts the rows of a fold was fitted on the
other folds; the area under the ROC curve is that of each fold, and their mean, so that scores of two fits are never
ranked against each other (that pulls a pooled area below ½ where nothing is to be told).

Sources: LeDell, Petersen and van der Laan 2015 (Electron. J. Stat. 9, 1583–1607) for cross-validated areas and their
variance, which within a fold is DeLong's (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837–845); Bergsma 2013
(J. Korean Stat. Soc. 42, 323–328) for Cramér's V without its bias. The folds' areas are not independent, since each
fold helps to fit what the others are judged by: near ½ DeLong's variance is half of what it should be. It is raised as
Nadeau and Bengio do (2003, Mach. Learn. 52, 239–281): right near ½, and rather too much than too little far from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tasks.bias import intervals, significance

FOLDS = 5
#: Nadeau and Bengio's 1/K + 1/(K − 1) for 1/K, as a factor of standard errors
_RAISED = np.sqrt(1 + FOLDS / (FOLDS - 1))
#: trees a group, their leaves, and how much of each counts
_TREES, _LEAVES, _RATE = 20, 15, 0.3


class Area(NamedTuple):
    """An area under the ROC curve: 0–1, ½ where nothing is told; NaN where a side is empty."""

    value: float
    low: float
    high: float
    p: float  # of ½, two-sided


@dataclass(frozen=True, eq=False)
class Areas:
    """One predictor of one attribute: an area for each of its groups against the rest, and their mean."""

    groups: tuple[Area, ...]
    mean: Area


def folds_of(groups: np.ndarray, seed: Sequence[int], folds: int = FOLDS) -> np.ndarray:
    """(n,) fold of each row, at random but with the same share of every group in each (up to one row).

    Args:
        groups: (n,) codes.
        seed: of the generator.
    """
    shuffled = np.random.default_rng(list(seed)).permutation(len(groups))
    order = shuffled[np.argsort(groups[shuffled], kind="stable")]
    found = np.empty(len(groups), np.int32)
    found[order] = np.arange(len(groups)) % folds
    return found


def cell_areas(cells: np.ndarray, square: np.ndarray, unit: float, asked: np.ndarray, confidence: float) -> Areas:
    """Areas of a feature alone: the score of a row is its group's share in the feature's bin in the other folds.

    A bin's share is drawn towards the group's share of all rows as if by one row more; that is the score of a bin that
    the other folds do not have.

    Args:
        cells: (folds, bins, groups) Σw of the rows.
        square: the same, Σw².
        unit: mean weight of a row.
        asked: (groups,) bool: those whose area the mean is over.
        confidence: of intervals.
    """
    others = cells.sum(0) - cells
    of_all = others.sum((1, 2), keepdims=True)
    base = np.divide(others.sum(1, keepdims=True), of_all, out=np.zeros_like(others[:, :1]), where=of_all > 0)
    share = (others + base * unit) / (others.sum(2, keepdims=True) + unit)
    # below[k, b, c, g]: bin c scores below bin b for group g, ties half
    first, second = share[:, :, None, :], share[:, None, :, :]
    below = (second < first) + 0.5 * (second == first)
    up, square_up = cells, square
    down, square_down = cells.sum(2, keepdims=True) - cells, square.sum(2, keepdims=True) - square
    total_up, total_down = up.sum(1), down.sum(1)  # (folds, groups)
    with np.errstate(divide="ignore", invalid="ignore"):
        beaten = np.einsum("kbcg,kcg->kbg", below, down) / total_down[:, None]
        beating = np.einsum("kcbg,kcg->kbg", below, up) / total_up[:, None]
        area = np.einsum("kbg,kbg->kg", up, beaten) / total_up
        scale_up = _scale(total_up, square_up.sum(1))
        scale_down = _scale(total_down, square_down.sum(1))
        pull_up = (beaten - area[:, None]) * scale_up[:, None]
        pull_down = (beating - area[:, None]) * scale_down[:, None]
    counted = (total_up > 0) & (total_down > 0)
    size = counted.sum(0)
    value = np.where(size > 0, np.where(counted, area, 0).sum(0) / np.maximum(size, 1), np.nan)
    share_of = np.where(counted, 1 / np.maximum(size, 1), 0)[:, None]
    pull_up, pull_down = (np.where(counted[:, None], pull, 0) * share_of for pull in (pull_up, pull_down))
    spread = np.sqrt((square_up * pull_up**2 + square_down * pull_down**2).sum((0, 1)))
    # A row pulls on its own group's area as one of the group, on the others' as one of the rest.
    chosen = asked & (size > 0)
    both = pull_down[:, :, chosen].sum(2, keepdims=True) + np.where(chosen, pull_up - pull_down, 0)
    spread_mean = np.sqrt((square * both**2).sum()) / max(1, chosen.sum())
    sides = [_effective(t.sum(0), s.sum((0, 1))) for t, s in ((total_up, square_up), (total_down, square_down))]
    return _areas(value, spread, float(spread_mean), sides, chosen, confidence)


def model_areas(
    inputs: np.ndarray, categories: np.ndarray, groups: np.ndarray, size: int, folds: np.ndarray,
    weight: np.ndarray | None, asked: np.ndarray, confidence: float,
) -> Areas:  # fmt: skip
    """Areas of all features together: the score is a gradient-boosted classifier's that was fitted on the other folds.

    Args:
        inputs: (n, d) float64 codes, NaN where missing.
        categories: (d,) bool: codes without an order.
        groups: (n,) codes below `size`.
        folds: (n,) as of `folds_of`.
        weight: (n,) > 0, or None.
        asked, confidence: as of `cell_areas`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    pulls = np.zeros((len(groups), size))
    areas = np.full((FOLDS, size), np.nan)
    for k in range(FOLDS):
        own = folds == k
        fitted, judged = np.flatnonzero(~own), np.flatnonzero(own)
        seen = np.unique(groups[fitted])
        if len(seen) < 2 or not len(judged):
            continue
        model = HistGradientBoostingClassifier(
            max_iter=_TREES, max_leaf_nodes=_LEAVES, learning_rate=_RATE, early_stopping=False,
            categorical_features=categories if categories.any() else None, random_state=0,
        )  # fmt: skip
        # Its bits are the same at any number of threads, but on cores that are busy its threads wait for each other a
        # hundred times longer than they work.
        with threadpool_limits(1, user_api="openmp"):
            model.fit(inputs[fitted], groups[fitted], sample_weight=None if weight is None else weight[fitted])
            chance = model.predict_proba(inputs[judged])
        for place, g in enumerate(model.classes_):
            areas[k, g], pulls[judged, g] = area_and_pulls(
                chance[:, place], groups[judged] == g, None if weight is None else weight[judged]
            )
    counted = np.isfinite(areas)
    number = counted.sum(0)
    value = np.where(number > 0, np.where(counted, areas, 0).sum(0) / np.maximum(number, 1), np.nan)
    pulls /= np.maximum(number, 1)
    chosen = asked & (number > 0)
    spread = np.sqrt((pulls**2).sum(0))
    spread_mean = float(np.sqrt((pulls[:, chosen].sum(1) ** 2).sum())) / max(1, chosen.sum())
    w = np.ones(len(groups)) if weight is None else weight
    total, square = np.bincount(groups, w, size), np.bincount(groups, w * w, size)
    sides = [_effective(total, square), _effective(total.sum() - total, square.sum() - square)]
    return _areas(value, spread, spread_mean, sides, chosen, confidence)


def area_and_pulls(score: np.ndarray, hit: np.ndarray, weight: np.ndarray | None) -> tuple[float, np.ndarray]:
    """The area under the ROC curve, ties half, and each row's pull on it, whose squares sum to DeLong's variance.

    Args:
        score: (n,) finite.
        hit: (n,) bool: of the group.
        weight: (n,) > 0, or None.

    Returns:
        NaN and zeros where a side is empty.
    """
    _, tie = np.unique(score, return_inverse=True)
    w = np.ones(len(score)) if weight is None else weight
    ups, downs = np.bincount(tie, w * hit), np.bincount(tie, w * ~hit)
    total_up, total_down = ups.sum(), downs.sum()
    if not (total_up > 0 and total_down > 0):
        return np.nan, np.zeros(len(score))
    beaten = (np.cumsum(downs) - downs / 2) / total_down
    beating = (total_up - np.cumsum(ups) + ups / 2) / total_up
    area = float(ups @ beaten / total_up)
    scale_up, scale_down = (
        float(_scale(np.asarray(total), np.asarray((w * w) @ side)))
        for total, side in ((total_up, hit), (total_down, ~hit))
    )
    pull = np.where(hit, (beaten[tie] - area) * scale_up, (beating[tie] - area) * scale_down)
    return area, pull * w


def _scale(total: np.ndarray, square: np.ndarray) -> np.ndarray:
    """1/Σw of a side, made unbiased by n/(n − 1) of its (effective) number."""
    n = _effective(total, square)
    return np.sqrt(np.divide(n, n - 1, out=np.ones_like(n), where=n > 1)) / total


def _effective(total: np.ndarray, square: np.ndarray) -> np.ndarray:
    return np.divide(total**2, square, out=np.zeros_like(total, dtype=float), where=square > 0)


def _areas(
    value: np.ndarray, spread: np.ndarray, spread_mean: float, sides: list[np.ndarray], chosen: np.ndarray,
    confidence: float,
) -> Areas:  # fmt: skip
    found = tuple(
        _area(float(v), float(s * _RAISED), float(up), float(down), confidence)
        for v, s, up, down in zip(value, spread, *sides, strict=True)
    )
    if not chosen.any():
        return Areas(found, Area(*[np.nan] * 4))
    smaller = np.argmin(np.where(chosen, np.minimum(*sides), np.inf))
    up, down = (float(side[smaller]) for side in sides)
    mean = _area(float(value[chosen].mean()), float(spread_mean * _RAISED), up, down, confidence)
    return Areas(found, mean)


def _area(value: float, spread: float, up: float, down: float, confidence: float) -> Area:
    """DeLong's interval on the logit scale; where no pair is out of order, or all are tied, Wilson's of the smaller
    side, which is too wide rather than empty, and for the test the rank sum's own variance."""
    if np.isnan(value) or not (up and down):
        return Area(np.nan, np.nan, np.nan, np.nan)
    low, high = (float(limit) for limit in intervals.logit(np.asarray(value), np.asarray(spread), confidence))
    if np.isnan(low):
        low, high = (float(limit) for limit in intervals.wilson(value, min(up, down), confidence))
    deviation = spread if spread > 0 else np.sqrt((up + down + 1) / (12 * up * down))
    return Area(value, low, high, significance.two_sided((value - 0.5) / float(deviation)))


def cramers_v(table: np.ndarray) -> tuple[float, float]:
    """(Cramér's V without its bias, p-value of independence by χ²). Range 0–1, 0 where nothing is told.

    With φ² = χ²/n less its mean under independence, (r − 1)(c − 1)/(n − 1), but no less than 0, and r̃ = r − (r −
    1)²/(n − 1), c̃ alike: V = √(φ̃² / min(r̃ − 1, c̃ − 1)).

    Args:
        table: (r, c) counts; empty rows and columns are left out. NaN where fewer than two are left of either.
    """
    from scipy.special import chdtrc

    table = table[table.sum(1) > 0][:, table.sum(0) > 0].astype(float)
    n = table.sum()
    r, c = table.shape
    if min(r, c) < 2 or n <= 1:
        return np.nan, np.nan
    expected = np.outer(table.sum(1), table.sum(0)) / n
    squared = float(((table - expected) ** 2 / expected).sum())
    left = max(0.0, squared / n - (r - 1) * (c - 1) / (n - 1))
    narrow = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    if narrow <= 0:
        return np.nan, np.nan
    return min(1.0, float(np.sqrt(left / narrow))), float(chdtrc((r - 1) * (c - 1), squared))
