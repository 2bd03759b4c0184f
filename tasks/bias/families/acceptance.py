"""Labels held against decisions: are those whom the labels favour accepted, and those rejected whom they do not?

Definitions and signs: SageMaker Clarify's post-training bias metrics (DCA, DCR, DAR, DRR, TE), which count the
favourable outcome. Cells are label then decision, as in `rates.py`; rows without one of the two have no part. The
differences of acceptance and rejection rates are those of proportions and are made by `gaps.py`; the ratios here are
of counts that are no part of one another, and may exceed 1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasks.bias.base import ALL_TASKS, Measured, Metric, View, ratio
from tasks.bias.disparities import Disparity, Gap, Situation, included, test_all, test_pair
from tasks.bias.families import gaps
from tasks.bias.families.rates import BOTH, cells
from tasks.bias.statistics.intervals import Interval, normal_quantile, wilson

#: the score interval's limits lie within e to this power, and are found to the last bits in so many halvings
_SPAN, _HALVINGS = 45.0, 64


def _coefficient(name: str, title: str, outcome: str, labelled: str, decided: str) -> Metric:
    """n / n̂ of one outcome, 0–∞: rows labelled with it over rows decided so; 1 where the decisions are as many."""
    top, bottom = cells(labelled), cells(decided)
    both = top * bottom

    def measure(view: View) -> Measured:
        table = view.tables["favorable"]
        numerator, denominator = table.sum(top), table.sum(bottom)
        value = ratio(numerator, denominator)
        low, high = paired_ratio(*_paired(view, top, bottom), view.confidence)
        influence = table.square @ both * (1 - value) ** 2 + table.square @ (top - both)
        influence = influence + table.square @ (bottom - both) * value**2
        return Measured(
            value=value, numerator=numerator, denominator=denominator, n=table.rows @ cells(BOTH),
            support=table.rows @ bottom, low=low, high=high, std_error=np.sqrt(ratio(influence, denominator**2)),
            method="paired score, effective n" if table.weighted else "paired score",
            undefined=f"0/0: no {outcome} decisions",
        )  # fmt: skip

    return Metric(
        name, title, measure, tasks=ALL_TASKS, of="favorable", highest=float("inf"),
        # Without rows in which they differ the ratio is 1 in every draw.
        shares=((bottom, cells(BOTH)), (top + bottom - 2 * both, top + bottom - both)),
        from_cells=lambda table: ratio(table @ top, table @ bottom),
    )  # fmt: skip


def paired_ratio(both: np.ndarray, first: np.ndarray, second: np.ndarray, confidence: float) -> Interval:
    """Score interval of (both + first)/(both + second), the ratio of two shares of the same rows.

    Nam and Blackwelder 2002 (Stat. Med. 21, 689–699): the ratios θ at which X − θY, over its spread where θ holds, is
    no farther from 0 than z. Rows that have neither property play no part.

    Args:
        both, first, second: (k,) rows that have both properties, the first alone, the second alone.

    Returns:
        (low, high), NaN where both + second is 0.
    """
    both, first, second = (np.asarray(part, float) for part in (both, first, second))
    x, y = both + first, both + second
    z = normal_quantile(confidence)

    def score(theta: np.ndarray) -> np.ndarray:
        spread = np.sqrt(theta * (_alone(theta, both, first, second) + _alone(1 / theta, both, second, first)))
        apart = x - theta * y
        return np.divide(apart, spread, out=np.where(apart == 0, 0.0, np.sign(apart) * np.inf), where=spread > 0)

    def crossing(at: float) -> np.ndarray:
        low, high = np.full(x.shape, -_SPAN), np.full(x.shape, _SPAN)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = score(np.exp(middle)) > at
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.exp((low + high) / 2)

    with np.errstate(invalid="ignore"):
        value = ratio(x, y)
        low = np.where(x > 0, np.minimum(crossing(z), value), 0.0)
        high = np.maximum(crossing(-z), value)
    nothing = np.isnan(value)
    return np.where(nothing, np.nan, low), np.where(nothing, np.nan, high)


def _alone(theta: np.ndarray, both: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Most likely number of rows with the second property alone, where the ratio of both properties is θ."""
    square = theta**2
    total = both + first + second
    linear = square * (total + first) - (both + first)
    root = np.sqrt((both + first - square * (both + second)) ** 2 + 4 * square * first * second)
    # The sum cancels where `linear` is negative; the product of both roots then gives the same without loss.
    apart = np.where(linear < 0, root - linear, 1.0)
    top = np.where(linear < 0, 4 * square * first * total * (1 - square) / apart, linear + root)
    return top / (2 * theta * (theta + 1))


def _misses_per_false_alarm(view: View) -> Measured:
    """FN/FP, 0–∞, of the favourable outcome: an increasing function of FN's share of all errors, as is its interval."""
    share = _of_errors(view)
    table = view.tables["favorable"]
    misses, alarms = table.sum(cells("10")), table.sum(cells("01"))
    gone = ~(alarms > 0)
    return Measured(
        value=ratio(misses, alarms), numerator=misses, denominator=alarms, n=table.rows @ cells(BOTH),
        support=table.rows @ cells("01 10"), low=np.where(gone, np.nan, ratio(share.low, 1 - share.low)),
        high=np.where(gone, np.nan, ratio(share.high, 1 - share.high)),
        std_error=ratio(share.std_error, (1 - share.value) ** 2), method="wilson, transformed",
        undefined="no row is decided favourably against its label: division by 0",
    )  # fmt: skip


def _of_errors(view: View) -> Measured:
    """FN/(FN + FP): in this form two groups are compared by an exact test."""
    table = view.tables["favorable"]
    misses, errors = cells("10"), cells("01 10")
    numerator, denominator = table.sum(misses), table.sum(errors)
    value = ratio(numerator, denominator)
    low, high = wilson(value, table.effective(errors), view.confidence)
    influence = table.square @ misses * (1 - value) ** 2 + table.square @ cells("01") * value**2
    return Measured(
        value=value, numerator=numerator, denominator=denominator, n=table.rows @ cells(BOTH),
        support=table.rows @ errors, low=low, high=high, std_error=np.sqrt(ratio(influence, denominator**2)),
        method="wilson", undefined="0/0: no errors",
    )  # fmt: skip


def _logarithm(name: str, labelled: str, decided: str) -> Metric:
    """ln of a coefficient, on which Wald's test keeps its size: half a row is added to both numbers and one to the
    rows in which they differ. Simulated for 30 rows a group and more, it rejects at .05 in 5.6 % at most; in 21 %
    without these, where no row differs in a small group."""
    top, bottom = cells(labelled), cells(decided)

    def measure(view: View) -> Measured:
        both, first, second = _paired(view, top, bottom)
        x, y = both + first + 0.5, both + second + 0.5
        none = np.full(view.size, np.nan)
        return Measured(
            value=np.log(x / y), numerator=none, denominator=none, n=none, support=none, low=none, high=none,
            std_error=np.sqrt((first + second + 1) / (x * y)), method=None, undefined="",
        )  # fmt: skip

    return Metric(name, f"ln of the {name}", measure, of="favorable")


def _paired(view: View, top: np.ndarray, bottom: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(groups,) rows in both sets of cells, in the first alone, in the second alone; with weights, effective rows."""
    table = view.tables["favorable"]
    both = top * bottom
    either = top + bottom - both
    scale = np.nan_to_num(ratio(table.effective(either), table.sum(either)))
    first, second = (table.sum(part - both) * scale for part in (top, bottom))
    return table.sum(both) * scale, first, second


_ACCEPTANCE, _REJECTION = ("10 11", "01 11"), ("00 01", "00 10")

METRICS: tuple[Metric, ...] = (
    _coefficient("acceptance_coefficient", "favourable labels per favourable decision", "favourable", *_ACCEPTANCE),
    _coefficient("rejection_coefficient", "unfavourable labels per unfavourable decision", "unfavourable",
                 *_REJECTION),
    Metric("error_ratio", "misses per false alarm", _misses_per_false_alarm, tasks=ALL_TASKS, of="favorable",
           highest=float("inf"), from_cells=lambda table: ratio(table @ cells("10"), table @ cells("01")),
           shares=((cells("10"), cells("01 10")),)),
)  # fmt: skip

_SHARE_OF_ERRORS = Metric("error_ratio, share", "share of misses among errors", _of_errors, of="favorable",
                          proportion=True)  # fmt: skip


def acceptance(name: str, title: str, metric: Metric) -> Disparity:
    """nₐ⁽¹⁾/n̂ₐ⁽¹⁾ − n_d⁽¹⁾/n̂_d⁽¹⁾ (DCA): negative where the group d has fewer favourable decisions for its favourable
    labels than the best-off group a. Interval: MOVER on the groups' score intervals; test: `_logarithm`'s."""
    plain = gaps.against_best_off(name, title, metric, "difference")
    return _tested(plain, metric, _logarithm(metric.name, *_ACCEPTANCE))


def rejection(name: str, title: str, metric: Metric) -> Disparity:
    """n_d⁽⁰⁾/n̂_d⁽⁰⁾ − nₐ⁽⁰⁾/n̂ₐ⁽⁰⁾ (DCR): negative where the group d has more unfavourable decisions for its
    unfavourable labels than the best-off group a. Interval and test: as `acceptance`."""
    plain = gaps.against_best_off(name, title, metric, "difference", from_reference=False)
    return _tested(plain, metric, _logarithm(metric.name, *_REJECTION))


def treatment_equality(name: str, title: str, metric: Metric) -> Disparity:
    """FN_d/FP_d − FNₐ/FPₐ (TE; Berk et al. 2018): positive where the errors of the group d are more often to its harm.

    Interval: MOVER on transformed Wilson intervals; test: Fisher's, of FN among the errors.
    """
    plain = gaps.against_best_off(name, title, metric, "difference", from_reference=False)
    return _tested(plain, metric, _SHARE_OF_ERRORS)


def _tested(plain: Disparity, metric: Metric, scale: Metric) -> Disparity:
    """The same comparison, tested on a scale that is made for it."""

    def compare(situation: Situation) -> list[Gap]:
        measured, scaled = situation.measured[metric.name], scale.measure(situation.view)
        found = []
        for gap in plain.compare(situation):
            if gap.status == "undefined" or gap.group == gap.reference is not None:
                found.append(replace(gap, p=float("nan"), test=None))
                continue
            if gap.group is None:
                p, test = test_all(situation, scale, scaled, included(measured, situation.least))
            else:
                p, test = test_pair(situation, scale, scaled, gap.group, gap.reference or 0)
            found.append(replace(gap, p=p, test=test))
        return found

    return replace(plain, compare=compare)
