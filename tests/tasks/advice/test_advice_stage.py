"""The whole stage on files: agreement with the bias stage, hand-made tables, honest halves, and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tasks.contracts import TABLES, Done, NotApplicable
from tests.tasks.advice.advice_cases import applicants

IMPACT = {"metric": "impact_ratio", "attribute": "g", "min": 0.8}


def facts_of(advised) -> list[dict]:
    assert isinstance(advised.done, Done)
    json.dumps(advised.done.facts, allow_nan=False)
    return advised.done.facts["aims"]


@pytest.mark.parametrize("favorable", ["yes", "no"])
def test_what_is_now_is_what_the_bias_stage_says(advice, favorable):
    groups, score, label = applicants(500, 1)
    metrics = {
        "impact_ratio": {"min": 0.8}, "equalized_odds_difference": {"max": 0.1}, "accuracy_difference": {"max": 0.01},
        "average_odds_difference": {"max": 0.1}, "predictive_parity_difference": {"max": 0.01},
        "recall_difference": {"max": 0.05}, "f1_ratio": {"min": 0.9}, "balanced_accuracy_difference": {"max": 0.01},
        "predicted_rate_difference": {"max": 0.1}, "false_omission_rate": {"max": 0.1},
    }  # fmt: skip
    policy = [{"metric": name, "attribute": "g", **limit} for name, limit in metrics.items()]
    advised = advice(groups, score, label, favorable=favorable, policy=policy)
    advised.bias()
    rates, gaps = advised.table("group_metrics"), advised.table("disparities")
    for check in policy:
        text = next(fact["aim"] for fact in facts_of(advised) if fact["metric"] == check["metric"])
        for group in ("a", "b"):
            row = advised.row(aim=text, kind="current", sample="all", group=group)
            for name in ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy"):
                theirs = next(r for r in rates if (r["metric"], r["group"], r["output"]) == (name, group, None))
                assert row[name] == theirs["value"]
        whole = advised.row(aim=text, kind="current", sample="all", group=None)
        theirs = [r for r in gaps if r["metric"] == check["metric"] and r["group"] is None]
        if theirs:
            assert (whole["value"], whole["ci_low"], whole["ci_high"]) == (
                theirs[0]["value"], theirs[0]["ci_low"], theirs[0]["ci_high"],
            )  # fmt: skip
        assert (whole["gained"], whole["lost"], whole["n"]) == (0, 0, 500)


def test_a_table_by_hand(advice):
    # a: 4 of 5 selected at 0.5, b: 1 of 5. Selecting b from 0.3 on adds three, and all of them are right.
    score = [0.9, 0.8, 0.7, 0.6, 0.1, 0.9, 0.4, 0.35, 0.3, 0.1]
    label = ["yes", "yes", "yes", "yes", "no", "yes", "yes", "yes", "yes", "no"]
    advised = advice(["a"] * 5 + ["b"] * 5, score, label, policy=[IMPACT])
    now = advised.row(kind="current", sample="all", group=None)
    assert (now["value"], now["met"], now["accuracy"], now["threshold"]) == (0.25, False, 0.7, 0.5)
    b = advised.row(kind="group", sample="all", group="b")
    assert (b["threshold"], b["selected"], b["gained"], b["lost"]) == (0.3, 4, 3, 0)
    whole = advised.row(kind="group", sample="all", group=None)
    assert (whole["value"], whole["met"], whole["accuracy"]) == (1.0, True, 1.0)
    one = advised.row(kind="common", sample="all", group=None)
    assert (one["threshold"], one["value"], one["accuracy"], one["gained"]) == (0.3, 1.0, 1.0, 3)
    sentence = facts_of(advised)[0]["sentence"]
    assert "impact_ratio ≥ 0.8 (is 0.250 now)" in sentence
    assert "3 gain the favourable outcome and 0 lose it" in sentence
    assert advised.done.findings[0].severity == "info"
    assert "may be unlawful" in advised.done.findings[0].text


def test_it_is_labelled_as_advice_with_the_warning(advice):
    advised = advice(*applicants(200, 2), policy=[IMPACT])
    facts = advised.done.facts
    assert facts["label"] == "advice"
    for words in ("no recommendation", "2000e-2(l)", "direct discrimination", "unlawful"):
        assert words in facts["warning"]
    assert facts["chosen_on"] + facts["evaluated_on"] == facts["rows"] == 200
    assert {table.name for table in advised.done.tables} == {"thresholds", "tradeoffs"}
    for table in ("thresholds", "tradeoffs"):
        assert advised.workspace.read_table(table).schema.names == TABLES[table].names


def test_the_trade_off_is_drawn_along_thresholds_and_aims(advice):
    advised = advice(
        *applicants(600, 3), policy=[{**IMPACT, "metric": "demographic_parity_difference", "min": None, "max": 0.05}]
    )
    points = advised.table("tradeoffs")
    common = [p for p in points if p["kind"] == "common"]
    apart = [p for p in points if p["kind"] == "group"]
    assert [p["threshold"] for p in common] == sorted(p["threshold"] for p in common)
    assert 5 < len(apart) <= 21
    assert all(p["value"] <= p["limit"] for p in apart)
    accuracy = [p["accuracy"] for p in apart]
    assert accuracy == sorted(accuracy, reverse=True)  # the tighter the aim, the more it costs
    now = advised.row(kind="current", sample="all", group=None)
    here = next(p for p in common if p["threshold"] == 0.5)
    assert (here["value"], here["accuracy"], here["changed"]) == (now["value"], now["accuracy"], 0)


def test_without_a_policy_there_is_an_example_and_nothing_to_meet(advice):
    advised = advice(*applicants(200, 4))
    (fact,) = facts_of(advised)
    assert (fact["example"], fact["met"], fact["plans"]) == (True, None, [])
    assert {row["kind"] for row in advised.table("thresholds")} == {"current"}
    assert {row["met"] for row in advised.table("thresholds")} == {None}
    assert {point["kind"] for point in advised.table("tradeoffs")} == {"common", "group"}
    assert not advised.done.findings


def test_an_aim_that_nothing_meets_says_how_near_it_comes(advice):
    groups, score, label = applicants(300, 5)
    advised = advice(groups, score, label, policy=[{"metric": "accuracy", "attribute": "g", "min": 0.99}])
    (fact,) = facts_of(advised)
    for plan in fact["plans"][:2]:
        assert plan["met"] is False
        assert fact["value"] <= plan["value"] < 0.99
    assert "meets it nowhere; the nearest is" in fact["sentence"]


def test_an_aim_met_only_by_selecting_everyone_is_told_so(advice):
    score = [0.9, 0.8, 0.7, 0.2, 0.1, 0.05]
    advised = advice(["a"] * 3 + ["b"] * 3, score, ["yes"] * 3 + ["no"] * 3, policy=[{**IMPACT, "min": 1.0}])
    common = facts_of(advised)[0]["plans"][0]
    assert (common["met"], common["everyone_alike"]) == (True, "selected")
    assert "but only because all are selected" in facts_of(advised)[0]["sentence"]


def test_the_ranking_is_cut_at_its_lowest_selected_score(advice):
    groups, score, label = applicants(200, 6)
    order = np.argsort(-score, kind="stable")[:60]
    decision = np.where(np.isin(np.arange(200), order), "yes", "no").tolist()
    advised = advice(
        groups, score, label, decision=decision, policy=[IMPACT], bias={"decision": {"top_k": 60}, "min_group_size": 1}
    )
    now = advised.row(kind="current", sample="all", group=None)
    assert (now["selected"], now["threshold"]) == (60, np.sort(score)[-60])
    assert any("another number of rows" in text for text in advised.done.limitations)


def test_a_regression_with_a_rule_is_cut_at_its_value(advice):
    generator = np.random.default_rng(8)
    value = generator.normal(3, 1, 200)
    truth = value + generator.normal(0, 0.5, 200)
    group = np.where(np.arange(200) % 2, "a", "b").tolist()
    for rule, selected in ((">= 3.5", value >= 3.5), ("< 2.5", value < 2.5), ("> 3.5", value > 3.5)):
        advised = advice(
            group, value, truth, task="regression", favorable=None, policy=[{**IMPACT, "min": 0.99}],
            bias={"decision": {"favorable_when": rule}, "min_group_size": 1},
        )  # fmt: skip
        now = advised.row(kind="current", sample="all", group=None)
        assert now["selected"] == selected.sum()
        assert advised.row(kind="group", sample="all", group=None)["met"]
        apart = [p for p in advised.table("tradeoffs") if p["kind"] == "common" and p["changed"] == 0]
        assert apart


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sensitive": {}}, "no_attributes"),
        ({"bias": {"decision": {"column": "g"}}}, "recorded_decisions"),
        ({"task": "regression", "favorable": None, "label": [0.1] * 4}, "no_decisions"),
        (
            {
                "task": "multiclass",
                "outputs": {"no": [0.1] * 4, "yes": [0.2] * 4, "so": [0.7] * 4},
                "decision": ["so"] * 4,
            },
            "multiclass",
        ),
        ({"favorable": ["no", "yes"]}, "one_outcome"),
    ],
)  # fmt: skip
def test_what_has_no_threshold_is_not_applicable(advice, changes, code):
    label = changes.pop("label", ["yes", "no", "yes", "no"])
    advised = advice(["a", "a", "b", "b"], [0.9, 0.1, 0.8, 0.2], label, **changes)
    assert isinstance(advised.done, NotApplicable)
    assert (advised.done.stage, advised.done.code) == ("advice", code)
    assert advised.done.reason.endswith(".")


@pytest.mark.parametrize(
    ("group", "score", "label"),
    [
        (["a", "b"] * 10, [0.7] * 20, ["yes", "no"] * 10),  # constant scores
        (["a"] * 20, list(np.linspace(0, 1, 20)), ["yes", "no"] * 10),  # one group
        (["a", "b"] * 10, list(np.linspace(0, 1, 20)), [None] * 20),  # no labels
        (["a", "b"] * 10, list(np.linspace(0, 1, 20)), ["yes"] * 20),  # labels of one kind
        (["a", None] * 10, [np.nan, *np.linspace(0, 1, 19)], ["yes", "no"] * 10),  # a score that is none
        (["a", "b"], [0.9, 0.1], ["yes", "no"]),  # two rows
        ([f"g{k}" for k in range(150)], list(np.linspace(0, 1, 150)), ["yes", "no"] * 75),  # a group a row
    ],
)
@pytest.mark.parametrize(
    "metric", [{"metric": "impact_ratio", "min": 0.8}, {"metric": "equalized_odds_difference", "max": 0.1}]
)
def test_degenerate_input_is_answered_not_refused(advice, group, score, label, metric):
    advised = advice(group, score, label, policy=[{**metric, "attribute": "g"}], bias={"min_group_size": 5})
    (fact,) = facts_of(advised)
    assert fact["sentence"].endswith(".")
    rows = [row for row in advised.table("thresholds") if row["kind"] == "current" and row["sample"] == "all"]
    assert len(rows) == len(set(group)) + 1
    if label[0] is None:
        assert all(row["accuracy"] is None and row["true_positive_rate"] is None for row in rows)
        assert all(row["selection_rate"] is not None for row in rows)
        assert advised.done.facts["objective"] == "fewest changed decisions"


def test_weights_are_sums_and_their_scale_changes_nothing(advice):
    groups, score, label = applicants(400, 9)
    weight = np.random.default_rng(9).integers(1, 4, 400)
    twice = [advice(groups, score, label, weight=scale * weight, policy=[IMPACT]) for scale in (1, 1024)]
    repeated = advice(*(np.repeat(np.asarray(c), weight).tolist() for c in (groups, score, label)), policy=[IMPACT])
    one, other = (run.table("thresholds") for run in twice)
    for a, b in zip(one, other, strict=True):
        assert (a["threshold"], a["value"], a["accuracy"], a["met"]) == (
            b["threshold"],
            b["value"],
            b["accuracy"],
            b["met"],
        )
        assert b["selected"] == 1024 * a["selected"]
    for kind in ("current", "common", "group"):
        weighed, counted = (run.row(kind=kind, sample="all", group=None) for run in (twice[0], repeated))
        assert weighed["value"] == pytest.approx(counted["value"], rel=1e-12)
        assert weighed["accuracy"] == pytest.approx(counted["accuracy"], rel=1e-12)
    assert "takes no weights" in next(p for p in facts_of(twice[0])[0]["plans"] if p["kind"] == "parity")["missing"]


def test_the_same_seed_gives_the_same_bits(advice):
    groups, score, label = applicants(300, 10)
    first, again = (advice(groups, score, label, policy=[IMPACT], explain={"seed": 3}) for _ in range(2))
    assert [table.sha256 for table in first.done.tables] == [table.sha256 for table in again.done.tables]
    assert first.done.facts == again.done.facts
    other = advice(groups, score, label, policy=[IMPACT], explain={"seed": 4})
    assert other.table("thresholds") != first.table("thresholds")


def test_the_held_out_half_is_not_optimistic(advice):
    """With labels and groups that are noise, thresholds chosen on some rows look better there than they are.

    What they come to on the other half is what they come to on ten thousand new rows, up to chance.
    """
    chosen, honest, true = [], [], []
    for seed in range(40):
        generator = np.random.default_rng([77, seed])
        group = generator.integers(0, 2, 120)
        score = generator.random(120).round(3)
        label = np.where(generator.random(120) < 0.5, "yes", "no")
        advised = advice(
            np.array(["a", "b"])[group].tolist(), score, label.tolist(), bias={"resamples": 0, "min_group_size": 1},
            policy=[{"metric": "demographic_parity_difference", "attribute": "g", "max": 0.02}],
        )  # fmt: skip
        rows = {s: advised.row(kind="group", sample=s, group=None) for s in ("all", "held_out")}
        cuts = [advised.row(kind="group", sample="held_out", group=name)["threshold"] for name in ("a", "b")]
        chosen.append((rows["all"]["accuracy"], rows["all"]["value"]))
        honest.append((rows["held_out"]["accuracy"], rows["held_out"]["value"]))
        true.append((0.5, abs(cuts[0] - cuts[1])))
    (seen, seen_gap), (held, _), (_, gap) = (np.mean(part, 0) for part in (chosen, honest, true))
    # 60 fair coins a run, 40 runs: a standard error of 0.0102
    assert abs(held - 0.5) < 3.3 * 0.0102
    assert seen > 0.5 + 3.3 * 0.0102
    assert seen_gap <= 0.02
    assert np.mean([value for _, value in honest]) > gap > seen_gap


def test_an_interval_is_given_only_where_the_rows_did_not_choose(advice):
    advised = advice(*applicants(600, 12), policy=[IMPACT])
    for row in advised.table("thresholds"):
        if row["group"] is None and row["kind"] != "parity":
            chosen_here = row["sample"] == "all" and row["kind"] != "current"
            assert (row["ci_low"] is None) == chosen_here
