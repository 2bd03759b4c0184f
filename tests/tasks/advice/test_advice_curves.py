"""Counts at thresholds, held against counting row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.advice.curves import KEEP, counts_of, curves_of, steps_of
from tasks.bias import Counts
from tests.tasks.advice.advice_cases import cut, whole


def test_every_distinct_score_is_a_step_and_one_lies_above_them_all():
    thresholds, current = steps_of(np.array([0.2, 0.7, 0.7, 0.4, np.nan]), 0.5)
    assert thresholds.tolist() == [0.2, 0.4, 0.5, 0.7, np.nextafter(0.7, 1)]
    assert thresholds[current] == 0.5


def test_many_scores_are_thinned_to_the_limit_and_keep_lowest_highest_and_the_present_one():
    score = np.random.default_rng(1).random(5000)
    thresholds, current = steps_of(score, 0.123456, 101)
    assert len(thresholds) <= 101
    assert thresholds[0] == score.min()
    assert thresholds[-1] > score.max() >= thresholds[-2]
    assert thresholds[current] == 0.123456
    ranks = np.searchsorted(np.sort(score), thresholds[1:-1]) / len(score)
    assert np.diff(np.delete(ranks, np.argmin(np.abs(thresholds[1:-1] - 0.123456)))).max() < 0.012  # evenly over rows


def test_a_present_threshold_of_infinity_selects_nobody():
    thresholds, current = steps_of(np.array([0.1, 0.9]), np.inf)
    assert current == len(thresholds) - 1
    assert steps_of(np.array([np.nan]), 0.5) == (np.array([0.5]), 0)


def _by_hand(of, codes, threshold, values):
    """(groups, label, decision) sums, row by row."""
    found = np.zeros((codes.max() + 1, 3, 3))
    for row, group in enumerate(codes):
        then = int(of.score[row] >= threshold) if np.isfinite(of.score[row]) else of.now[row]
        found[group, of.label[row], then] += values[row]
    return found


@pytest.mark.parametrize("weighted", [False, True])
def test_counts_at_every_threshold_are_those_of_the_rows(weighted):
    generator = np.random.default_rng(7)
    n = 400
    score = generator.integers(0, 12, n) / 12
    score[generator.random(n) < 0.05] = np.nan
    weight = np.where(generator.random(n) < 0.1, 0, generator.random(n)) if weighted else None
    of = cut(score, generator.integers(0, 3, n), weight=weight)
    codes = generator.integers(0, 3, n)
    curves = whole(of, codes)
    values = {"rows": np.ones(n) if weight is None else (weight > 0) * 1.0}
    values["weight"] = values["square"] = values["rows"]
    if weight is not None:
        values |= {"weight": weight, "square": weight**2}
    for what, of_row in values.items():
        cells = curves.cells(what)
        for k, threshold in enumerate(curves.thresholds):
            np.testing.assert_allclose(cells[:, k].reshape(3, 3, 3), _by_hand(of, codes, threshold, of_row), atol=1e-12)


def test_the_table_of_counts_is_that_of_the_bias_stage():
    generator = np.random.default_rng(3)
    of = cut(generator.integers(0, 20, 300) / 20, generator.integers(0, 2, 300))
    codes = generator.integers(0, 4, 300)
    curves = whole(of, codes)
    for choice in (np.full(4, KEEP), np.full(4, curves.current)):
        moved, rows, square = (curves.moved(choice, what) for what in ("weight", "rows", "square"))
        ours, theirs = counts_of(moved, rows, square, of), Counts.of(codes, 4, of.label, of.now, None)
        for name in ("favorable", "correct"):
            a, b = (t.asked([1]) if name == "favorable" else t.correct() for t in (ours, theirs))
            assert (a.rows == b.rows).all()
            assert (a.weight == b.weight).all()


def test_decisions_that_change_are_told_from_those_that_stay():
    of = cut([0.1, 0.4, 0.6, 0.9, np.nan], [0, 1, 0, 1, 2])
    curves = whole(of, [0, 0, 0, 0, 0])
    at = int(np.searchsorted(curves.thresholds, 0.4))
    moved = curves.moved(np.array([at]))[0].sum(0)  # now × then
    assert moved.tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]  # 0.1 and the row without a score stay, 0.4 gains


def test_a_group_may_keep_decisions_that_no_threshold_made():
    of = cut([0.1, 0.9, 0.2, 0.8], [0, 1, 0, 1])
    recorded = np.array([1, 0, 1, 0])
    curves = whole(replace(of, now=recorded), [0, 0, 1, 1])
    kept = curves.moved(np.array([KEEP, curves.current])).sum(2)
    assert kept[0].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert kept[1].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_two_halves_make_the_whole():
    generator = np.random.default_rng(5)
    of = cut(generator.random(200), generator.integers(0, 2, 200))
    codes, half = generator.integers(0, 2, 200), generator.random(200) < 0.5
    both, first, second = curves_of(of, codes, 2, half)
    assert (first.cells() + second.cells() == both.cells()).all()
    assert second.rows.every.sum() == half.sum()


def test_thinning_keeps_the_ends_and_the_present_threshold():
    of = cut(np.linspace(0, 1, 200), np.arange(200) % 2, threshold=0.437)
    curves = whole(of, np.zeros(200, int))
    thin, kept = curves.thinned(20)
    assert len(kept) <= 20
    assert {0, curves.current, len(curves.thresholds) - 1} <= set(kept.tolist())
    assert thin.thresholds[thin.current] == 0.437
    assert (thin.cells() == curves.cells()[:, kept]).all()


@pytest.mark.parametrize(("favorable", "selected"), [((False, True), 3), ((True, False), 2)])
def test_the_favourable_class_may_lie_on_either_side(favorable, selected):
    of = cut([0.1, 0.5, 0.6, 0.2, 0.9], [0, 1, 0, 1, 1], favorable=favorable)
    curves = whole(of, np.zeros(5, int))
    now = curves.cells()[0, curves.current]
    table = now @ of.questions["favorable"]
    assert table.reshape(3, 3)[:, 1].sum() == selected
    right = now @ of.questions["correct"]
    assert right.reshape(3, 3)[1, :2].tolist() == [2, 3]
