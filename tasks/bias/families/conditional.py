"""Conditional demographic disparity: who is rejected more often than accepted, among people who are alike in something
that may explain it (Wachter, Mittelstadt and Russell 2021, W. Va. L. Rev. 123; SageMaker Clarify's CDD).

What they are alike in is the config's `bias.strata`. Each group is held against everybody, not against one reference.
Only (stratum, group) pairs that occur are worked on: their number never exceeds that of the rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig
from tasks.bias.base import Metric, ratio
from tasks.bias.disparities import NAN, Disparity, Gap, Situation, ValueStatus
from tasks.bias.rows.counts import Counts
from tasks.bias.rows.groups import Attribute, attribute_of
from tasks.bias.statistics.intervals import Interval, normal_quantile, wilson
from tasks.bias.statistics.significance import two_sided, wald

#: the comparisons that exist only where `bias.strata` is declared
NAMES = ("conditional_demographic_disparity_labels", "conditional_demographic_disparity_predictions")

REJECTED, ACCEPTED = 0, 1


def strata_of(config: AuditConfig, table: pa.Table) -> Attribute | None:
    """The strata of the rows of a table; None where none are declared.

    Raises:
        DataRefused: as `groups.attribute_of`.
    """
    declared = config.bias.strata
    return None if declared is None else attribute_of("strata", declared, table, "bias.strata")


@dataclass(frozen=True, eq=False)
class Stratified:
    """Outcomes by stratum and group: the p pairs that occur, in the strata that have both outcomes.

    Attributes:
        stratum, group: (p,) of each pair; strata are numbered 0 … strata − 1.
        strata, groups: how many there are.
        left: strata that leave since nobody, or everybody, is accepted.
        rows, weight, square: (p, 2) rows, Σw, Σw² of the rejected and the accepted.
    """

    stratum: np.ndarray
    group: np.ndarray
    strata: int
    groups: int
    left: int
    rows: np.ndarray
    weight: np.ndarray
    square: np.ndarray

    def within(self, values: np.ndarray) -> np.ndarray:
        """(strata, …) sums of (p, …) values over the groups of a stratum."""
        return _summed(self.stratum, values, self.strata)

    def over(self, values: np.ndarray) -> np.ndarray:
        """(groups, …) sums of (p, …) values over the strata."""
        return _summed(self.group, values, self.groups)


def _summed(key: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    found = [np.bincount(key, flat[:, k], size) for k in range(flat.shape[1])]
    return np.stack(found, -1).reshape(size, *values.shape[1:])


def stratified(pair: np.ndarray, outcome: np.ndarray, sums: np.ndarray, groups: int) -> Stratified:
    """Counted cells as a table of strata.

    Args:
        pair: (k,) stratum · groups + group of each cell.
        outcome: (k,) ACCEPTED or REJECTED.
        sums: (k, 3) rows, Σw, Σw².
        groups: how many groups there are.
    """
    pairs, place = np.unique(pair, return_inverse=True)
    cells = _summed(place * 2 + outcome, sums, 2 * len(pairs)).reshape(len(pairs), 2, 3)
    names, stratum = np.unique(pairs // groups, return_inverse=True)
    both = np.all(_summed(stratum, cells[..., 1], len(names)) > 0, axis=-1)
    kept = both[stratum]
    return Stratified(
        (np.cumsum(both) - 1)[stratum[kept]], pairs[kept] % groups, int(both.sum()), groups, int((~both).sum()),
        *(cells[kept][..., k] for k in range(3)),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class ByGroup:
    """(groups,) conditional disparities of every group, with interval and p-value."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def disparities(table: Stratified, confidence: float, *, weighted: bool) -> ByGroup:
    """(1/n) Σᵢ nᵢ DDᵢ, with DDᵢ = the group's share of the rejected − its share of the accepted in stratum i.

    It is a difference of two averaged shares, each with Wilson's interval at the number of rows that its variance is
    worth; MOVER puts them together with what the strata's own sizes vary by. Test: Cochran, Mantel and Haenszel's of
    the group against all others; with weights linearised Wald.
    """
    size = table.within(table.weight.sum(-1))
    n = size.sum()
    of_stratum = ratio(size, n)
    total, squares = table.within(table.weight), table.within(table.square)
    share = ratio(table.weight, total[table.stratum])
    # Each row counts its stratum's share of all rows, over the rows of its outcome there.
    per_row = ratio(of_stratum[:, None], total)
    averaged = table.over(of_stratum[table.stratum, None] * share)
    value = averaged[:, REJECTED] - averaged[:, ACCEPTED]

    inside = table.square * (1 - share) ** 2 + (squares[table.stratum] - table.square) * share**2
    variance = table.over(per_row[table.stratum] ** 2 * inside)
    kish = ratio(1.0, (per_row**2 * squares).sum(0))
    effective = np.where(variance > 0, ratio(averaged * (1 - averaged), variance), kish)
    ends = wilson(averaged, effective, confidence)
    # Strata without the group have a disparity of 0: their part is that of all strata less that of those with it.
    own = share[:, REJECTED] - share[:, ACCEPTED]
    spread = squares.sum(-1)
    apart = table.over(spread[table.stratum] * ((own - value[table.group]) ** 2 - value[table.group] ** 2))
    sizes = np.sqrt(np.maximum(ratio(apart + spread.sum() * value**2, n**2), 0))
    low, high = _put_together(averaged, ends, normal_quantile(confidence) * sizes)
    if weighted:
        errors = np.sqrt(variance.sum(-1) + sizes**2)
        p = np.array([wald(v, e) for v, e in zip(value, errors, strict=True)])
    else:
        p = mantel_haenszel(table)
    gone = np.isnan(value) | ~(table.over(table.rows.sum(-1)) > 0)
    return ByGroup(*(np.where(gone, np.nan, part) for part in (value, low, high, p)))


def _put_together(averaged: np.ndarray, ends: Interval, more: np.ndarray) -> Interval:
    first, second = averaged[:, REJECTED], averaged[:, ACCEPTED]
    below = np.sqrt((first - ends[0][:, REJECTED]) ** 2 + (ends[1][:, ACCEPTED] - second) ** 2 + more**2)
    above = np.sqrt((ends[1][:, REJECTED] - first) ** 2 + (second - ends[0][:, ACCEPTED]) ** 2 + more**2)
    return np.maximum(first - second - below, -1), np.minimum(first - second + above, 1)


def mantel_haenszel(table: Stratified) -> np.ndarray:
    """(groups,) p-values of Cochran, Mantel and Haenszel's test, without correction for continuity: is a group
    accepted as often as all others within strata?"""
    total = table.within(table.rows)
    everyone = total.sum(-1)[table.stratum]
    rejected, accepted = total[table.stratum].T
    mine = table.rows.sum(-1)
    expected = mine * ratio(accepted, everyone)
    spread = ratio(accepted * rejected * mine * (everyone - mine), everyone**2 * (everyone - 1))
    apart, variance = table.over(table.rows[:, ACCEPTED] - expected), table.over(np.nan_to_num(spread))
    z = ratio(apart, np.sqrt(variance))
    return np.array([two_sided(float(one)) for one in z])


# ---------------------------------------------------------------- as a comparison of groups


def demographic_disparity(name: str, title: str, metric: Metric, outcome: Literal["label", "decision"]) -> Disparity:
    """`disparities` of every group; for the attribute the one farthest from 0, its test and its interval corrected for
    the number of groups (Bonferroni).

    Range −1–1; positive where the group has a larger share of the rejected than of the accepted.

    Args:
        metric: the rate of the favourable outcome.
        outcome: labels or decisions.
    """

    def compare(situation: Situation) -> list[Gap]:
        table = _counted(situation, outcome)
        if situation.view.size < 2:
            return [Gap(None, None, NAN, "undefined", "there is only one group")]
        found = disparities(table, situation.view.confidence, weighted=situation.weighted)
        rows = table.over(table.rows.sum(-1))
        note = f"{table.left} strata left out, in which none or all are accepted" if table.left else None
        pairs = [_row(situation, name, found, rows, g, note) for g in range(table.groups)]
        return [*pairs, _farthest(situation, name, table, pairs, note)]

    return Disparity(name, title, "difference", (metric.name, "count"), compare, signed=True)


def _counted(situation: Situation, outcome: Literal["label", "decision"]) -> Stratified:
    view = situation.view
    evidence, strata = view.evidence, view.evidence.strata
    assert strata is not None  # the registry saw to it
    pair = strata.codes.astype(np.int64) * view.size + view.codes
    unknown = np.full(evidence.rows, -1, np.int32)
    label, decision = (evidence.label, unknown) if outcome == "label" else (unknown, evidence.decision)
    cells = Counts.of(pair, len(strata.groups) * view.size, label, decision, evidence.weight)
    codes = getattr(cells, outcome)
    known = codes >= 0
    accepted = np.where(np.isin(codes, evidence.favorable), ACCEPTED, REJECTED)
    sums = np.stack([cells.rows, cells.weight, cells.square], -1).astype(float)
    return stratified(cells.group[known], accepted[known], sums[known], view.size)


def _row(situation: Situation, name: str, found: ByGroup, rows: np.ndarray, group: int, note: str | None) -> Gap:
    value = float(found.value[group])
    if np.isnan(value):
        lacking = f"{situation.names[group]}: 0/0: no rows in a stratum with both outcomes"
        return Gap(group, None, NAN, "undefined", "; ".join(part for part in (lacking, note) if part))
    others = rows.sum() - rows[group]
    status: ValueStatus = "ok"
    for count, who in ((rows[group], situation.names[group]), (others, "all others")):
        if count < situation.least and status == "ok":
            status = "insufficient_data"
            note = "; ".join(part for part in (f"{who}: rests on {count:,.0f} rows", note) if part)
    p = float(found.p[group])
    method = "wald, linearised" if situation.weighted else "mantel_haenszel"
    # Of two groups one has what the other lacks: they ask the same.
    key = (name, "two groups" if situation.view.size == 2 else group)
    return Gap(
        group, None, value, status, note, float(found.low[group]), float(found.high[group]), p,
        None if np.isnan(p) else method, key,
    )  # fmt: skip


def _farthest(situation: Situation, name: str, table: Stratified, pairs: list[Gap], note: str | None) -> Gap:
    """The attribute's row: the disparity farthest from 0, of the groups with enough rows where there are any."""
    able = [gap for gap in pairs if gap.status == "ok"] or [gap for gap in pairs if gap.status != "undefined"]
    if not able:
        return Gap(None, None, NAN, "undefined", "; ".join(part for part in ("0/0: no strata with both", note) if part))
    widest = max(able, key=lambda gap: (round(abs(gap.value), 12), gap.value))
    told = [f"of {situation.names[widest.group or 0]}", *([note] if note else [])]
    out = [situation.names[gap.group or 0] for gap in pairs if gap not in able]
    if out:
        more = f" and {len(out) - 5:,} more" if len(out) > 5 else ""
        told.append(f"leaves out {', '.join(out[:5])}{more}")
    p, test, key, low, high = widest.p, widest.test, widest.hypothesis, widest.low, widest.high
    if situation.view.size > 2:
        strict = 1 - (1 - situation.view.confidence) / len(able)
        ends = disparities(table, strict, weighted=situation.weighted)
        low, high = (float(end[widest.group or 0]) for end in (ends.low, ends.high))
        asked = [gap.p for gap in able if not np.isnan(gap.p)]
        p = min(1.0, len(asked) * min(asked)) if asked else NAN
        test, key = (f"{widest.test}, bonferroni" if asked else None), (name, "all")
    return Gap(None, None, widest.value, widest.status, "; ".join(told), low, high, p, test, key)
