"""How far two explanations of the same rows agree: pure functions on arrays, a value a row.

The measures of Krishna et al., "The Disagreement Problem in Explainable Machine Learning", 2022 (TMLR 2024), and rank
correlations. `a` and `b` are (n, d) float64: n rows, d features. The result is (n,) float64, NaN in a row where the
measure is undefined (one of the two attributes nothing to any feature, or the same to all).

Where we differ from the paper: a feature with the attribution 0 is never among the top k, so an explanation that uses
fewer than k features is compared on those; ties are broken by the order of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

#: cells of an (n, d, d) comparison that are held at once
_CELLS = 20_000_000


def feature_agreement(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """Share of the top k features, by size of the attribution, that both have. 0 to 1, higher is more agreement."""
    return _top_share(a, b, k, lambda ranks_a, ranks_b, signs: np.ones(signs.shape, bool))


def rank_agreement(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """Share of the top k features that both have, at the same rank. 0 to 1, at most the feature agreement."""
    return _top_share(a, b, k, lambda ranks_a, ranks_b, signs: ranks_a == ranks_b)


def sign_agreement(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """Share of the top k features that both have, with the same sign. 0 to 1, at most the feature agreement."""
    return _top_share(a, b, k, lambda ranks_a, ranks_b, signs: signs)


def signed_rank_agreement(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """Share of the top k features that both have, at the same rank and with the same sign. 0 to 1."""
    return _top_share(a, b, k, lambda ranks_a, ranks_b, signs: (ranks_a == ranks_b) & signs)


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of the attributions with their signs, ties by mean rank. −1 to 1."""
    return np.clip((standard_ranks(a) * standard_ranks(b)).sum(axis=1), -1.0, 1.0)


def standard_ranks(values: np.ndarray) -> np.ndarray:
    """(n, d) ranks of each row's values, ties by mean rank, of mean 0 and length 1; NaN in rows of equal values."""
    from scipy.stats import rankdata

    if values.shape[1] < 2:
        return np.full(values.shape, np.nan)
    found = rankdata(values, axis=1)
    found -= found.mean(axis=1, keepdims=True)
    length = np.sqrt((found**2).sum(axis=1, keepdims=True))
    return np.divide(found, length, out=np.full(found.shape, np.nan), where=length > 0)


def kendall(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kendall's rank correlation τ_b of the attributions with their signs, corrected for ties. −1 to 1."""

    def tau(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        sx, sy = _order(x), _order(y)
        # Signs are −1, 0 and 1, so sums of products count pairs exactly.
        scale = np.sqrt(np.einsum("nij,nij->n", sx, sx) * np.einsum("nij,nij->n", sy, sy))
        return np.clip(_ratio(np.einsum("nij,nij->n", sx, sy), scale), -1.0, 1.0)

    return _in_parts(tau, a, b)


def pairwise_rank_agreement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Share of the pairs of features that both put in the same order of size. 0 to 1; a tie in one alone is not."""

    def share(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        d = x.shape[1]
        same = (_order(np.abs(x)) == _order(np.abs(y))).sum(axis=(1, 2)) - d  # the diagonal is always equal
        defined = np.any(x != 0, axis=1) & np.any(y != 0, axis=1)
        return np.where(defined & (d > 1), same / max(d * (d - 1), 1), np.nan)

    return _in_parts(share, a, b)


#: measures that look at the k largest attributions
TOP: Mapping[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "feature_agreement": feature_agreement,
    "rank_agreement": rank_agreement,
    "sign_agreement": sign_agreement,
    "signed_rank_agreement": signed_rank_agreement,
}

#: measures that look at all features
WHOLE: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "spearman": spearman,
    "kendall": kendall,
    "pairwise_rank_agreement": pairwise_rank_agreement,
}

#: the smallest value that a measure can have; the largest is 1
LOWEST: Mapping[str, float] = {"spearman": -1.0, "kendall": -1.0, "ssim": -1.0}


def ranks(values: np.ndarray) -> np.ndarray:
    """(n, d) int64 ranks by size of the attribution, 0 the largest; ties by the order of the features."""
    order = np.argsort(-np.abs(values), axis=1, kind="stable")
    found = np.empty_like(order)
    np.put_along_axis(found, order, np.arange(values.shape[1])[None, :], axis=1)
    return found


def mean_interval(values: np.ndarray, confidence: float, low: float, high: float) -> tuple[float, float, float]:
    """Mean over rows with Student's t interval, cut to the measure's range.

    Args:
        values: (n,) of independent rows, without NaN.
        low, high: range of the measure.

    Returns:
        Mean, lower and upper end; the ends are NaN for fewer than two rows, all three for none.
    """
    if not len(values):
        return np.nan, np.nan, np.nan
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, np.nan, np.nan
    from scipy.stats import t

    half = float(t.ppf(0.5 + confidence / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean, max(low, mean - half), min(high, mean + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values that hold for the whole family. In the order given, at most 1."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    found = np.empty(len(p))
    found[order] = adjusted
    return found.tolist()


def _top_share(
    a: np.ndarray, b: np.ndarray, k: int, agrees: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    ranks_a, ranks_b = ranks(a), ranks(b)
    top_a, top_b = (ranks_a < k) & (a != 0), (ranks_b < k) & (b != 0)
    both = top_a & top_b & agrees(ranks_a, ranks_b, np.sign(a) == np.sign(b))
    size_a, size_b = top_a.sum(axis=1), top_b.sum(axis=1)
    shared = both.sum(axis=1).astype(np.float64)
    return np.where((size_a > 0) & (size_b > 0), shared / np.maximum(np.maximum(size_a, size_b), 1), np.nan)


def _order(values: np.ndarray) -> np.ndarray:
    """(n, d, d) signs of all differences between features."""
    return np.sign(values[:, :, None] - values[:, None, :])


def _in_parts(measure: Callable[[np.ndarray, np.ndarray], np.ndarray], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The measure on batches of rows, so that comparisons of all pairs fit into memory."""
    step = max(1, _CELLS // max(1, a.shape[1] ** 2))
    parts = [measure(a[i : i + step], b[i : i + step]) for i in range(0, len(a), step)]
    return np.concatenate(parts) if parts else np.empty(0)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """0/0 is NaN, without a warning."""
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
