"""How unequally decisions treat people beside what their labels say: entropy of benefits.

A row's benefit is b = ŷ − y + 1, of the favourable outcome: 0 where it was denied against the label, 2 where it was
granted against it, else 1. Source: Speicher et al. 2018 (KDD); AIF360 has the same definitions. All of it follows from
the shares of rows with b = 0 and b = 2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.bias.base import ALL_TASKS, Measured, Metric, View, ratio
from tasks.bias.disparities import NAN, Disparity, Gap, Situation, included, left_out, standing, too_few
from tasks.bias.families.rates import BOTH, cells
from tasks.bias.statistics.intervals import wilson
from tasks.bias.statistics.resampling import LEAST_CELL, least_disparity, percentiles, resampled
from tasks.bias.statistics.significance import homogeneity

_DENIED, _EQUAL, _GRANTED, _ALL = cells("10"), cells("00 11"), cells("01"), cells(BOTH)
#: Σb as a sum of cells
_BENEFIT = _EQUAL + 2 * _GRANTED
#: attributes with more groups have no bootstrap here: its cost is by the group
MAX_GROUPS = 250

#: (…) shares of rows with b = 0 and with b = 2 → (…) index
Index = Callable[[np.ndarray, np.ndarray], np.ndarray]


def entropy_of(denied: np.ndarray, granted: np.ndarray) -> np.ndarray:
    """1/(nα(α − 1)) Σ[(b/μ)^α − 1] with α = 2, which is ½(mean b²/μ² − 1); NaN where μ = 0.

    Args:
        denied, granted: (…) shares of rows with b = 0 and with b = 2.
    """
    return np.maximum((ratio(1 - denied + 3 * granted, (1 - denied + granted) ** 2) - 1) / 2, 0.0)


def theil_of(denied: np.ndarray, granted: np.ndarray) -> np.ndarray:
    """(1/n) Σ (b/μ) ln(b/μ), with 0 ln 0 = 0, which is ln 4 · granted/μ − ln μ; NaN where μ = 0."""
    mean = np.asarray(1 - denied + granted, float)
    return np.maximum(ratio(np.log(4) * granted, mean) - np.log(np.where(mean > 0, mean, np.nan)), 0.0)


def between_groups(weight: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The same entropy (α = 2) where everybody has the mean benefit of their group: ½(Σ n μ_g²/(n μ²) − 1).

    Args:
        weight: (…, groups) rows of each, or Σw.
        mean: (…, groups) mean benefit.

    Returns:
        (…) float64 ≥ 0; 0 where all groups have the same mean, NaN where nobody has any benefit.
    """
    total = weight.sum(-1)
    overall = ratio((weight * mean).sum(-1), total)
    apart = ratio((weight * (mean - overall[..., None]) ** 2).sum(-1), total)  # without cancellation
    return ratio(apart, overall**2) / 2


def _measured(index: Index, view: View) -> Measured:
    """An index of every group, with MOVER's interval on Wilson's of its two shares, which are negatively correlated."""
    table = view.tables["favorable"]
    total = table.sum(_ALL)
    none, twice = (ratio(table.sum(counted), total) for counted in (_DENIED, _GRANTED))
    value = index(none, twice)
    low, high = _interval(index, none, twice, table.effective(_ALL), view.confidence)
    variance = np.zeros(view.size)
    influence = _influence(index, none, twice, total)
    for counted, effect in zip((_DENIED, _EQUAL, _GRANTED), influence, strict=True):
        variance += table.square @ counted * effect**2
    nothing = np.full(view.size, np.nan)
    return Measured(
        value=value, numerator=nothing, denominator=nothing, n=table.rows @ _ALL, support=table.rows @ _ALL,
        low=low, high=high, std_error=np.sqrt(variance), method="wilson, mover",
        undefined="0/0: no labelled decisions, or all against a favourable label",
    )  # fmt: skip


def _interval(
    index: Index, none: np.ndarray, twice: np.ndarray, n: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Zou and Donner's square-and-add (2008, Stat. Med. 27, 1693-1702) for a function of two correlated shares.

    Each limit takes that end of each share which moves the index towards it; the upper one is open (NaN) where nobody
    may have any benefit.
    """
    value = index(none, twice)
    with np.errstate(invalid="ignore"):
        together = -np.sqrt(ratio(none * twice, (1 - none) * (1 - twice)))
        ends = [wilson(share, n, confidence) for share in (none, twice)]
        # Where both together come to more than all rows, the formulas still hold for the limit's sake.
        moved = [
            [index(end, twice) - value for end in ends[0]],
            [index(none, end) - value for end in ends[1]],
        ]
    known = ~np.isnan(value)
    # Where nobody has any benefit the index grows without bound.
    at = [[np.where(np.isnan(change) & known, np.inf, change) for change in both] for both in moved]
    together = np.nan_to_num(together)
    limits = []
    for side in (-1.0, 1.0):
        best = [np.where(side * both[0] > side * both[1], side * both[0], side * both[1]) for both in at]
        first, second = (np.maximum(change, 0.0) for change in best)
        upper_end = [side * both[1] > side * both[0] for both in at]
        sign = np.where(upper_end[0] == upper_end[1], 1.0, -1.0)
        with np.errstate(invalid="ignore"):
            squared = first**2 + second**2 + 2 * sign * together * first * second
        limits.append(value + side * np.sqrt(np.where(np.isnan(squared), np.inf, squared)))
    low, high = limits
    return np.where(known, np.maximum(low, 0.0), np.nan), np.where(known & np.isfinite(high), high, np.nan)


def _influence(index: Index, none: np.ndarray, twice: np.ndarray, total: np.ndarray) -> list[np.ndarray]:
    """What one more row with b = 0, 1, 2 does to the index: its derivatives, by central differences."""
    step = 1e-6
    with np.errstate(invalid="ignore"):
        by_none = (index(none + step, twice) - index(none - step, twice)) / (2 * step)
        by_twice = (index(none, twice + step) - index(none, twice - step)) / (2 * step)
    return [
        ratio(by_none * (is_none - none) + by_twice * (is_twice - twice), total)
        for is_none, is_twice in ((1, 0), (0, 0), (0, 1))
    ]


def _metric(name: str, title: str, index: Index) -> Metric:
    return Metric(
        name, title, lambda view: _measured(index, view), tasks=ALL_TASKS, better="lower", of="favorable",
        highest=float("inf"), from_cells=lambda table: index(
            ratio(table @ _DENIED, table @ _ALL), ratio(table @ _GRANTED, table @ _ALL)
        ), shares=((_DENIED + _GRANTED, _ALL),),
    )  # fmt: skip


METRICS: tuple[Metric, ...] = (
    _metric("generalized_entropy", "generalized entropy of benefits", entropy_of),
    _metric("theil", "inequality of benefits (Theil)", theil_of),
)


def between(name: str, title: str, metric: Metric) -> Disparity:
    """`between_groups`: the part of the entropy of benefits that lies between groups, ≥ 0. One row, the attribute's.

    Its interval is a bootstrap that draws the table of counts, with `least_disparity` below, and its test asks whether
    the groups' mean benefits are equal.
    """

    def compare(situation: Situation) -> list[Gap]:
        table = situation.view.tables["favorable"]
        measured = metric.measure(situation.view)
        groups = included(measured, situation.least)
        if len(groups) < 2:
            lacking = "there is only one group" if situation.view.size == 1 else measured.undefined
            return [Gap(None, None, NAN, "undefined", lacking)]
        weight = table.sum(_ALL)[groups]
        mean = ratio(table.sum(_BENEFIT)[groups], weight)
        value = float(between_groups(weight, mean))
        low, high, problem = _drawn(situation, groups, mean, value)
        spread = np.zeros(len(groups))
        for benefit, counted in enumerate((_DENIED, _EQUAL, _GRANTED)):
            spread += table.square[groups] @ counted * (benefit - mean) ** 2
        p, test = homogeneity(mean, np.sqrt(spread) / weight)
        status, reason = standing(too_few(situation, measured), left_out(situation, measured, groups), problem)
        key = ("mean benefit", "all")
        return [Gap(None, None, value, status, reason, low, high, p, None if np.isnan(p) else test, key)]

    return Disparity(name, title, "difference", (metric.name, "count"), compare, attained=False)


def _drawn(situation: Situation, groups: np.ndarray, mean: np.ndarray, value: float) -> tuple[float, float, str | None]:
    """(low, high, why there is no interval) of the entropy between groups."""
    table, resampler = situation.view.tables["favorable"], situation.resampler
    unequal = table.rows[groups] @ (_DENIED + _GRANTED)
    if not resampler.draws:
        return NAN, NAN, "no interval: bias.resamples is 0"
    if len(groups) > MAX_GROUPS:
        return NAN, NAN, f"no interval: more than {MAX_GROUPS} groups"
    if min(unequal.min(), (table.rows[groups] @ _EQUAL).min()) < LEAST_CELL:
        return NAN, NAN, f"fewer than {LEAST_CELL} rows in a cell: no interval"
    kinds = np.stack([_DENIED, _EQUAL, _GRANTED], -1)
    square = table.square[groups] @ kinds if situation.weighted else None
    drawn = resampled(resampler.generator("benefits"), table.weight[groups] @ kinds, square, resampler.draws)
    weight = drawn.sum(-1)
    means = ratio(drawn @ np.arange(3.0), weight)
    overall = (weight * mean).sum(-1, keepdims=True) / weight.sum(-1, keepdims=True)
    errors = means - mean

    def shrunk(left: float) -> np.ndarray:
        return between_groups(weight, overall + left * (mean - overall) + errors)

    confidence = situation.view.confidence
    low = value * least_disparity(shrunk, value, confidence) ** 2
    return low, percentiles(between_groups(weight, means), confidence)[1], None
