"""Measures of agreement: cases computed by hand, scipy as the oracle, and properties that hold for any rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.agreement import measures

NAN = float("nan")
A = np.array([[5.0, -4.0, 3.0, 2.0, -1.0]])


@pytest.mark.parametrize(
    ("b", "k", "feature", "rank", "sign", "signed_rank"),
    [
        # the same
        ([5, -4, 3, 2, -1], 3, 1, 1, 1, 1),
        # the same features and signs, the first two swapped
        ([4, -5, 3, 2, -1], 3, 1, 1 / 3, 1, 1 / 3),
        # the same order, one sign turned
        ([5, 4, 3, 2, -1], 3, 1, 1, 2 / 3, 2 / 3),
        # two of three in common: features 0 at rank 0, 2 at rank 1 (it was 2); 0 has the other sign
        ([-5, 0.1, 3, -0.1, 2], 3, 2 / 3, 1 / 3, 1 / 3, 0),
        # nothing in common
        ([0, 0, 0.1, 3, 2], 2, 0, 0, 0, 0),
        # b uses two features only: they are compared with a's three
        ([5, 0, 0, 0, -4], 3, 1 / 3, 1 / 3, 1 / 3, 1 / 3),
        # b uses nothing
        ([0, 0, 0, 0, 0], 3, NAN, NAN, NAN, NAN),
    ],
)
def test_top_features_by_hand(
    b: list[float], k: int, feature: float, rank: float, sign: float, signed_rank: float
) -> None:
    other = np.array([b], float)
    found = [measure(A, other, k)[0] for measure in measures.TOP.values()]
    assert found == pytest.approx([feature, rank, sign, signed_rank], nan_ok=True)
    assert [measure(other, A, k)[0] for measure in measures.TOP.values()] == pytest.approx(found, nan_ok=True)


@pytest.mark.parametrize(
    ("b", "spearman", "kendall", "pairwise"),
    [
        ([5, -4, 3, 2, -1], 1, 1, 1),
        ([-5, 4, -3, -2, 1], -1, -1, 1),  # by size they are the same
        # sizes 1 2 3 4 5 against 5 4 3 2 1: no pair in the same order
        ([1, -2, 3, 4, -5], None, None, 0),
        # the sizes of 3 and 2 are equal in b alone: that pair is not agreed on
        ([5, -4, 2, 2, -1], None, None, 0.9),
        ([2, 2, 2, 2, 2], NAN, NAN, 0),
        ([0, 0, 0, 0, 0], NAN, NAN, NAN),
    ],
)
def test_whole_rankings_by_hand(b: list[float], spearman: float | None, kendall: float | None, pairwise: float) -> None:
    other = np.array([b], float)
    if spearman is not None:
        assert measures.spearman(A, other)[0] == pytest.approx(spearman, nan_ok=True)
        assert measures.kendall(A, other)[0] == pytest.approx(kendall, nan_ok=True)
    assert measures.pairwise_rank_agreement(A, other)[0] == pytest.approx(pairwise, nan_ok=True)


def ties(shape: tuple[int, int]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, shape, elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0]))


ROWS = st.tuples(st.integers(1, 6), st.integers(2, 7)).flatmap(lambda shape: st.tuples(ties(shape), ties(shape)))


@pytest.mark.filterwarnings("ignore:An input array is constant")  # scipy, where the result is NaN
@settings(deadline=None)
@given(ROWS)
def test_rank_correlations_against_scipy(rows: tuple[np.ndarray, np.ndarray]) -> None:
    from scipy.stats import kendalltau, spearmanr

    a, b = rows
    for i, (rho, tau) in enumerate(zip(measures.spearman(a, b), measures.kendall(a, b), strict=True)):
        assert rho == pytest.approx(spearmanr(a[i], b[i]).statistic, abs=1e-12, nan_ok=True)
        assert tau == pytest.approx(kendalltau(a[i], b[i]).statistic, abs=1e-12, nan_ok=True)


@settings(deadline=None)
@given(ROWS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_properties(rows: tuple[np.ndarray, np.ndarray], k: int, random: object) -> None:
    a, b = rows
    every = [lambda x, y, m=m: m(x, y, k) for m in measures.TOP.values()] + list(measures.WHOLE.values())
    for measure in every:
        found = measure(a, b)
        known = found[~np.isnan(found)]
        assert np.all((known >= -1) & (known <= 1))
        assert found == pytest.approx(measure(b, a), nan_ok=True)
        assert found == pytest.approx(measure(3 * a, 0.5 * b), nan_ok=True)  # ranks know no unit
        own = measure(a, a)
        assert own[~np.isnan(own)] == pytest.approx(1)
        # One row is as good as many.
        assert measure(a[:1], b[:1]) == pytest.approx(found[:1], nan_ok=True)
    feature, rank, sign, both = (measure(a, b, k) for measure in measures.TOP.values())
    known = ~np.isnan(feature)
    assert np.all(rank[known] <= feature[known])
    assert np.all(sign[known] <= feature[known])
    assert np.all(both[known] <= np.minimum(rank, sign)[known])


def test_without_ties_the_order_of_the_columns_does_not_matter() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(50, 9)), generator.normal(size=(50, 9))
    order = generator.permutation(9)
    for measure in measures.TOP.values():
        assert measure(a, b, 4) == pytest.approx(measure(a[:, order], b[:, order], 4))
    for measure in measures.WHOLE.values():
        assert measure(a, b) == pytest.approx(measure(a[:, order], b[:, order]))


def test_random_attributions_agree_as_chance_has_it() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(20_000, 14)), generator.normal(size=(20_000, 14))
    # Means of 20,000 rows: their standard errors are below 0.002.
    assert measures.feature_agreement(a, b, 3).mean() == pytest.approx(3 / 14, abs=0.01)
    assert measures.rank_agreement(a, b, 3).mean() == pytest.approx(1 / 14, abs=0.01)
    assert measures.sign_agreement(a, b, 3).mean() == pytest.approx(1.5 / 14, abs=0.01)
    assert measures.spearman(a, b).mean() == pytest.approx(0, abs=0.01)
    assert measures.kendall(a, b).mean() == pytest.approx(0, abs=0.01)
    assert measures.pairwise_rank_agreement(a, b).mean() == pytest.approx(0.5, abs=0.01)


def test_one_feature_and_no_rows() -> None:
    one = np.array([[1.0], [0.0]])
    assert measures.feature_agreement(one, one, 3) == pytest.approx([1, NAN], nan_ok=True)
    for measure in measures.WHOLE.values():
        assert np.isnan(measure(one, one)).all()
        assert measure(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)


def test_many_features_in_parts_are_the_same() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(30, 1500)), generator.normal(size=(30, 1500))
    assert measures.kendall(a, b)[20:21] == pytest.approx(measures.kendall(a[20:21], b[20:21]))


def test_the_interval_is_students() -> None:
    from scipy.stats import t

    values = np.array([0.2, 0.4, 0.9])
    mean, low, high = measures.mean_interval(values, 0.9, -2, 2)
    assert (low, high) == pytest.approx(t.interval(0.9, 2, mean, values.std(ddof=1) / np.sqrt(3)))
    assert mean == pytest.approx(0.5)
    assert measures.mean_interval(np.array([0.99, 1.0, 0.9]), 0.95, 0, 1)[2] == 1.0
    assert measures.mean_interval(np.array([0.5]), 0.95, 0, 1) == pytest.approx((0.5, NAN, NAN), nan_ok=True)
    assert np.isnan(measures.mean_interval(np.array([]), 0.95, 0, 1)).all()
