"""Robustness and complexity: hand-computed cases, scipy as the oracle of rank correlation, properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.agreement import complexity, robustness

NAN = float("nan")


def test_sensitivity_by_hand() -> None:
    before = np.array([[3.0, 4.0], [0.0, 0.0]])  # lengths 5 and 0
    after = np.array([[[3.0, 4.0], [0.0, 0.0], [6.0, 0.0]]] * 2)
    assert robustness.sensitivity(before, after) == pytest.approx(np.array([[0, 1, 1], [NAN, NAN, NAN]]), nan_ok=True)


@pytest.mark.parametrize(
    ("before", "after", "k", "expected"),
    [
        ([5, -4, 3, 1], [5, -4, 1, 3], 2, 1),
        ([5, -4, 3, 1], [5, 1, 3, -4], 2, 1 / 3),  # {0, 1} and {0, 3}
        ([5, -4, 3, 1], [0, 0, 3, 1], 2, 0),
        ([5, -4, 3, 1], [5, 0, 0, 0], 2, 1 / 2),  # what has 0 is not among the largest
        ([0, 0, 0, 0], [0, 0, 0, 0], 2, NAN),
        ([0, 0, 0, 0], [1, 0, 0, 0], 2, 0),
    ],
)
def test_top_jaccard_by_hand(before: list[float], after: list[float], k: int, expected: float) -> None:
    a, b = np.array([before], float), np.array([after], float)
    assert robustness.top_jaccard(a, b, k) == pytest.approx([expected], nan_ok=True)
    assert robustness.top_jaccard(b, a, k) == pytest.approx([expected], nan_ok=True)


FEW = arrays(np.float64, (3, 6), elements=st.sampled_from([-1.0, 0.0, 0.0, 1.0, 2.0, 3.0]))


@pytest.mark.filterwarnings("ignore:An input array is constant")
@settings(deadline=None)
@given(FEW, FEW)
def test_correlation_is_scipys_where_either_says_something(before: np.ndarray, after: np.ndarray) -> None:
    from scipy.stats import spearmanr

    for a, b, found in zip(before, after, robustness.correlation(before, after), strict=True):
        shown = (a != 0) | (b != 0)
        expected = spearmanr(a[shown], b[shown]).statistic if shown.sum() > 2 else NAN
        assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_many_shared_noughts_do_not_make_explanations_alike() -> None:
    before, after = np.zeros((1, 100)), np.zeros((1, 100))
    before[0, :5], after[0, :5] = [1, 2, 3, 4, 5], [5, 4, 3, 2, 1]
    assert robustness.correlation(before, after) == pytest.approx([-1])


# ---------------------------------------------------------------- complexity


@pytest.mark.parametrize(
    ("values", "entropy", "gini"),
    [
        ([1, 1, 1, 1], np.log(4), 0),
        ([0, -7, 0, 0], 0, 3 / 4),
        ([2, 1, 1, 0], 0.5 * np.log(2) + 0.5 * np.log(4), 3 / 8),  # (−3·0 − 1·¼ + 1·¼ + 3·½) / 4
        ([-1, 3, 0, 0], -0.25 * np.log(0.25) - 0.75 * np.log(0.75), (0.25 + 3 * 0.75) / 4),
        ([0, 0, 0, 0], NAN, NAN),
    ],
)
def test_complexity_by_hand(values: list[float], entropy: float, gini: float) -> None:
    row = np.array([values], float)
    assert complexity.entropy(row) == pytest.approx([entropy], nan_ok=True)
    assert complexity.gini(row) == pytest.approx([gini], nan_ok=True)
    # Signs, units and the order of the features do not matter.
    assert complexity.entropy(-5 * row[:, ::-1]) == pytest.approx([entropy], nan_ok=True)
    assert complexity.gini(-5 * row[:, ::-1]) == pytest.approx([gini], nan_ok=True)


@given(arrays(np.float64, (2, 7), elements=st.floats(-1e6, 1e6, allow_subnormal=False)))
@settings(deadline=None)
def test_complexity_stays_in_its_range(values: np.ndarray) -> None:
    for found, top in ((complexity.entropy(values), np.log(7)), (complexity.gini(values), 6 / 7)):
        known = found[~np.isnan(found)]
        assert np.all((known >= -1e-12) & (known <= top + 1e-12))
        assert np.array_equal(np.isnan(found), ~values.any(axis=1))


def test_gini_is_the_mean_difference_of_shares() -> None:
    values = np.random.default_rng(0).exponential(size=(5, 9))
    share = values / values.sum(axis=1, keepdims=True)
    expected = np.abs(share[:, :, None] - share[:, None, :]).sum(axis=(1, 2)) / (2 * 9)
    assert complexity.gini(values) == pytest.approx(expected)
