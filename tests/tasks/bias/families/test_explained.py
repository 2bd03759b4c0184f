"""Welch against scipy, and which checks of explanations an audit can have."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from configs.schema import AuditConfig
from tasks.bias import EXPLAINED, check_policy, find, known_metrics
from tasks.bias.families.explained import welch
from tasks.bias.statistics.moments import Moments
from tasks.errors import ConfigError

RNG = np.random.default_rng(2)


@pytest.mark.parametrize(("sizes", "spreads"), [((40, 90), (1, 3)), ((5, 5), (1, 1)), ((300, 12), (0.1, 4))])
def test_welch_is_scipys(sizes: tuple[int, int], spreads: tuple[float, float]) -> None:
    x, y = (RNG.normal(k, s, n) for k, (s, n) in enumerate(zip(spreads, sizes, strict=True)))
    sums = Moments(np.zeros(2))
    sums.add(np.repeat([0, 1], sizes), np.concatenate([x, y]), None)
    theirs = stats.ttest_ind(x, y, equal_var=False)
    interval = theirs.confidence_interval(0.9)
    assert welch(sums.measured(slice(None), 0.9, ""), 0, 1, 0.9) == pytest.approx(
        (interval.low, interval.high, theirs.pvalue)
    )


def test_without_a_spread_nothing_is_tested() -> None:
    sums = Moments(np.zeros(3))
    sums.add(np.array([0, 0, 1, 1, 2]), np.array([1.0, 1.0, 3.0, 3.0, 5.0]), None)
    means = sums.measured(slice(None), 0.95, "")
    low, high, p = welch(means, 1, 0, 0.95)
    assert (low, high) == (2.0, 2.0)
    assert np.isnan(p)
    assert np.isnan(welch(means, 2, 0, 0.95)).all()  # a single row


def config(check: dict, *, techniques: dict | None = None, **model) -> AuditConfig:
    return AuditConfig.model_validate({
        "name": "t", "model": {"path": "m", "task": "binary", **model},
        "data": {"path": "d", "target": {"column": "y", "favorable": 1}, "sensitive": {"g": {"column": "g"}}},
        "explain": {"techniques": techniques}, "policy": [{"attribute": "g", "max": 0.1, **check}],
    })  # fmt: skip


@pytest.mark.parametrize(
    "check",
    [
        {"metric": "attribution_gap"},
        {"metric": "attribution_gap", "technique": "shap", "feature": "age", "group": "a"},
        {"metric": "explanation_fidelity_gap", "technique": "lime"},
        {"metric": "mean_attribution", "feature": "age"},
        {"metric": "faithfulness", "technique": "shap", "attribute": None},
    ],
)
def test_what_a_policy_may_ask_of_explanations(check: dict) -> None:
    check_policy(config(check))


@pytest.mark.parametrize(
    ("check", "options", "message"),
    [
        ({"metric": "impact_ratio", "technique": "shap"}, {}, r"policy\.0\.technique: impact_ratio has no technique"),
        ({"metric": "accuracy", "feature": "age"}, {}, r"policy\.0\.feature: accuracy has no feature"),
        ({"metric": "explanation_fidelity_gap", "feature": "age"}, {}, "explanation_fidelity_gap has no feature"),
        ({"metric": "attribution_gap", "technique": "shop"}, {}, "shop is not a technique of this audit.*shap"),
        ({"metric": "attribution_gap", "technique": "lime"}, {"techniques": {"shap": {}}}, "lime is not a technique"),
        ({"metric": "attribution_gap"}, {"techniques": {"permutation": {}}}, "needs a technique that explains single"),
        ({"metric": "attribution_gap"}, {"inputs": "image"}, "explanations of images have none"),
        ({"metric": "attribution_gap", "attribute": None}, {}, "compares groups and needs an attribute"),
    ],
)
def test_what_it_may_not(check: dict, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_policy(config(check, **options))


def test_images_have_a_faithfulness() -> None:
    check_policy(config({"metric": "explanation_fidelity_gap", "technique": "gradcam"}, inputs="image"))


def test_every_entry_is_known_and_found() -> None:
    for name, entry in EXPLAINED.items():
        assert find(name) is entry
        assert name in known_metrics("binary")
        assert name in known_metrics("regression")
