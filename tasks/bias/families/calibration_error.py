"""The expected calibration error: how far, over bins of the score, mean score and share that comes true lie apart.

Sources: Guo et al. 2017 (ICML, 1321–1330); de Moivre's mean absolute deviation, in Diaconis and Zabell 1991 (Stat. Sci.
6, 284–302), for what chance alone gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.bias.base import CLASSIFIERS, Measured, Metric, View, nothing, ratio
from tasks.bias.disparities import NAN, Disparity, Gap, Situation, ValueStatus, included, left_out
from tasks.bias.families.calibration import scores_of
from tasks.bias.families.ranking import hits_of
from tasks.bias.rows import loops
from tasks.bias.statistics.intervals import mover_difference, without_sign

#: bins of equal width between 0 and 1: those of the report's picture, so that a reader can add the error up from it.
#: With Guo's 15 the error of a calibrated group, which grows with the root of their number, is a fifth larger
BINS = 10
#: attributes with more groups have no draws: their cost is by the group
MAX_GROUPS = 250
_TEST = "redrawn labels"


@dataclass(frozen=True, eq=False)
class Binned:
    """Rows by group, bin of the score, and label (0, 1): arrays (groups, BINS, 2).

    Attributes:
        rows, weight, square, score: rows, Σw, Σw², Σw·score.
        weighted: whether weights were declared.
    """

    rows: np.ndarray
    weight: np.ndarray
    square: np.ndarray
    score: np.ndarray
    weighted: bool

    @property
    def size(self) -> np.ndarray:
        """(groups, BINS) Σw."""
        return self.weight.sum(2)

    @property
    def effective(self) -> np.ndarray:
        """(groups, BINS) Kish's effective number of rows; without weights the rows."""
        return np.nan_to_num(ratio(self.size**2, self.square.sum(2)))

    @property
    def off(self) -> np.ndarray:
        """(groups, BINS) Σw(score − label)."""
        return self.score.sum(2) - self.weight[:, :, 1]

    @property
    def error(self) -> np.ndarray:
        """(groups,) the expected calibration error."""
        return ratio(np.abs(self.off).sum(1), self.size.sum(1))


def binned(view: View) -> Binned | str:
    """The rows of an attribute in bins of their score; or what is lacking."""
    score, lacking = scores_of(view)
    if score is None:
        return lacking

    def cells() -> np.ndarray:
        hit = hits_of(view.evidence, view.members)
        cell = 2 * np.minimum(np.nan_to_num(score) * BINS, BINS - 1).astype(np.uint8) + (hit == 1)
        return np.where((hit < 0) | ~np.isfinite(score), loops.NO_BIN, cell).astype(np.uint8)

    def made() -> Binned:
        weight = view.evidence.weight
        cell = view.evidence.memo.get(("calibration bins", view.members), cells)
        sums = loops.tally(view.codes, cell, score, weight, (view.size, 2 * BINS))
        rows, size, square, scores = sums.reshape(4, view.size, BINS, 2)
        return Binned(rows, size, square, scores, weighted=weight is not None)

    return view.memo.get(("binned", view.members), made)


def by_chance(table: Binned) -> np.ndarray:
    """(groups,) the calibration error to be expected of a perfectly calibrated group with these scores.

    The mean of |hits − n·p̄| of n draws with the chance p̄, de Moivre's 2ν C(n, ν) p̄^ν (1 − p̄)^(n − ν + 1) with
    ν = ⌊n·p̄⌋ + 1, added over the bins; p̄ is a bin's mean score, n its (effective) rows.
    """
    from scipy.special import gammaln, xlogy

    n = table.effective
    share = np.clip(np.nan_to_num(ratio(table.score.sum(2), table.size)), 0, 1)
    at = np.floor(n * share) + 1
    rest = np.maximum(n - at, 0)
    log = np.log(2 * at) + gammaln(n + 1) - gammaln(at + 1) - gammaln(rest + 1)
    deviation = np.exp(log + xlogy(at, share) + xlogy(rest + 1, 1 - share))
    part = table.size * np.nan_to_num(ratio(deviation, n))
    return ratio(part.sum(1), table.size.sum(1))


def limits(table: Binned, group: int, tail: float, generator: np.random.Generator, draws: int) -> tuple[float, float]:
    """How far a group's calibration error may lie below and above what was found, each with the given chance to be
    beyond: multinomial draws on the table of bin and label.

    A percentile interval will not do: |x| of noise is never 0, so the error and its draws are too high, and what is
    calibrated would never be found so. But the error lies no further below its estimate than the sum over bins of the
    draws' distances from what they are drawn from (triangle inequality), and no further above than the sum of those
    that make it larger. So both ends hold their level, and are too wide between the two extremes.
    """
    weight, square = table.weight[group].ravel(), table.square[group].ravel()
    filled = weight > 0
    if not filled.any() or not draws:
        return NAN, NAN
    mean = np.zeros(weight.size)
    mean[filled] = table.score[group].ravel()[filled] / weight[filled] - np.tile([0, 1], BINS)[filled]
    drawn = np.zeros((draws, weight.size))
    if table.weighted:  # the Poisson bootstrap's first two moments, as in resampling.py
        w, s = weight[filled], square[filled]
        drawn[:, filled] = generator.gamma(w**2 / s, s / w, size=(draws, len(w)))
    else:
        drawn[:, filled] = generator.multinomial(round(weight.sum()), weight[filled] / weight.sum(), size=draws)
    off = (drawn * mean).reshape(draws, BINS, 2).sum(2) / drawn.sum(1, keepdims=True)
    found = (weight * mean).reshape(BINS, 2).sum(1) / weight.sum()
    noise = off - found
    below = np.quantile(np.abs(noise).sum(1), 1 - tail)
    above = np.quantile((noise * np.sign(found)).sum(1), 1 - tail)
    return float(below), max(float(above), 0.0)


def _interval(view: View, table: Binned, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """Limits of every group; NaN without draws, and for attributes of very many groups."""
    reach = np.full((2, view.size), np.nan)
    if view.size <= MAX_GROUPS:
        for g in range(view.size):
            reach[:, g] = limits(table, g, tail, view.generator(f"calibration {view.members} {g}"), view.draws)
    error = table.error
    return np.maximum(error - reach[0], 0.0), np.minimum(error + reach[1], 1.0)


def _expected_calibration_error(view: View) -> Measured:
    """Σ over bins of the score of n_bin/n · |mean score − share of positive labels|, 10 bins of equal width. Range 0–1,
    lower is better; biased upward, so what a perfectly calibrated group would have stands beside it."""
    table = binned(view)
    if isinstance(table, str):
        return nothing(view, table)
    error, expected = table.error, by_chance(table)
    low, high = _interval(view, table, (1 - view.confidence) / 2)
    rows = table.rows.sum((1, 2))
    notes = {
        int(g): f"biased upward: a perfectly calibrated group with these scores would have {expected[g]:.4f} by chance"
        for g in np.flatnonzero(np.isfinite(error))
    }
    return Measured(
        value=error, numerator=np.abs(table.off).sum(1), denominator=table.size.sum(1), n=rows, support=rows, low=low,
        # No standard error: a Wald test of two groups of different size would find what is only their bias.
        high=high, std_error=np.full(view.size, np.nan), method="multinomial over score bins",
        undefined="0/0: no labels", notes=notes,
    )  # fmt: skip


# ---------------------------------------------------------------- between groups


def _alike(table: Binned, groups: np.ndarray, generator: np.random.Generator, draws: int) -> np.ndarray:
    """(draws, groups) calibration errors where in each bin all these groups miss by the same: labels are drawn again
    with the score less what all of them together are off."""
    size, n = table.size[groups], table.effective[groups]
    shift = np.nan_to_num(ratio(table.off[groups].sum(0), size.sum(0)))
    score = np.nan_to_num(ratio(table.score[groups].sum(2), size))
    share = np.clip(score - shift, 0, 1)
    whole = np.maximum(np.rint(n), size > 0).astype(np.int64)
    found = np.empty((draws, len(groups)))
    for start in range(0, draws, 100):  # a block of draws at a time: bounded memory
        block = min(100, draws - start)
        hits = generator.binomial(whole, share, size=(block, *share.shape)) / np.maximum(whole, 1)
        found[start : start + block] = (np.abs(score - hits) * size).sum(2) / size.sum(1)
    return found


def _chance(statistic: np.ndarray, value: float) -> float:
    """Permutation p-value: the share of draws that are no smaller, the value itself among them."""
    return float((1 + np.count_nonzero(statistic >= value - 1e-12)) / (1 + len(statistic)))


def gap(name: str, title: str) -> Disparity:
    """Difference of expected calibration error: of each group, less that of the reference group; for the attribute
    max − min. Above 0 the group's scores are worse calibrated. Range −1–1.

    Intervals: MOVER on the groups' own; over more than two groups from limits that hold for all at once (Bonferroni).
    Smaller groups have the larger error by their size alone, so the test draws labels again as if in every bin all
    groups were off by the same, and the attribute's row says what that gives.
    """

    def compare(situation: Situation) -> list[Gap]:
        measured = situation.measured["expected_calibration_error"]
        table = binned(situation.view)
        groups = included(measured, situation.least)
        pairs: list[Gap] = []
        if situation.reference is not None and not isinstance(table, str):
            pairs = [*_pairs(name, situation, measured, table)]
        if isinstance(table, str) or len(groups) < 2:
            lacking = "there is only one group" if len(measured.value) == 1 else measured.undefined
            return [*pairs, Gap(None, None, NAN, "undefined", lacking)]
        return [*pairs, _whole(name, situation, measured, table, groups)]

    return Disparity(name, title, "difference", ("expected_calibration_error",), compare, signed=True)


def _pairs(name: str, situation: Situation, measured: Measured, table: Binned) -> Iterator[Gap]:
    """A row for each group against the reference."""
    view, reference = situation.view, situation.reference
    assert reference is not None
    for g in range(view.size):
        for k in (g, reference):
            if not measured.defined[k]:
                reason = f"{situation.names[k]}: {measured.status(k, situation.least)[1]}"
                yield Gap(g, reference, NAN, "undefined", reason)
                break
        else:
            yield _pair(name, situation, measured, table, g, reference)


def _pair(name: str, situation: Situation, measured: Measured, table: Binned, g: int, reference: int) -> Gap:
    view = situation.view
    small = next((k for k in (g, reference) if measured.support[k] < situation.least), None)
    status: ValueStatus = "ok" if small is None else "insufficient_data"
    reason = None if small is None else f"{situation.names[small]}: {measured.status(small, situation.least)[1]}"
    if g == reference:
        return Gap(g, g, 0.0, status, reason or "the reference group")
    value = float(measured.value[g] - measured.value[reference])
    low, high = mover_difference(*_both(measured.value, measured.low, measured.high, g, reference))
    p, test = NAN, None
    if view.draws and view.size <= MAX_GROUPS:
        drawn = _alike(table, np.array([g, reference]), view.generator(f"{name} {g} {reference}"), view.draws)
        p, test = _chance(np.ptp(drawn, axis=1), abs(value)), _TEST
    hypothesis = (name, frozenset((g, reference)))
    return Gap(g, reference, value, status, reason, float(low), float(high), p, test, hypothesis)


def _whole(name: str, situation: Situation, measured: Measured, table: Binned, groups: np.ndarray) -> Gap:
    """The attribute's row: the widest gap between any two of its groups."""
    view = situation.view
    value = float(np.ptp(measured.value[groups]))
    notes = [note for note in (left_out(situation, measured, groups),) if note]
    status: ValueStatus = "ok"
    if measured.sufficient(situation.least).sum() < 2:
        status = "insufficient_data"
        notes.insert(0, f"fewer than two groups rest on {situation.least} rows")
    p, test = NAN, None
    if view.draws and len(groups) <= MAX_GROUPS:
        alike = np.ptp(_alike(table, groups, view.generator(f"{name} all"), view.draws), axis=1)
        p, test = _chance(alike, value), _TEST
        usual = f"{alike.mean():.4f}, in 95 % of draws up to {np.quantile(alike, 0.95):.4f}"
        notes.append(f"biased upward: with groups calibrated alike it would be {usual}")
    tail = (1 - view.confidence) / 2 / (len(groups) if len(groups) > 2 else 1)
    low, high = (limit[groups] for limit in _interval(view, table, tail))
    if len(groups) == 2:
        best, worst = np.argsort(measured.value[groups], kind="stable")
        ends = mover_difference(*_both(measured.value[groups], low, high, worst, best))
        ci = without_sign(*(float(end) for end in ends))
    else:
        ci = max(0.0, float(low.max() - high.min())), float(high.max() - low.min())
    hypothesis = (name, frozenset(map(int, groups)))
    return Gap(None, None, value, status, "; ".join(notes) or None, *ci, p, test, hypothesis)


def _both(value: np.ndarray, low: np.ndarray, high: np.ndarray, first: int, second: int) -> tuple:
    """The arguments of MOVER for two groups."""
    return value[first], (low[first], high[first]), value[second], (low[second], high[second])


METRICS: tuple[Metric, ...] = (
    Metric("expected_calibration_error", "expected calibration error", _expected_calibration_error, tasks=CLASSIFIERS,
           better="lower", of="positive", scores=True, per_class=True),
)  # fmt: skip
