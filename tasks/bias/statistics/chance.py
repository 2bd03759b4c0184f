"""What a comparison of groups would come to with no disparity at all: not to 0, since some group is always ahead.

- Counts: the group labels of the rows behind each rate are permuted, which is one draw from an urn: every group keeps
  its number of rows, all groups together keep their number of hits. The p-value is exact: in 5 % of tables without a
  disparity, at most, is it below .05. Few distinct gaps are possible, so tables with the same gap are ranked by
  Pearson's χ²; without that the test would reject in 3.8 % at 200 rows a group and a rate of .05, with it in 4.4 %.
- Estimates with a standard error (means, areas), and rates of weighted rows: draws of each group around one value that
  all have in common.
- A function of the whole table of labels, such as a divergence: the same permutation, of all classes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tasks.bias.base import Measured, ratio
from tasks.bias.disparities import Comparison, Disparity
from tasks.bias.registry import METRICS
from tasks.bias.statistics.significance import DRAWABLE, Stratum

#: attributes with more groups have no such draws: their cost is by the group
MAX_GROUPS = 250
#: bytes that a block of tables may take
_BLOCK = 64 * 2**20
#: relative difference of gaps that is rounding
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Chance:
    """The widest gap between any two groups where all are alike.

    Attributes:
        expected: its mean.
        p95: in 95 % of draws it is no wider: the 95th percentile of a difference, the 5th of a ratio.
        p: the p-value of the observed gap, (1 + draws with a gap as wide)/(1 + draws).
        observed: the gap that it was held against.
    """

    expected: float
    p95: float
    p: float
    observed: float = field(compare=False)


@dataclass(frozen=True, eq=False)
class Estimates:
    """A metric of the groups that an aggregate is over.

    Attributes:
        value: (k,).
        std_error: (k,) > 0; of shares not looked at.
        n: (k,) rows behind each; of shares the effective number.
        share: a share of weighted rows.
        on_logits: normal on the logit scale, as areas are; else Student's t on the metric's own.
    """

    value: np.ndarray
    std_error: np.ndarray
    n: np.ndarray
    share: bool = False
    on_logits: bool = False

    @classmethod
    def of(cls, measured: Measured, groups: np.ndarray, effective: np.ndarray | None = None) -> Estimates:
        """Some groups of a metric; `effective`, (groups,), says that it is a share of weighted rows."""
        n = measured.support if effective is None else effective
        return cls(
            measured.value[groups], measured.std_error[groups], n[groups], effective is not None,
            "logit" in (measured.method or ""),
        )  # fmt: skip

    def alike(self, generator: np.random.Generator, draws: int) -> np.ndarray | None:
        """(draws, k) values of groups that have one value in common; None where a group has no spread."""
        size = (draws, len(self.value))
        if self.share:
            common = float(self.value @ self.n / self.n.sum())
            if not 0 < common < 1:
                return None
            # Beta has the mean and all but the variance, common·(1 − common)/n, of a share of n rows.
            return generator.beta(common * self.n, (1 - common) * self.n, size)
        if not (self.std_error > 0).all():
            return None
        value, error = self.value, self.std_error
        if self.on_logits:
            value, error = np.log(value / (1 - value)), error / (value * (1 - value))
        common = float((value / error**2).sum() / (1 / error**2).sum())
        if self.on_logits:
            return 1 / (1 + np.exp(-common - error * generator.standard_normal(size)))
        return common + error * generator.standard_t(np.maximum(self.n - 1, 1), size)


@dataclass(frozen=True, eq=False)
class _Draws:
    """Gaps with no disparity: (draws, rates, 2) lowest and highest rate, and (draws,) what ranks equal gaps."""

    ends: np.ndarray
    rank: np.ndarray


def no_disparity(
    entry: Disparity,
    counts: Mapping[str, Stratum],
    attribute: str,
    *,
    seed: int,
    draws: int,
    known: dict[Hashable, _Draws] | None = None,
) -> Chance | None:
    """What an aggregate over groups would be with no disparity; None where it does not follow from counts.

    Args:
        counts: metric → how many have the property, out of how many, for the groups that the aggregate is over.
        attribute, seed: the same ones give the same draws, whatever else is asked.
        draws: how many permutations.
        known: draws made before for this attribute, by the rates that they are of.
    """
    if not all(METRICS[base].proportion for base in entry.bases):
        return None
    strata = [counts[base] for base in entry.bases]
    if not _countable(entry, [len(n) for _, n in strata], draws) or max(n.sum() for _, n in strata) >= DRAWABLE:
        return None

    def permuted() -> _Draws:
        generator = _generator("chance", entry.bases, attribute, seed)
        drawn = [
            generator.multivariate_hypergeometric(n.astype(np.int64), round(x.sum()), size=draws, method="marginals")
            for x, n in strata
        ]
        return _drawn(entry, [x / n for x, (_, n) in zip(drawn, strata, strict=True)], _apart(drawn, strata))

    observed = [x for x, _ in strata]
    mine = _drawn(entry, [x / n for x, n in strata], _apart(observed, strata))
    key = (entry.bases, entry.averaged)
    return _chance(entry.comparison, mine, _kept(known, key, permuted))


def no_disparity_of_estimates(
    entry: Disparity,
    estimates: Mapping[str, Estimates],
    attribute: str,
    *,
    seed: int,
    draws: int,
    known: dict[Hashable, _Draws] | None = None,
) -> Chance | None:
    """The same of metrics with a standard error each: groups are drawn around the value that they have in common.

    That is the mean of their values, weighted by precision (of weighted rows, by effective rows).

    Args:
        estimates: metric → its values for the groups that the aggregate is over.
        attribute, seed, draws, known: as in `no_disparity`.
    """
    bases = [estimates[base] for base in entry.bases]
    if not _countable(entry, [len(base.value) for base in bases], draws):
        return None
    key = ("estimates", entry.bases, entry.averaged)
    found = known.get(key) if known is not None else None
    if found is None:
        generator = _generator("alike", entry.bases, attribute, seed)
        drawn = [values for base in bases if (values := base.alike(generator, draws)) is not None]
        if len(drawn) < len(bases):
            return None
        found = _kept(known, key, lambda: _drawn(entry, drawn, np.zeros(draws)))
    return _chance(entry.comparison, _drawn(entry, [base.value for base in bases], np.zeros(())), found)


def no_disparity_of_table(
    statistic: Callable[[np.ndarray], np.ndarray],
    table: np.ndarray,
    name: str,
    attribute: str,
    *,
    seed: int,
    draws: int,
    effective: np.ndarray | None = None,
) -> Chance | None:
    """The same of a statistic of a table of groups × classes that is 0 where all groups have the same shares.

    Args:
        statistic: (…, groups, classes) → (…).
        table: (groups, classes) counts; with weights Σw.
        name: of the statistic.
        effective: (groups,) effective rows, with weights: a group's shares are then drawn from a Dirichlet around
            those of all groups.

    Returns:
        None where nothing can be drawn, or a draw's statistic is infinite (a class that a group lacks).
    """
    rows, classes = table.sum(1), table.sum(0)
    filled = np.flatnonzero(rows > 0)
    observed = float(statistic(table))
    if draws < 1 or not 2 <= len(filled) <= MAX_GROUPS or (classes > 0).sum() < 2 or not np.isfinite(observed):
        return None
    generator = _generator("chance", (name,), attribute, seed)
    most = max(1, _BLOCK // (8 * table.size))
    sizes = [min(most, draws - done) for done in range(0, draws, most)]
    gaps = np.concatenate([statistic(drawn) for drawn in _tables(generator, table, effective, sizes)])
    if not np.isfinite(gaps).all():
        return None
    return Chance(float(gaps.mean()), float(np.quantile(gaps, 0.95)), _p(gaps >= observed * (1 - _ROUNDING)), observed)


def _tables(
    generator: np.random.Generator, table: np.ndarray, effective: np.ndarray | None, sizes: Sequence[int]
) -> Iterator[np.ndarray]:
    """(size, groups, classes) tables of groups with the same shares; groups and classes of nobody stay empty."""
    rows, classes = table.sum(1), table.sum(0)
    filled, occurring = np.flatnonzero(rows > 0), np.flatnonzero(classes > 0)
    for size in sizes:
        drawn = np.zeros((size, *table.shape))
        place = np.ix_(np.arange(size), filled, occurring)
        if effective is None:
            from scipy.stats import random_table

            margins = rows[filled].astype(np.int64), classes[occurring].astype(np.int64)
            drawn[place] = random_table.rvs(*margins, size=size, method="patefield", random_state=generator)
        else:
            shape = effective[filled, None] * (classes[occurring] / classes.sum())
            gamma = generator.gamma(shape, size=(size, *shape.shape))
            drawn[place] = gamma / gamma.sum(-1, keepdims=True) * rows[filled, None]
        yield drawn


def _generator(kind: str, names: Sequence[str], attribute: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *attribute.encode(), *" ".join((kind, *names)).encode()])


def _countable(entry: Disparity, sizes: Sequence[int], draws: int) -> bool:
    """Whether the groups can be drawn; a mean of rates needs all of them for the same groups."""
    return draws >= 1 and all(2 <= k <= MAX_GROUPS for k in sizes) and not (entry.averaged and len(set(sizes)) > 1)


def _kept(known: dict[Hashable, _Draws] | None, key: Hashable, make: Callable[[], _Draws]) -> _Draws:
    if known is None:
        return make()
    if key not in known:
        known[key] = make()
    return known[key]


def _apart(hits: Sequence[np.ndarray], strata: Sequence[Stratum]) -> np.ndarray:
    """(…) Pearson's χ² of (…, k) hits, summed over the strata; those where all or none are hits say nothing."""
    total = np.zeros(hits[0].shape[:-1])
    for x, (seen, n) in zip(hits, strata, strict=True):
        rate = seen.sum() / n.sum()
        if 0 < rate < 1:
            total = total + ((x - n * rate) ** 2 / (n * rate * (1 - rate))).sum(-1)
    return total


def _drawn(entry: Disparity, rates: Sequence[np.ndarray], rank: np.ndarray) -> _Draws:
    """Lowest and highest of (…, k) rates each; of the mean of the rates where averaged."""
    taken = [np.mean(rates, axis=0)] if entry.averaged else rates
    return _Draws(np.stack([np.stack([rate.min(-1), rate.max(-1)], -1) for rate in taken], -2), rank)


def _gaps(draws: _Draws, comparison: Comparison) -> np.ndarray:
    low, high = draws.ends[..., 0], draws.ends[..., 1]
    return (high - low).max(-1) if comparison == "difference" else ratio(low, high).min(-1)


def _chance(comparison: Comparison, observed: _Draws, null: _Draws) -> Chance | None:
    gaps, mine = _gaps(null, comparison), float(_gaps(observed, comparison))
    negative = comparison == "ratio" and ((null.ends < 0).any() or (observed.ends < 0).any())
    if np.isnan(gaps).any() or np.isnan(mine) or negative:
        return None
    wider = gaps - mine if comparison == "difference" else mine - gaps
    slack = _ROUNDING * max(abs(mine), _ROUNDING)
    as_wide = (wider > slack) | ((wider >= -slack) & (null.rank >= observed.rank * (1 - _ROUNDING)))
    quantile = 0.95 if comparison == "difference" else 0.05
    return Chance(float(gaps.mean()), float(np.quantile(gaps, quantile)), _p(as_wide), mine)


def _p(as_wide: np.ndarray) -> float:
    return float((1 + np.count_nonzero(as_wide)) / (1 + len(as_wide)))
