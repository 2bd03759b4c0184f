"""The interval of the widest gap: its search against all pairs, its ends against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.bias.statistics.intervals import normal_quantile
from tasks.bias.statistics.widest import Contest, Widest


def _draws(value: np.ndarray, error: np.ndarray, draws: int = 4000, seed: int = 0) -> np.ndarray:
    return value + error * np.random.default_rng(seed).standard_normal((draws, len(value)))


def test_the_largest_error_is_that_over_all_pairs() -> None:
    value, error = np.array([0.3, 0.32, 0.31, 0.5, 0.29]), np.array([0.05, 0.02, 0.1, 0.2, 0.04])
    contest = Contest.of([value], [error], 0.95)
    drawn = _draws(value, error, 300)
    off = drawn - value
    pairs = [
        (off[:, i] - off[:, j]) / (error[i] + error[j]) for i in contest.highest[0] for j in contest.lowest[0] if i != j
    ]
    assert contest.errors([drawn]) == pytest.approx(np.maximum(np.max(pairs, axis=0), 0))


def test_groups_that_cannot_be_the_widest_have_no_say() -> None:
    value, error = np.array([0.1, 0.5, 0.9, 0.89]), np.full(4, 0.01)
    contest = Contest.of([value], [error], 0.95)
    assert [list(found) for found in (contest.highest[0], contest.lowest[0])] == [[2, 3], [0]]


def test_far_apart_it_is_nearly_the_interval_of_the_two() -> None:
    value, error = np.array([0.1, 0.5, 0.9]), np.full(3, 0.01)
    low, high = Widest.of([[_draws(value, error, 40_000)]], [value], [error], 0.95).interval("difference")
    half = normal_quantile(0.95) * np.sqrt(2) * 0.01
    assert high == pytest.approx(0.8 + half, rel=0.002)
    assert 0.8 - 1.1 * half < low < 0.8 - 0.97 * half  # a tenth of its error goes to ruling out the third


def test_alike_it_begins_at_nothing() -> None:
    value, error = np.array([0.5, 0.505, 0.495, 0.51]), np.full(4, 0.02)
    found = Widest.of([[_draws(value, error)]], [value], [error], 0.95)
    assert found.interval("difference")[0] == 0
    assert found.interval("ratio")[1] == 1
    assert found.interval("difference")[1] > 0.015


def test_blocks_do_not_matter_and_a_value_of_zero_has_no_ratio() -> None:
    value, error = np.array([0.5, 0.4, 0.3]), np.full(3, 0.02)
    drawn = _draws(value, error)
    one = Widest.of([[drawn]], [value], [error], 0.95)
    parts = Widest.of([[drawn[:1000]], [drawn[1000:]]], [value], [error], 0.95)
    assert one.interval("difference") == parts.interval("difference")
    assert one.interval("ratio") == parts.interval("ratio")
    zero = Widest.of([[drawn]], [np.array([0.5, 0.4, 0.0])], [error], 0.95)
    assert np.isnan(zero.interval("ratio")).all()


def test_of_two_metrics_the_worse_one_counts() -> None:
    near, far, error = np.array([0.5, 0.52, 0.51]), np.array([0.1, 0.5, 0.8]), np.full(3, 0.02)
    drawn = [_draws(near, error), _draws(far, error, seed=1)]
    both = Widest.of([drawn], [near, far], [error, error], 0.95).interval("difference")
    alone = Widest.of([drawn[1:]], [far], [error], 0.95).interval("difference")
    assert both[1] == pytest.approx(alone[1])
    assert both[0] <= alone[0]
    assert both[0] > 0.5
