"""What change would alter the result: on models whose answer is known, and never beyond the limits."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from configs.reasons import ChangeableConfig
from tasks.errors import ConfigError
from tasks.load import open_subject
from tasks.reasons.changeable import changeable_of
from tasks.reasons.counterfactuals import POINTS, Cut, changes_of

ROWS = {"a": [0, 2, 5, 10], "b": [0.0, 1.0, 4.0, 10.0], "c": [1, 1, 1, 1]}


def changes(linear, columns, weights, bias, **changeable):
    """Each row's changes as (features, from, to, crosses), under a model of known weights, with the parts used."""
    config = linear.config(columns, weights, bias, reasons={"changeable": changeable})
    subject = open_subject(config)
    cut = threshold_cut(subject)
    rows = subject.rows[~cut.crosses(cut.favor(subject.rows))]
    return rows, changes_of(rows, changeable_of(subject), cut), cut


def threshold_cut(subject):
    def favor(codes):
        return subject.predictor(codes)[:, 0]

    return Cut(favor, lambda favours: favours >= 0.5, lambda favours: favours)


def test_the_smallest_change_of_one_feature_is_found(linear):
    # Approved from a ≥ 7 on: an integer, so that 7 is the smallest.
    _, found, _ = changes(linear, ROWS, [1.0, 0.0, 0.0], -6.5, a={"direction": "up"})
    assert [[(f.name, old, new) for f, old, new in own[0].parts] for own in found] == [
        [("a", 0.0, 7.0)], [("a", 2.0, 7.0)], [("a", 5.0, 7.0)],
    ]  # fmt: skip
    assert all(len(own) == 1 and own[0].score >= 0.5 for own in found)


@pytest.mark.parametrize(
    ("limits", "to"),
    [
        ({}, 7.0),
        ({"max": 6}, None),  # the limit forbids it
        ({"direction": "down"}, None),
        ({"min": 8}, 8.0),  # nothing below 8 is proposed
        ({"step": 4}, 8.0),  # from 0 by fours
        ({"step": 5}, 10.0),
        ({"max": 1000}, 7.0),  # and never beyond what was observed
        ({"values": [3, 9, 8]}, 8.0),
        ({"values": [3, 20]}, None),
        ({"direction": "up", "values": [1, 2]}, None),
    ],
)
def test_limits_hold(linear, limits, to):
    _, found, _ = changes(linear, ROWS, [1.0, 0.0, 0.0], -6.5, a=limits)
    own = found[0][0]
    assert [new for _, _, new in own.parts] == ([] if to is None else [to])
    assert (own.score >= 0.5) is (to is not None)


def test_a_change_down_where_less_is_better(linear):
    _, found, _ = changes(linear, {"a": [0, 4, 9], "b": [0, 0, 0]}, [-1.0, 0.0], 2.5, a={"direction": "any"})
    assert [[p[1:] for p in own[0].parts] for own in found] == [[(4.0, 2.0)], [(9.0, 2.0)]]
    _, found, _ = changes(linear, {"a": [0, 4, 9], "b": [0, 0, 0]}, [-1.0, 0.0], 2.5, a={"direction": "up"})
    assert [own[0].parts for own in found] == [(), ()]


def test_numbers_without_a_step_move_over_round_values(linear):
    _, found, _ = changes(linear, ROWS, [0.0, 1.0, 0.0], -6.123, b={"direction": "up"})
    assert [own[0].parts[0][2] for own in found] == [6.13, 6.13, 6.13]  # the range is 10: hundredths
    _, found, _ = changes(linear, ROWS, [0.0, 1.0, 0.0], -6.123, b={"direction": "up", "step": 0.1})
    assert [own[0].parts[0][2] for own in found] == [6.2, 6.2, 6.2]


def test_the_first_change_is_exact_where_candidates_are_many(linear):
    """A grid of 100,000 candidates: the smallest is found although not all are tried; held against all of them."""
    columns = {"a": [0, 17, 99_999], "b": [0, 0, 0]}
    rows, found, cut = changes(linear, columns, [0.001, 0.0], -61.2345, a={"direction": "up"})
    assert columns["a"][2] > POINTS**2
    for row, own in zip(rows, found, strict=True):
        every = np.repeat(row[None], 99_999, axis=0)
        every[:, 0] = np.arange(1, 100_000)
        every = every[every[:, 0] > row[0]]
        assert own[0].parts[0][2] == every[cut.crosses(cut.favor(every)), 0].min()


def test_the_answer_of_a_model_that_turns_often_is_exact_on_the_grid(linear):
    """Up to POINTS candidates all are tried, whatever the model does between them."""
    config = linear.config({"a": [0, 1, 150]}, [1.0], 0.0, reasons={"changeable": {"a": {"direction": "any"}}})
    subject = open_subject(config)

    def favor(codes):
        return np.where(codes[:, 0] % 37 == 35, 1.0, 0.0)  # 35, 72, 109, 146

    cut = Cut(favor, lambda favours: favours >= 0.5, lambda favours: favours)
    rows = np.array([[0.0], [34.0], [36.0], [150.0], [92.0]])
    found = changes_of(rows, changeable_of(subject), cut)
    assert [own[0].parts[0][2] for own in found] == [35.0, 35.0, 35.0, 146.0, 109.0]


def test_the_smaller_of_two_features_comes_first(linear):
    columns = {"a": [0, 10, 0, 10], "b": [0, 100, 0, 100]}
    _, found, _ = changes(linear, columns, [1.0, 1.0], -8.5, a={}, b={})
    # Nine of ten for a, nine of a hundred for b: standard deviations decide.
    assert [[c.parts[0][0].name for c in own] for own in found] == [["b", "a"], ["b", "a"]]
    assert [[c.parts[0][2] for c in own] for own in found] == [[9.0, 9.0], [9.0, 9.0]]


def test_a_pair_where_no_single_feature_does(linear):
    columns = {"a": [0, 4, 4], "b": [0, 0, 4], "c": [1, 1, 1]}
    rows, found, cut = changes(linear, columns, [1.0, 1.0, 0.0], -6.5, a={"direction": "up"}, b={"direction": "up"})
    assert rows[:, :2].tolist() == [[0.0, 0.0], [4.0, 0.0]]
    first, second = found
    assert [f.name for f, _, _ in first[0].parts] == ["a", "b"]
    assert sum(new for _, _, new in first[0].parts) == 7.0  # 4 + 3 or 3 + 4: the smallest pairs there are
    assert [(f.name, new) for f, _, new in second[0].parts] == [("b", 3.0)]
    for row, own in zip(rows, found, strict=True):
        moved = row.copy()
        for feature, old, new in own[0].parts:
            assert moved[feature.column] == old
            moved[feature.column] = new
        assert cut.favor(moved[None])[0] == own[0].score >= 0.5


def test_pairs_are_within_the_limits_and_cross(linear):
    """Random models: each told change crosses, lies within the limits, and no smaller single one exists."""
    draw = np.random.default_rng(3)
    columns = {name: draw.integers(0, 12, 40) for name in "abc"}
    limits = {"a": {"direction": "up", "max": 9}, "b": {"direction": "down", "min": 2}, "c": {}}
    rows, found, cut = changes(linear, columns, [0.7, -0.9, 0.3], -6.0, **limits)
    kinds = set()
    for row, own in zip(rows, found, strict=True):
        kinds.add(len(own[0].parts))
        for change in own:
            moved = row.copy()
            for feature, old, new in change.parts:
                assert row[feature.column] == old
                assert new == int(new)
                assert {"a": old < new <= 9, "b": 2 <= new < old, "c": 0 <= new <= 11}[feature.name]
                moved[feature.column] = new
            assert not change.parts or cut.crosses(cut.favor(moved[None]))[0]
        allowed = {
            0: range(int(row[0]) + 1, 10), 1: range(2, int(row[1])), 2: [v for v in range(12) if v != row[2]],
        }  # fmt: skip
        crossing = set()
        for column, values in allowed.items():
            least = None
            for value in sorted(values, key=lambda v: abs(v - row[column])):
                moved = row.copy()
                moved[column] = value
                if least is None and cut.crosses(cut.favor(moved[None]))[0]:
                    least = value
            if least is not None:
                crossing.add(("abc"[column], float(least)))
        assert crossing == {(c.parts[0][0].name, c.parts[0][2]) for c in own if len(c.parts) == 1}
        if not own[0].parts:  # then no two features do, of all there are
            for (i, first), (j, second) in product(allowed.items(), allowed.items()):
                for one, two in product(first, second) if i < j else ():
                    moved = row.copy()
                    moved[i], moved[j] = one, two
                    assert not cut.crosses(cut.favor(moved[None]))[0]
    assert kinds == {0, 1, 2}


def test_unknown_values_are_not_changed(linear):
    columns = {"a": [0.0, 1.0, 9.0], "b": [0.0, 0.0, 0.0]}
    config = linear.config(columns, [1.0, 0.0], -5.0, reasons={"changeable": {"a": {}}})
    feature = changeable_of(open_subject(config))[0]
    assert [steps.count.tolist() for steps in feature.steps(np.array([np.nan, 0.0]))] == [[0, 9000], [0, 0]]


@pytest.mark.parametrize(
    ("changeable", "says"),
    [
        ({"d": {}}, "reasons.changeable.d: is not a feature of the model; available: a, b, c"),
        ({"a": {"step": 0.5}}, "step: a holds whole numbers: 0.5"),
        ({"a": {"values": [1.5]}}, "values: a holds whole numbers: 1.5"),
        ({"b": {"values": ["x"]}}, "values: b holds numbers: x"),
        ({"c": {}}, "reasons.changeable.c: a sensitive attribute is nothing to ask a change of"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(linear, changeable, says):
    config = linear.config(ROWS, [1.0, 0, 0], sensitive={"c": {"column": "c"}}, reasons={"changeable": changeable})
    with pytest.raises(ConfigError) as raised:
        changeable_of(open_subject(config))
    assert says in str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"min": 3, "max": 1},
        {"values": [1], "max": 2},
        {"values": [1, "1"]},
        {"step": 0},
        {"direction": "left"},
        {"x": 1},
    ],
)
def test_limits_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="validation error"):
        ChangeableConfig.model_validate(wrong)
