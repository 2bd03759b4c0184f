from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.contracts import Done, Failed, Finding, NotApplicable
from tasks.report.document import Bullets, Facts, Figure, FindingNote, Paragraph, Section, Table
from tasks.report.figures import Bars, Forest
from tasks.report.reading import Reading
from tasks.report.scores import scores_of, wilson
from tasks.report.sections.agreement import agreement
from tasks.report.sections.controls import controls
from tasks.report.sections.drift import drift
from tasks.report.sections.examined import examined
from tasks.report.sections.findings import findings
from tasks.report.sections.gate import gate
from tasks.report.sections.groups import groups
from tasks.report.sections.limits import limits
from tasks.report.sections.overview import headline, overview
from tasks.report.sections.performance import performance
from tasks.report.sections.shared import unsure, why_no_interval
from tasks.report.summary import summary_of
from tests.tasks.report.report_builder import check, config_of, loaded, record_of, table, workspace_of


def text_of(content) -> str:
    return "".join(span.text for span in content)


def tables_of(section: Section) -> dict[str, Table]:
    found = {b.id: b for b in section.blocks if isinstance(b, Table)}
    for child in section.sections:
        found |= tables_of(child)
    return found


def figures_of(section: Section) -> dict[str, Figure]:
    found = {b.id: b for b in section.blocks if isinstance(b, Figure)}
    for child in section.sections:
        found |= figures_of(child)
    return found


def cells(found: Table) -> list[list[str]]:
    return [[text_of(cell) for cell in row] for row in found.rows]


def reading_of(
    folder: Path, rows: dict[str, list[dict[str, Any]]], *results, verdict: str = "satisfied", **config
) -> Reading:
    workspace = workspace_of(folder)
    for name, lines in rows.items():
        workspace.write_table(name, table(name, lines))
    return Reading(config_of(**config), workspace, record_of(results, verdict))


def other_task(task: str, classes: list[str] | None = None) -> dict[str, Any]:
    """Changes to the config: another task, nothing sensitive, no policy."""
    data = {"sensitive": {}, "intersections": [], "target": {"column": "y", "favorable": None}}
    model, bias = {"task": task, "classes": classes}, {"decision": {"threshold": None}}
    return {"model": model, "bias": bias, "data": data, "policy": []}


# ---------------------------------------------------------------- overview


@pytest.mark.parametrize(
    ("verdict", "verdicts", "words"),
    [
        ("satisfied", [], "No policy was declared"),
        ("satisfied", ["satisfied", "satisfied"], "Every policy check is satisfied (2 of 2)."),
        ("not_satisfied", ["not_satisfied", "satisfied"], "1 of 2 policy checks is not satisfied."),
        ("inconclusive", ["insufficient_data"], "do not suffice"),
        ("refused", [], "did not pass the gate"),
        ("incomplete", [], "is missing"),
    ],
)
def test_the_headline(tmp_path: Path, verdict: str, verdicts: list[str], words: str) -> None:
    checks = [check("accuracy", v, 0.5, "s") for v in verdicts]
    reading = reading_of(tmp_path, {}, Done("policy", facts={"checks": checks}), verdict=verdict)
    assert words in text_of(headline(reading))


def test_checks_that_were_not_judged_are_listed_as_such(run_of) -> None:
    found = tables_of(overview(run_of("refused").reading))["policy-checks"]
    assert [row[1] for row in cells(found)] == ["not evaluated"] * 3


def test_what_the_policy_says_of_an_attribute_is_not_said_twice(tabular) -> None:
    bullets = [text_of(i) for b in overview(tabular.reading).blocks if isinstance(b, Bullets) for i in b.items]
    told = [b for b in bullets if b.startswith("Groups of")]
    assert [b.split(":")[0] for b in told] == ["Groups of sex × race"]
    assert "5.3\u00a0% of Female × Black and to 27.1\u00a0% of Male × White: an impact ratio of 0.197" in told[0]
    assert "2 groups have too few rows to be judged" in told[0]


# ---------------------------------------------------------------- groups


def test_the_policys_line_among_selection_rates(tabular) -> None:
    panels = {p.title: p for p in figures_of(groups(tabular.reading))["groups-1-figure"].panels if isinstance(p, Bars)}
    rates = {m.label: m for m in panels["selection rate"].marks}
    assert panels["selection rate"].limit == pytest.approx(0.8 * 2735 / 10387)
    assert {g: m.tone for g, m in rates.items()} == {"Female": "bad", "Male": "plain"}
    assert rates["Female"].value == pytest.approx(462 / 5153)
    assert panels["accuracy"].limit is None


def test_groups_that_are_too_small_are_hollow_whatever_their_value(tabular) -> None:
    marks = figures_of(groups(tabular.reading))["groups-2-figure"].panels[0].marks
    assert {m.label: m.tone for m in marks}["Other"] == "unsure"
    assert {m.label: m.text for m in marks}["(missing)"] == "insufficient data"


def test_a_limit_on_a_signed_difference_has_two_lines(tabular) -> None:
    checks = [check("accuracy_difference", "not_satisfied", 0.09, "s", attribute="sex", min=None, max=0.05)]
    results = tuple(replace(r, facts={"checks": checks}) if r.stage == "policy" else r for r in tabular.record.results)
    reading = Reading(tabular.config, tabular.workspace, replace(tabular.record, results=results))
    forest = figures_of(groups(reading))["groups-1-forest"].panels[0]
    assert isinstance(forest, Forest)
    assert (forest.title, forest.null, forest.limits) == ("accuracy difference", 0.0, (-0.05, 0.05))
    assert [m.tone for m in forest.marks] == ["bad"]


def test_a_limit_on_a_ratio_has_one_line_and_the_reference_is_not_compared_with_itself(tabular) -> None:
    forest = next(p for p in figures_of(groups(tabular.reading))["groups-1-forest"].panels if p.title == "impact ratio")
    assert (forest.null, forest.limits, forest.subtitle) == (1.0, (0.8,), "against Male")
    assert [m.label for m in forest.marks] == ["Female"]


def test_declared_bins_without_a_row_are_told(tabular) -> None:
    told = [{"attribute": "sex", "reference": "Male", "reference_rule": "a rule", "left_out": [{"group": "X", "n": 0}]}]
    results = tuple(replace(r, facts={"attributes": told}) if r.stage == "bias" else r for r in tabular.record.results)
    reading = Reading(tabular.config, tabular.workspace, replace(tabular.record, results=results))
    first = groups(reading).sections[0].blocks[0]
    assert isinstance(first, Paragraph)
    assert text_of(first.content) == "Held against Male (a rule). Declared, but without a row: X."


@pytest.mark.parametrize("kind", ["refused", "unreadable"])
def test_groups_say_why_they_are_absent(run_of, kind: str) -> None:
    text = text_of(groups(run_of(kind).reading).blocks[0].content)
    assert "comparison of groups was not" in text


def test_no_sensitive_attribute(tmp_path: Path) -> None:
    reading = reading_of(tmp_path, {}, data={"sensitive": {}, "intersections": []}, policy=[])
    assert "No sensitive attribute was declared" in text_of(groups(reading).blocks[0].content)


# ---------------------------------------------------------------- performance


def test_confusion_and_calibration_are_counts_of_the_predictions(tabular) -> None:
    rows = tabular.rows("predictions")
    found = tables_of(performance(tabular.reading))
    for label, *counted, total in cells(found["confusion"]):
        wanted = [sum(r["y_true"] == label and r["decision"] == d for r in rows) for d in ("<=50K", ">50K")]
        assert [int(n) for n in counted] == wanted
        assert int(total) == sum(wanted)
    score = np.array([r["score"] for r in rows])
    truth = np.array([r["y_true"] == ">50K" for r in rows])
    for k, row in enumerate(cells(found["calibration"])):
        inside = (score >= k / 10) & ((score < (k + 1) / 10) | (k == 9))
        assert int(row[1]) == inside.sum()
        assert float(row[3]) == pytest.approx(truth[inside].mean(), abs=0.0005)


def test_histograms_hold_every_row(tabular) -> None:
    scores = scores_of(tabular.reading)
    assert sum(sum(s.counts) for s in scores.strips) == len(tabular.rows("predictions"))
    assert [s.label for s in scores.strips] == ["<=50K", ">50K"]


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (5, 10), (10, 10), (145, 1561), (1, 1)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(hits: int, n: int, confidence: float) -> None:
    from scipy.stats import binomtest

    oracle = binomtest(hits, n).proportion_ci(confidence, method="wilson")
    assert wilson(hits, n, confidence) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


def test_wilson_of_nothing() -> None:
    assert all(math.isnan(x) for x in wilson(0, 0, 0.95))


def test_a_regression_has_values_and_no_decisions(tmp_path: Path) -> None:
    lines = [{"row_id": i, "output": "value", "y_true": str(i), "score": float(i), "decision": None} for i in range(40)]
    reading = reading_of(tmp_path, {"predictions": lines}, **other_task("regression"))
    made = performance(reading)
    assert "confusion" not in tables_of(made)
    assert figures_of(made)["score-figure"].panels[0].title == "Predicted values"


def test_many_classes_are_told_by_their_errors(tmp_path: Path) -> None:
    names = [f"c{i:02}" for i in range(15)]
    lines = [
        {"row_id": i, "output": names[0], "y_true": names[i % 15], "score": 0.1, "decision": names[(i % 15) // 2]}
        for i in range(150)
    ]
    reading = reading_of(tmp_path, {"predictions": lines}, **other_task("multiclass", names))
    found = tables_of(performance(reading))["confusion"]
    assert found.caption == "The most frequent errors"
    assert cells(found)[0] == ["c01", "c00", "10"]


def test_missing_labels_and_decisions_are_counted_nowhere(tmp_path: Path) -> None:
    truth = [None] * 5 + [">50K"] * 5
    decided = [">50K"] * 8 + [None] * 2
    lines = [
        {"row_id": i, "output": ">50K", "y_true": truth[i], "score": 0.7, "decision": decided[i]} for i in range(10)
    ]
    scores = scores_of(reading_of(tmp_path, {"predictions": lines}, policy=[]))
    assert scores.confusion == {(">50K", ">50K"): 3}
    assert sum(b.rows for b in scores.bins) == 5


# ---------------------------------------------------------------- explanations


def _agreement(pairs: list[tuple[str, str, str | None]]) -> list[dict[str, Any]]:
    shared = {"ci_low": 0.1, "ci_high": 0.3, "n_rows": 9}
    measures = [("kendall", None, None), ("feature_agreement", 3, 0.2), ("spearman", None, 0.2)]
    return [
        {"technique_a": a, "technique_b": b, "output": o, "measure": m, "k": k, "value": value, **shared}
        for a, b, o in pairs
        for m, k, value in measures
    ]


def test_agreement_is_a_row_a_pair_and_a_column_a_measure(tmp_path: Path) -> None:
    found = Finding("warning", "techniques_disagree", "They disagree.", stage="agreement")
    rows = _agreement([("shap", "lime", ">50K")])
    made = agreement(reading_of(tmp_path, {"agreement": rows}, Done("agreement", findings=(found,))))
    sheet = tables_of(made)["agreement-table"]
    assert [c.label for c in sheet.columns] == [
        "Techniques", "Output", "Spearman correlation", "feature agreement, top 3", "Kendall correlation",
    ]  # fmt: skip
    assert cells(sheet) == [["SHAP and LIME", ">50K", "0.2000.100 to 0.300", "0.2000.100 to 0.300", "undefined"]]
    told, meanings = ([text_of(i) for i in b.items] for b in made.blocks if isinstance(b, Bullets))
    assert told == ["They disagree."]
    assert [text.partition(":")[0] for text in meanings] == [
        "Spearman correlation", "Kendall correlation", "Feature agreement",
    ]  # fmt: skip


# ---------------------------------------------------------------- gate, drift, what was not examined


def test_the_gate_shows_failures_first(tmp_path: Path) -> None:
    rows = [
        {"expectation": "expect_x", "column": f"c{i}", "severity": severity, "success": success, "element_count": 10,
         "unexpected_count": 0 if success else 1, "unexpected_percent": 10.0, "detail": "d"}
        for i, (severity, success) in enumerate([("critical", True)] * 30 + [("info", False), ("critical", False)])
    ]  # fmt: skip
    sheet = tables_of(gate(reading_of(tmp_path, {"validation": rows})))["validation"]
    shown = cells(sheet)
    assert [row[1] for row in shown[:2]] == ["c31", "c30"]
    assert shown[0][2] == "fails (critical)"
    assert shown[0][3] == "1 (10.0\u00a0%)"
    # What holds is one line an expectation, with its columns.
    assert [row[2] for row in shown] == ["fails (critical)", "fails (note)", "passed, 30 times"]
    assert shown[2][1] == ", ".join(f"c{i}" for i in range(20)) + " and 10 more"


def test_drift_past_its_threshold_comes_first(tmp_path: Path) -> None:
    rows = [
        {"kind": "data", "feature": f, "measure": "jensen_shannon", "value": v, "threshold": limit, "status": state}
        for f, v, limit, state in (
            ("calm", 0.1, 0.25, "ok"),
            ("few", 0.9, 0.25, "insufficient_data"),
            ("moved", 0.3, 0.25, "ok"),
            ("endless", None, 0.25, "undefined"),
            ("free", 0.9, None, "ok"),
        )
    ]
    made = drift(reading_of(tmp_path, {"drift": rows}, Done("drift", facts={"drifted": ["moved", "endless"]})))
    shown = {row[1]: (row[3], row[5]) for row in cells(tables_of(made)["drift-table"])}
    assert list(shown)[:2] == ["moved", "endless"]
    assert shown == {
        "moved": ("0.300", "past the threshold"), "endless": ("undefined", "past the threshold"),
        "calm": ("0.100", "ok"), "few": ("0.900", "insufficient data"), "free": ("0.900", "ok"),
    }  # fmt: skip
    assert "2 lie beyond their threshold" in text_of(made.blocks[0].content)


def test_whatever_was_not_done_is_listed_with_its_reason(tmp_path: Path) -> None:
    results = (
        NotApplicable("explain/gradcam", "no_conv", "the model has no convolution"),
        Failed("explain/lime", "memory", "memory ran out."),
        Failed("bias", "not_reached", "not reached: the predictions failed"),
        Done("agreement", facts={}),
    )
    made = examined(reading_of(tmp_path, {}, *results))
    assert cells(tables_of(made)["left-undone"]) == [
        ["explaining with Grad-CAM", "not applicable", "the model has no convolution"],
        ["explaining with LIME", "failed", "memory ran out."],
        ["the comparison of groups", "not reached", "not reached: the predictions failed"],
    ]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (Failed("drift", "memory", "memory ran out."), "The measurement of drift failed: memory ran out."),
        (Failed("drift", "not_reached", "not reached: x"), "The measurement of drift was not reached: x."),
        (NotApplicable("drift", "c", "There is no reference."), "Not applicable: there is no reference."),
        (Done("drift"), "The measurement of drift ended without a result to show."),
        (Done("other"), "The measurement of drift was not planned in this audit."),
    ],
)
def test_absence_has_a_sentence(tmp_path: Path, result, words: str) -> None:
    reading = reading_of(tmp_path, {}, result)
    assert reading.why_absent("drift") == words


def test_row_ids_keep_their_type(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)
    lines = [{"row_id": "a-1", "output": ">50K", "y_true": ">50K", "score": 0.9, "decision": ">50K"}]
    workspace.write_table("predictions", table("predictions", lines, pa.string()))
    reading = Reading(config_of(), workspace, record_of((), "satisfied"))
    assert reading.rows("predictions")[0]["row_id"] == "a-1"


@pytest.mark.parametrize("favorable", [1.0, True, "1"])
def test_outcomes_are_named_as_the_classes_are(tmp_path: Path, favorable: Any) -> None:
    workspace = workspace_of(tmp_path)
    lines = [
        {"row_id": i, "output": output, "y_true": str(i % 2), "score": 0.5, "decision": "1"}
        for i in range(4)
        for output in ("1", "0")
    ]
    predictions = workspace.write_table("predictions", table("predictions", lines, pa.int64()))
    config = config_of(
        model={"classes": None}, data={"target": {"column": "y", "favorable": favorable, "positive": [0.0, favorable]}}
    )
    done = Done("predict", (predictions,), facts={"favorable": ["1"], "positive": ["0", "1"]})
    record = record_of([*loaded(config, 4), done], "satisfied")
    reading = Reading(config, workspace, record)
    facts = {
        label: text_of(content)
        for child in (examined(reading), *examined(reading).sections)
        for block in child.blocks
        if isinstance(block, Facts)
        for label, content in block.pairs
    }
    assert (facts["Favourable outcome"], facts["Positive outcome"]) == ("1", "0, 1")
    subject = summary_of(reading)["subject"]
    assert (subject["favorable"], subject["positive"]) == (["1"], ["0", "1"])
    scores = scores_of(reading)
    assert scores is not None
    assert scores.output == "1"  # not the last one
    unpredicted = Reading(config, workspace, record_of(loaded(config, 4), "incomplete"))
    assert unpredicted.favorable == (str(favorable),)


# ---------------------------------------------------------------- what is said once, and how


def test_a_value_that_is_not_judged_stands_beside_the_words() -> None:
    row = {"value": 0.13265, "status": "insufficient_data", "reason": "fewer than 10 rows in a cell: no interval"}
    assert text_of(unsure(row)) == "0.133, insufficient data"
    assert text_of(why_no_interval(row)) == row["reason"]
    assert text_of(unsure({"value": None, "status": "undefined"})) == "undefined"
    assert text_of(unsure({"value": math.nan, "status": "insufficient_data"})) == "insufficient data"


def _whole(metric: str, value: float) -> dict[str, Any]:
    shared = {"attribute": "sex", "comparison": "ratio", "status": "ok", "ci_low": 0.1, "ci_high": 0.6}
    return {**shared, "metric": metric, "value": value}


@pytest.mark.parametrize(
    ("values", "policy", "names"),
    [
        ((0.4, 0.4), [], ["impact ratioalso called disparate impact"]),
        ((0.4, 0.3), [], ["impact ratio", "disparate impact"]),
        ((0.4, 0.4), ["disparate_impact"], ["disparate impactalso called impact ratio"]),
        ((0.4, 0.4), ["impact_ratio", "disparate_impact"], ["impact ratio", "disparate impact"]),
    ],
)
def test_one_number_by_several_names_has_one_line(tmp_path: Path, values, policy: list[str], names: list[str]) -> None:
    checks = [check(m, "satisfied", 0.4, "s", attribute="sex", min=0.1) for m in policy]
    rows = [_whole(m, v) for m, v in zip(("impact_ratio", "disparate_impact"), values, strict=True)]
    rates = [{"attribute": "sex", "group": "a", "metric": "selection_rate", "value": 0.4, "status": "ok", "n": 50}]
    written = {"disparities": rows, "group_metrics": rates}
    reading = reading_of(tmp_path, written, Done("policy", facts={"checks": checks}), policy=[])
    assert [row[0] for row in cells(tables_of(groups(reading))["groups-1-aggregates"])] == names


def test_findings_do_not_repeat_what_the_policy_says(tmp_path: Path) -> None:
    checks = [check("impact_ratio", "not_satisfied", 0.3, "It is low.", attribute="sex")]
    found = (
        Finding("warning", "disparity_demographic_parity_ratio", "By sex, it is rare.", stage="bias"),
        Finding("warning", "disparity_demographic_parity_ratio", "By race, it is rare.", stage="bias"),
        Finding("warning", "disparity_equalized_odds_difference", "By sex, rates differ.", stage="bias"),
    )
    policy = Done(
        "policy",
        facts={"checks": checks},
        findings=(Finding("critical", "policy_not_satisfied", "It is low.", stage="policy"),),
    )
    advice = Done("advice", findings=(Finding("info", "advice_thresholds", "Another would do.", stage="advice"),))
    made = findings(reading_of(tmp_path, {}, Done("bias", findings=found), policy, advice))
    told = {
        s.id: [text_of(b.content) for b in s.blocks if isinstance(b, (FindingNote, Paragraph))] for s in made.sections
    }
    said = "1 finding says what stands elsewhere and is not repeated here: the policy checks."
    assert told == {
        "findings-critical": [said],
        "findings-warning": [said, "By race, it is rare.", "By sex, rates differ."],
        "findings-info": [said.replace("the policy checks", "what would change it")],
    }


def test_two_sentences_about_a_missing_reference_are_one(tmp_path: Path) -> None:
    short = "No data.reference: rows are drawn from the audited data."
    full = "No data.reference: rows and neighbours are drawn from the audited data."
    results = (Done("load_data", limitations=(short,)), Done("explain/lime", limitations=(full, "Another.")))
    blocks = limits(reading_of(tmp_path, {}, *results)).blocks
    assert [text_of(i) for b in blocks if isinstance(b, Bullets) for i in b.items] == [full, "Another."]


def test_techniques_are_called_by_their_titles_and_features_stay_as_they_are(tmp_path: Path) -> None:
    text = "lime and shap disagree on x: they differ most on lime (rank 2.5 by lime, 8.7 by shap)."
    reading = reading_of(tmp_path, {})
    said = reading.with_titles(Finding("warning", "techniques_disagree", text))
    assert said == "LIME and SHAP disagree on x: they differ most on lime (rank 2.5 by LIME, 8.7 by SHAP)."
    assert reading.with_titles(Finding("warning", "other", text)) == text


def test_importances_are_compared_in_a_table_of_their_own(tmp_path: Path) -> None:
    rows = _agreement([("shap", "lime", ">50K")])
    rows.append({**rows[2], "technique_a": "permutation", "measure": "importance_spearman", "value": 0.7})
    found = tables_of(agreement(reading_of(tmp_path, {"agreement": rows})))
    assert [row[0] for row in cells(found["agreement-table"])] == ["SHAP and LIME"]
    assert [c.label for c in found["agreement-importance"].columns][2:] == ["Spearman correlation"]
    assert [row[0] for row in cells(found["agreement-importance"])] == ["Permutation importance and LIME"]


def test_a_satisfied_control_reads_evidence_present(tabular) -> None:
    sheet = tables_of(controls(tabular.reading))["controls-nyc_ll144"]
    states = [row[1][0] for row in sheet.rows]
    assert {s.tone for s in states if s.text == "evidence present"} == {"plain"}
    assert "satisfied" not in {s.text for s in states}
