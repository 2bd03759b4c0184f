"""What a policy asks of thresholds: which of its checks they can meet, and how near a table of counts comes to one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from configs.schema import CROSSING, AuditConfig, PolicyCheck
from tasks.advice.curves import Cut
from tasks.bias import METRICS, Disparity, Metric, find

#: comparisons that are the widest gap of the groups' own rates, and thereby follow from their thresholds
_PLAIN = {
    "demographic_parity_difference", "demographic_parity_ratio", "impact_ratio", "predicted_rate_difference",
    "disparate_impact", "equalized_odds_difference", "equalized_odds_ratio", "average_odds_difference",
    "equal_opportunity_difference", "equal_opportunity_ratio", "predictive_parity_difference", "accuracy_difference",
    "recall_difference", "specificity_difference",
}  # fmt: skip
#: drawn where no policy is declared: no aim, an example of what thresholds do
EXAMPLE = "impact_ratio"


@dataclass(frozen=True, eq=False)
class Aim:
    """A check of the policy that thresholds may meet.

    Attributes:
        attribute, metric: as in the policy.
        entry: of the registry.
        comparison: difference, ratio, or level: a rate of every group on its own.
        rates: the rates compared; equalized odds have two.
        low, high: the limits; −∞ and ∞ where there is none.
        group: the one group that a level is asked of, by its index; None: every group.
        text: `impact_ratio ≥ 0.8`.
        example: no policy asks for it; there are no limits.
    """

    attribute: str
    metric: str
    entry: Metric | Disparity
    comparison: Literal["difference", "ratio", "level"]
    rates: tuple[Metric, ...]
    low: float = -np.inf
    high: float = np.inf
    group: int | None = None
    text: str = ""
    example: bool = False

    @property
    def averaged(self) -> bool:
        return isinstance(self.entry, Disparity) and self.entry.averaged

    def met(self, value: np.ndarray | float) -> np.ndarray:
        """Whether values are within the limits, as the policy's point verdict has it; NaN is not."""
        value = np.asarray(value, float)
        return (value >= self.low) & (value <= self.high)

    def beyond(self, value: np.ndarray) -> np.ndarray:
        """How far values are beyond the limits; 0 within them, ∞ for NaN."""
        far = np.maximum(0, np.maximum(self.low - value, value - self.high))
        return np.where(np.isnan(value), np.inf, far)


def follows_from_thresholds(metric: Metric) -> bool:
    """Whether a metric is a function of counts by label and decision, and of decisions at all."""
    if metric.from_cells is None or metric.of is None or "binary" not in metric.tasks:
        return False
    return any((part.reshape(3, 3) != part.reshape(3, 3)[:, :1]).any() for share in metric.shares for part in share)


def aims_of(config: AuditConfig, attribute: str, groups: tuple[str, ...], cut: Cut) -> tuple[list[Aim], list[str]]:
    """The aims of one attribute, and for every check of it that is none a sentence why; without a check the example."""
    found: list[Aim] = []
    others: list[str] = []
    for check in config.policy:
        if check.attribute != attribute:
            continue
        aim = _aim(check, groups)
        if isinstance(aim, str):
            others.append(aim)
        elif aim.text not in {one.text for one in found}:
            found.append(aim)
    if not found:
        entry = find(EXAMPLE)
        assert isinstance(entry, Disparity)
        found.append(Aim(attribute, EXAMPLE, entry, "ratio", (METRICS["selection_rate"],), text=EXAMPLE, example=True))
    return [aim for aim in found if _asked(aim, cut)], others


def _asked(aim: Aim, cut: Cut) -> bool:
    """Whether the question of its rates has a yes and a no."""
    return not any(rate.of == "positive" and cut.positive[0] == cut.positive[1] for rate in aim.rates)


def _aim(check: PolicyCheck, groups: tuple[str, ...]) -> Aim | str:
    assert check.attribute is not None
    entry = find(check.metric)
    text = _text(check)
    low, high = (-np.inf if check.min is None else check.min), (np.inf if check.max is None else check.max)
    if isinstance(entry, Metric):
        if not follows_from_thresholds(entry):
            return f"{text}: {check.metric} does not follow from where the threshold lies."
        if check.group is not None and check.group not in groups:
            return f"{text}: no row is in the group {check.group}."
        group = None if check.group is None else groups.index(check.group)
        return Aim(check.attribute, check.metric, entry, "level", (entry,), low, high, group, text)
    # Comparisons of what techniques say have bases that are none of METRICS.
    rates = tuple(METRICS[base] for base in entry.bases if base in METRICS) if entry is not None else ()
    derived = [f"{rate.name}_{kind}" for rate in rates for kind in ("difference", "ratio")]
    if entry is None or check.metric not in {*_PLAIN, *derived} or not all(map(follows_from_thresholds, rates)):
        return f"{text}: {check.metric} does not follow from where the threshold lies."
    if (check.max if entry.comparison == "difference" else check.min) is None:
        return f"{text}: a limit that asks for a disparity is no aim."
    # A check on one group is taken as one on all: thresholds that meet it for every pair meet it for this one.
    return Aim(check.attribute, check.metric, entry, entry.comparison, rates, low, high, None, text)


def _text(check: PolicyCheck) -> str:
    limits = [f"{sign} {limit:g}" for sign, limit in (("≥", check.min), ("≤", check.max)) if limit is not None]
    return f"{check.metric}{f' of {check.group}' if check.group else ''} {' and '.join(limits)}"


@dataclass(frozen=True, eq=False)
class Level:
    """A rate of groups.

    Attributes:
        value: (…, G); NaN where it is 0/0.
        support: (…, G) rows that it rests on.
        numerator, denominator: (…, G) where it is a share of counts, so that gaps are rounded once; else None.
    """

    value: np.ndarray
    support: np.ndarray
    numerator: np.ndarray | None = None
    denominator: np.ndarray | None = None


def levels_of(aim: Aim, cut: Cut, cells: np.ndarray, rows: np.ndarray) -> list[Level]:
    """The rates that an aim compares, from tables of label × decision.

    Args:
        cells, rows: (…, G, 9) Σw and rows, as `Curves.cells` has them.
    """
    found = [_level(rate, cut, cells, rows) for rate in aim.rates]
    if not aim.averaged:
        return found
    mean = np.stack([level.value for level in found], -1).mean(-1)
    return [Level(mean, np.minimum.reduce([level.support for level in found]))]


def _level(rate: Metric, cut: Cut, cells: np.ndarray, rows: np.ndarray) -> Level:
    assert rate.of is not None
    assert rate.from_cells is not None
    asked = cut.questions[rate.of]
    support = np.minimum.reduce([rows @ (asked @ among) for _, among in rate.shares])
    value = rate.from_cells(cells @ asked)
    if not rate.proportion or cut.weight is not None:
        return Level(value, support)
    counted, among = rate.shares[0]
    return Level(value, support, cells @ (asked @ counted), cells @ (asked @ among))


def included(level: Level, least: int) -> np.ndarray:
    """(…, G) bool: the groups that an aggregate is over, by the bias stage's rule."""
    defined = np.isfinite(level.value)
    enough = defined & (level.support >= least)
    return np.where(enough.sum(-1, keepdims=True) >= 2, enough, defined)


def reached(aim: Aim, levels: list[Level], least: int) -> np.ndarray:
    """(…) the value that the aim is held against: the widest gap between two groups, or the worst group's rate.

    Args:
        least: min_group_size.
    """
    values = []
    for level in levels:
        over = included(level, least)
        if aim.comparison == "level":
            values.append(_worst(aim, level.value, over))
        else:
            values.append(_gap(aim.comparison, level, over))
    found = np.stack(values, -1)
    return found.min(-1) if aim.comparison == "ratio" else found.max(-1)


def _gap(comparison: str, level: Level, over: np.ndarray) -> np.ndarray:
    low = np.where(over, level.value, np.inf).argmin(-1)[..., None]
    high = np.where(over, level.value, -np.inf).argmax(-1)[..., None]

    def at(values: np.ndarray, place: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, place, -1)[..., 0]

    with np.errstate(divide="ignore", invalid="ignore"):
        if level.numerator is None or level.denominator is None:
            least, most = at(level.value, low), at(level.value, high)
            gap = least / most if comparison == "ratio" else most - least
        else:
            x, n = at(level.numerator, low), at(level.denominator, low)
            y, m = at(level.numerator, high), at(level.denominator, high)
            gap = x * m / (n * y) if comparison == "ratio" else (y * n - x * m) / (m * n)
    return np.where((over.sum(-1) >= 2) & np.isfinite(gap), gap, np.nan)


def _worst(aim: Aim, value: np.ndarray, over: np.ndarray) -> np.ndarray:
    if aim.group is not None:
        return value[..., aim.group]
    far = np.where(over, np.maximum(aim.low - value, value - aim.high), -np.inf)
    place = far.argmax(-1)[..., None]
    return np.where(over.any(-1), np.take_along_axis(value, place, -1)[..., 0], np.nan)


def named(attribute: str) -> str:
    """The attribute in a sentence: `sex`, `sex and race` of a crossing."""
    return attribute.replace(CROSSING, " and ")
