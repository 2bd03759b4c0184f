"""The smallest disparity that an audit of this size could have seen.

A gap that is not significant says little where only a huge one would have been. For each group held against the
reference: how far its rate must lie on the worse side of the reference's, taken as known, for the two-sided test at the
level to find it with 80 % probability. The level is that of one pair named beforehand, not corrected for others.

Small groups: Fisher's test, whose power is added up over every table. Larger ones: the normal approximation with the
continuity correction that makes it follow Fisher's (Casagrande, Pike and Smith 1978, Biometrics 34, 483–486; Fleiss,
Levin and Paik 2003, Statistical Methods for Rates and Proportions, section 4.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.bias.base import Measured, Metric
from tasks.bias.statistics.intervals import normal_quantile

#: probability with which the disparity would be found
POWER = 0.8
#: groups are small, and their power is enumerated, up to so many tables …
EXACT_TABLES = 1_000_000
#: … and while the numbers to add up, smallest groups first, stay below this
_EXACT_SUMS = 3_000_000
#: halvings of an interval of rates: to 1e-7
_HALVINGS = 24


@dataclass(frozen=True)
class Detectable:
    """The smallest disparity that would be found for one group.

    Attributes:
        difference: > 0, towards the worse side; None where none would be found.
        ratio: the group's rate over the reference's at that difference: < 1 where lower is worse.
        reason: why there is none.
    """

    difference: float | None
    ratio: float | None
    reason: str | None = None


def detectable(
    metric: Metric, measured: Measured, reference: int | None, *, level: float, effective: np.ndarray | None = None
) -> list[Detectable]:
    """The smallest detectable disparity of each group in a share.

    Args:
        metric, measured: a proportion. Less of it is worse, unless its `better` is lower.
        reference: the group that others are held against.
        level: of the two-sided test, such as 0.05.
        effective: (groups,) effective rows, with weights.
    """
    groups = len(measured.value)
    if reference is None or not measured.defined[reference]:
        return [Detectable(None, None, "there is no reference group with a value")] * groups
    rises = metric.better == "lower"
    rate = float(measured.value[reference])
    room = 1 - rate if rises else rate
    n = measured.denominator if effective is None else effective
    n = np.floor(np.nan_to_num(n)).astype(np.int64)
    least = smallest_difference(n, int(n[reference]), room, level=level)
    found = []
    for g in range(groups):
        if g == reference:
            found.append(Detectable(None, None, "the reference group"))
        elif room == 0:
            found.append(Detectable(None, None, f"the reference's rate is {rate:g}: none can be worse"))
        elif np.isnan(least[g]):
            told = f"even a rate of {1 if rises else 0} would be found with less than {POWER:.0%} probability"
            found.append(Detectable(None, None, told))
        else:
            gap = float(least[g])
            found.append(Detectable(gap, ((rate + gap) if rises else (rate - gap)) / rate if rate else None))
    return found


def smallest_difference(n: np.ndarray, n_reference: int, rate: float, *, level: float) -> np.ndarray:
    """(groups,) how far below the reference's rate a group's must lie to be found with 80 % power; NaN: nowhere.

    Args:
        n: (groups,) rows of each group; groups of one size share one answer.
        n_reference: rows of the reference.
        rate: of the reference, 0–1.
        level: of the two-sided test.
    """
    sizes, place = np.unique(n, return_inverse=True)
    sums = np.minimum(sizes, n_reference).astype(float) ** 2
    exact = (sizes * float(n_reference) <= EXACT_TABLES) & (np.cumsum(sums + 1000) <= _EXACT_SUMS)
    least = _by_formula(sizes, n_reference, rate, level)
    for k in np.flatnonzero(exact):
        least[k] = _by_enumeration(int(sizes[k]), n_reference, rate, level)
    return least[place]


def _by_formula(n: np.ndarray, n_reference: int, rate: float, level: float) -> np.ndarray:
    from scipy.special import ndtr

    z = normal_quantile(1 - level)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / n + 1 / n_reference

        def power(lower: np.ndarray) -> np.ndarray:
            pooled = (n * lower + n_reference * rate) / (n + n_reference)
            alike = np.sqrt(pooled * (1 - pooled) * inverse)
            apart = np.sqrt(lower * (1 - lower) / n + rate * (1 - rate) / n_reference)
            return ndtr((rate - lower - inverse / 2 - z * alike) / np.where(apart > 0, apart, 1e-300))

        return _halved(power, rate, len(n))


def _by_enumeration(n: int, n_reference: int, rate: float, level: float) -> float:
    """The same for Fisher's test, over every table.

    The smaller of the two sides is looked at count by count; where that is the reference, misses are counted instead
    of hits, by which the reference becomes the side with the lower rate.
    """
    if not (n and n_reference and rate):
        return float("nan")
    from scipy.special import bdtrc, gammaln, xlog1py, xlogy

    few, many = min(n, n_reference), max(n, n_reference)
    needed = rejected_from(few, many, level)
    x = np.arange(few + 1)
    ways = gammaln(few + 1) - gammaln(x + 1) - gammaln(few - x + 1)

    def chances(p: np.ndarray) -> np.ndarray:
        return np.exp(ways + xlogy(x, p[:, None]) + xlog1py(few - x, -p[:, None]))

    def reached(p: np.ndarray) -> np.ndarray:
        beyond = np.where(needed > 0, bdtrc(np.maximum(needed - 1, 0), many, p[:, None]), 1.0)
        return np.where(needed > many, 0.0, beyond)

    def power(lower: np.ndarray) -> np.ndarray:
        known = np.array([rate])
        if n <= n_reference:
            return (chances(lower) * reached(known)).sum(-1)
        return (chances(1 - known) * reached(1 - lower)).sum(-1)

    return float(_halved(power, rate, 1)[0])


def _halved(power, rate: float, size: int) -> np.ndarray:
    """rate − the highest rate that is found with POWER; NaN where even 0 is not."""
    low, high = np.zeros(size), np.full(size, rate)
    found = power(low) >= POWER
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        seen = power(middle) >= POWER
        low, high = np.where(seen, middle, low), np.where(seen, high, middle)
    return np.where(found, rate - low, np.nan)


def rejected_from(few: int, many: int, level: float) -> np.ndarray:
    """(few + 1,) for each count x of one side the least count y of the other, above its share, at which Fisher rejects.

    many + 1 where it never does. Halved for all x at once: with x held fixed, more of y is further from x.
    """
    x = np.arange(few + 1)
    low, high = np.floor(x * (many / few)).astype(np.int64), np.full(few + 1, many + 1)
    while (high - low > 1).any():
        middle = (low + high) // 2
        rejects = _fisher(x, few, np.minimum(middle, many), many) < level
        low, high = np.where(rejects, low, middle), np.where(rejects, middle, high)
    return high


def _fisher(x: np.ndarray, few: int, y: np.ndarray, many: int) -> np.ndarray:
    """(k,) two-sided Fisher's p-values of x of few against y of many, as `significance.fisher` defines them."""
    from scipy.special import gammaln

    k = np.arange(few + 1)
    other = (x + y)[:, None] - k
    possible = (other >= 0) & (other <= many)
    inside = np.where(possible, other, 0)
    logs = -gammaln(k + 1) - gammaln(few - k + 1) - gammaln(inside + 1) - gammaln(many - inside + 1)
    logs = np.where(possible, logs, -np.inf)
    own = logs[np.arange(len(x)), x]
    chances = np.exp(logs - logs.max(1, keepdims=True))
    as_rare = logs <= own[:, None] + 1e-7
    return np.where(as_rare, chances, 0.0).sum(1) / chances.sum(1)
