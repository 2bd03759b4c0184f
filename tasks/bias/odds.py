"""Comparisons of the true and the false positive rate together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasks.bias.base import Measured, Metric, View
from tasks.bias.disparities import (
    NAN,
    Comparison,
    Disparity,
    Gap,
    Situation,
    ValueStatus,
    bootstrap,
    compare_all,
    compare_pairs,
    compared,
    gap_interval,
    included,
    left_out,
    test_pair,
)
from tasks.bias.intervals import mean_of
from tasks.bias.significance import equal_proportions, homogeneity

_NAMES = ("true_positive_rate", "false_positive_rate")


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
        pairs = [_pair(situation, rates, parts, wide, comparison, g, reference or 0) for g in groups]
        return [*pairs, _whole(situation, rates, parts, wide, comparison)]

    return Disparity(name, title, comparison, _NAMES, compare, attained=False)


def _pair(
    situation: Situation, rates: tuple[Metric, Metric], parts: list[Measured], wide: list[Measured],
    comparison: Comparison, group: int, reference: int,
) -> Gap:  # fmt: skip
    for part in parts:
        for g in (group, reference):
            if not part.defined[g]:
                return Gap(group, reference, NAN, "undefined", f"{situation.names[g]}: {part.undefined}")
    chosen = np.array([group, reference])
    gaps = [_range(situation, rate, part, comparison, chosen) for rate, part in zip(rates, parts, strict=True)]
    if any(np.isnan(gap) for gap in gaps):
        return Gap(group, reference, NAN, "undefined", "0/0: both rates are 0")
    value = _worst(comparison, gaps)
    status: ValueStatus = "ok"
    reason = None
    for part in parts:
        for g in (group, reference):
            if part.support[g] < situation.least and status == "ok":
                status, reason = "insufficient_data", f"{situation.names[g]}: {part.status(g, situation.least)[1]}"
    if group == reference:
        return Gap(group, group, value, status, reason or "the reference group")
    low, high = _interval(wide, comparison, group, reference)
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
    status: ValueStatus = "ok"
    if any(part.sufficient(situation.least).sum() < 2 for part in parts):
        status = "insufficient_data"
        notes.insert(0, f"fewer than two groups rest on {situation.least} rows")
    value = _worst(comparison, gaps)
    if all(len(chosen) == 2 for chosen in groups) and (groups[0] == groups[1]).all():
        i, j = map(int, groups[0])
        low, high = _interval(wide, comparison, i, j)
        p, test = _bonferroni(situation, rates, parts, i, j)
        key = ("odds", frozenset((i, j)))
        return Gap(None, None, value, status, "; ".join(notes) or None, low, high, p, test, key)
    low, high, problem = bootstrap(situation, list(zip(rates, groups, strict=True)), comparison)
    if problem:
        status = "insufficient_data" if problem.startswith("fewer") else status
        notes.append(problem)
    p, test = _test_all(situation, parts, groups)
    return Gap(None, None, value, status, "; ".join(notes) or None, low, high, p, test, ("odds", "all"))


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

    def halves(table: np.ndarray) -> np.ndarray:
        return sum(rate.from_cells(table) for rate in rates if rate.from_cells) / 2  # type: ignore[return-value]

    def measure(view: View) -> Measured:
        both = [rate.measure(view) for rate in rates]

        def stacked(field: str) -> np.ndarray:
            return np.stack([getattr(part, field) for part in both], -1)

        value = stacked("value").mean(-1)
        low, high = mean_of(stacked("value"), stacked("low"), stacked("high"))
        gone = np.isnan(value)
        none = np.full(view.size, np.nan)
        return Measured(
            value=value, numerator=none, denominator=none, n=both[0].n, support=np.minimum(*(p.support for p in both)),
            low=np.where(gone, np.nan, low), high=np.where(gone, np.nan, high),
            std_error=np.hypot(*(p.std_error for p in both)) / 2, method=None,
            undefined="0/0: positive or negative labels are lacking",
        )  # fmt: skip

    metric = Metric("average_odds", title, measure, of="positive", from_cells=halves,
                    shares=tuple(share for rate in rates for share in rate.shares))  # fmt: skip

    def compare(situation: Situation) -> list[Gap]:
        measured = measure(situation.view)
        whole = compare_all(situation, metric, measured, "difference")
        if situation.reference is None:
            return [whole]
        pairs = compare_pairs(situation, metric, measured, "difference", situation.reference, from_reference=True)
        return [*pairs, whole]

    return Disparity(name, title, "difference", _NAMES, compare, attained=False, signed=True, averaged=True)
