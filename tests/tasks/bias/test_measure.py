"""Whom groups are held against, and groups compared in single classes."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.bias.statistics.significance import fisher

CELLS = {"a": (80, 20, 30, 70), "b": (50, 50, 10, 90), "c": (90, 110, 20, 180)}


@pytest.mark.parametrize(
    ("declared", "reference"), [(None, "a"), ("best_off", "a"), ("largest", "c"), ("b", "b")]
)  # fmt: skip
def test_the_reference_is_the_one_that_is_declared(audit_cells, declared: str | None, reference: str) -> None:
    sensitive = {"g": {"column": "g", **({} if declared is None else {"reference": declared})}}
    found = audit_cells(CELLS, sensitive=sensitive)
    assert found.gap("predicted_rate_difference", "g", "a")["reference"] == reference
    rates = {"a": 110 / 200, "b": 60 / 200, "c": 110 / 400}
    for group, rate in rates.items():
        gap = found.gap("predicted_rate_difference", "g", group)
        assert gap["value"] == pytest.approx(rates[reference] - rate)
        impact = found.gap("impact_ratio", "g", group)  # always against the highest rate
        assert (impact["reference"], impact["value"]) == ("a", pytest.approx(rate / rates["a"]))
    facts = found.done.facts["attributes"][0]
    assert facts["reference"] == reference
    rule = {"a": "highest selection rate", "c": "most rows", "b": "named in the config"}[reference]
    assert rule in facts["reference_rule"]


def test_nobody_is_held_against_those_whose_group_is_not_known(audit) -> None:
    groups = ["a"] * 100 + ["b"] * 100 + [None] * 200
    decision = (["yes"] * 50 + ["no"] * 50) + (["yes"] * 30 + ["no"] * 70) + (["yes"] * 180 + ["no"] * 20)
    for declared in (None, "largest"):
        sensitive = {"g": {"column": "g", **({} if declared is None else {"reference": declared})}}
        found = audit({"g": groups}, label=decision, decision=decision, sensitive=sensitive)
        assert found.gap("predicted_rate_difference", "g", "b")["reference"] == "a"
        assert found.gap("impact_ratio", "g", "b")["value"] == pytest.approx(0.6)
        missing = found.gap("impact_ratio", "g", "(missing)")
        assert (missing["value"], missing["status"]) == (pytest.approx(1.8), "ok")  # compared like any other
        assert found.gap("demographic_parity_difference", "g")["value"] == pytest.approx(0.6)  # and in the aggregate


def _three_classes(audit, k: int = 3, groups: int = 2):
    rng = np.random.default_rng(0)
    classes, n = [chr(ord("p") + c) for c in range(k)], 400
    label, decision = rng.choice(classes, n), rng.choice(classes, n)
    score = {name: np.where(decision == name, 0.6, 0.4 / (k - 1)) + 0.01 * rng.random(n) for name in classes}
    group = np.array([chr(ord("a") + g) for g in range(groups)])[np.arange(n) % groups]
    found = audit(
        {"g": list(group)}, label=list(label), decision=list(decision), score=score, task="multiclass",
        classes=classes, favorable=classes[0],
    )  # fmt: skip
    return found, group, label, decision, classes


def test_each_class_against_the_rest(audit) -> None:
    found, group, label, decision, classes = _three_classes(audit)
    rows = [row for row in found.table("disparities") if row["output"] is not None]
    assert {row["metric"] for row in rows} == {
        "impact_ratio", "demographic_parity_difference", "equal_opportunity_difference", "equalized_odds_difference",
        "predictive_parity_difference", "roc_auc_difference",
    }  # fmt: skip
    for name in classes:
        hits = {g: int(((group == g) & (decision == name)).sum()) for g in "ab"}
        right = {g: ((group == g) & (label == name) & (decision == name)).sum() for g in "ab"}
        there = {g: ((group == g) & (label == name)).sum() for g in "ab"}
        mine = {(row["metric"], row["group"]): row for row in rows if row["output"] == name}
        low, high = sorted("ab", key=lambda g: hits[g])
        impact = mine["impact_ratio", low]
        assert impact["reference"] == high
        assert impact["value"] == pytest.approx(hits[low] / hits[high])
        assert impact["p_value"] == pytest.approx(fisher(hits[low], 200, hits[high], 200))
        tpr = abs(right["a"] / there["a"] - right["b"] / there["b"])
        assert mine["equal_opportunity_difference", None]["value"] == pytest.approx(tpr)
        assert mine["roc_auc_difference", None]["status"] == "ok"
        # Six questions are asked of a class, each class is a family of its own.
        told = [row for row in mine.values() if row["p_adjusted"] is not None]
        assert max(row["p_adjusted"] / row["p_value"] for row in told) <= 6
    declared = found.gap("impact_ratio", "g", "a")
    same = next(r for r in rows if (r["output"], r["metric"], r["group"]) == (classes[0], "impact_ratio", "a"))
    assert same["value"] == declared["value"]  # the first class is the favourable one


def test_classes_have_draws_of_their_own_and_many_are_left_alone(audit) -> None:
    found, *_ = _three_classes(audit, groups=4)
    rows = [r for r in found.table("disparities") if r["metric"] == "demographic_parity_difference"]
    ends = [(r["ci_low"], r["ci_high"]) for r in rows if r["output"] and r["group"] is None]
    assert len(set(ends)) == 3
    many, *_ = _three_classes(audit, k=11)
    assert all(row["output"] is None for row in many.table("disparities"))
    assert any("10 classes" in text for text in many.done.limitations)
