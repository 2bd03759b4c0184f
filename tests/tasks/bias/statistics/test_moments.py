"""Means by cell against scipy, whatever the parts they come in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tasks.bias.statistics.moments import Moments

RNG = np.random.default_rng(0)
N, CELLS = 900, 4
CELL, X, WEIGHT = RNG.integers(0, 3, N), RNG.normal(5, 2, N), RNG.exponential(size=N)


def _summed(weight: np.ndarray | None, parts: int = 1, shift: float = 0.0) -> Moments:
    found = Moments(np.full(CELLS, shift))
    for rows in np.array_split(np.arange(N), parts):
        found.add(CELL[rows], X[rows], None if weight is None else weight[rows])
    return found


def test_means_and_students_intervals() -> None:
    found = _summed(None, 7).measured(slice(None), 0.9, "no row")
    for g in range(3):
        own = X[g == CELL]
        assert found.value[g] == pytest.approx(own.mean())
        assert found.std_error[g] == pytest.approx(stats.sem(own))
        assert (found.low[g], found.high[g]) == pytest.approx(
            stats.t.interval(0.9, len(own) - 1, own.mean(), stats.sem(own))
        )
        assert (found.numerator[g], found.denominator[g]) == (pytest.approx(own.sum()), len(own))
        assert found.n[g] == found.support[g] == len(own) == found.degrees[g] + 1
    assert np.isnan(found.value[3])
    assert found.status(3, 1) == ("undefined", "0/0: no row")


def test_weights_of_whole_numbers_are_a_mean_of_repeated_rows_with_fewer_effective_rows() -> None:
    weight = RNG.integers(0, 4, N).astype(float)
    found = _summed(weight, 3).measured(slice(None), 0.95, "no row")
    for g in range(3):
        own, w = X[g == CELL], weight[g == CELL]
        mean = np.average(own, weights=w)
        effective = w.sum() ** 2 / (w**2).sum()
        assert found.value[g] == pytest.approx(mean)
        assert found.n[g] == np.count_nonzero(w)
        assert found.degrees[g] == pytest.approx(effective - 1)
        squares = ((w * (own - mean)) ** 2).sum() / w.sum() ** 2 * effective / (effective - 1)
        assert found.std_error[g] == pytest.approx(np.sqrt(squares))


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_neither_parts_nor_shift_nor_the_scale_of_weights_change_anything(weight: np.ndarray | None) -> None:
    one = _summed(weight).measured(slice(None), 0.95, "")
    others = [_summed(weight, 50), _summed(weight, 2, shift=4.0)]
    others += [] if weight is None else [_summed(1000 * weight)]
    for other in (each.measured(slice(None), 0.95, "") for each in others):
        for name in ("value", "std_error", "low", "high", "degrees"):
            assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9, nan_ok=True)


def test_constants_have_no_spread_however_large() -> None:
    found = Moments(np.zeros(2))
    found.add(np.repeat([0, 1], 50), np.repeat([1e6 + 0.1, 0.3], 50), None)
    assert found.measured(slice(None), 0.95, "").std_error.tolist() == [0.0, 0.0]


def test_a_small_spread_about_a_large_mean_survives_with_a_shift() -> None:
    x = 1e9 + RNG.normal(size=1000)
    found = Moments(np.full(1, 1e9))
    found.add(np.zeros(1000, int), x, None)
    assert found.measured(slice(None), 0.95, "").std_error[0] == pytest.approx(stats.sem(x), rel=1e-6)


def test_what_is_no_number_and_what_weighs_nothing_is_left_out() -> None:
    found = Moments(np.zeros(1))
    found.add(np.zeros(4, int), np.array([1.0, np.nan, 3.0, 100.0]), np.array([1.0, 1.0, 1.0, 0.0]))
    measured = found.measured(slice(None), 0.95, "")
    assert (measured.value[0], measured.n[0]) == (2.0, 2)
