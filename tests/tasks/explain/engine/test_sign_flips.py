"""Tests over rows against scipy's permutation test and hand-counted tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.explain.engine.sign_flips import EXACT, delong, holm, sign_flips


@pytest.mark.parametrize(
    ("rises", "p", "changed"),
    [
        ([0.0, 0.0, 0.0], 1.0, 0),
        ([2.0], 1 / 2, 1),
        ([-2.0], 1.0, 1),
        ([1.0, 1.0, 1.0, 0.0], 1 / 8, 3),
        ([1.0, 1.0, -1.0], 1 / 2, 3),  # sums of flips: 3, 1, 1, 1, −1, …: four of eight are 1 or more
        ([1e-300, 1e-300], 1 / 4, 2),
        ([3.0, -1.0], 1 / 2, 2),
    ],
)
def test_hand_counted(rises: list[float], p: float, changed: int) -> None:
    found = sign_flips(np.array(rises))
    assert found.p_value == pytest.approx(p)
    assert (found.n, found.changed) == (len(rises), changed)


@pytest.mark.parametrize("n", [8, 200])
def test_scipy_agrees(n: int) -> None:
    from scipy.stats import permutation_test

    rises = np.random.default_rng(n).normal(0.12, 1, n)
    theirs = permutation_test(
        (rises,), np.sum, permutation_type="samples", alternative="greater", n_resamples=20_000, rng=1
    ).pvalue
    assert sign_flips(rises).p_value == pytest.approx(theirs, abs=1e-9 if n <= EXACT else 0.012)


def test_no_rises_and_rises_that_are_not_finite_have_no_p_value() -> None:
    assert sign_flips(np.array([])).p_value is None
    assert sign_flips(np.array([1.0, np.nan])).p_value is None
    assert sign_flips(np.array([1.0, np.inf])).p_value is None


#: none so small that a scale makes nothing of it, which is another sign
RISES = st.floats(-1e6, 1e6).map(lambda rise: 0.0 if abs(rise) < 1e-300 else rise)


@given(st.lists(RISES, min_size=1, max_size=40), st.floats(1e-3, 1e3))
def test_scale_and_order_are_nothing(values: list[float], scale: float) -> None:
    rises = np.array(values)
    one = sign_flips(rises)
    assert one.p_value is not None
    assert 0 <= one.p_value <= 1
    assert sign_flips(rises[::-1] * scale).p_value == pytest.approx(one.p_value, abs=1e-6)


def test_holm() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([]) == []
    assert holm([None]) == [None]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_delong_of_a_difference_by_hand() -> None:
    """Two positives, two negatives; placements fall by these: (mean / standard error) is 0.5 / √(0 + 0.25)."""
    from scipy.stats import norm

    falls = np.array([0.5, 0.5, 0.0, 1.0])
    found = delong(falls, np.array([True, True, False, False]))
    assert found.p_value == pytest.approx(norm.sf(0.5 / np.sqrt(0.5 / 2)))
    assert (found.n, found.changed) == (4, 3)


def test_delong_where_nothing_can_be_told() -> None:
    positive = np.array([True, True, False, False])
    assert delong(np.zeros(4), positive).p_value == 1.0
    assert delong(np.full(4, 0.5), positive).p_value is None  # no variance
    assert delong(np.array([0.5, 0.1]), np.array([True, False])).p_value is None
    assert delong(np.full(4, np.nan), positive).p_value is None
