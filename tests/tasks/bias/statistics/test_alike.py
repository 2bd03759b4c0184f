"""Which aggregates are told what they would be with no disparity."""

from __future__ import annotations

import numpy as np
import pytest

CELLS = {"a": (80, 20, 30, 70), "b": (50, 50, 10, 90), "c": (40, 60, 20, 80), "tiny": (1, 1, 1, 1)}


def test_every_widest_gap_of_groups_has_its_chance(audit_cells) -> None:
    checks = [{"metric": "balanced_accuracy_difference", "attribute": "g", "max": 1}]
    checks += [{"metric": "f1_ratio", "attribute": "g", "min": 0}]
    found = audit_cells(CELLS, least=30, policy=checks)
    chances = found.done.facts["no_disparity"]["g"]
    for name in (
        "demographic_parity_difference", "equalized_odds_difference", "average_odds_difference", "total_variation",
        "js_divergence", "balanced_accuracy_difference", "f1_ratio",
    ):  # fmt: skip
        assert set(chances[name]) == {"expected", "p95", "p"}, name
        assert 0 < chances[name]["p"] <= 1
    assert "class_imbalance" not in chances  # sizes of groups are no matter of chance
    assert chances["demographic_parity_difference"]["p"] < 0.01
    assert chances["total_variation"]["p"] > 0.9  # all have as many positive labels


def test_weights_have_it_too_and_their_scale_is_no_matter(audit) -> None:
    rng = np.random.default_rng(0)
    rows = {"g": ["a", "b", "c"] * 200, "w": rng.exponential(size=600)}
    label, decision = (list(rng.choice(["yes", "no"], 600)) for _ in range(2))
    told = [
        audit(
            {**rows, "w": rows["w"] * scale}, label=label, decision=decision, sensitive={"g": {"column": "g"}},
            data={"weight": "w"},
        ).done.facts["no_disparity"]["g"]
        for scale in (1, 8)
    ]  # fmt: skip
    assert told[0]["demographic_parity_difference"]["p"] > 0.01
    assert {"impact_ratio", "equalized_odds_difference", "js_divergence"} <= set(told[0])
    for name, chance in told[0].items():
        assert told[1][name] == pytest.approx(chance), name


def test_a_regression_is_drawn_from_its_means(audit) -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(["a", "b", "c"], 100)
    score = rng.normal(10, 2, 300) + 2.0 * (groups == "c")
    found = audit(
        {"g": groups}, label=[str(v) for v in score + rng.normal(0, 1, 300)], score=score, task="regression",
        favorable=None,
    )  # fmt: skip
    chance = found.done.facts["no_disparity"]["g"]["mean_prediction_difference"]
    assert chance["p"] < 0.005
    gap = found.gap("mean_prediction_difference", "g")
    assert gap["status"] == "ok"
    assert 0 < gap["ci_low"] < gap["value"] < gap["ci_high"]
    assert chance["expected"] < chance["p95"] < gap["value"]
