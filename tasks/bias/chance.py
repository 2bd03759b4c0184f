"""What a comparison of groups would come to with no disparity at all: not to 0, since some group is always ahead.

The group labels of the rows behind each rate are permuted, which for counts is one draw from an urn: every group keeps
its number of rows, all groups together keep their number of hits.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from tasks.bias.base import ratio
from tasks.bias.disparities import Comparison, Disparity
from tasks.bias.registry import METRICS
from tasks.bias.significance import DRAWABLE, Stratum

#: attributes with more groups have no such draws: their cost is by the group
MAX_GROUPS = 250


@dataclass(frozen=True)
class Chance:
    """The widest gap between any two groups where all are alike.

    Attributes:
        expected: its mean.
        p95: in 95 % of draws it is no wider: the 95th percentile of a difference, the 5th of a ratio.
    """

    expected: float
    p95: float


def no_disparity(
    entry: Disparity,
    counts: Mapping[str, Stratum],
    attribute: str,
    *,
    seed: int,
    draws: int,
    known: dict[Hashable, np.ndarray] | None = None,
) -> Chance | None:
    """What an aggregate over groups would be with no disparity; None where it does not follow from counts.

    Args:
        counts: metric → how many have the property, out of how many, for the groups that the aggregate is over.
        attribute, seed: the same ones give the same draws, whatever else is asked.
        draws: how many permutations.
        known: draws made before for this attribute, by the rates that they are of.
    """
    if draws < 1 or not all(METRICS[base].proportion for base in entry.bases):
        return None
    strata = [counts[base] for base in entry.bases]
    sizes = [len(n) for _, n in strata]
    if not all(2 <= size <= MAX_GROUPS for size in sizes) or max(n.sum() for _, n in strata) >= DRAWABLE:
        return None
    if entry.averaged and len(set(sizes)) > 1:
        return None
    key = (entry.bases, entry.averaged)
    ends = None if known is None else known.get(key)
    if ends is None:
        generator = np.random.default_rng([seed, *attribute.encode(), *" ".join(("chance", *entry.bases)).encode()])
        ends = _extremes(strata, generator, draws, averaged=entry.averaged)
        if known is not None:
            known[key] = ends
    return _summed(ends, entry.comparison)


def _extremes(strata: list[Stratum], generator: np.random.Generator, draws: int, *, averaged: bool) -> np.ndarray:
    """(draws, rates, 2) the lowest and the highest rate of the groups; of the mean of the rates where averaged."""
    rates = [
        generator.multivariate_hypergeometric(n.astype(np.int64), round(x.sum()), size=draws, method="marginals") / n
        for x, n in strata
    ]
    if averaged:
        rates = [np.mean(rates, axis=0)]
    return np.stack([np.stack([rate.min(-1), rate.max(-1)], -1) for rate in rates], 1)


def _summed(ends: np.ndarray, comparison: Comparison) -> Chance | None:
    low, high = ends[..., 0], ends[..., 1]
    gaps = (high - low).max(-1) if comparison == "difference" else ratio(low, high).min(-1)
    if np.isnan(gaps).any():
        return None
    return Chance(float(gaps.mean()), float(np.quantile(gaps, 0.95 if comparison == "difference" else 0.05)))
