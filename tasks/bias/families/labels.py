"""Comparisons before the model: of the groups' sizes, and of their labels over all classes. Those of label rates are
made by `gaps.py`.

A divergence compares the distribution of labels in the reference group, a, with that in a group d. It cannot be
negative, and chance alone makes it larger than it is: `least_disparity` says how the interval heeds that. Definitions:
SageMaker Clarify's pre-training bias metrics, with natural logarithms.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import numpy as np

from tasks.bias.base import Metric, ratio
from tasks.bias.disparities import NAN, Disparity, Gap, Situation, ValueStatus, pair_interval, test_all, test_pair
from tasks.bias.rows.counts import Counts
from tasks.bias.statistics.intervals import wilson, without_sign
from tasks.bias.statistics.resampling import LEAST_CELL, least_disparity, percentiles, resampled
from tasks.bias.statistics.significance import same_distribution

#: attributes with more groups have no bootstrap of divergences: its cost is by the group
MAX_GROUPS = 250

#: (…, classes) distributions of a and of d → (…) how far d is from a
Divergence = Callable[[np.ndarray, np.ndarray], np.ndarray]


def imbalance(name: str, title: str) -> Disparity:
    """(nₐ − n_d)/(nₐ + n_d), −1–1: whether the best-off group a, or the group d, has more of the rows.

    For the attribute the one farthest from 0, its interval corrected for the number of groups (Bonferroni). The
    interval is Wilson's of nₐ/(nₐ + n_d), stretched. Source: SageMaker Clarify's class imbalance.
    """

    def compare(situation: Situation) -> list[Gap]:
        reference = situation.reference
        if reference is None or situation.view.size < 2:
            return [Gap(None, None, NAN, "undefined", "there is only one group" if reference is not None else None)]
        counts = situation.view.counts
        size = np.bincount(counts.group, counts.weight, counts.groups)
        rows = np.bincount(counts.group, counts.rows, counts.groups)
        square = np.bincount(counts.group, counts.square, counts.groups)
        total = size[reference] + size
        share = ratio(size[reference], total)
        effective = ratio(total**2, square[reference] + square)
        low, high = wilson(share, effective, situation.view.confidence)
        gaps = []
        for g in range(counts.groups):
            if g == reference:
                gaps.append(Gap(g, g, 0.0, "ok", "the reference group"))
                continue
            small = [k for k in (g, reference) if rows[k] < situation.least]
            reason = f"{situation.names[small[0]]}: rests on {rows[small[0]]:,.0f} rows" if small else None
            status = "insufficient_data" if small else "ok"
            if not total[g] > 0:
                status, reason = "undefined", "0/0: no weight in either group"
            value = float(ratio(size[reference] - size[g], total[g]))
            gaps.append(
                Gap(g, reference, value, status, reason, float(2 * low[g] - 1), float(2 * high[g] - 1))  # type: ignore[arg-type]
            )
        others = [gap for gap in gaps if gap.group != reference and gap.status != "undefined"]
        enough = [gap for gap in others if gap.status == "ok"] or others
        if not enough:
            return [*gaps, Gap(None, None, NAN, "undefined", "0/0: no weight")]
        widest = max(enough, key=lambda gap: abs(gap.value))
        told, g = f"of {situation.names[widest.group or 0]}", widest.group or 0
        strict = 1 - (1 - situation.view.confidence) / len(enough)
        least, most = (float(2 * end - 1) for end in wilson(share[g], effective[g], strict))
        return [*gaps, Gap(None, reference, widest.value, widest.status, told, least, most)]

    return Disparity(name, title, "difference", ("count",), compare, attained=True, signed=True)


def class_imbalance(advantaged: float, disadvantaged: float) -> float:
    """(nₐ − n_d)/(nₐ + n_d) of two counts; NaN where both are 0."""
    return float(ratio(advantaged - disadvantaged, advantaged + disadvantaged))


# ---------------------------------------------------------------- divergences of two distributions


def kl_divergence(a: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Σ Pₐ ln(Pₐ/P_d), 0–∞: Kullback and Leibler's divergence of d from a; infinite where d lacks a class that a has.

    Args:
        a, d: (…, classes) shares that sum to 1, or NaN where nothing was counted.

    Returns:
        (…) float64; NaN where a distribution is.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(a == 0, 0.0 * d, a * np.log(a / d))
    return np.maximum(parts.sum(-1), 0.0)  # rounding must not make it negative


def js_divergence(a: np.ndarray, d: np.ndarray) -> np.ndarray:
    """½[KL(Pₐ‖P) + KL(P_d‖P)] with P = ½(Pₐ + P_d), 0–ln 2: Jensen and Shannon's. Arguments: `kl_divergence`."""
    middle = (a + d) / 2
    return (kl_divergence(a, middle) + kl_divergence(d, middle)) / 2


def lp_norm(a: np.ndarray, d: np.ndarray) -> np.ndarray:
    """‖Pₐ − P_d‖₂, 0–√2. Arguments: `kl_divergence`."""
    return np.sqrt(((a - d) ** 2).sum(-1))


def total_variation(a: np.ndarray, d: np.ndarray) -> np.ndarray:
    """½‖Pₐ − P_d‖₁, 0–1: the share of labels that had to change for both to be the same. Arguments: `kl_divergence`."""
    return np.abs(a - d).sum(-1) / 2


def kolmogorov_smirnov(a: np.ndarray, d: np.ndarray) -> np.ndarray:
    """max |Pₐ − P_d| over the classes, 0–1, which have no order: no cumulated shares. Arguments: `kl_divergence`."""
    return np.abs(a - d).max(-1)


#: comparison → its divergence
DIVERGENCES: dict[str, Divergence] = {
    "kl_divergence": kl_divergence,
    "js_divergence": js_divergence,
    "lp_norm": lp_norm,
    "total_variation": total_variation,
    "kolmogorov_smirnov": kolmogorov_smirnov,
}

#: those that for two classes are so many times the difference of label rates, without its sign
_OF_RATES = {"lp_norm": np.sqrt(2.0), "total_variation": 1.0, "kolmogorov_smirnov": 1.0}


def farthest(table: np.ndarray, reference: int, divergence: Divergence) -> np.ndarray:
    """The largest divergence of any group from the reference, as a function of counts.

    Args:
        table: (…, groups, classes) how many labels; groups of none are left out.
        reference: index of the group a.

    Returns:
        (…) float64; NaN where no group can be compared.
    """
    shares = ratio(table, table.sum(-1, keepdims=True))
    value = divergence(shares[..., [reference], :], shares)
    value[..., reference] = np.nan
    known = ~np.isnan(value)
    return np.where(known.any(-1), np.where(known, value, -np.inf).max(-1), np.nan)


# ---------------------------------------------------------------- as comparisons of groups


@dataclass(frozen=True, eq=False)
class _Labels:
    """Labels by group, (groups, classes) each; classes that no row has are left out."""

    classes: np.ndarray
    rows: np.ndarray
    weight: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, counts: Counts) -> _Labels:
        known = counts.label >= 0
        classes, label = np.unique(counts.label[known], return_inverse=True)
        key, size = counts.group[known] * len(classes) + label, counts.groups * len(classes)
        rows, weight, square = (
            np.bincount(key, values[known], size).reshape(counts.groups, len(classes))
            for values in (counts.rows, counts.weight, counts.square)
        )
        return cls(classes, rows, weight, square)

    def at(self, groups: list[int]) -> _Labels:
        return replace(self, rows=self.rows[groups], weight=self.weight[groups], square=self.square[groups])


def divergence(name: str, title: str, rate: Metric) -> Disparity:
    """How far each group's labels are from those of the reference group; for the attribute the farthest group's.

    Of two classes, the multiples of the difference of label rates (`_OF_RATES`) take its interval, and all of them its
    test. Else the interval is a bootstrap that draws each group's labels, and the test Pearson's χ².

    Args:
        name: one of DIVERGENCES.
        rate: of favourable labels.
    """
    function = DIVERGENCES[name]

    def compare(situation: Situation) -> list[Gap]:
        labels = _Labels.of(situation.view.counts)
        total = labels.rows.sum(-1)
        reference = situation.reference
        if reference is None or situation.view.size < 2:
            alone = situation.view.size == 1
            return [Gap(None, None, NAN, "undefined", "there is only one group" if alone else "no reference group")]
        shares = ratio(labels.weight, labels.weight.sum(-1, keepdims=True))
        value = function(shares[[reference]], shares) if len(labels.classes) else np.full(len(total), np.nan)
        asked = _Asked(situation, labels, shares, reference, name, rate)
        rows = [_row(asked, g, float(value[g]), total) for g in range(len(value))]
        return [*rows, _widest(asked, rows, total)]

    return Disparity(name, title, "difference", (rate.name, "count"), compare, attained=True)


@dataclass(frozen=True, eq=False)
class _Asked:
    """What one divergence of one attribute is worked out from."""

    situation: Situation
    labels: _Labels
    shares: np.ndarray
    reference: int
    name: str
    rate: Metric

    @property
    def by_rate(self) -> bool:
        """Whether the label rate says all: there are two classes, and one of them is favourable."""
        favorable = np.isin(self.labels.classes, self.situation.view.evidence.favorable)
        return len(favorable) == 2 and favorable.sum() == 1 and self.rate.name in self.situation.measured

    def interval(self, groups: list[int], value: float) -> tuple[float, float, str | None]:
        """(low, high, why there is none) of the divergence of the farthest of some groups, the reference before them.

        Above, the percentile of draws, which chance makes too large: it fails less often than it may. Below, the
        farthest of the groups' own lower limits, which hold for all at once (Bonferroni): the farthest of several that
        tie is seen farther than any of them is.
        """
        if len(groups) == 2 and self.by_rate and self.name in _OF_RATES:
            ends = pair_interval(
                self.situation.measured[self.rate.name], "difference", np.array(groups[:1]), np.array(groups[1:])
            )
            low, high = without_sign(float(ends[0][0]), float(ends[1][0]))
            return low * _OF_RATES[self.name], high * _OF_RATES[self.name], None
        problem = self.why_no_draws(groups)
        if problem:
            return NAN, NAN, problem
        drawn, confidence = self.drawn(groups), self.situation.view.confidence
        strict = 1 - (1 - confidence) / (len(groups) - 1)
        low = max(self.least([groups[0], g], drawn[:, [0, k]], strict) for k, g in enumerate(groups[1:], 1))
        farthest = DIVERGENCES[self.name](drawn[:, :1], drawn[:, 1:]).max(-1)
        return low, max(percentiles(farthest, confidence)[1], value), None

    def least(self, pair: list[int], drawn: np.ndarray, confidence: float) -> float:
        """Lower limit of the divergence of two groups by `least_disparity`, whose labels move towards those that both
        have together; 0 where there are too few draws for the confidence.

        Args:
            pair: the reference, then the group.
            drawn: (draws, 2, classes) their resampled shares.
        """
        if len(drawn) * (1 - confidence) / 2 < 1:
            return 0.0
        shares, weight, function = self.shares[pair], self.labels.weight[pair], DIVERGENCES[self.name]
        common = weight.sum(0) / weight.sum()
        # A draw's error is carried over in proportion, so that no share turns negative.
        error = np.where(shares > 0, ratio(drawn, shares), 0.0)
        value = float(function(shares[0], shares[1]))

        def towards(left: float) -> np.ndarray:
            return common + left * (shares - common)

        def shrunk(left: float) -> np.ndarray:
            noisy = towards(left) * error
            noisy = noisy / noisy.sum(-1, keepdims=True)
            return function(noisy[:, 0], noisy[:, 1])

        left = least_disparity(shrunk, value, confidence)
        return min(float(function(*towards(left))), value) if left > 0 else 0.0

    def drawn(self, groups: list[int]) -> np.ndarray:
        """(draws, groups, classes) shares of resampled labels; a group's are the same whomever it is compared with."""
        found = []
        for g in groups:
            generator = self.situation.resampler.generator(f"labels {g}")
            square = self.labels.square[g] if self.situation.weighted else None
            table = resampled(generator, self.labels.weight[g], square, self.situation.resampler.draws)
            found.append(table / table.sum(-1, keepdims=True))
        return np.stack(found, 1)

    def why_no_draws(self, groups: list[int]) -> str | None:
        if not self.situation.resampler.draws:
            return "no interval: bias.resamples is 0"
        if self.situation.view.size > MAX_GROUPS:
            return f"no interval: more than {MAX_GROUPS} groups"
        cells = ratio(self.labels.weight[groups] ** 2, self.labels.square[groups])  # Kish's effective rows
        cells = np.nan_to_num(cells)
        if (cells[:, cells.sum(0) > 0] < LEAST_CELL).any():
            return f"fewer than {LEAST_CELL} rows in a cell: no interval"
        return None

    def test(self, groups: list[int]) -> tuple[float, str | None]:
        """(p-value, test) of these groups having the same labels."""
        situation, rate = self.situation, self.rate
        if self.by_rate:
            measured = situation.measured[rate.name]
            if len(groups) == 2:
                return test_pair(situation, rate, measured, groups[0], groups[1])
            return test_all(situation, rate, measured, np.array(groups))
        cells = self.labels.at(groups)
        square = cells.square if situation.weighted else None
        resampler = situation.resampler
        draws = resampler.draws if situation.view.size <= MAX_GROUPS else 0
        p, test = same_distribution(cells.weight, square, resampler.generator("null labels"), draws)
        return p, None if np.isnan(p) else test

    def hypothesis(self, groups: list[int]) -> Hashable:
        return self.rate.name if self.by_rate else "labels", frozenset(groups) if len(groups) == 2 else "all"


def _row(asked: _Asked, group: int, value: float, total: np.ndarray) -> Gap:
    reference, names = asked.reference, asked.situation.names
    for g in (group, reference):
        if np.isnan(asked.shares[g]).any() or not asked.shares.shape[1]:
            return Gap(group, reference, NAN, "undefined", f"{names[g]}: 0/0: no labels")
    least = asked.situation.least
    small = [g for g in (group, reference) if total[g] < least]
    status: ValueStatus = "insufficient_data" if small else "ok"
    reason = f"{names[small[0]]}: rests on {total[small[0]]:,.0f} rows; {least} are needed" if small else None
    if group == reference:
        return Gap(group, group, 0.0, status, reason or "the reference group")
    pair = [group, reference]
    p, test = asked.test(pair)
    key = asked.hypothesis(pair)
    if np.isinf(value):
        reason = f"infinite: {names[group]} has no label of a class that {names[reference]} has"
        return Gap(group, reference, NAN, "undefined", reason, p=p, test=test, hypothesis=key)
    low, high, problem = asked.interval([reference, group], value)
    if problem:
        status = "insufficient_data" if problem.startswith("fewer") else status
        reason = "; ".join(part for part in (reason, problem) if part)
    return Gap(group, reference, value, status, reason, low, high, p, test, key)


def _widest(asked: _Asked, rows: list[Gap], total: np.ndarray) -> Gap:
    """The attribute's row: the farthest of the groups with enough rows; of all where none has enough."""
    situation, reference = asked.situation, asked.reference
    others = [gap for gap in rows if gap.group != reference]
    able = [gap for gap in others if not np.isnan(gap.value)]
    enough = [gap for gap in able if min(total[gap.group or 0], total[reference]) >= situation.least] or able
    if not enough:
        return Gap(None, None, NAN, "undefined", others[0].reason)
    widest = max(enough, key=lambda gap: gap.value)
    out = [situation.names[gap.group or 0] for gap in others if gap not in enough]
    notes = [f"of {situation.names[widest.group or 0]}"] if len(enough) > 1 else []
    if out:
        more = f" and {len(out) - 5:,} more" if len(out) > 5 else ""
        notes.append(f"leaves out {', '.join(out[:5])}{more}")
    if len(enough) == 1:
        told = [note for note in (widest.reason, *notes) if note]
        return replace(widest, group=None, reference=None, reason="; ".join(told) or None)
    groups = [reference, *(gap.group or 0 for gap in enough)]
    p, test = asked.test(sorted(groups))
    status = widest.status
    low, high, problem = asked.interval(groups, widest.value)
    if problem:
        status = "insufficient_data" if problem.startswith("fewer") else status
        notes.append(problem)
    return Gap(None, None, widest.value, status, "; ".join(notes), low, high, p, test, asked.hypothesis(groups))
