"""What a check could have seen: the smallest disparity that its test finds in groups of these sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tasks.bias import METRICS, Disparity, smallest_difference
from tasks.policy.checks import Number


@dataclass(frozen=True)
class Seen:
    """The smallest disparity that a test at the level finds with a probability of POWER, of a pair named beforehand.

    Attributes:
        value: a difference > 0, or a ratio < 1; None where none would be found.
    """

    value: float | None


def smallest_seen(gap: Disparity, number: Number, *, level: float, weighted: bool) -> Seen | None:
    """How far a group's rate must lie on the worse side of the other's; None where no two rates are compared.

    The other is the reference, for an attribute's gap the group with the better rate. Its rate is taken as known.
    """
    if len(number.ends) != 2 or weighted:
        return None
    metric = METRICS.get(number.ends[0].metric)
    if metric is None or not metric.proportion:
        return None
    rises = metric.better == "lower"
    lowest_first = number.group is None
    focal, other = number.ends if not (lowest_first and rises) else (number.ends[1], number.ends[0])
    if not focal.denominator or not other.denominator or other.value is None:
        return None
    import numpy as np

    room = 1 - other.value if rises else other.value
    sizes = np.array([round(focal.denominator)], np.int64)
    least = float(smallest_difference(sizes, round(other.denominator), room, level=level)[0]) if room else math.nan
    if math.isnan(least):
        return Seen(None)
    if gap.comparison == "difference":
        return Seen(least)
    worse = other.value + least if rises else other.value - least
    return Seen(other.value / worse if rises else worse / other.value) if other.value else None
