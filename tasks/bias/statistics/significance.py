"""Tests of "no difference" between groups, and the correction for having asked many times.

Counts are integers; every p-value is two-sided. NaN means that there was nothing to test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

#: from this expected count on in every cell, pooled z stands for Fisher, which takes about 7 ms there. Their p-values
#: between .01 and .1 then differ by less than 1 % of themselves; at 1,000 it would be 9 %, enough to turn a verdict
LARGE = 100_000

#: below this expected count in any cell, χ² takes its null distribution from draws instead of the formula
SMALL = 5

#: numpy draws from urns with fewer balls only
DRAWABLE = 1e9

Stratum = tuple[np.ndarray, np.ndarray]  # (k,) how many have the property, (k,) out of how many


def fisher(x1: int, n1: int, x2: int, n2: int) -> float:
    """Fisher's exact test of two proportions: all tables with the same margins that are no more likely.

    NaN where a margin is 0. Differs from scipy.stats.fisher_exact by rounding only, and takes a tenth of its time.
    """
    x1, n1, x2, n2 = (round(v) for v in (x1, n1, x2, n2))
    total, hits = n1 + n2, x1 + x2
    if not (n1 and n2) or hits in (0, total):
        return math.nan
    first, last = max(0, hits - n2), min(hits, n1)
    k = np.arange(first, last, dtype=float)
    # ln of P(k+1)/P(k), so that the sum stays exact where the probabilities themselves would underflow
    steps = np.log((hits - k) * (n1 - k)) - np.log((k + 1) * (n2 - hits + k + 1))
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    chances = np.exp(logs - logs.max())
    # Tables as likely as ours count in full: equal up to rounding is equal.
    return float(min(1.0, chances[chances <= chances[x1 - first] * (1 + 1e-7)].sum() / chances.sum()))


def pooled_z(x1: float, n1: float, x2: float, n2: float) -> float:
    """The pooled two-proportion z: how many standard deviations the first rate lies above the second; else NaN."""
    if not (n1 > 0 and n2 > 0):
        return math.nan
    pooled = (x1 + x2) / (n1 + n2)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2))
    return (x1 / n1 - x2 / n2) / spread if spread > 0 else math.nan


def two_sided(z: float) -> float:
    """The p-value of a standard normal z."""
    return math.erfc(abs(z) / math.sqrt(2)) if not math.isnan(z) else math.nan


def two_proportions(x1: float, n1: float, x2: float, n2: float) -> tuple[float, str]:
    """(p-value, test): Fisher, or pooled z where every expected count is at least LARGE."""
    total, hits = n1 + n2, x1 + x2
    if total and min(n1, n2) * min(hits, total - hits) / total >= LARGE:
        return two_sided(pooled_z(x1, n1, x2, n2)), "pooled_z"
    return fisher(x1, n1, x2, n2), "fisher"  # type: ignore[arg-type]  # whole floats


def wald(difference: float, *std_errors: float) -> float:
    """p-value of a difference of independent estimates; NaN without a spread."""
    spread = math.hypot(*std_errors)
    return two_sided(difference / spread) if spread > 0 else math.nan


def homogeneity(values: np.ndarray, std_errors: np.ndarray) -> tuple[float, str]:
    """(p-value, test) of k independent estimates being equal: Cochran's Q, χ² with k − 1 degrees of freedom."""
    if len(values) < 2 or not (std_errors > 0).all():
        return math.nan, "wald"
    weight = std_errors**-2.0
    centre = (weight * values).sum() / weight.sum()
    return _chi_squared_tail(float((weight * (values - centre) ** 2).sum()), len(values) - 1), "wald"


def equal_proportions(strata: Sequence[Stratum], generator: np.random.Generator, draws: int) -> tuple[float, str]:
    """(p-value, test) of k groups sharing one rate in each stratum: Pearson's χ², summed over the strata.

    Where an expected count is below SMALL the statistic is compared with `draws` permutations of the group labels
    within strata instead of the χ² distribution. Strata where all or none have the property say nothing and are
    left out.
    """
    told = [(x, n) for x, n in strata if 0 < x.sum() < n.sum()]
    if not told:
        return math.nan, "chi_squared"
    observed = sum(float(_pearson(x, n)) for x, n in told)
    least = min(min(x.sum(), n.sum() - x.sum()) * n.min() / n.sum() for x, n in told)
    if least >= SMALL or draws < 1 or max(n.sum() for _, n in told) >= DRAWABLE:
        return _chi_squared_tail(observed, sum(len(n) - 1 for _, n in told)), "chi_squared"
    null = sum(
        _pearson(
            generator.multivariate_hypergeometric(n.astype(np.int64), round(x.sum()), size=draws, method="marginals"), n
        )
        for x, n in told
    )
    return float((1 + np.count_nonzero(null >= observed * (1 - 1e-9))) / (draws + 1)), "chi_squared_permuted"


def same_distribution(
    weight: np.ndarray, square: np.ndarray | None, generator: np.random.Generator, draws: int
) -> tuple[float, str]:
    """(p-value, test) of k groups having one distribution over c classes: Pearson's χ², with weights linearised Wald.

    Where an expected count is below SMALL the statistic is compared with `draws` tables of the same margins; without
    draws there is then no test.

    Args:
        weight: (k, c) counts, or Σw.
        square: (k, c) Σw², or None without weights.
    """
    kept = weight.sum(0) > 0
    weight = weight[:, kept]
    if square is not None:
        return _same_shares(weight, square[:, kept]), "wald, linearised"
    rows, columns, n = weight.sum(1), weight.sum(0), weight.sum()
    if len(columns) < 2 or len(rows) < 2 or not (rows > 0).all():
        return math.nan, "chi_squared"
    expected = np.outer(rows, columns) / n
    observed = float(((weight - expected) ** 2 / expected).sum())
    if expected.min() >= SMALL:
        return _chi_squared_tail(observed, (len(rows) - 1) * (len(columns) - 1)), "chi_squared"
    if draws < 1 or n >= DRAWABLE:
        return math.nan, "chi_squared_permuted"
    from scipy.stats import random_table

    tables = random_table(rows.astype(np.int64), columns.astype(np.int64)).rvs(draws, random_state=generator)
    null = ((tables - expected) ** 2 / expected).sum((1, 2))
    return float((1 + np.count_nonzero(null >= observed * (1 - 1e-9))) / (draws + 1)), "chi_squared_permuted"


def _same_shares(weight: np.ndarray, square: np.ndarray) -> float:
    """Wald's p-value of weighted shares being the same, each group's with the covariance of ratios of Σw."""
    if weight.shape[1] < 2 or weight.shape[0] < 2 or not (weight > 0).all():
        return math.nan
    shares = (weight / weight.sum(1, keepdims=True))[:, 1:]
    moment = square[:, 1:] / weight.sum(1, keepdims=True) ** 2
    total = square.sum(1)[:, None, None] / weight.sum(1)[:, None, None] ** 2
    crossed = moment[:, :, None] * shares[:, None, :]
    outer = shares[:, :, None] * shares[:, None, :]
    spread = moment[:, :, None] * np.eye(shares.shape[1]) - crossed - crossed.transpose(0, 2, 1) + total * outer
    precision = np.linalg.inv(spread)
    centre = np.linalg.solve(precision.sum(0), np.einsum("kij,kj->i", precision, shares))
    apart = shares - centre
    statistic = float(np.einsum("ki,kij,kj->", apart, precision, apart))
    return _chi_squared_tail(statistic, shares.shape[1] * (len(shares) - 1))


def _pearson(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Pearson's statistic of (…, k) counts against one common rate."""
    rate = x.sum(-1, keepdims=True) / n.sum()
    return (((x - n * rate) ** 2) / (n * rate * (1 - rate))).sum(-1)


def _chi_squared_tail(statistic: float, freedom: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(freedom, statistic))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down p-values: they bound the chance of any false rejection in the family. NaN is left out."""
    return _stepped(p, lambda ordered: np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1)))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q-values: rejecting at q holds the share of false rejections to q. NaN is left out."""

    def step_up(ordered: np.ndarray) -> np.ndarray:
        raised = ordered * len(ordered) / np.arange(1, len(ordered) + 1)
        return np.minimum.accumulate(raised[::-1])[::-1]

    return _stepped(p, step_up)


def _stepped(p: np.ndarray, adjust) -> np.ndarray:
    result = np.full(len(p), np.nan)
    asked = np.flatnonzero(~np.isnan(p))
    order = asked[np.argsort(p[asked], kind="stable")]
    result[order] = np.minimum(adjust(p[order]), 1.0) if len(order) else []
    return result
