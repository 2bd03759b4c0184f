"""Distances between two samples: cases computed by hand, scipy as the oracle, and what has no value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.drift import measures

NAN = float("nan")


def counts(*values: int) -> np.ndarray:
    return np.array(values)


@pytest.mark.parametrize(
    ("expected", "actual", "psi", "variation", "shannon"),
    [
        (counts(5, 5), counts(50, 50), 0.0, 0.0, 0.0),
        # (0.2 − 0.5) ln(0.2/0.5) + (0.8 − 0.5) ln(0.8/0.5)
        (counts(50, 50), counts(20, 80), 0.3 * math.log(2.5) + 0.3 * math.log(1.6), 0.3, None),
        (counts(1, 0, 1), counts(3, 0, 1), 0.25 * math.log(1.5) + 0.25 * math.log(2), 0.25, None),
        (counts(10, 0), counts(5, 5), math.inf, 0.5, None),
        (counts(10, 0), counts(0, 10), math.inf, 1.0, math.log(2)),
        (counts(0, 0), counts(5, 5), NAN, NAN, NAN),
        (counts(5, 5), counts(0, 0), NAN, NAN, NAN),
    ],
)
def test_by_hand(expected: np.ndarray, actual: np.ndarray, psi: float, variation: float, shannon: float | None) -> None:
    assert measures.population_stability_index(expected, actual) == pytest.approx(psi, nan_ok=True)
    assert measures.total_variation(expected, actual) == pytest.approx(variation, nan_ok=True)
    if shannon is not None:
        assert measures.jensen_shannon(expected, actual) == pytest.approx(shannon, nan_ok=True)


CELLS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8)


@settings(deadline=None)
@given(CELLS)
def test_distances_against_scipy_and_their_symmetry(cells: list[tuple[int, int]]) -> None:
    from scipy.spatial.distance import jensenshannon

    p, q = np.array(cells).T
    if not p.sum() or not q.sum():
        return
    assert measures.jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q) ** 2, abs=1e-9)
    assert 0 <= measures.total_variation(p, q) <= 1
    for distance in (measures.population_stability_index, measures.total_variation, measures.jensen_shannon):
        assert distance(p, q) == pytest.approx(distance(q, p), abs=1e-12)
        assert distance(p, 3 * p) == pytest.approx(0, abs=1e-12)
        assert distance(p, q) >= 0


@pytest.mark.filterwarnings("ignore:divide by zero")  # inside scipy, for the p-value
@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.lists(st.integers(-5, 5), min_size=1, max_size=30))
def test_kolmogorov_smirnov_against_scipy(x: list[int], y: list[int]) -> None:
    from scipy.stats import ks_2samp

    a, b = np.array(x, float), np.array(y, float)
    assert measures.kolmogorov_smirnov(a, b) == pytest.approx(ks_2samp(a, b, method="asymp").statistic, abs=1e-12)
    assert measures.kolmogorov_smirnov(np.append(a, NAN), b) == measures.kolmogorov_smirnov(a, b)


def test_kolmogorov_smirnov_of_nothing() -> None:
    assert math.isnan(measures.kolmogorov_smirnov(np.array([NAN]), np.array([1.0])))
    assert math.isnan(measures.kolmogorov_smirnov(np.array([1.0]), np.array([])))


def test_cells_hold_tenths_of_the_reference_and_the_missing_have_their_own() -> None:
    reference = np.append(np.arange(100.0), [NAN, NAN])
    audited = np.array([-1000.0, 9.0, 9.5, 89.0, 1000.0, NAN])
    before, now = measures.quantile_counts(reference, audited)
    assert before.tolist() == [10] * 10 + [2]
    # Closed on the right: 9 is in the first cell; the outer cells are open.
    assert now.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1]


def test_a_number_that_is_mostly_one_value_keeps_it_apart() -> None:
    reference = np.array([0.0] * 92 + list(range(1, 9)))
    before, _ = measures.quantile_counts(reference, np.array([0.0]))
    assert before.tolist() == [92, 8, 0]


def test_no_numbers_at_all() -> None:
    before, now = measures.quantile_counts(np.array([NAN, NAN]), np.array([1.0, NAN]))
    assert (before.tolist(), now.tolist()) == ([0, 2], [1, 1])


@pytest.mark.parametrize(
    ("expected", "actual", "merged"),
    [
        (counts(500, 500), counts(400, 600), [(500, 400), (500, 600)]),
        (counts(500, 0, 500), counts(400, 0, 600), [(500, 400), (500, 600)]),
        # 3 of 1000 in the reference alone: joined to the smallest of the others.
        (counts(3, 600, 397), counts(0, 500, 500), [(400, 500), (600, 500)]),
        # Together the small ones hold enough: they are a cell of their own.
        (counts(6, 7, 8, 979), counts(5, 9, 10, 976), [(21, 24), (979, 976)]),
        (counts(1, 0), counts(0, 1), [(1, 0), (0, 1)]),
    ],
)
def test_small_cells_are_merged(expected: np.ndarray, actual: np.ndarray, merged: list[tuple[int, int]]) -> None:
    p, q = measures.merged(expected, actual)
    assert list(zip(p.tolist(), q.tolist(), strict=True)) == merged


@settings(deadline=None)
@given(CELLS)
def test_merging_keeps_the_totals_and_leaves_no_small_cell(cells: list[tuple[int, int]]) -> None:
    expected, actual = np.array(cells).T
    if not expected.sum() or not actual.sum():
        return
    p, q = measures.merged(expected, actual, least=0.1)
    assert (p.sum(), q.sum()) == (expected.sum(), actual.sum())
    weight = 0.5 * (p / p.sum() + q / q.sum())
    assert len(weight) == 1 or weight.min() >= 0.1 - 1e-9


def test_what_chance_alone_does_to_the_index() -> None:
    generator = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    drawn = [
        measures.population_stability_index(generator.multinomial(2000, shares), generator.multinomial(1000, shares))
        for _ in range(400)
    ]
    expected = measures.psi_by_chance(generator.multinomial(2000, shares), generator.multinomial(1000, shares))
    assert expected == pytest.approx(9 * (1 / 2000 + 1 / 1000))
    # The mean of 400 draws of (0.0015 χ² with 9 degrees of freedom) has a standard error of 0.00032.
    assert np.mean(drawn) == pytest.approx(expected, abs=5 * 0.00032)
