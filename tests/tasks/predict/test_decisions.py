from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from configs.schema import DecisionConfig
from tasks.errors import ConfigError, DataRefused
from tasks.predict import decisions

ABC = ["a", "b", "c"]


def decided(scores, rule=None, **about):
    scores = np.array(scores, float)
    about = {"task": "binary", "classes": ["no", "yes"], **about}
    return decisions(scores, DecisionConfig.model_validate(rule or {}), **about).to_pylist()


@pytest.mark.parametrize(
    ("scores", "rule", "expected"),
    [
        ([[0.5], [0.49999], [1.0], [0.0]], {}, ["yes", "no", "yes", "no"]),
        ([[0.3], [0.29]], {"threshold": 0.3}, ["yes", "no"]),
        ([[0.0]], {"threshold": 0}, ["yes"]),
        ([[0.999], [1.0]], {"threshold": 1}, ["no", "yes"]),
        ([[0.5, 0.5], [0.6, 0.4]], {}, ["yes", "no"]),  # two outputs: the second one's score decides
        ([[0.2, 0.3]], {"threshold": 0.25}, ["yes"]),
    ],
)
def test_binary_is_a_threshold(scores, rule, expected):
    assert decided(scores, rule) == expected


def test_a_float32_score_at_the_threshold_counts_as_reaching_it():
    scores = np.array([[0.3]], np.float32).astype(float)
    assert decided(scores, {"threshold": 0.3}) == ["yes"]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([[0.2, 0.5, 0.3]], ["b"]), ([[0.4, 0.4, 0.2]], ["a"]), ([[0.2, 0.4, 0.4]], ["b"]), ([[1 / 3] * 3], ["a"])],
)
def test_multiclass_is_the_highest_and_the_first_wins_a_tie(scores, expected):
    assert decided(scores, task="multiclass", classes=ABC) == expected


@pytest.mark.parametrize(
    ("scores", "k", "favorable", "expected"),
    [
        ([[0.1], [0.9], [0.5]], 1, [1], ["no", "yes", "no"]),
        ([[0.5], [0.5], [0.5]], 2, [1], ["yes", "yes", "no"]),  # ties by position
        ([[0.1], [0.9], [0.5]], 1, [0], ["no", "yes", "yes"]),  # the negative class may be the favourable one
        ([[0.1], [0.2]], 5, [1], ["yes", "yes"]),
        ([[0.9, 0.1], [0.2, 0.8]], 1, [1], ["no", "yes"]),
    ],
)
def test_top_k_of_two_classes(scores, k, favorable, expected):
    assert decided(scores, {"top_k": k}, favorable=favorable) == expected


def test_of_many_equal_scores_the_first_rows_are_selected():
    scores = np.tile([[0.25], [0.75]], (500, 1))
    found = decided(scores, {"top_k": 600}, favorable=[1])
    assert [i for i, text in enumerate(found) if text == "yes"] == sorted([*range(1, 1000, 2), *range(0, 200, 2)])


def test_top_k_of_several_classes():
    scores = [[0.5, 0.3, 0.2], [0.1, 0.5, 0.4], [0.2, 0.1, 0.7], [0.9, 0.05, 0.05]]
    about = {"task": "multiclass", "classes": ABC}
    # b and c are favourable: 0.5, 0.9, 0.8, 0.1 together; the higher of the two decides which
    assert decided(scores, {"top_k": 2}, favorable=[1, 2], **about) == ["a", "b", "c", "a"]
    assert decided(scores, {"top_k": 1}, favorable=[0], **about) == ["b", "b", "c", "a"]


@pytest.mark.parametrize("favorable", [[], [0, 1]])
def test_top_k_needs_a_favourable_outcome_and_another(favorable):
    with pytest.raises(ConfigError, match=r"data\.target\.favorable: top_k needs a favourable outcome"):
        decided([[0.5]], {"top_k": 1}, favorable=favorable)


def test_recorded_decisions_are_taken_as_they_are():
    recorded = pa.chunked_array([["yes", None], ["no"]])
    assert decided([[0.0]] * 3, {"column": "d"}, recorded=recorded) == ["yes", None, "no"]
    numbers = pa.chunked_array([[1, 0, None]])
    assert decided([[0.0]] * 3, {"column": "d"}, classes=["0", "1"], recorded=numbers) == ["1", "0", None]


def test_a_recorded_decision_that_is_no_class_is_refused():
    with pytest.raises(DataRefused, match="recorded decisions in 'd' have values that are no class: maybe") as caught:
        decided([[0.0]] * 2, {"column": "d"}, recorded=pa.chunked_array([["yes", "maybe"]]))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, [None, None, None]),
        ({"favorable_when": ">= 3.5"}, ["unfavorable", "favorable", "favorable"]),
        ({"favorable_when": "> 3.5"}, ["unfavorable", "unfavorable", "favorable"]),
        ({"favorable_when": "<= -1e3"}, ["unfavorable"] * 3),
    ],
)
def test_a_regression_decides_only_where_it_is_told(rule, expected):
    assert decided([[3.0], [3.5], [4.0]], rule, task="regression", classes=[]) == expected


def test_no_rows_no_decisions():
    assert decided(np.empty((0, 1))) == []
    assert decided(np.empty((0, 3)), task="multiclass", classes=ABC) == []
