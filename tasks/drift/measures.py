"""How far two samples of one quantity are apart: pure functions on numbers and on counts.

p is the reference's share of a cell, q the audited data's. None of them adds a constant to an empty cell: where a
formula has no value there, the result says so.
"""

from __future__ import annotations

import numpy as np

#: at or above: a major shift; 0.1–0.25 is a moderate one (Siddiqi, Credit Risk Scorecards, Wiley 2006, ch. 9)
PSI_MAJOR = 0.25

#: cells of a number: tenths of the reference
BINS = 10

#: a cell that holds less of both samples together is merged with another
LEAST_SHARE = 0.01


def population_stability_index(expected: np.ndarray, actual: np.ndarray) -> float:
    """Population stability index, Σ (q − p) ln(q / p): the two Kullback–Leibler divergences added.

    Range 0 to ∞, 0 where the shares agree; symmetric. A cell that is empty on both sides adds nothing; one that is
    empty on one side alone makes it infinite. Source: Siddiqi 2006; Yurdakul and Naranjo, J. Risk Model
    Validation 14(4), 2020, for its distribution.

    Args:
        expected, actual: (cells,) counts of the reference and of the audited data.

    Returns:
        NaN where a sample is empty, ∞ where a cell is empty on one side alone.
    """
    if not expected.sum() or not actual.sum():
        return float("nan")
    p, q = expected / expected.sum(), actual / actual.sum()
    used = (p > 0) | (q > 0)
    p, q = p[used], q[used]
    if np.any((p == 0) | (q == 0)):
        return float("inf")
    return float(np.sum((q - p) * np.log(q / p)))


def psi_by_chance(expected: np.ndarray, actual: np.ndarray) -> float:
    """What the population stability index is on average where nothing has shifted: (cells − 1)(1/n + 1/m).

    n and m are the sizes of the samples; first order in 1/n and 1/m. Source: Yurdakul and Naranjo 2020.
    """
    n, m = float(expected.sum()), float(actual.sum())
    cells = int(np.sum((expected > 0) | (actual > 0)))
    return float("inf") if not n or not m else (cells - 1) * (1 / n + 1 / m)


def total_variation(expected: np.ndarray, actual: np.ndarray) -> float:
    """Total variation distance, ½ Σ |p − q|: the share of rows that would have to change cell.

    Range 0 to 1, 0 where the shares agree. Arguments as above; NaN where a sample is empty.
    """
    if not expected.sum() or not actual.sum():
        return float("nan")
    return float(0.5 * np.abs(expected / expected.sum() - actual / actual.sum()).sum())


def jensen_shannon(expected: np.ndarray, actual: np.ndarray) -> float:
    """Jensen–Shannon divergence, ½ KL(p ‖ m) + ½ KL(q ‖ m) with m = ½(p + q), in nats.

    Range 0 to ln 2 ≈ 0.693, 0 where the shares agree; always finite. Arguments as above; NaN where a sample is
    empty. Source: Lin, IEEE Trans. Inf. Theory 37(1), 1991.
    """
    if not expected.sum() or not actual.sum():
        return float("nan")
    p, q = expected / expected.sum(), actual / actual.sum()
    middle = 0.5 * (p + q)

    def divergence(share: np.ndarray) -> float:
        used = share > 0
        return float(np.sum(share[used] * np.log(share[used] / middle[used])))

    return max(0.0, 0.5 * divergence(p) + 0.5 * divergence(q))


def kolmogorov_smirnov(reference: np.ndarray, audited: np.ndarray) -> float:
    """Kolmogorov–Smirnov distance, max |F − G| of the two empirical distribution functions.

    Range 0 to 1, 0 where the distributions agree.

    Args:
        reference, audited: (n,), (m,) numbers; NaN is left out.

    Returns:
        NaN where a sample has no number.
    """
    x, y = np.sort(reference[~np.isnan(reference)]), np.sort(audited[~np.isnan(audited)])
    if not len(x) or not len(y):
        return float("nan")
    points = np.concatenate([x, y])
    below_x = np.searchsorted(x, points, side="right") / len(x)
    below_y = np.searchsorted(y, points, side="right") / len(y)
    return float(np.max(np.abs(below_x - below_y)))


def quantile_counts(reference: np.ndarray, audited: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Counts of both samples in cells that each hold about the same share of the reference, and in one for missing.

    Cells are closed on the right; equal quantiles are one edge, so there may be fewer than `bins`. The outer cells
    are open: whatever the reference never reached falls into them.

    Args:
        reference, audited: (n,), (m,) numbers, NaN where missing.

    Returns:
        Two int64 arrays of one length, the last cell being that of the missing values.
    """
    known = reference[~np.isnan(reference)]
    if len(known):
        # A quantile that is a value of the data, not between two: an edge must not depend on rounding.
        edges = np.unique(np.quantile(known, np.arange(1, bins) / bins, method="inverted_cdf"))
    else:
        edges = np.empty(0)

    def counts(values: np.ndarray) -> np.ndarray:
        gone = np.isnan(values)
        cells = np.where(gone, len(edges) + 1, np.searchsorted(edges, values, side="left"))
        return np.bincount(cells, minlength=len(edges) + 2)

    return counts(reference), counts(audited)


def merged(expected: np.ndarray, actual: np.ndarray, least: float = LEAST_SHARE) -> tuple[np.ndarray, np.ndarray]:
    """Small cells merged, smallest first, until each holds `least` of both samples together: ½(p + q) ≥ least.

    Keeps a category of three rows from deciding an index that has a logarithm in it. What is left empty on one side
    is then no accident of sampling.

    Returns:
        Counts in fewer cells, the total unchanged. Empty cells are gone.
    """
    if not expected.sum() or not actual.sum():
        return expected, actual
    weight = 0.5 * (expected / expected.sum() + actual / actual.sum())
    order = np.argsort(weight, kind="stable")
    order = order[weight[order] > 0]
    small, total = 0, 0.0
    # The pool takes the smallest cells while any cell is too small, and then as many as it needs itself.
    while small < len(order) and (weight[order[small]] < least or 0 < total < least):
        total += weight[order[small]]
        small += 1
    groups = [order[:small], *([i] for i in np.sort(order[small:]))] if small else [[i] for i in np.sort(order)]
    return (
        np.array([expected[group].sum() for group in groups]),
        np.array([actual[group].sum() for group in groups]),
    )
