"""Confidence intervals of one number and of two: Wilson, Newcombe, MOVER, Katz, t.

All functions take arrays of one shape, or what broadcasts to it, and return (low, high) as float64. NaN means that
there is no such limit: nothing was counted, or the interval is open at that end.

Sources: Wilson 1927; Newcombe 1998 (Stat. Med. 17, 873–890, method 10); Donner and Zou 2012 (Stat. Methods Med. Res.
21, 347–359) for MOVER; Katz et al. 1978 (Biometrics 34, 469–474).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

Interval = tuple[np.ndarray, np.ndarray]


def normal_quantile(confidence: float) -> float:
    """The z of a two-sided interval: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(share: np.ndarray | float, n: np.ndarray | float, confidence: float) -> Interval:
    """Wilson's score interval of a proportion.

    Args:
        share: the proportion, 0–1.
        n: how many were counted; with weights Kish's effective number. 0 gives NaN.
        confidence: such as 0.95.
    """
    share, n = np.broadcast_arrays(np.asarray(share, float), np.asarray(n, float))
    z = normal_quantile(confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 + z * z / n
        centre = (share + z * z / (2 * n)) / scale
        half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    nothing = ~(n > 0) | np.isnan(share)
    # At 0 and 1 the limit is exact; rounding must not move it past the estimate.
    low = np.where(share <= 0, 0.0, np.minimum(centre - half, share))
    high = np.where(share >= 1, 1.0, np.maximum(centre + half, share))
    return np.where(nothing, np.nan, low), np.where(nothing, np.nan, high)


def mover_difference(a: np.ndarray, a_ci: Interval, b: np.ndarray, b_ci: Interval) -> Interval:
    """Interval of a − b from the intervals of two independent estimates; with Wilson's it is Newcombe's."""
    low = a - b - np.hypot(a - a_ci[0], b_ci[1] - b)
    high = a - b + np.hypot(a_ci[1] - a, b - b_ci[0])
    return low, high


def mover_ratio(a: np.ndarray, a_ci: Interval, b: np.ndarray, b_ci: Interval) -> Interval:
    """Interval of a / b (both ≥ 0) from the intervals of two independent estimates.

    The upper end is open (NaN) where b may be 0. The lower end is 0 where a is 0.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    product = a * b
    with np.errstate(divide="ignore", invalid="ignore"):
        # Roots of a quadratic, the lower one in the form that does not cancel and has no pole at u_b = 2b.
        constant = a_ci[0] * (2 * a - a_ci[0])
        leading = b_ci[1] * (2 * b - b_ci[1])
        low = constant / (product + np.sqrt(np.maximum(product**2 - leading * constant, 0)))
        constant = a_ci[1] * (2 * a - a_ci[1])
        leading = b_ci[0] * (2 * b - b_ci[0])
        high = (product + np.sqrt(np.maximum(product**2 - leading * constant, 0))) / leading
        estimate = a / b
    low = np.where((a == 0) & (b > 0), 0.0, np.minimum(low, estimate))
    high = np.where(b_ci[0] > 0, np.maximum(high, estimate), np.nan)
    unknown = ~(b > 0) | np.isnan(a)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def mean_of(parts: np.ndarray, low: np.ndarray, high: np.ndarray, axis: int = -1) -> Interval:
    """Interval of the mean of independent estimates along an axis, from theirs (MOVER). NaN parts are left out."""
    known = np.isfinite(parts)
    size = np.maximum(known.sum(axis), 1)
    centre = np.where(known, parts, 0).sum(axis) / size
    below = np.sqrt((np.where(known, parts - low, 0) ** 2).sum(axis)) / size
    above = np.sqrt((np.where(known, high - parts, 0) ** 2).sum(axis)) / size
    nothing = ~known.any(axis)
    return np.where(nothing, np.nan, centre - below), np.where(nothing, np.nan, centre + above)


def newcombe_paired(shares: np.ndarray, n: float, confidence: float) -> tuple[float, float]:
    """Newcombe's interval of a difference of two shares of the same rows (1998, Stat. Med. 17, 2635–2650, method 10).

    Args:
        shares: (4,) of rows with both properties, only the first, only the second, neither; they sum to 1.
        n: rows; with weights Kish's effective number.
    """
    e, f, g, h = (float(share) * n for share in shares)
    first, second = (e + f) / n, (e + g) / n
    ends = [float(end) for share in (first, second) for end in wilson(share, n, confidence)]
    outer = (e + f) * (g + h) * (e + g) * (f + h)
    inner = e * h - f * g
    if inner > 0:
        inner = max(inner - n / 2, 0.0)  # continuity
    phi = inner / math.sqrt(outer) if outer > 0 else 0.0
    down_1, up_1, down_2, up_2 = first - ends[0], ends[1] - first, second - ends[2], ends[3] - second
    below = math.sqrt(max(down_1**2 - 2 * phi * down_1 * up_2 + up_2**2, 0.0))
    above = math.sqrt(max(up_1**2 - 2 * phi * up_1 * down_2 + down_2**2, 0.0))
    return first - second - below, first - second + above


def katz(selected: int, n: int, selected_reference: int, n_reference: int, confidence: float) -> tuple[float, float]:
    """Katz's log interval of a ratio of two proportions: the companion that readers of four-fifths tables know.

    Its coverage is poor in small groups; verdicts use MOVER. NaN where a count is 0.
    """
    if not (selected and selected_reference):
        return float("nan"), float("nan")
    spread = np.sqrt(1 / selected - 1 / n + 1 / selected_reference - 1 / n_reference)
    centre = np.log(selected * n_reference / (n * selected_reference))
    z = normal_quantile(confidence)
    return float(np.exp(centre - z * spread)), float(np.exp(centre + z * spread))


def student(mean: np.ndarray, std_error: np.ndarray, n: np.ndarray, confidence: float) -> Interval:
    """Student's t interval of a mean; NaN below two (effective) observations."""
    from scipy.special import stdtrit

    n = np.asarray(n, float)
    enough = n > 1
    half = stdtrit(np.where(enough, n - 1, 1), 0.5 + confidence / 2) * std_error
    return np.where(enough, mean - half, np.nan), np.where(enough, mean + half, np.nan)


def logit(share: np.ndarray, std_error: np.ndarray, confidence: float) -> Interval:
    """Interval of a number in (0, 1) that is normal on the logit scale; NaN at 0, at 1 and without a spread."""
    usable = (share > 0) & (share < 1) & (std_error > 0)
    inside = np.where(usable, share, 0.5)
    centre = np.log(inside / (1 - inside))
    half = normal_quantile(confidence) * std_error / (inside * (1 - inside))
    low, high = 1 / (1 + np.exp(half - centre)), 1 / (1 + np.exp(-half - centre))
    return np.where(usable, low, np.nan), np.where(usable, high, np.nan)


def without_sign(low: float, high: float) -> tuple[float, float]:
    """The interval of |x| from that of x; NaN where an end of it is not known."""
    if np.isnan(low) or np.isnan(high):
        return float("nan"), float("nan")
    nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return nearest, max(abs(low), abs(high))


def folded_ratio(low: float, high: float) -> tuple[float, float]:
    """The interval of min(x, 1/x) from that of a ratio x ≤ 1; NaN above means open."""
    if np.isnan(high):
        return (low, high) if np.isnan(low) else (0.0, 1.0)
    return (low, high) if high <= 1 else (min(low, 1 / high), 1.0)
