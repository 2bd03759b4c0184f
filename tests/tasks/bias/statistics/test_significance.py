from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tasks.bias.statistics.significance import (
    LARGE,
    benjamini_hochberg,
    equal_proportions,
    fisher,
    holm,
    homogeneity,
    pooled_z,
    two_proportions,
    two_sided,
    wald,
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int, int]:
    n1, n2 = draw(st.integers(1, 200)), draw(st.integers(1, 200))
    return draw(st.integers(0, n1)), n1, draw(st.integers(0, n2)), n2


@given(tables())
def test_fisher_is_scipys(table: tuple[int, int, int, int]) -> None:
    x1, n1, x2, n2 = table
    found = fisher(*table)
    if x1 + x2 in (0, n1 + n2):
        assert np.isnan(found)  # scipy says 1, but there is nothing to test
    else:
        assert found == pytest.approx(stats.fisher_exact([[x1, n1 - x1], [x2, n2 - x2]])[1], rel=1e-9)


@pytest.mark.parametrize(
    ("table", "p", "z"),
    [
        ((12, 40, 48, 80), 0.0034092217678, -3.0984),
        ((170, 390, 412, 797), 0.00943, -2.6233),
        ((7, 17, 215, 412), 0.4605, -0.890),
        ((40, 100, 60, 100), None, -2.8284271247),
    ],
)
def test_the_cases_of_the_law_page(table: tuple[int, int, int, int], p: float | None, z: float) -> None:
    if p is not None:
        assert fisher(*table) == pytest.approx(p, rel=1e-3 if p > 0.4 else 1e-4)
    assert pooled_z(*table) == pytest.approx(z, abs=6e-4 if z == -0.890 else 5e-5)


def test_p_of_pooled_z() -> None:
    assert two_sided(pooled_z(40, 100, 60, 100)) == pytest.approx(0.004677735, abs=5e-10)
    assert fisher(12, 40, 48, 80) == pytest.approx(0.0034092217678, abs=5e-14)


def test_large_counts_take_pooled_z() -> None:
    assert two_proportions(30, 100, 40, 100)[1] == "fisher"
    x1, x2, n = 3 * LARGE, 3 * LARGE + 900, 10 * LARGE
    p, test = two_proportions(x1, n, x2, n)
    assert test == "pooled_z"
    assert p == pytest.approx(stats.chi2_contingency([[x1, n - x1], [x2, n - x2]], correction=False).pvalue)


@pytest.mark.parametrize("gap", [550, 620, 750])
def test_no_verdict_hangs_on_where_fisher_ends(gap: int) -> None:
    half = 2 * LARGE
    more, less = LARGE + gap // 2, LARGE - gap // 2
    p, test = two_proportions(more, half, less, half)
    assert test == "pooled_z"
    assert 0.01 < p < 0.1
    assert fisher(more, half, less, half) == pytest.approx(p, rel=0.01)


@pytest.mark.parametrize("table", [(0, 0, 3, 5), (0, 4, 0, 5), (4, 4, 5, 5)])
def test_nothing_to_test(table: tuple[int, int, int, int]) -> None:
    assert np.isnan(fisher(*table))
    assert np.isnan(pooled_z(*table))
    assert np.isnan(wald(0.1, 0.0, 0.0))


def test_chi_squared_is_pearsons() -> None:
    x, n = np.array([30.0, 45.0, 20.0]), np.array([100.0, 100.0, 80.0])
    p, test = equal_proportions([(x, n)], np.random.default_rng(0), 100)
    assert test == "chi_squared"
    assert p == pytest.approx(stats.chi2_contingency([x, n - x]).pvalue)


def test_strata_add_up() -> None:
    x, n = np.array([30.0, 45.0]), np.array([100.0, 100.0])
    y, m = np.array([10.0, 20.0]), np.array([90.0, 95.0])
    parts = [stats.chi2_contingency([a, b - a], correction=False).statistic for a, b in ((x, n), (y, m))]
    p, _ = equal_proportions([(x, n), (y, m)], np.random.default_rng(0), 100)
    assert p == pytest.approx(stats.chi2.sf(sum(parts), 2))


def test_small_expected_counts_are_permuted() -> None:
    x, n = np.array([1.0, 0.0, 6.0]), np.array([10.0, 8.0, 9.0])
    p, test = equal_proportions([(x, n)], np.random.default_rng(0), 20_000)
    assert test == "chi_squared_permuted"
    # every table with these margins, weighted by its chance
    observed, hits = stats.chi2_contingency([x, n - x]).statistic, 7
    total = exceeding = 0.0
    for a in range(8):
        for b in range(8 - a):
            c = hits - a - b
            if c > 9:
                continue
            chance = stats.multivariate_hypergeom.pmf([a, b, c], [10, 8, 9], hits)
            total += chance
            if stats.chi2_contingency([[a, b, c], n - [a, b, c]]).statistic >= observed - 1e-9:
                exceeding += chance
    assert total == pytest.approx(1)
    assert p == pytest.approx(exceeding, abs=4 * np.sqrt(exceeding / 20_000))


def test_homogeneity_of_two_is_wald() -> None:
    values, errors = np.array([0.3, 0.5]), np.array([0.05, 0.08])
    assert homogeneity(values, errors)[0] == pytest.approx(wald(0.2, 0.05, 0.08))
    assert np.isnan(homogeneity(values, np.array([0.0, 0.1]))[0])


def test_holm_by_hand() -> None:
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.005])
    # ordered .005 .01 .03 .04 times 4 3 2 1, never falling
    assert holm(p)[[4, 0, 3, 2]] == pytest.approx([0.02, 0.03, 0.06, 0.06])
    assert np.isnan(holm(p)[1])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_benjamini_hochberg_is_scipys() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.5])
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))
    assert len(benjamini_hochberg(np.array([]))) == 0
