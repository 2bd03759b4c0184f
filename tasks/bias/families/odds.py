"""Comparisons of the true and the false positive rate together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from tasks.bias.base import Measured, Metric, View
from tasks.bias.disparities import (
    NAN,
    Comparison,
    Disparity,
    Gap,
    Situation,
    ValueStatus,
    against_reference,
    bootstrap,
    compare_all,
    compared,
    gap_interval,
    included,
    left_out,
    standing,
    test_pair,
    too_few,
)
from tasks.bias.statistics.intervals import mean_of
from tasks.bias.statistics.significance import equal_proportions, homogeneity

_NAMES = ("true_positive_rate", "false_positive_rate")

#: two groups → limits of what their gaps come to
Limits = Callable[[int, int], tuple[float, float]]


def equalized(name: str, title: str, comparison: Comparison, rates: tuple[Metric, Metric]) -> Disparity:
    """The worse of the gaps in TPR and FPR: the larger difference, the smaller ratio (min / max).

    Args:
        rates: the true positive rate and the false positive rate.
    """

    def compare(situation: Situation) -> list[Gap]:
        parts = [situation.measured[rate.name] for rate in rates]
        # Two intervals hold together at the confidence asked for when each holds at half the error.
        strict = replace(situation.view, confidence=(1 + situation.view.confidence) / 2)
        wide = [rate.measure(strict) for rate in rates]
        reference = situation.reference
        groups = range(situation.view.size if reference is not None else 0)
        worst, limits = partial(_worst, comparison), partial(_interval, wide, comparison)
        pairs = [_pair(situation, rates, parts, comparison, g, reference or 0, worst, limits) for g in groups]
        return [*pairs, _whole(situation, rates, parts, wide, comparison)]

    return Disparity(name, title, comparison, _NAMES, compare, attained=False)


def _pair(
    situation: Situation, rates: tuple[Metric, Metric], parts: list[Measured], comparison: Comparison, group: int,
    reference: int, combined: Callable[[list[float]], float], limits: Limits,
) -> Gap:  # fmt: skip
    """The row of a group: what its gaps in both rates come to."""
    for part in parts:
        for g in (group, reference):
            if not part.defined[g]:
                return Gap(group, reference, NAN, "undefined", f"{situation.names[g]}: {part.undefined}")
    chosen = np.array([group, reference])
    gaps = [_range(situation, rate, part, comparison, chosen) for rate, part in zip(rates, parts, strict=True)]
    if any(np.isnan(gap) for gap in gaps):
        return Gap(group, reference, NAN, "undefined", "0/0: both rates are 0")
    value = combined(gaps)
    status: ValueStatus = "ok"
    reason = None
    for part in parts:
        for g in (group, reference):
            if part.support[g] < situation.least and status == "ok":
                status, reason = "insufficient_data", f"{situation.names[g]}: {part.status(g, situation.least)[1]}"
    if group == reference:
        return Gap(group, group, value, status, reason or "the reference group")
    low, high = limits(group, reference)
    p, test = _bonferroni(situation, rates, parts, group, reference)
    key = ("odds", frozenset((group, reference)))
    return Gap(group, reference, value, status, reason, low, high, p, test, key)


def _worst(comparison: Comparison, gaps: list[float]) -> float:
    return max(gaps) if comparison == "difference" else min(gaps)


def _interval(wide: list[Measured], comparison: Comparison, i: int, j: int) -> tuple[float, float]:
    """Limits of the worse gap: the worse of the two limits, each at half the error (Bonferroni)."""
    limits = []
    for part in wide:
        small, large = (np.array([k]) for k in ((i, j) if part.value[i] <= part.value[j] else (j, i)))
        order = (large, small) if comparison == "difference" else (small, large)
        limits.append(gap_interval(part, comparison, *order))
    worst = max if comparison == "difference" else min
    return worst(limit[0] for limit in limits), worst(limit[1] for limit in limits)


def _bonferroni(
    situation: Situation, rates: tuple[Metric, Metric], parts: list[Measured], i: int, j: int
) -> tuple[float, str | None]:
    tests = [test_pair(situation, rate, part, i, j) for rate, part in zip(rates, parts, strict=True)]
    told = [p for p, _ in tests if not np.isnan(p)]
    if not told:
        return NAN, None
    kind = next(test for p, test in tests if not np.isnan(p))
    return min(1.0, len(told) * min(told)), f"{kind}, bonferroni"


def _whole(
    situation: Situation, rates: tuple[Metric, Metric], parts: list[Measured], wide: list[Measured],
    comparison: Comparison,
) -> Gap:  # fmt: skip
    groups = [included(part, situation.least) for part in parts]
    for part, chosen in zip(parts, groups, strict=True):
        if len(chosen) < 2:
            single = len(part.value) == 1
            return Gap(None, None, NAN, "undefined", "there is only one group" if single else part.undefined)
    gaps = [
        _range(situation, rate, part, comparison, chosen)
        for rate, part, chosen in zip(rates, parts, groups, strict=True)
    ]
    notes = [
        f"{rate.title}: {note}"
        for rate, part, chosen in zip(rates, parts, groups, strict=True)
        if (note := left_out(situation, part, chosen))
    ]
    if any(np.isnan(gap) for gap in gaps):
        return Gap(None, None, NAN, "undefined", "; ".join(["0/0: the highest rate is 0", *notes]))
    few = too_few(situation, *parts)
    value = _worst(comparison, gaps)
    if all(len(chosen) == 2 for chosen in groups) and (groups[0] == groups[1]).all():
        i, j = map(int, groups[0])
        low, high = _interval(wide, comparison, i, j)
        p, test = _bonferroni(situation, rates, parts, i, j)
        key = ("odds", frozenset((i, j)))
        return Gap(None, None, value, *standing(few, *notes), low, high, p, test, key)
    low, high, problem = bootstrap(situation, list(zip(rates, groups, strict=True)), comparison)
    p, test = _test_all(situation, parts, groups)
    return Gap(None, None, value, *standing(few, *notes, problem), low, high, p, test, ("odds", "all"))


def _range(situation: Situation, rate: Metric, part: Measured, comparison: Comparison, groups: np.ndarray) -> float:
    """max − min or min / max of a rate over some groups, rounded once."""
    order = groups[np.argsort(part.value[groups], kind="stable")]
    lowest, highest = order[:1], order[-1:]
    first, second = (highest, lowest) if comparison == "difference" else (lowest, highest)
    return float(compared(situation, rate, part, comparison, first, second)[0])


def _test_all(situation: Situation, parts: list[Measured], groups: list[np.ndarray]) -> tuple[float, str | None]:
    if situation.weighted:
        ps = [homogeneity(p.value[c], p.std_error[c])[0] for p, c in zip(parts, groups, strict=True)]
        told = [p for p in ps if not np.isnan(p)]
        return (min(1.0, len(told) * min(told)), "wald, bonferroni") if told else (NAN, None)
    strata = [(part.numerator[c], part.denominator[c]) for part, c in zip(parts, groups, strict=True)]
    resampler = situation.resampler
    p, test = equal_proportions(strata, resampler.generator("null odds"), resampler.draws)
    return p, None if np.isnan(p) else test


def average(name: str, title: str, rates: tuple[Metric, Metric]) -> Disparity:
    """((TPR + FPR) of the best-off group − that of the group) / 2; AIF360 has the opposite sign. Range −1–1."""
    metric = _half("average_odds", title, rates, 1)

    def compare(situation: Situation) -> list[Gap]:
        measured = metric.measure(situation.view)
        return against_reference(situation, metric, measured, "difference", from_reference=True)

    return Disparity(name, title, "difference", _NAMES, compare, attained=False, signed=True, averaged=True)


def average_absolute(name: str, title: str, rates: tuple[Metric, Metric]) -> Disparity:
    """(|TPRₐ − TPR_d| + |FPRₐ − FPR_d|) / 2, 0–1; 0 where both rates are the same. Source: AIF360.

    It is the larger of the gaps in (TPR + FPR)/2 and in (TPR − FPR)/2, and so is the widest over all pairs of groups.
    Tested as equalized odds is, since both are 0 together.
    """
    halves = (_half("half_sum_of_odds", title, rates, 1), _half("half_difference_of_odds", title, rates, -1))

    def compare(situation: Situation) -> list[Gap]:
        strict = replace(situation.view, confidence=(1 + situation.view.confidence) / 2)
        odds = [situation.measured[rate.name] for rate in rates]
        parts, wide = ([half.measure(view) for half in halves] for view in (situation.view, strict))
        reference = situation.reference

        def limits(i: int, j: int) -> tuple[float, float]:
            return _larger(parts, wide, i, j)

        groups = range(situation.view.size if reference is not None else 0)
        pairs = [_pair(situation, rates, odds, "difference", g, reference or 0, _mean, limits) for g in groups]
        return [*pairs, _whole_mean(situation, rates, odds, halves, parts, limits)]

    return Disparity(name, title, "difference", (*_NAMES, "count"), compare, attained=False)


def _half(name: str, title: str, rates: tuple[Metric, Metric], sign: int) -> Metric:
    """(TPR + sign · FPR) / 2 of a group."""
    first, second = rates
    assert first.from_cells is not None
    assert second.from_cells is not None
    tpr, fpr = first.from_cells, second.from_cells

    def measure(view: View) -> Measured:
        both = [rate.measure(view) for rate in rates]
        ends = [(part.value, part.low, part.high) for part in both]
        if sign < 0:
            ends[1] = (-both[1].value, -both[1].high, -both[1].low)
        value, low, high = (np.stack(part, -1) for part in zip(*ends, strict=True))
        mean = value.mean(-1)
        below, above = mean_of(value, low, high)
        gone = np.isnan(mean)
        none = np.full(view.size, np.nan)
        return Measured(
            value=mean, numerator=none, denominator=none, n=both[0].n, support=np.minimum(*(p.support for p in both)),
            low=np.where(gone, np.nan, below), high=np.where(gone, np.nan, above),
            std_error=np.hypot(*(p.std_error for p in both)) / 2, method=None,
            undefined="0/0: positive or negative labels are lacking",
        )  # fmt: skip

    return Metric(name, title, measure, of="positive", from_cells=lambda table: (tpr(table) + sign * fpr(table)) / 2,
                  shares=(*first.shares, *second.shares))  # fmt: skip


def _mean(gaps: list[float]) -> float:
    return sum(gaps) / len(gaps)


def _larger(parts: list[Measured], wide: list[Measured], i: int, j: int) -> tuple[float, float]:
    """Limits of the larger of two gaps. The upper one fails only where that of the larger gap itself does; the lower
    one where either does, and so each is taken at half the error."""
    pair = (np.array([i]), np.array([j]))
    lower = [gap_interval(part, "difference", *pair)[0] for part in wide]
    upper = [gap_interval(part, "difference", *pair)[1] for part in parts]
    return max(lower), max(upper)


def _whole_mean(
    situation: Situation, rates: tuple[Metric, Metric], odds: list[Measured], halves: tuple[Metric, Metric],
    parts: list[Measured], limits: Limits,
) -> Gap:  # fmt: skip
    groups = included(parts[0], situation.least)
    if len(groups) < 2:
        return compare_all(situation, halves[0], parts[0], "difference")
    notes = too_few(situation, parts[0]), left_out(situation, parts[0], groups)
    value = float(max(np.ptp(part.value[groups]) for part in parts))
    if len(groups) == 2:
        i, j = map(int, groups)
        value = _mean([_range(situation, r, part, "difference", groups) for r, part in zip(rates, odds, strict=True)])
        p, test = _bonferroni(situation, rates, odds, i, j)
        pair = ("odds", frozenset((i, j)))
        return Gap(None, None, value, *standing(*notes), *limits(i, j), p, test, pair)
    low, high, problem = bootstrap(situation, [(half, groups) for half in halves], "difference")
    p, test = _test_all(situation, odds, [groups, groups])
    # Equalized odds also heeds groups that have one of the two rates only: then it asks something else.
    same = all(np.array_equal(included(part, situation.least), groups) for part in odds)
    key = ("odds" if same else "both odds", "all")
    return Gap(None, None, value, *standing(*notes, problem), low, high, p, test, key)
