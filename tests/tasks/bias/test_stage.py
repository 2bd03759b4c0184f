"""The whole stage on files: the contract's tables, the published numbers, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig
from tasks.bias import measure_bias
from tasks.contracts import TABLES
from tasks.errors import Stopped
from tasks.persist.store import Workspace
from tasks.watch import Watch

GERMAN = Path("data/german_credit/german_credit.parquet")
ADULT = [Path("data/adult/train.parquet"), Path("data/adult/test.parquet")]


def _labels_as_decisions(tmp_path: Path, table: pa.Table, target: dict, sensitive: dict, **data):
    """An audit of recorded labels: what is decided is what was observed."""
    pq.write_table(table, tmp_path / "data.parquet")
    config = AuditConfig.model_validate(
        {
            "name": "t",
            "model": {"path": "m", "task": "binary"},
            "data": {"path": str(tmp_path / "data.parquet"), "target": target, "sensitive": sensitive, **data},
        }
    )
    labels = table.column(target["column"])
    workspace = Workspace(tmp_path / "run", "x")
    favorable = str(target["favorable"])
    scores = np.array([float(text == favorable) for text in labels.to_pylist()])
    workspace.write_table(
        "predictions",
        pa.table({
            "row_id": np.arange(len(labels)), "output": pa.array([favorable] * len(labels)), "y_true": labels,
            "score": scores, "decision": labels,
        }),
    )  # fmt: skip
    done = measure_bias(config, workspace, Watch())
    return done, workspace


def _gap(workspace: Workspace, metric: str, attribute: str, group: str) -> float:
    rows = workspace.read_table("disparities").to_pylist()
    wanted = (metric, attribute, group)
    return next(r["value"] for r in rows if (r["metric"], r["attribute"], r["group"]) == wanted)


def test_german_credit_labels(tmp_path: Path) -> None:
    table = pq.read_table(GERMAN)
    done, workspace = _labels_as_decisions(
        tmp_path,
        table.append_column("age again", table["age"]),
        {"column": "credit", "favorable": "good"},
        {
            "from 25": {"column": "age", "bins": [25]},
            "over 25": {"column": "age again", "bins": [26]},
            "sex": {"column": "sex"},
            "foreign": {"column": "foreign_worker"},
            "middle": {"column": "age", "bins": [41, 76]},
        },
    )
    for attribute, group, difference, ratio in (
        ("from 25", "< 25", 0.128550, 0.821248),
        ("over 25", "< 26", 0.149448, 0.794826),
        ("sex", "female", 0.074801, 0.896567),
    ):
        assert _gap(workspace, "label_rate_difference", attribute, group) == pytest.approx(difference, abs=5e-7)
        assert _gap(workspace, "label_impact_ratio", attribute, group) == pytest.approx(ratio, abs=5e-7)
    # Clarify's notebook
    assert _gap(workspace, "class_imbalance", "foreign", "yes") == pytest.approx(-0.926)
    assert _gap(workspace, "label_rate_difference", "foreign", "yes") == pytest.approx(0.1992646852, abs=5e-11)
    # There the middle-aged are the disadvantaged; here they are better off, so both signs turn.
    assert _gap(workspace, "class_imbalance", "middle", "< 41") == pytest.approx(-0.452)
    assert _gap(workspace, "label_rate_difference", "middle", "< 41") == pytest.approx(0.0512758641, abs=5e-11)
    assert done.facts["attributes"][4]["left_out"] == [{"group": "≥ 76", "n": 0, "reason": "no rows"}]


def test_adult_labels(tmp_path: Path) -> None:
    table = pa.concat_tables([pq.read_table(path, columns=["sex", "income"]) for path in ADULT])
    _, workspace = _labels_as_decisions(
        tmp_path, table, {"column": "income", "favorable": ">50K"}, {"sex": {"column": "sex"}}
    )
    rates = {
        row["group"]: (row["numerator"], row["denominator"])
        for row in workspace.read_table("group_metrics").to_pylist()
        if row["metric"] == "label_rate" and row["attribute"] == "sex"
    }
    assert rates == {"Male": (9918, 32650), "Female": (1769, 16192)}
    assert _gap(workspace, "label_rate_difference", "sex", "Female") == pytest.approx(0.194516, abs=5e-7)
    assert _gap(workspace, "label_impact_ratio", "sex", "Female") == 1769 * 32650 / (16192 * 9918)


# ---------------------------------------------------------------- the contract


@pytest.fixture
def plain(audit):
    """Two attributes and their crossing, 400 rows, some labels and values missing."""
    rng = np.random.default_rng(0)
    n = 400
    sex = rng.choice(["Female", "Male"], n)
    ages = pa.array([None if k % 50 == 0 else int(a) for k, a in enumerate(rng.integers(18, 80, n))])
    label = [None if k % 40 == 0 else v for k, v in enumerate(rng.choice(["yes", "no"], n))]
    score = rng.random(n)
    return audit(
        {"sex": sex, "age": ages},
        label=label,
        decision=np.where(score >= 0.5, "yes", "no").tolist(),
        score=score,
        sensitive={"sex": {"column": "sex"}, "age": {"column": "age", "bins": [25, 40, 60]}},
        data={"intersections": [["sex", "age"]]},
    )


def test_tables_have_the_columns_and_types_of_the_contract(plain) -> None:
    for name in ("groups", "group_metrics", "disparities", "curves"):
        assert plain.workspace.read_table(name).schema.remove_metadata() == TABLES[name]
    assert [ref.name for ref in plain.done.tables] == ["groups", "group_metrics", "disparities", "curves"]
    for row in plain.table("group_metrics") + plain.table("disparities"):
        assert row["status"] in {"ok", "undefined", "insufficient_data"}
        assert (row["value"] is None) == (row["status"] == "undefined")
        assert row["reason"] or row["status"] == "ok"
        assert (row["attribute"] is None) <= (row["group"] is None)


def test_every_row_is_in_one_group_of_each_attribute(plain) -> None:
    rows = plain.table("groups")
    assert len(rows) == 3 * 400
    for attribute in ("sex", "age", "sex × age"):
        own = [r for r in rows if r["attribute"] == attribute]
        assert [r["row_id"] for r in own] == list(range(400))
        assert {r["weight"] for r in own} == {1.0}
        counts = {g: sum(r["group"] == g for r in own) for g in {r["group"] for r in own}}
        assert counts == {g: plain.metric("count", attribute, g)["value"] for g in counts}
    assert "Female × (missing)" in {r["group"] for r in rows}
    assert "Male × [25, 40)" in {r["group"] for r in rows}


def test_rows_without_a_label_are_left_out_where_labels_count(plain) -> None:
    assert plain.metric("selection_rate")["n"] == 400
    assert plain.metric("accuracy")["n"] == 390
    assert plain.metric("roc_auc")["n"] == 390
    assert plain.metric("mean_score")["n"] == 400
    assert plain.done.facts["rows"] == {"total": 400, "without_label": 10, "without_decision": 0}
    assert "rows_without_label" in {f.code for f in plain.done.findings}


def test_facts_are_json_and_say_who_is_compared(plain) -> None:
    facts = json.loads(json.dumps(plain.done.facts, allow_nan=False))
    assert facts["performance"]["accuracy"]["n"] == 390
    low, high = facts["performance"]["accuracy"]["ci"]
    assert low < facts["performance"]["accuracy"]["value"] < high
    sex = facts["attributes"][0]
    assert sex["attribute"] == "sex"
    assert sex["reference"] in {"Female", "Male"}
    assert sum(g["n"] for g in sex["groups"]) == 400
    crossing = facts["attributes"][2]
    assert {g["group"] for g in crossing["left_out"]} == {g["group"] for g in crossing["groups"] if g["n"] < 30}
    other = next(g for g in sex["groups"] if g["group"] != sex["reference"])
    assert set(other["four_fifths"]) == {"ratio", "flag", "fisher_p", "z", "significant", "ci", "shortfall"}


def test_findings_are_sentences(plain) -> None:
    codes = [f.code for f in plain.done.findings]
    for code in ("disparity_demographic_parity_ratio", "disparity_equalized_odds_difference", "label_rates",
                 "insufficient_groups"):  # fmt: skip
        assert code in codes
    for finding in plain.done.findings:
        assert finding.text.endswith(".")
        assert "nan" not in finding.text
        assert finding.stage == "bias"


def test_the_same_audit_gives_the_same_tables(plain, tmp_path: Path) -> None:
    again = Workspace(tmp_path / "again", "x")
    again.write_table("predictions", plain.workspace.read_table("predictions"))
    measure_bias(plain.config, again, Watch())
    for name in ("groups", "group_metrics", "disparities"):
        assert again.read_table(name).equals(plain.workspace.read_table(name))


def test_one_row_of_an_output_after_another_is_the_same(plain, tmp_path: Path) -> None:
    """Rows may come in any order: groups follow the row_id, not the position."""
    shuffled = np.random.default_rng(0).permutation(400)
    again = Workspace(tmp_path / "again", "x")
    again.write_table("predictions", plain.workspace.read_table("predictions").take(pa.array(shuffled)))
    measure_bias(plain.config, again, Watch())
    for one, other in zip(again.read_table("disparities").to_pylist(), plain.table("disparities"), strict=True):
        for key, value in one.items():  # sums of scores, in another order
            assert value == (pytest.approx(other[key], abs=1e-12) if isinstance(value, float) else other[key]), one
    groups = {(r["row_id"], r["attribute"]): r["group"] for r in again.read_table("groups").to_pylist()}
    assert groups == {(r["row_id"], r["attribute"]): r["group"] for r in plain.table("groups")}


def test_it_stops_when_asked(plain, tmp_path: Path) -> None:
    watch = Watch()
    watch.stop.set()
    with pytest.raises(Stopped):
        measure_bias(plain.config, plain.workspace, watch)


# ---------------------------------------------------------------- other tasks


def test_several_classes(audit) -> None:
    rng = np.random.default_rng(1)
    n, names = 300, ["a", "b", "c"]
    p = rng.dirichlet(np.ones(3), n)
    found = audit(
        {"g": rng.choice(["x", "y"], n)},
        label=rng.choice(names, n), decision=[names[k] for k in p.argmax(1)],
        score={name: p[:, k] for k, name in enumerate(names)},
        task="multiclass", classes=names, favorable=["b", "c"], data={"target": {"positive": "c"}},
    )  # fmt: skip
    selected = found.metric("selection_rate")
    assert selected["numerator"] == (p.argmax(1) > 0).sum()
    assert found.metric("prevalence")["value"] == found.metric("prevalence", output="c")["value"]
    assert {r["output"] for r in found.table("group_metrics")} == {None, "a", "b", "c"}
    recalls = [found.metric("true_positive_rate", "g", "x", output=name)["value"] for name in names]
    assert found.metric("macro_true_positive_rate", "g", "x")["value"] == pytest.approx(np.mean(recalls))
    rates = [found.metric("selection_rate", "g", "x", output=name)["value"] for name in names]
    assert sum(rates) == pytest.approx(1)
    assert found.gap("accuracy_difference", "g")["value"] >= 0


def test_several_heads_are_audited_in_one(audit) -> None:
    found = audit(
        {"g": list("aabb")}, label=["yes", "no", "yes", "no"], decision=["yes", "no", "no", "no"],
        score={"other/1": [0.5] * 4, "y/yes": [0.9, 0.1, 0.2, 0.3]},
    )  # fmt: skip
    assert found.metric("mean_score")["value"] == pytest.approx(0.375)


@pytest.mark.parametrize("rule", [">= 2", "> 1.99", "< 2"])
def test_a_regression_with_a_rule(audit, rule: str) -> None:
    truth, value = [1.0, 2.0, 3.0, None, 2.5], [1.0, 1.5, 2.0, 4.0, 0.0]
    found = audit(
        {"g": list("aabbb")}, label=truth, score=value, task="regression", favorable=None,
        bias={"decision": {"favorable_when": rule}},
    )  # fmt: skip
    rate, tpr = found.metric("selection_rate"), found.metric("true_positive_rate")
    if rule == "< 2":
        assert (rate["numerator"], rate["denominator"]) == (3, 5)
        assert (tpr["numerator"], tpr["denominator"]) == (1, 1)
    else:
        assert (rate["numerator"], rate["denominator"]) == (2, 5)
        assert (tpr["numerator"], tpr["denominator"]) == (1, 3)
    assert found.metric("mean_error")["value"] == pytest.approx((0 - 0.5 - 1 - 2.5) / 4)


def test_a_regression_without_a_rule_says_what_it_cannot_have(audit) -> None:
    rng = np.random.default_rng(2)
    found = audit(
        {"g": rng.choice(["a", "b", "c"], 200)}, label=rng.normal(size=200), score=rng.normal(size=200),
        task="regression", favorable=None,
    )  # fmt: skip
    names = {row["metric"] for row in found.table("group_metrics")}
    assert "mean_absolute_error" in names
    assert "selection_rate" not in names
    lacking = found.done.facts["not_applicable"]
    assert any("selection_rate" in part["metrics"] and "favorable_when" in part["reason"] for part in lacking)
    gap = found.gap("mean_prediction_difference", "g")
    assert gap["test"] == "wald"
    assert found.done.facts["attributes"][0]["reference_rule"].startswith("the most rows")


def test_recorded_decisions_of_a_regression(audit) -> None:
    found = audit(
        {"g": list("aabb")}, label=[1, 2, 3, 4], decision=["hire", "no", "hire", None], score=[1, 2, 3, 4],
        task="regression", favorable="hire", bias={"decision": {"column": "decided"}},
    )  # fmt: skip
    row = found.metric("selection_rate")
    assert (row["numerator"], row["denominator"]) == (2, 3)
    assert found.done.facts["rows"]["without_decision"] == 1
    assert "true_positive_rate" not in {r["metric"] for r in found.table("group_metrics")}


def test_favorable_and_positive_may_differ(audit_cells) -> None:
    # the model looks for defaults (positive); people want not to be called one (favourable)
    found = audit_cells({"a": (10, 5, 3, 20)}, favorable="no", data={"target": {"positive": "yes"}})
    assert found.metric("selection_rate")["numerator"] == 25
    assert found.metric("true_positive_rate")["numerator"] == 10
    assert found.metric("label_rate")["numerator"] == 23
    assert found.metric("prevalence")["numerator"] == 15


def test_without_sensitive_attributes_there_is_performance(audit) -> None:
    found = audit({}, label=["yes", "no"], decision=["yes", "yes"], favorable=None)
    assert found.metric("accuracy")["value"] == 0.5
    assert found.table("groups") == []
    assert found.table("disparities") == []
    assert found.done.limitations == (
        "No positive outcome is declared (data.target.positive): yes is taken as positive.",
    )


def test_scoring_rates_and_their_impact_ratio(audit) -> None:
    """The rule's example by sex: 92 men, 50 above the median; 76 women, 34."""
    above = [True] * 50 + [False] * 42 + [True] * 34 + [False] * 42
    columns = {"sex": ["Male"] * 92 + ["Female"] * 76, "w": [1.0] * 168}
    rows = {"label": ["yes"] * 168, "decision": ["no"] * 168, "score": np.where(above, 0.4, 0.2)}
    sex = {"sex": {"column": "sex"}}
    policy = [{"metric": "scoring_impact_ratio", "attribute": "sex", "min": 0.8}]
    found = audit(columns, **rows, sensitive=sex, policy=policy)
    men = found.metric("scoring_rate", "sex", "Male")
    assert (men["numerator"], men["denominator"], men["method"]) == (50, 92, "wilson")
    assert found.gap("scoring_impact_ratio", "sex", "Female")["value"] == pytest.approx(34 * 92 / (76 * 50))
    weighted = audit(columns, **rows, sensitive=sex, data={"weight": "w"})
    assert "scoring_rate" not in {row["metric"] for row in weighted.table("group_metrics")}
    lacking = [part for part in weighted.done.facts["not_applicable"] if "scoring_rate" in part["metrics"]]
    assert lacking[0]["reason"] == "counts people, and data.weight is declared"


# ---------------------------------------------------------------- references, and groups that are not known

#: TP, FN, FP, TN: `c` is best off, `b` is the largest, `?` is both
STANDING = {"a": (10, 20, 10, 20), "b": (30, 40, 30, 40), "c": (20, 10, 20, 5), "?": (90, 10, 90, 10)}


@pytest.mark.parametrize(
    ("wanted", "unknown", "reference"),
    [(None, [], "?"), (None, ["?"], "c"), ("largest", [], "?"), ("largest", ["?"], "b"), ("a", ["?"], "a")],
)
def test_whom_groups_are_held_against(audit_cells, wanted: str | None, unknown: list[str], reference: str) -> None:
    found = audit_cells(STANDING, sensitive={"g": {"column": "g", "reference": wanted, "unknown": unknown}})
    told = found.done.facts["attributes"][0]
    assert told["reference"] == reference
    assert found.gap("label_rate_difference", "g", "a")["reference"] == reference
    assert found.gap("accuracy_difference", "g", reference)["value"] == 0
    assert {r["group"] for r in found.table("groups")} == set(STANDING)  # nothing disappears
    assert found.metric("selection_rate", "g", "?")["value"] == 0.9
    assert told["unknown"] == [{"group": name, "n": 200} for name in unknown]


def test_a_crossing_of_named_references(audit) -> None:
    groups, sides = ["a", "b", "?"] * 40, ["left", "right", "right", "left"] * 30
    given = {
        "label": ["yes", "no"] * 60,
        "decision": ["no", "yes", "yes"] * 40,
        "data": {"intersections": [["g", "side"]]},
    }
    sensitive = {"g": {"column": "g", "reference": "a"}, "side": {"column": "side", "reference": "left"}}
    found = audit({"g": groups, "side": sides}, sensitive=sensitive, **given)
    assert found.done.facts["attributes"][2]["reference"] == "a × left"
    elsewhere = ["right" if g == "a" else side for g, side in zip(groups, sides, strict=True)]
    found = audit({"g": groups, "side": elsewhere}, sensitive=sensitive, **given)
    told = found.done.facts["attributes"][2]
    assert told["reference"] != "a × left"
    assert {"group": "a × left", "n": 0, "reason": "no rows"} in told["left_out"]
    assert any("no row is a × left" in text for text in found.done.limitations)
