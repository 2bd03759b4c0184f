"""What a comparison of groups is given, and what it gives back; and how two groups, or all of them, are compared in one
metric. The families that use it are `gaps.py`, `odds.py` and `labels.py`.

A comparison has a row for each group against a reference, and one for the attribute: the widest gap between any two of
its groups (a difference ≥ 0, a ratio ≤ 1).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from tasks.bias.base import Measured, Metric, View, ratio
from tasks.bias.statistics.intervals import Interval, folded_ratio, mover_difference, mover_ratio, without_sign
from tasks.bias.statistics.resampling import LEAST_CELL, Drawn, Resampler, trusted
from tasks.bias.statistics.significance import equal_proportions, homogeneity, two_proportions, wald

Comparison = Literal["difference", "ratio"]
ValueStatus = Literal["ok", "undefined", "insufficient_data"]
NAN = float("nan")


@dataclass(frozen=True)
class Gap:
    """One row of a comparison: a group against its reference, or (group None) the attribute."""

    group: int | None
    reference: int | None
    value: float
    status: ValueStatus
    reason: str | None = None
    low: float = NAN
    high: float = NAN
    p: float = NAN
    test: str | None = None
    hypothesis: Hashable = None  # rows that test the same thing share it: it is counted once
    output: str | None = None
    feature: str | None = None
    technique: str | None = None


@dataclass(frozen=True, eq=False)
class Situation:
    """One attribute, measured.

    Attributes:
        view: its rows and counts.
        measured: metric → its values by group.
        names: of the groups.
        least: min_group_size.
        reference: the group that others are held against; None where no group can be it.
        resampler: for bootstraps and permutations.
        known: (groups,) bool, groups that others may be held against; None: all.
    """

    view: View
    measured: dict[str, Measured]
    names: Sequence[str]
    least: int
    reference: int | None
    resampler: Resampler
    known: np.ndarray | None = None

    @cached_property
    def weighted(self) -> bool:
        return self.view.counts.weighted


@dataclass(frozen=True)
class Disparity:
    """An entry of the registry: a comparison of groups.

    Attributes:
        name: the id in tables and policies.
        title: for people, lower case.
        comparison: difference or ratio.
        bases: the metrics that it compares.
        compare: Situation → rows.
        attained: the attribute's value is that of one of its groups against the reference, so that a policy can look at
            the groups one by one.
        signed: the rows of groups may be negative (or above 1), according to who is better off.
        averaged: it compares the mean of its bases; else the worst of them.
    """

    name: str
    title: str
    comparison: Comparison
    bases: tuple[str, ...]
    compare: Callable[[Situation], list[Gap]]
    attained: bool = True
    signed: bool = False
    averaged: bool = False


def best_group(measured: Measured, least: int, *, lowest: bool = False, known: np.ndarray | None = None) -> int | None:
    """The group with the highest (lowest) value among those with enough rows; among all where none has enough.

    Small groups leave before the maximum is taken: three rows of three must not become what all others are held to.
    Ties go to the larger group, then to the first.

    Args:
        known: (groups,) bool, those that may be it; None: all.
    """
    defined = measured.defined if known is None else measured.defined & known
    eligible = measured.sufficient(least) & defined
    if not eligible.any():
        eligible = defined
    if not eligible.any():
        return None
    value = np.where(eligible, -measured.value if lowest else measured.value, -np.inf)
    tied = np.flatnonzero(value == value.max())
    return int(tied[np.argmax(measured.n[tied])])


def included(measured: Measured, least: int) -> np.ndarray:
    """(k,) groups that an aggregate is over: those with enough rows; where fewer than two have, all with a value."""
    enough = np.flatnonzero(measured.sufficient(least))
    return enough if len(enough) >= 2 else np.flatnonzero(measured.defined)


def left_out(situation: Situation, measured: Measured, groups: np.ndarray) -> str | None:
    """`leaves out Other (25 rows), …`: the groups that an aggregate is not over, and why."""
    out = np.setdiff1d(np.arange(len(measured.value)), groups)
    if not len(out):
        return None
    told = [
        f"{situation.names[g]} ({f'{measured.support[g]:,.0f} rows' if measured.defined[g] else measured.undefined})"
        for g in out[:5]
    ]
    more = f" and {len(out) - 5:,} more" if len(out) > 5 else ""
    return f"leaves out {', '.join(told)}{more}"


def too_few(situation: Situation, *measured: Measured) -> str | None:
    """Why an aggregate is not to be relied on: in one of these metrics fewer than two groups have enough rows."""
    least = situation.least
    short = any(part.sufficient(least).sum() < 2 for part in measured)
    return f"fewer than two groups rest on {least} rows" if short else None


def standing(*notes: str | None) -> tuple[ValueStatus, str | None]:
    """(status, reason) of an aggregate, from what there is to say of it: a note `fewer …` is of too few rows."""
    told = [note for note in notes if note]
    short = any(note.startswith("fewer") for note in told)
    return "insufficient_data" if short else "ok", "; ".join(told) or None


def compare_pairs(
    situation: Situation,
    metric: Metric,
    measured: Measured,
    comparison: Comparison,
    reference: int,
    *,
    from_reference: bool,
) -> list[Gap]:
    """A row for each group against the reference.

    Args:
        comparison: difference, or ratio.
        from_reference: difference: reference − group; ratio: reference / group. Else the other way round.
    """
    groups = np.arange(len(measured.value))
    anchor = np.full(len(groups), reference)
    first, second = (anchor, groups) if from_reference else (groups, anchor)
    value = compared(situation, metric, measured, comparison, first, second)
    low, high = pair_interval(measured, comparison, first, second)
    rows = []
    for g in groups:
        if g == reference:
            same = value[g] if np.isfinite(value[g]) else NAN
            rows.append(_own_row(measured, situation, int(g), same))
            continue
        status, reason = _pair_status(situation, measured, int(g), reference, value[g])
        p, test = test_pair(situation, metric, measured, int(g), reference)
        rows.append(
            Gap(int(g), reference, float(value[g]), status, reason, float(low[g]), float(high[g]), p, test,
                (metric.name, frozenset((int(g), reference))))
        )  # fmt: skip
    return rows


def against_reference(
    situation: Situation, metric: Metric, measured: Measured, comparison: Comparison, *, from_reference: bool
) -> list[Gap]:
    """A row for each group against the attribute's reference group, where there is one, and the attribute's row.

    Args:
        comparison, from_reference: as of `compare_pairs`.
    """
    whole, reference = compare_all(situation, metric, measured, comparison), situation.reference
    if reference is None:
        return [whole]
    return [*compare_pairs(situation, metric, measured, comparison, reference, from_reference=from_reference), whole]


def _own_row(measured: Measured, situation: Situation, group: int, value: float) -> Gap:
    status, reason = measured.status(group, situation.least)
    if np.isnan(value) and status != "undefined":
        status, reason = "undefined", "0/0: the highest rate is 0"
    return Gap(group, group, value, status, reason or "the reference group")  # type: ignore[arg-type]


def _pair_status(
    situation: Situation, measured: Measured, group: int, reference: int, value: float
) -> tuple[ValueStatus, str | None]:
    for g in (group, reference):
        if not measured.defined[g]:
            return "undefined", f"{situation.names[g]}: {measured.undefined}"
    if np.isnan(value):
        both = measured.value[group] == measured.value[reference] == 0
        return "undefined", f"{'0/0' if both else 'division by 0'}: the rate divided by is 0"
    for g in (group, reference):
        status, reason = measured.status(g, situation.least)
        if status != "ok":
            return "insufficient_data", f"{situation.names[g]}: {reason}"
    return "ok", None


def compared(
    situation: Situation, metric: Metric, measured: Measured, comparison: Comparison, first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """first − second or first / second, of counts with a single rounding: (3/5)/(6/8) is 0.8."""
    if metric.proportion and not situation.weighted:
        x1, n1 = measured.numerator[first], measured.denominator[first]
        x2, n2 = measured.numerator[second], measured.denominator[second]
        if comparison == "ratio":
            return np.where(n1 > 0, ratio(x1 * n2, n1 * x2), np.nan)
        return ratio(x1 * n2 - x2 * n1, n1 * n2)
    if comparison == "ratio":
        return ratio(measured.value[first], measured.value[second])
    return measured.value[first] - measured.value[second]


def pair_interval(measured: Measured, comparison: Comparison, first: np.ndarray, second: np.ndarray) -> Interval:
    """MOVER on the two groups' own intervals: for proportions that is Newcombe's interval of a difference."""
    a, b = measured.value[first], measured.value[second]
    a_ci = (measured.low[first], measured.high[first])
    b_ci = (measured.low[second], measured.high[second])
    return (mover_ratio if comparison == "ratio" else mover_difference)(a, a_ci, b, b_ci)


def test_pair(situation: Situation, metric: Metric, measured: Measured, i: int, j: int) -> tuple[float, str | None]:
    """(p-value, test) of two groups being equal: exact for counts, Wald's for the rest and with weights."""
    if not (measured.defined[i] and measured.defined[j]):
        return NAN, None
    if metric.proportion and not situation.weighted:
        p, test = two_proportions(
            measured.numerator[i], measured.denominator[i], measured.numerator[j], measured.denominator[j]
        )
    else:
        p = wald(measured.value[i] - measured.value[j], measured.std_error[i], measured.std_error[j])
        test = "wald, linearised" if situation.weighted else "wald"
    return p, None if np.isnan(p) else test


def compare_all(situation: Situation, metric: Metric, measured: Measured, comparison: Comparison) -> Gap:
    """The attribute's row: the widest gap between any two groups that have enough rows."""
    groups = included(measured, situation.least)
    if len(groups) < 2:
        only = situation.names[groups[0]] if len(groups) else None
        lacking = f"only {only} has a value" if only is not None else measured.undefined
        return Gap(None, None, NAN, "undefined", "there is only one group" if len(measured.value) == 1 else lacking)
    order = groups[np.argsort(measured.value[groups], kind="stable")]
    lowest, highest = order[:1], order[-1:]
    first, second = (lowest, highest) if comparison == "ratio" else (highest, lowest)
    value = float(compared(situation, metric, measured, comparison, first, second)[0])
    out, problem = left_out(situation, measured, groups), None
    if np.isnan(value):
        return Gap(None, None, NAN, "undefined", standing("0/0: the highest value is 0", out)[1])
    p, test = test_all(situation, metric, measured, groups)
    if len(groups) == 2:
        low, high = gap_interval(measured, comparison, first, second)
        key: Hashable = (metric.name, frozenset(map(int, groups)))
    else:
        low, high, problem = bootstrap(situation, [(metric, groups)], comparison)
        key = (metric.name, "all")
    status, reason = standing(too_few(situation, measured), out, problem)
    return Gap(None, None, value, status, reason, low, high, p, test, key)


def gap_interval(
    measured: Measured, comparison: Comparison, first: np.ndarray, second: np.ndarray
) -> tuple[float, float]:
    """The interval of a gap without a sign, from that of its two groups, in the order that makes it ≥ 0 or ≤ 1."""
    low, high = (float(limit[0]) for limit in pair_interval(measured, comparison, first, second))
    return without_sign(low, high) if comparison == "difference" else folded_ratio(low, high)


def bootstrap(
    situation: Situation, rates: Sequence[tuple[Metric, np.ndarray]], comparison: Comparison
) -> tuple[float, float, str | None]:
    """(low, high, why there is no interval) of the worst gap in some metrics between any two of their groups.

    What follows from counts is drawn from the table of counts, the rest from the groups' standard errors; `widest.py`
    makes an interval of the draws.

    Args:
        rates: metrics of one question, each with the groups that it is over.
    """
    if not situation.resampler.draws:
        return NAN, NAN, "no interval: bias.resamples is 0"
    view, drawn = situation.view, []
    question = rates[0][0].of
    for metric, groups in rates:
        measured = situation.measured.get(metric.name) or metric.measure(view)
        if metric.from_cells is None or question is None:
            return _estimated(situation, metric, measured, groups, comparison)
        if not trusted(view.tables[question], groups, metric.shares):
            return NAN, NAN, f"fewer than {LEAST_CELL} rows in a cell: no interval"
        drawn.append(Drawn(metric.name, metric.from_cells, groups, measured.value[groups], measured.std_error[groups]))
    assert question is not None
    asked = question if view.of_class is None else f"{question} {view.of_class}"
    widest = situation.resampler.of_counts(asked, view.tables[question], drawn, view.confidence)
    return *widest.interval(comparison), None


def _estimated(
    situation: Situation, metric: Metric, measured: Measured, groups: np.ndarray, comparison: Comparison
) -> tuple[float, float, str | None]:
    if not measured.sufficient(situation.least)[groups].all():
        return NAN, NAN, f"a group rests on fewer than {situation.least} rows: no interval"
    value, error = measured.value[groups], measured.std_error[groups]
    if not (error > 0).all():
        return NAN, NAN, "no interval: a group's values have no spread"
    if comparison == "ratio" and not (value > 0).all():
        return NAN, NAN, "no interval: a value is 0"
    view = situation.view
    widest = situation.resampler.of_estimates(
        metric.name if view.of_class is None else f"{metric.name} {view.of_class}",
        value, error, measured.support[groups], view.confidence,
        on_logits="logit" in (measured.method or ""), within=(metric.lowest, metric.highest),
    )  # fmt: skip
    return *widest.interval(comparison), None


def test_all(situation: Situation, metric: Metric, measured: Measured, groups: np.ndarray) -> tuple[float, str | None]:
    """(p-value, test) of all these groups being equal."""
    if len(groups) == 2:
        return test_pair(situation, metric, measured, int(groups[0]), int(groups[1]))
    if metric.proportion and not situation.weighted:
        stratum = (measured.numerator[groups], measured.denominator[groups])
        resampler = situation.resampler
        p, test = equal_proportions([stratum], resampler.generator(f"null {metric.name}"), resampler.draws)
    else:
        p, test = homogeneity(measured.value[groups], measured.std_error[groups])
    return p, None if np.isnan(p) else test
