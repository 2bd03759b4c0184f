from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from tasks.bias.statistics.intervals import (
    folded_ratio,
    katz,
    logit,
    mean_of,
    mover_difference,
    mover_ratio,
    student,
    wilson,
    without_sign,
)
from tasks.bias.statistics.significance import fisher, pooled_z, two_sided


@pytest.mark.parametrize(
    ("x", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998a, table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_wilson(x: int, n: int, low: float, high: float) -> None:
    found = wilson(x / n, n, 0.95)
    assert found[0] == pytest.approx(low, abs=6e-5)
    assert found[1] == pytest.approx(high, abs=6e-5)


@pytest.mark.parametrize(
    ("x1", "n1", "x2", "n2", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),  # Newcombe 1998b, table II, method 10
        (9, 10, 3, 10, 0.1705, 0.8090),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0000),
    ],
)
def test_newcombe(x1: int, n1: int, x2: int, n2: int, low: float, high: float) -> None:
    p1, p2 = np.array([x1 / n1]), np.array([x2 / n2])
    found = mover_difference(p1, wilson(p1, n1, 0.95), p2, wilson(p2, n2, 0.95))
    assert found[0][0] == pytest.approx(low, abs=6e-5)
    assert found[1][0] == pytest.approx(high, abs=6e-5)


def _ratio(x1: int, n1: int, x2: int, n2: int) -> tuple[float, float]:
    p1, p2 = np.array([x1 / n1]), np.array([x2 / n2])
    low, high = mover_ratio(p1, wilson(p1, n1, 0.95), p2, wilson(p2, n2, 0.95))
    return float(low[0]), float(high[0])


@pytest.mark.parametrize("counts", [(12, 40, 48, 80), (3, 5, 6, 8), (30, 30, 20, 40), (1, 9, 1, 3)])
def test_the_interval_of_the_inverse_ratio_is_the_inverse(counts: tuple[int, int, int, int]) -> None:
    low, high = _ratio(*counts)
    assert low < counts[0] * counts[3] / (counts[1] * counts[2]) < high
    inverse = _ratio(*counts[2:], *counts[:2])
    assert inverse[0] == pytest.approx(1 / high)
    assert inverse[1] == pytest.approx(1 / low)


def test_a_ratio_is_open_where_a_count_is_zero() -> None:
    low, high = _ratio(0, 40, 20, 40)
    assert low == 0
    assert 0 < high < 1
    assert np.isnan(_ratio(5, 40, 0, 40)).all()  # 5/0 is no number, and neither are its limits
    assert np.isnan(_ratio(0, 40, 0, 40)).all()


def test_katz_is_the_interval_of_the_log_ratio() -> None:
    low, high = katz(12, 40, 48, 80, 0.95)
    assert (low, high) == (pytest.approx(0.30143, abs=1e-5), pytest.approx(0.82937, abs=1e-5))
    assert np.isnan(katz(0, 40, 48, 80, 0.95)).all()


def test_nothing_counted_has_no_interval() -> None:
    assert np.isnan(wilson(np.nan, 0, 0.95)).all()
    assert np.isnan(student(np.array([1.0]), np.array([0.0]), np.array([1.0]), 0.95)).all()
    assert np.isnan(logit(np.array([1.0]), np.array([0.0]), 0.95)).all()


def test_student_is_scipys() -> None:
    from scipy import stats

    x = np.array([1.0, 2.0, 4.0, 8.0])
    low, high = student(np.array([x.mean()]), np.array([stats.sem(x)]), np.array([4.0]), 0.9)
    assert (low[0], high[0]) == pytest.approx(stats.t.interval(0.9, 3, x.mean(), stats.sem(x)))


def test_the_mean_of_one_part_has_its_interval() -> None:
    parts = np.array([[0.3, np.nan]])
    low, high = mean_of(parts, np.array([[0.2, np.nan]]), np.array([[0.5, np.nan]]))
    assert (low[0], high[0]) == (pytest.approx(0.2), pytest.approx(0.5))


@pytest.mark.parametrize(
    ("interval", "folded"), [((-0.1, 0.3), (0, 0.3)), ((0.1, 0.3), (0.1, 0.3)), ((-0.3, -0.1), (0.1, 0.3))]
)
def test_without_sign(interval: tuple[float, float], folded: tuple[float, float]) -> None:
    assert without_sign(*interval) == folded


@pytest.mark.parametrize("interval", [(0.1, np.nan), (np.nan, 0.1), (np.nan, np.nan)])
def test_without_sign_of_an_open_interval_is_none(interval: tuple[float, float]) -> None:
    assert np.isnan(without_sign(*interval)).all()


@pytest.mark.parametrize(
    ("interval", "folded"), [((0.5, 0.9), (0.5, 0.9)), ((0.5, 1.25), (0.5, 1)), ((0.9, 1.25), (0.8, 1))]
)
def test_folded_ratio(interval: tuple[float, float], folded: tuple[float, float]) -> None:
    assert folded_ratio(*interval) == folded
    assert folded_ratio(0.5, float("nan")) == (0.0, 1.0)


# ---------------------------------------------------------------- coverage, by adding up every outcome

RATES = np.arange(0.05, 0.96, 0.05)


@pytest.mark.parametrize("n", [30, 50, 100])
def test_wilson_covers(n: int) -> None:
    x = np.arange(n + 1)
    low, high = wilson(x / n, n, 0.95)
    coverage = [binom.pmf(x, n, p)[(low <= p) & (p <= high)].sum() for p in RATES]
    assert 0.94 <= np.mean(coverage) <= 0.965
    assert min(coverage) >= 0.915


def _outcomes(n1: int, n2: int):
    x1, x2 = (grid.ravel() for grid in np.meshgrid(np.arange(n1 + 1), np.arange(n2 + 1), indexing="ij"))
    chances = {p: (binom.pmf(np.arange(n1 + 1), n1, p), binom.pmf(np.arange(n2 + 1), n2, p)) for p in RATES}
    return x1, x2, chances


@pytest.mark.parametrize(("n1", "n2"), [(30, 30), (30, 60)])
def test_newcombe_and_mover_cover(n1: int, n2: int) -> None:
    x1, x2, chances = _outcomes(n1, n2)
    a, b = x1 / n1, x2 / n2
    cis = wilson(a, n1, 0.95), wilson(b, n2, 0.95)
    difference = mover_difference(a, cis[0], b, cis[1])
    low, high = mover_ratio(a, cis[0], b, cis[1])
    high = np.where(np.isnan(high), np.inf, high)  # open above
    low = np.where(np.isnan(low), 0, low)
    covered: dict[str, list[float]] = {"difference": [], "ratio": []}
    for p1 in RATES:
        for p2 in RATES:
            chance = np.outer(chances[p1][0], chances[p2][1]).ravel()
            covered["difference"].append(chance[(difference[0] <= p1 - p2) & (p1 - p2 <= difference[1])].sum())
            covered["ratio"].append(chance[(low <= p1 / p2 + 1e-12) & (p1 / p2 - 1e-12 <= high)].sum())
    for name, values in covered.items():
        assert 0.94 <= np.mean(values) <= 0.965, name
        assert min(values) >= 0.915, name


def test_fisher_and_pooled_z_hold_their_size() -> None:
    n = 30
    x1, x2, chances = _outcomes(n, n)
    exact = np.array([fisher(a, n, b, n) for a, b in zip(x1, x2, strict=True)])
    pooled = np.array([two_sided(pooled_z(a, n, b, n)) for a, b in zip(x1, x2, strict=True)])
    for p in RATES:
        chance = np.outer(*chances[p]).ravel()
        assert chance[exact < 0.05].sum() <= 0.05
        assert chance[pooled < 0.05].sum() <= 0.06
