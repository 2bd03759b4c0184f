"""Which checks thresholds can meet, and how near tables of counts come to them."""

from __future__ import annotations

import numpy as np
import pytest

from configs.schema import AuditConfig
from tasks.advice.aims import aims_of, follows_from_thresholds, levels_of, reached
from tasks.advice.curves import Curves
from tasks.bias import METRICS
from tests.tasks.advice.advice_cases import aim, cut, whole


def _config(*policy: dict) -> AuditConfig:
    return AuditConfig.model_validate({
        "name": "test", "model": {"path": "none", "task": "binary", "classes": ["no", "yes"]},
        "data": {
            "path": "none", "target": {"column": "y", "favorable": "yes"},
            "sensitive": {"g": {"column": "g"}, "h": {"column": "h"}},
        },
        "policy": list(policy),
    })  # fmt: skip


ANY = cut([0.2, 0.8], [0, 1])


def test_metrics_that_follow_from_thresholds_are_those_of_counts_with_a_decision():
    follows = {name for name, metric in METRICS.items() if follows_from_thresholds(metric)}
    assert {
        "selection_rate", "accuracy", "balanced_accuracy", "true_positive_rate", "false_positive_rate", "precision",
        "true_negative_rate", "false_negative_rate", "negative_predictive_value", "false_discovery_rate",
        "false_omission_rate", "f1",
    } <= follows  # fmt: skip
    assert not follows & {"label_rate", "prevalence", "count", "roc_auc", "brier_score", "mean_score", "scoring_rate"}


@pytest.mark.parametrize(
    ("check", "text"),
    [
        ({"metric": "impact_ratio", "min": 0.8}, "impact_ratio ≥ 0.8"),
        ({"metric": "equalized_odds_difference", "max": 0.1}, "equalized_odds_difference ≤ 0.1"),
        ({"metric": "precision_difference", "max": 0.1}, "precision_difference ≤ 0.1"),
        ({"metric": "selection_rate", "min": 0.2, "max": 0.4}, "selection_rate ≥ 0.2 and ≤ 0.4"),
        ({"metric": "true_positive_rate", "group": "b", "min": 0.5}, "true_positive_rate of b ≥ 0.5"),
    ],
)
def test_a_check_becomes_an_aim(check, text):
    aims, others = aims_of(_config({"attribute": "g", **check}), "g", ("a", "b"), ANY)
    assert [one.text for one in aims] == [text]
    assert not others
    assert not aims[0].example
    assert aims[0].group == (1 if "group" in check else None)


@pytest.mark.parametrize(
    "check",
    [
        {"metric": "label_impact_ratio", "min": 0.8},
        {"metric": "roc_auc_difference", "max": 0.1},
        {"metric": "mean_score", "min": 0.1},
        {"metric": "impact_ratio", "max": 0.8},
        {"metric": "demographic_parity_difference", "min": 0.1},
        {"metric": "selection_rate", "group": "z", "min": 0.1},
        {"metric": "attribution_gap", "max": 0.1},
        {"metric": "explanation_fidelity_gap", "max": 0.1},
    ],
)
def test_a_check_that_is_no_aim_is_said_and_the_example_takes_its_place(check):
    aims, others = aims_of(_config({"attribute": "g", **check}), "g", ("a", "b"), ANY)
    assert len(others) == 1
    assert check["metric"] in others[0]
    assert [one.example for one in aims] == [True]


def test_checks_of_other_attributes_and_of_all_rows_are_not_asked():
    config = _config({"metric": "impact_ratio", "attribute": "h", "min": 0.8}, {"metric": "accuracy", "min": 0.8})
    aims, others = aims_of(config, "g", ("a",), ANY)
    assert (aims[0].example, aims[0].text, others) == (True, "impact_ratio", [])


def _reached(metric: str, cells: list[tuple[int, int, int, int]], least: int = 1) -> float:
    """From counts of (TP, FN, FP, TN) by group."""
    table = np.zeros((len(cells), 9))
    for g, (tp, fn, fp, tn) in enumerate(cells):
        table[g, [4, 3, 1, 0]] = tp, fn, fp, tn
    asked = aim(metric)
    return float(reached(asked, levels_of(asked, ANY, table, table), least))


@pytest.mark.parametrize(
    ("metric", "cells", "value"),
    [
        # selection rates 3/5 and 6/8; TPR 2/3 and 5/6, FPR 1/2 and 1/2; accuracy 3/5 and 6/8
        ("impact_ratio", [(2, 1, 1, 1), (5, 1, 1, 1)], 0.8),
        ("demographic_parity_difference", [(2, 1, 1, 1), (5, 1, 1, 1)], 0.15),
        ("equal_opportunity_ratio", [(2, 1, 1, 1), (5, 1, 1, 1)], 0.8),
        ("equalized_odds_difference", [(2, 1, 1, 1), (5, 1, 1, 1)], 1 / 6),
        ("equalized_odds_ratio", [(2, 1, 1, 1), (5, 1, 1, 1)], 0.8),
        ("average_odds_difference", [(2, 1, 1, 1), (5, 1, 1, 1)], 1 / 12),
        ("accuracy_difference", [(2, 1, 1, 1), (5, 1, 1, 1)], 0.15),
        ("impact_ratio", [(0, 1, 0, 1), (0, 2, 0, 2)], np.nan),  # 0/0
        ("impact_ratio", [(1, 1, 1, 1)], np.nan),  # one group
        ("equal_opportunity_difference", [(1, 1, 0, 0), (0, 0, 1, 1), (2, 0, 0, 0)], 0.5),  # no labels in the second
    ],
)
def test_values_by_hand(metric, cells, value):
    assert _reached(metric, cells) == pytest.approx(value, nan_ok=True, abs=1e-15)


def test_small_groups_are_left_out_unless_nothing_else_is_there():
    cells = [(30, 0, 0, 30), (20, 0, 0, 40), (1, 0, 0, 0)]
    assert _reached("impact_ratio", cells, least=10) == pytest.approx(2 / 3)
    assert _reached("impact_ratio", cells, least=1) == pytest.approx(1 / 3)
    assert _reached("impact_ratio", cells, least=1000) == pytest.approx(1 / 3)


def test_levels_look_at_the_worst_group():
    score, label = [0.9, 0.9, 0.1, 0.9, 0.1, 0.1], [1, 1, 0, 1, 1, 1]
    curves: Curves = whole(cut(score, label), [0, 0, 0, 1, 1, 1])
    asked = aim("true_positive_rate", low=0.8)
    levels = levels_of(asked, curves.cut, curves.cells()[:, curves.current], curves.cells("rows")[:, curves.current])
    assert reached(asked, levels, 1) == pytest.approx(1 / 3)
    assert not asked.met(1 / 3)
    assert not asked.met(np.nan)
    assert asked.beyond(np.array([0.5, 0.9, np.nan])).tolist() == [pytest.approx(0.3), 0, np.inf]
