"""The rules that several packs share, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.contracts import Done, Failed
from tasks.report.reading import Reading
from tasks.report.regulations import REGULATIONS, evidenced, evidenced_data, evidenced_explanations
from tasks.report.regulations.evidenced import Ruling, control, kept, stated, together, worst_of
from tests.tasks.report.pack_runs import (
    SIGNED,
    attesting,
    changed,
    changes,
    full,
    plain,
    regression,
    tabular,
    weighted,
    with_facts,
)
from tests.tasks.report.report_builder import record_of, table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    return full(tmp_path_factory.mktemp("full"))


def judged(verdict: str, reading) -> Any:
    checks = [{**check, "verdict": "satisfied"} for check in reading.checks]
    return with_facts(reading, "policy", checks=[{**checks[0], "verdict": verdict}, *checks[1:]])


# ---------------------------------------------------------------- statuses


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (("satisfied", "satisfied"), "satisfied"),
        (("satisfied", "human_required"), "human_required"),
        (("insufficient_data", "human_required"), "insufficient_data"),
        (("insufficient_data", "not_satisfied"), "not_satisfied"),
        (("not_applicable", "satisfied"), "satisfied"),
        (("not_applicable",), "not_applicable"),
    ],
)
def test_the_worse_part_decides(parts: tuple, whole: str) -> None:
    assert worst_of(*parts) == whole
    assert together(*(Ruling(p, "A.", ("t",)) for p in parts)).status == whole


def test_without_any_of_its_tables_nothing_is_satisfied(run) -> None:
    made = control(run, "x", "§", "ask", Ruling("satisfied", "why", ("no_such_table",)))
    assert (made.status, made.evidence) == ("insufficient_data", ())


def test_evidence_carries_the_digests_of_the_tables(run) -> None:
    made = control(run, "x", "§", "ask", Ruling("satisfied", "why", ("drift", "no_such_table")))
    assert [(p.table, p.sha256) for p in made.evidence] == [("drift", run.artifact("drift").sha256)]


# ---------------------------------------------------------------- what people state

GOOD, BAD = Ruling("satisfied", "Measured.", ("drift",)), Ruling("not_satisfied", "Broken.", ("drift",))


@pytest.mark.parametrize(
    ("beside", "said", "status"),
    [
        (None, None, "human_required"), (None, SIGNED, "satisfied"), (None, False, "not_satisfied"),
        (GOOD, None, "human_required"), (GOOD, SIGNED, "satisfied"), (GOOD, False, "not_satisfied"),
        (BAD, None, "not_satisfied"), (BAD, SIGNED, "not_satisfied"),
    ],
)  # fmt: skip
def test_a_statement_is_never_better_than_the_run_beside_it(run, beside: Any, said: Any, status: str) -> None:
    reading = run if said is None else attesting(run, topic=said)
    made = stated(reading, "x", "§", "ask", "topic", "It is not recorded.", beside=beside)
    assert (made.status, made.attestation) == (status, "topic")
    assert bool(made.evidence) is (beside is not None)
    if said == SIGNED:
        assert "A. Person, head of models, 2026-11-20: It is so" in made.rationale
    elif said is None:
        assert "It is not recorded" in made.rationale


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({}, "satisfied", "It is so"),
        ({"logs_months": 6}, "satisfied", "Stated: 6 months, of at least 6."),
        ({"logs_months": "7.5"}, "satisfied", "Stated: 7.5 months"),
        ({"logs_months": 5}, "not_satisfied", "The 5 months stated are fewer than 6."),
        ({"logs_months": "a while"}, "human_required", "is no number"),
        ({"logs_months": "nan"}, "human_required", "It is so"),
        ({"logs_months": -1}, "not_satisfied", "fewer than 6"),
    ],
)
def test_terms_are_held_against_the_law(run, given: dict, status: str, words: str) -> None:
    made = kept(attesting(run, retention={**SIGNED, **given}), "x", "§", "ask", "logs_months", 6, beside=GOOD)
    assert made.status == status
    assert words in made.rationale


def test_a_term_that_nobody_states_is_asked_for(run) -> None:
    made = kept(run, "x", "§", "ask", "logs_months", 6, beside=GOOD)
    assert made.status == "human_required"
    assert "at least 6 months are asked (topic retention.logs_months)" in made.rationale


# ---------------------------------------------------------------- the policy


@pytest.mark.parametrize(
    ("verdict", "status", "words"),
    [
        ("satisfied", "satisfied", "3 thresholds were declared before the run (policy {}), and all hold."),
        ("not_satisfied", "not_satisfied", "1 does not hold (impact ratio by sex)"),
        ("insufficient_data", "insufficient_data", "1 of them cannot be told (impact ratio by sex)"),
    ],
)
def test_the_policy_decides(run, verdict: str, status: str, words: str) -> None:
    from tasks.persist import values_digest

    made = evidenced.policy_kept(judged(verdict, run))
    digest = values_digest([check.model_dump(mode="json") for check in run.config.policy])[:12]
    assert made.status == status
    assert words.format(digest) in made.why


def test_no_policy_and_one_that_was_not_judged_are_no_evidence(run) -> None:
    assert evidenced.policy_kept(changed(run, policy=[])).why == "No threshold for this was declared before the run."
    unjudged = evidenced.policy_kept(with_facts(run, "policy", checks=[]))
    assert (unjudged.status, "not judged" in unjudged.why) == ("insufficient_data", True)


def test_accuracy_that_was_not_declared_is_not_enough(run) -> None:
    assert evidenced.accuracy_declared(run).status == "satisfied"
    groups_only = changed(run, policy=[{"metric": "impact_ratio", "attribute": "sex", "min": 0.8}])
    assert evidenced.accuracy_declared(groups_only).status == "insufficient_data"


# ---------------------------------------------------------------- performance and groups


def test_performance_is_told_with_its_interval_and_counts(run) -> None:
    assert evidenced.performance(run).why == "The accuracy is 0.856 (interval 0.850 to 0.861; 13,296 of 15,540)."


def test_performance_of_a_regression_is_its_error(tmp_path) -> None:
    reading = regression(tmp_path)
    assert evidenced.performance(reading).why == "The mean absolute error is 4.000 (interval 3.500 to 4.500; 200 rows)."
    assert "the worst 5.500 (Female" in evidenced.performance_by_group(reading).why


def test_groups_too_small_are_counted_and_never_the_worst(run) -> None:
    made = evidenced.performance_by_group(run, crossed=False)
    assert (
        made.why == "The accuracy of 4 groups is known, the worst 0.826 (Male, 0.818 to 0.833); 1 group is too small."
    )
    assert evidenced.performance_by_group(changed(run, data={"intersections": []}), crossed=True).why.startswith(
        "No crossing was declared"
    )


def test_an_attribute_without_two_large_groups_is_not_examined(run) -> None:
    assert evidenced.bias_examined(run).status == "satisfied"
    strict = changed(run, bias={"min_group_size": 2000})
    made = evidenced.bias_examined(strict)
    assert made.status == "insufficient_data"
    assert "fewer than two groups are large enough by race." in made.why


def test_without_attributes_nothing_is_said_of_groups(tmp_path) -> None:
    reading = plain(tmp_path)
    for rule in (evidenced.groups_counted, evidenced.bias_examined, evidenced.performance_by_group):
        made = rule(reading)
        assert made.status == "insufficient_data"
        assert made.why.startswith("No sensitive attribute was declared")


@pytest.mark.parametrize(("value", "low", "high", "status"), [
    (0.9, 0.85, 0.95, "satisfied"), (0.68, 0.6, 0.75, "insufficient_data"), (0.5, 0.45, 0.55, "not_satisfied"),
])  # fmt: skip
def test_a_model_has_to_beat_the_most_frequent_label(tmp_path, value, low, high, status) -> None:
    reading = tabular(tmp_path)
    row = {"metric": "accuracy", "value": value, "ci_low": low, "ci_high": high, "status": "ok", "n": 400}
    ref = reading.workspace.write_table("group_metrics", table("group_metrics", [row]))
    reading = Reading(reading.config, reading.workspace, record_of([Done("bias", (ref,))], "satisfied"))
    made = evidenced.better_than_baseline(reading)
    labels = [r["y_true"] for r in reading.rows("predictions")]
    share = max(labels.count(label) for label in set(labels)) / len(labels)
    assert f"reaches accuracy {share:.3f}" in made.why
    assert made.status == status


def test_weights_and_regressions_have_their_own_baseline(tmp_path) -> None:
    assert evidenced.better_than_baseline(weighted(tmp_path / "w")).status == "insufficient_data"
    assert "the mean label reaches R² 0.000" in evidenced.better_than_baseline(regression(tmp_path / "r")).why


# ---------------------------------------------------------------- data


def test_missing_values_are_counted_and_warnings_are_weighed(run, tmp_path) -> None:
    assert evidenced_data.gate_passed(run) == Ruling(
        "satisfied", "1 expectation was checked, 1 failed; 966 values are missing (occupation).", ("validation",)
    )
    warned = evidenced_data.gate_passed(tabular(tmp_path))
    assert (warned.status, "1 failure is to be weighed" in warned.why) == ("insufficient_data", True)


def test_missing_values_of_a_column_are_counted_once(tmp_path) -> None:
    reading = tabular(tmp_path)
    gap = {"expectation": "expect_column_values_to_not_be_null", "success": False, "element_count": 100}
    rows = [
        {**gap, "column": "a", "severity": "info", "unexpected_count": 7},
        {**gap, "column": "a", "severity": "warning", "unexpected_count": 7},
        {**gap, "column": "b", "severity": "info", "unexpected_count": 2},
    ]
    ref = reading.workspace.write_table("validation", table("validation", rows))
    made = evidenced_data.gate_passed(
        Reading(reading.config, reading.workspace, record_of([Done("validate", (ref,))], "satisfied"))
    )
    assert made.why == (
        "3 expectations were checked, 3 failed; 9 values are missing (a, b); 1 failure is to be weighed."
    )


def test_drift_past_its_threshold_is_not_like_the_reference(run) -> None:
    assert evidenced_data.like_reference(run).status == "satisfied"
    moved = with_facts(run, "drift", drifted=["age"])
    assert evidenced_data.like_reference(moved).status == "not_satisfied"
    assert evidenced_data.drift_measured(moved).status == "satisfied"
    assert "past the threshold: age" in evidenced_data.drift_measured(moved).why


def test_one_audit_is_no_series(run) -> None:
    assert evidenced_data.watched(run).status == "satisfied"
    assert evidenced_data.watched(changed(run, schedule=None)).status == "insufficient_data"


# ---------------------------------------------------------------- explanations


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ({"shap": "passes", "lime": "passes"}, "satisfied"),
        ({"shap": "passes", "lime": "fails"}, "satisfied"),
        ({"shap": "fails", "lime": "fails"}, "not_satisfied"),
        ({"shap": "not_judged"}, "insufficient_data"),
        ({"random": "passes"}, "insufficient_data"),
        ({}, "insufficient_data"),
    ],
)
def test_explanations_are_worth_what_their_tests_say(run, verdicts: dict, status: str) -> None:
    made = evidenced_explanations.validated(with_facts(run, "agreement", verdicts=verdicts))
    assert made.status == status
    if verdicts.get("lime") == "fails":
        assert "LIME" in made.why


def test_techniques_that_all_disagree_are_no_evidence(run) -> None:
    apart = with_facts(run, "agreement", disagreements=[{"techniques": ["shap", "lime"]}])
    assert evidenced_explanations.agreed(run).status == "satisfied"
    assert evidenced_explanations.agreed(apart).status == "insufficient_data"


@pytest.mark.parametrize(
    ("left_out", "lacking"),
    [((), None), (("parameter_randomisation",), "randomisation"), (("max_sensitivity", "seed_stability"), "stability")],
)
def test_explanations_are_robust_by_all_three_kinds_of_tests(tmp_path, left_out: tuple, lacking: str | None) -> None:
    reading = full(tmp_path)
    rows = [r for r in reading.rows("explanation_quality") if r["measure"] not in left_out]
    reading.workspace.write_table("explanation_quality", table("explanation_quality", rows))
    made = evidenced_explanations.robust(Reading(reading.config, reading.workspace, reading.record))
    assert made.status == ("satisfied" if lacking is None else "insufficient_data")
    assert lacking is None or made.why == f"Explanations were not tested for {lacking}."


def test_tests_of_explanations_say_nothing_of_what_the_system_bears(run) -> None:
    failing = with_facts(run, "agreement", verdicts={"shap": "fails", "lime": "fails"})
    assert evidenced_explanations.robust(failing).status == "insufficient_data"
    made = {c.id: c for c in REGULATIONS["eu_ai_act"].judge(run).controls}
    for id in ("eu-15-4", "eu-13-3-b-ii"):
        assert (made[id].status, made[id].attestation) == ("human_required", "robustness")
        assert "not tested here" in made[id].rationale


def test_comparisons_are_those_with_another_group(run) -> None:
    told = [r for r in run.disparities if r["group"] is not None and r["group"] != r["reference"]]
    assert len(told) < sum(r["group"] is not None for r in run.disparities)
    assert evidenced.bias_examined(run).why.startswith(f"{len(told)} comparisons with a reference group. ")


def test_slices_that_chance_could_explain_are_told_apart(run) -> None:
    rows = run.rows("slices")
    sure = sum(r["q_value"] < 0.05 for r in rows)
    told = evidenced_data.gaps_told(run).why
    assert f"{len(rows)} slices listed in which the model fares worst, {sure} of them worse beyond chance." in told
    strict = with_facts(run, "sources", slices={"level": 1e-9})
    assert "model fares worst, 0 of them worse beyond chance." in evidenced_data.gaps_told(strict).why


def test_a_technique_that_failed_is_lacking(run) -> None:
    assert evidenced_explanations.explained(run).status == "satisfied"
    results = (*run.record.results, Failed("explain/gradcam", "x", "why"))
    made = evidenced_explanations.explained(Reading(run.config, run.workspace, record_of(results, "incomplete")))
    assert (made.status, made.why.endswith("Grad-CAM failed.")) == ("insufficient_data", True)


def test_reasons_have_to_cover_every_adverse_decision(run) -> None:
    assert evidenced_explanations.reasons_given(run).why == "Principal reasons are told for 3 of 3 adverse decisions."
    fewer = with_facts(run, "reasons", stated=2, protected={"sex": 1})
    made = evidenced_explanations.reasons_given(fewer)
    assert made.status == "insufficient_data"
    assert "a sensitive attribute is among them (sex)" in made.why


@pytest.mark.parametrize(
    ("found", "none", "status", "words"),
    [
        (3, 0, "satisfied", "told for 3 of 3."),
        (2, 1, "satisfied", "told for 2 of 3; for 1 none was found."),
        (2, 0, "insufficient_data", "told for 2 of 3."),
        (0, 3, "insufficient_data", "told for 0 of 3; for 3 none was found."),
        (0, 0, "insufficient_data", "What change would alter the result is not told."),
    ],
)
def test_changes_are_told_for_every_adverse_decision(tmp_path, found: int, none: int, status: str, words: str) -> None:
    reading = full(tmp_path)
    reading.workspace.write_table("counterfactuals", table("counterfactuals", changes(found=found, none=none)))
    made = evidenced_explanations.changes_told(reading)
    assert made.status == status
    assert made.why.endswith(words)


def test_names_from_outside_stay_short() -> None:
    assert evidenced.short("W" * 200) == "W" * 39 + "…"
    assert evidenced.short("line\n\ttab") == "line tab"
    assert evidenced.named(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
