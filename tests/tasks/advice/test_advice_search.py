"""Thresholds that meet an aim: the best of all combinations, tried one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tasks.advice.search import KEEP, Ladder, apart, at_level, board_of, common, nearest_apart
from tasks.watch import Watch
from tests.tasks.advice.advice_cases import aim, cut, whole


def board(seed: int, wanted, *, groups: int = 3, rows: int = 40, steps: int = 6, least: int = 1, **options):
    generator = np.random.default_rng(seed)
    score = generator.integers(0, steps, rows) / steps
    label = (generator.random(rows) < 0.2 + 0.6 * score).astype(int)
    if options.pop("partly", False):
        label[generator.random(rows) < 0.3] = 2
    if options.pop("weights", False):
        options["weight"] = generator.random(rows)
    codes = np.append(np.arange(groups), generator.integers(0, groups, rows - groups))
    return board_of(wanted, whole(cut(score, label, **options), codes), least)


AIMS = [
    aim("impact_ratio", low=0.8), aim("impact_ratio", low=0.95), aim("demographic_parity_difference", high=0.1),
    aim("predicted_rate_difference", high=0.05), aim("equal_opportunity_difference", high=0.1),
    aim("equal_opportunity_ratio", low=0.9), aim("equalized_odds_difference", high=0.2),
    aim("equalized_odds_ratio", low=0.6), aim("average_odds_difference", high=0.1),
    aim("accuracy_difference", high=0.05), aim("predictive_parity_difference", high=0.1),
    aim("specificity_difference", high=0.1), aim("selection_rate", low=0.3, high=0.6),
    aim("true_positive_rate", low=0.7), aim("false_positive_rate", high=0.3),
]  # fmt: skip


def _brute(one):
    """(the best objective of all combinations that meet the aim, whether any does)."""
    size, rows = len(one.curves.thresholds), np.arange(one.curves.groups)
    best = -np.inf
    for choice in product(range(size), repeat=one.curves.groups):
        slips_out = any(np.isnan(level.value[rows, choice]).any() for level in one.levels)
        if not slips_out and one.aim.met(one.value_of(np.array(choice))):
            best = max(best, one.objective[rows, choice].sum())
    return best


@pytest.mark.parametrize("options", [{}, {"positive": (True, False)}, {"favorable": (True, False)}, {"partly": True}])
@pytest.mark.parametrize("wanted", AIMS, ids=lambda a: f"{a.metric} {a.low} {a.high}")
def test_thresholds_by_group_are_the_best_of_all_combinations(wanted, options):
    for seed in range(4):
        one = board(seed, wanted, **options)
        choice, best = apart(one, Watch()), _brute(one)
        if choice is None:
            assert best == -np.inf
            continue
        assert wanted.met(one.value_of(choice))
        assert one.objective[np.arange(3), choice].sum() == pytest.approx(best, abs=1e-9)


def test_with_weights_too():
    for seed, wanted in product(range(3), (AIMS[0], AIMS[6])):
        one = board(seed, wanted, weights=True)
        choice = apart(one, Watch())
        assert one.objective[np.arange(3), choice].sum() == pytest.approx(_brute(one), rel=1e-12)


@pytest.mark.parametrize("wanted", AIMS, ids=lambda a: f"{a.metric} {a.low} {a.high}")
def test_one_threshold_is_the_most_accurate_of_those_that_meet_the_aim(wanted):
    for seed in range(4):
        one = board(seed, wanted)
        chosen, nearest = common(one)
        size = len(one.curves.thresholds)
        values = [one.value_of(np.full(3, k)) for k in range(size)]
        np.testing.assert_array_equal(values, one.values)
        whole_comparison = [not any(np.isnan(level.value[:, k]).any() for level in one.levels) for k in range(size)]
        met = [k for k in range(size) if wanted.met(values[k]) and whole_comparison[k]]
        right = {k: one.accuracy(np.full(3, k)) for k in met}
        if chosen is None:
            assert not right
            distances = np.where(whole_comparison, wanted.beyond(np.array(values)), np.inf)
            assert distances[nearest[0]] == distances.min()
        else:
            assert one.accuracy(chosen) == max(right.values())


def test_a_limit_that_is_reached_exactly_is_met():
    # 4 of 5 in a, 3 of 5 in b and a difference of at most 0.2, which floats miss: 0.8 - 0.6 > 0.2
    score = [0.9, 0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.1, 0.1]
    label = [1, 1, 1, 1, 0, 1, 1, 1, 0, 0]
    one = board_of(aim("demographic_parity_difference", high=0.2), whole(cut(score, label), [0] * 5 + [1] * 5), 1)
    choice = apart(one, Watch())
    assert one.accuracy(choice) == 1
    assert one.value_of(choice) == 0.2
    # 3/5 over 6/8 is 0.8
    score = [0.9] * 3 + [0.1] * 2 + [0.9] * 6 + [0.1] * 2
    one = board_of(aim("impact_ratio", low=0.8), whole(cut(score, [int(s > 0.5) for s in score]), [0] * 5 + [1] * 8), 1)
    assert one.accuracy(apart(one, Watch())) == 1
    assert common(one)[0] is not None
    assert one.value_of(common(one)[0]) == 0.8


def test_among_equally_accurate_thresholds_the_fewest_decisions_change():
    one = board_of(aim("impact_ratio", low=0.1), whole(cut([0.2, 0.4, 0.6, 0.8], [0, 1, 0, 1]), [0, 1, 0, 1]), 1)
    choice = apart(one, Watch())
    best = _brute(one)
    assert one.objective[[0, 1], choice].sum() == best


def test_without_labels_as_few_decisions_as_possible_change():
    score = [0.1, 0.6, 0.7, 0.8, 0.1, 0.2, 0.45, 0.9]
    one = board_of(aim("impact_ratio", low=0.6), whole(cut(score, [2] * 8), [0] * 4 + [1] * 4), 1)
    choice = apart(one, Watch())
    assert np.isnan(one.accuracy(choice))
    moved = one.curves.moved(choice).sum((0, 1))
    assert moved[0, 1] + moved[1, 0] == 1  # 3/4 against 1/4: one more in the second group, 2/4, is enough
    assert one.value_of(choice) == pytest.approx(2 / 3)


def test_groups_with_too_few_rows_keep_their_decisions():
    score = np.append(np.linspace(0.01, 0.99, 60), [0.1, 0.9])
    label = (score > 0.4).astype(int)
    codes = np.append(np.arange(60) % 2, [2, 2])
    one = board_of(aim("impact_ratio", low=0.9), whole(cut(score, label), codes), 10)
    choice = apart(one, Watch())
    assert choice[2] == KEEP
    assert (choice[:2] >= 0).all()
    assert one.aim.met(one.value_of(choice))


def test_what_cannot_be_met_is_approached():
    # Whoever is selected in b is right one time in two: no threshold brings its accuracy near that of a.
    score = [0.2, 0.2, 0.8, 0.8, 0.5, 0.5, 0.5, 0.5]
    label = [0, 0, 1, 1, 0, 1, 0, 1]
    one = board_of(aim("accuracy", low=0.9), whole(cut(score, label), [0] * 4 + [1] * 4), 1)
    assert apart(one, Watch()) is None
    assert common(one)[0] is None
    assert one.value_of(nearest_apart(one)) == 0.5
    assert one.accuracy(nearest_apart(one)) == 0.75  # and a, which can meet it, does
    gap = board_of(
        aim("predictive_parity_difference", high=0.1), whole(cut([0.9, 0.1, 0.9, 0.9], [1, 0, 0, 0]), [0, 0, 1, 1]), 1
    )
    assert apart(gap, Watch()) is None
    choice = nearest_apart(gap)
    assert gap.value_of(choice) == 0.5  # all of a selected: 1 of 2, against 0 of 2


def test_a_tighter_aim_costs_no_less():
    one = board(11, aim("demographic_parity_difference", high=1.0), groups=2, rows=200, steps=20)
    accuracies = [one.accuracy(apart(at_level(one, limit), Watch())) for limit in (0.5, 0.3, 0.2, 0.1, 0.05, 0.0)]
    assert accuracies == sorted(accuracies, reverse=True)


def test_the_best_of_every_stretch_is_found():
    generator = np.random.default_rng(2)
    for size in (1, 2, 3, 7, 8, 9, 31):
        objective = generator.integers(0, 10, size).astype(float)
        ladder = Ladder.of(np.arange(size), objective, np.ones(size, bool))
        for start in range(size):
            for stop in range(start + 1, size + 1):
                top = ladder.top(np.array([start]), np.array([stop]))[0]
                assert start <= top < stop
                assert objective[top] == objective[start:stop].max()


def test_a_long_search_hears_that_it_should_stop():
    from tasks.errors import Stopped

    watch = Watch()
    watch.stop.set()
    with pytest.raises(Stopped):
        apart(board(1, AIMS[6]), watch)
