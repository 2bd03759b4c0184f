"""Resampled tables: with weights against the Poisson bootstrap of rows, and where they are trusted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.bias.families.rates import METRICS
from tasks.bias.rows.counts import Confusion, Counts
from tasks.bias.statistics.resampling import LEAST_CELL, Resampler, resampled, trusted

SELECTION = next(metric for metric in METRICS if metric.name == "selection_rate")


def table(hit: np.ndarray, group: np.ndarray, weight: np.ndarray | None) -> Confusion:
    return Counts.of(group, int(group.max()) + 1, np.full(len(hit), -1), hit.astype(np.int64), weight).asked([1])


@pytest.mark.parametrize("weights", ["uniform", "exponential", "lognormal"])
def test_gamma_draws_are_like_the_poisson_bootstrap_of_rows(weights: str) -> None:
    """Where cells have ten effective rows: spread within 4 %, both limits within a fifth of a standard error."""
    rng = np.random.default_rng(0)
    n, draws = 150, 20_000
    w = {
        "uniform": rng.uniform(0.5, 1.5, n),
        "exponential": rng.exponential(size=n),
        "lognormal": rng.lognormal(size=n),
    }
    weight, hit = w[weights], rng.random(n) < 0.4
    found = table(hit, np.zeros(n, np.int64), weight)
    assert trusted(found, np.array([0]), SELECTION.shares)
    drawn = resampled(rng, found.weight, found.square, draws)
    rate = SELECTION.from_cells(drawn)[:, 0]
    times = rng.poisson(1, (draws, n))
    rows = (times * weight) @ hit / (times @ weight)
    error = rows.std()
    assert rate.std() == pytest.approx(error, rel=0.04)
    assert np.quantile(rate, [0.025, 0.975]) == pytest.approx(np.quantile(rows, [0.025, 0.975]), abs=0.2 * error)


def test_ten_rows_of_which_one_has_all_the_weight_are_not_enough() -> None:
    hit, group = np.repeat([True, False], 20), np.zeros(40, np.int64)
    weight = np.ones(40)
    assert trusted(table(hit, group, weight), np.array([0]), SELECTION.shares)
    weight[0] = 1000
    assert not trusted(table(hit, group, weight), np.array([0]), SELECTION.shares)
    few = np.arange(40) < LEAST_CELL - 1
    assert not trusted(table(few, group, None), np.array([0]), SELECTION.shares)


def test_the_order_of_asking_and_the_size_of_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    group = np.arange(900) % 3
    found = table(rng.random(900) < 0.4, group, None)
    measured = found.rows @ SELECTION.shares[0][0] / (found.rows @ SELECTION.shares[0][1])
    error = np.full(3, 0.03)

    def interval(resampler: Resampler) -> tuple[float, float]:
        from tasks.bias.statistics.resampling import Drawn

        drawn = Drawn("selection_rate", SELECTION.from_cells, np.arange(3), measured, error)
        return resampler.of_counts("favorable", found, [drawn], 0.95).interval("difference")

    alone, later = Resampler(500, (1,)), Resampler(500, (1,))
    later.of_estimates("roc_auc", measured, error, np.full(3, 90), 0.95, on_logits=True, within=(0, 1))
    whole = interval(alone)
    assert interval(later) == whole
    monkeypatch.setattr("tasks.bias.statistics.resampling._BLOCK", 3 * 72 * 70)
    assert interval(replace(alone, _known={})) == whole
    assert interval(replace(alone, seed=(2,), _known={})) != whole


def test_estimates_stay_within_the_metrics_range() -> None:
    value, error, n = np.array([0.9, 0.02, 0.5]), np.array([0.05, 0.05, 0.05]), np.full(3, 40)
    for on_logits in (True, False):
        found = Resampler(500, (1,)).of_estimates("m", value, error, n, 0.95, on_logits=on_logits, within=(0.0, 1.0))
        assert found.ends.min() >= 0
        assert found.ends.max() <= 1
        low, high = found.interval("difference")
        assert low < 0.88 < high
