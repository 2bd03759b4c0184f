"""Bad input, and input that looks bad and is not: what the stage makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig
from tasks.bias import measure_bias
from tasks.errors import ConfigError, DataRefused, Incomplete
from tasks.persist.store import Workspace
from tasks.watch import Watch


def test_constant_predictions(audit) -> None:
    found = audit({"g": ["a", "b"] * 40}, label=["yes", "no", "no", "yes"] * 20, decision=["no"] * 80)
    assert found.gap("impact_ratio", "g", "b")["status"] == "undefined"
    assert found.gap("demographic_parity_difference", "g")["value"] == 0
    assert found.metric("precision", "g", "a")["status"] == "undefined"


def test_no_labels_at_all(audit) -> None:
    found = audit({"g": ["a", "b"] * 40}, label=[None] * 80, decision=["no", "yes"] * 40)
    assert found.gap("impact_ratio", "g", "a")["value"] == 0
    for name in ("accuracy", "true_positive_rate", "roc_auc", "log_loss", "prevalence"):
        row = found.metric(name, "g", "a")
        assert row["status"] == "undefined", name
        assert row["reason"], name


def test_a_thousand_groups_and_groups_of_one_row(audit) -> None:
    n = 1000
    rng = np.random.default_rng(0)
    found = audit(
        {"g": [f"g{k}" for k in range(n)]}, label=rng.choice(["yes", "no"], n), decision=rng.choice(["yes", "no"], n),
        bias={"resamples": 50},
    )  # fmt: skip
    assert len([r for r in found.table("group_metrics") if r["metric"] == "accuracy"]) == n + 1
    assert all(r["status"] != "ok" for r in found.table("group_metrics") if r["attribute"])
    assert any("1,000 of 1,000 groups" in f.text for f in found.done.findings)
    assert any("without fairlearn" in text for text in found.done.limitations)


def test_hostile_names_stay_text(audit) -> None:
    names = ["<script>alert(1)</script>", "a|b", "‮rtl", "x" * 200, ""]
    found = audit({"g": names * 20}, label=["yes", "no"] * 50, decision=["yes", "no"] * 50)
    groups = {r["group"] for r in found.table("groups")}
    assert groups == set(names)
    assert {r["group"] for r in found.table("disparities")} == {*names, None}


def test_weights(audit) -> None:
    found = audit(
        {"g": list("aabb"), "w": [1.0, 3.0, 2.0, 0.0]}, label=["yes", "yes", "no", "no"],
        decision=["yes", "no", "yes", "no"], sensitive={"g": {"column": "g"}}, data={"weight": "w"},
        bias={"min_group_size": 1},
    )  # fmt: skip
    rate = found.metric("selection_rate", "g", "a")
    assert (rate["value"], rate["numerator"], rate["denominator"], rate["n"]) == (0.25, 1, 4, 2)
    assert rate["method"] == "wilson, effective n"
    assert found.metric("selection_rate", "g", "b")["n"] == 1  # a row of weight 0 stands for nobody
    assert [r["weight"] for r in found.table("groups")] == [1, 3, 2, 0]
    assert found.gap("impact_ratio", "g", "a")["test"] in {None, "wald, linearised"}


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), None])
def test_weights_that_are_none(audit, bad: float | None) -> None:
    with pytest.raises(DataRefused, match="1 weights are missing, negative or infinite") as caught:
        audit(
            {"g": list("ab"), "w": [1.0, bad]}, label=["yes", "no"], decision=["yes", "no"],
            sensitive={"g": {"column": "g"}}, data={"weight": "w"},
        )  # fmt: skip
    assert "column w" in str(caught.value)


def test_weights_that_are_all_zero_leave_nothing(audit) -> None:
    found = audit(
        {"g": list("ab"), "w": [0, 0]}, label=["yes", "no"], decision=["yes", "no"],
        sensitive={"g": {"column": "g"}}, data={"weight": "w"},
    )  # fmt: skip
    assert found.metric("accuracy")["status"] == "undefined"
    assert found.gap("class_imbalance", "g")["status"] == "undefined"


def test_a_favorable_class_that_does_not_exist(audit) -> None:
    with pytest.raises(ConfigError, match=r"maybe is not a class; available: no, yes"):
        audit({"g": list("ab")}, label=["yes", "no"], decision=["yes", "no"], classes=[], favorable="maybe",
              score={"yes": [1, 0]})  # fmt: skip


def test_a_favorable_class_that_no_row_has(audit) -> None:
    found = audit({"g": list("ab")}, label=["no", "no"], decision=["no", "no"], classes=[], favorable="yes",
                  score={"yes": [0, 0]})  # fmt: skip
    assert found.metric("selection_rate")["value"] == 0


def test_classes_match_by_value_or_text(audit) -> None:
    found = audit({"g": list("ab")}, label=["1", "0"], decision=["1", "1"], classes=[0, 1], favorable=1,
                  score={"1": [1, 1]})  # fmt: skip
    assert found.metric("selection_rate")["value"] == 1
    assert found.metric("false_positive_rate")["value"] == 1


def test_predictions_of_other_data(audit, tmp_path: Path) -> None:
    found = audit({"g": list("ab")}, label=["yes", "no"], decision=["yes", "no"])
    table = found.workspace.read_table("predictions")
    other = Workspace(tmp_path / "other", "x")
    other.write_table("predictions", table.set_column(0, "row_id", pa.array([0, 7])))
    with pytest.raises(Incomplete, match="1 predicted rows are not in the data"):
        measure_bias(found.config, other, Watch())


def test_text_ids_lead_back_to_the_rows(tmp_path: Path) -> None:
    table = pa.table({"id": ["r2", "r1"], "g": ["b", "a"], "y": ["yes", "no"]})
    pq.write_table(table, tmp_path / "data.parquet")
    config = AuditConfig.model_validate(
        {
            "name": "t",
            "model": {"path": "m", "task": "binary"},
            "data": {
                "path": str(tmp_path / "data.parquet"), "id": "id", "target": {"column": "y", "favorable": "yes"},
                "sensitive": {"g": {"column": "g"}},
            },
        }
    )  # fmt: skip
    workspace = Workspace(tmp_path / "run", "x")
    workspace.write_table(
        "predictions",
        pa.table({"row_id": ["r1", "r2"], "output": ["yes"] * 2, "y_true": ["no", "yes"], "score": [0.0, 1.0],
                  "decision": ["no", "yes"]}),
    )  # fmt: skip
    measure_bias(config, workspace, Watch())
    found = workspace.read_table("groups")
    assert found.schema.field("row_id").type == pa.string()
    assert dict(zip(found["row_id"].to_pylist(), found["group"].to_pylist(), strict=True)) == {"r1": "a", "r2": "b"}


# ---------------------------------------------------------------- groups


def test_one_group_only(audit) -> None:
    found = audit({"g": ["a"] * 80}, label=["yes", "no"] * 40, decision=["yes", "no", "no", "no"] * 20)
    assert found.metric("selection_rate", "g", "a")["value"] == 0.25
    for name in ("demographic_parity_difference", "equalized_odds_difference"):
        whole = found.gap(name, "g")
        assert (whole["value"], whole["status"]) == (None, "undefined"), name
        assert whole["reason"] == "there is only one group", name
    assert found.gap("impact_ratio", "g", "a")["value"] == 1


def test_nulls_in_an_attribute_are_a_group_that_is_not_known(audit) -> None:
    groups = ["a", "b", None] * 40
    found = audit({"g": groups}, label=["yes", "no"] * 60, decision=["yes", "no", "yes"] * 40)
    assert found.metric("selection_rate", "g", "(missing)")["value"] == 1
    told = found.done.facts["attributes"][0]
    assert told["unknown"] == [{"group": "(missing)", "n": 40}]
    assert told["reference"] == "a"  # the missing are as well off, and first in no order
    sentences = [f.text for f in found.done.findings if f.code == "unknown_groups"]
    assert sentences == [
        "By g, the group of 40 of 120 rows is not known: (missing) (40). They are counted and shown, and never what"
        " other groups are held against."
    ]


def test_all_groups_unknown_leave_no_reference(audit) -> None:
    found = audit({"g": pa.nulls(80, pa.string())}, label=["yes", "no"] * 40, decision=["yes", "no"] * 40)
    assert found.done.facts["attributes"][0]["reference"] is None
    assert found.metric("selection_rate", "g", "(missing)")["value"] == 0.5


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["x", "y", None, "x"] * 20).dictionary_encode(),
        pa.array([True, False, None, True] * 20),
        pa.array([1.5, float("nan"), None, 1.5] * 20),
        pa.array(["x", "y", None, "x"] * 20, pa.large_string()),
        pa.array([18262, 18263, None, 18262] * 20, pa.int32()).cast(pa.date32()),
        pa.array([0, 10**6, None, 0] * 20, pa.timestamp("us")),
        pa.array(["1.10", "2.20", None, "1.10"] * 20).cast(pa.decimal128(5, 2)),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_of_many_types(audit, column: pa.Array) -> None:
    found = audit({"g": column}, label=["yes", "no"] * 40, decision=["yes", "no", "yes", "no"] * 20)
    counts = {g["group"]: g["n"] for g in found.done.facts["attributes"][0]["groups"]}
    missing = 40 if pa.types.is_floating(column.type) else 20
    assert counts["(missing)"] == missing
    assert sum(counts.values()) == 80
    assert max(counts.values()) == 40


@pytest.mark.parametrize("reference", ["c", "(missing)"])
def test_a_reference_that_cannot_be_one(audit, reference: str) -> None:
    with pytest.raises(ConfigError, match=r"available: best_off, largest, a, b"):
        audit({"g": ["a", "b", None]}, label=["yes", "no", "no"], decision=["yes", "no", "no"],
              sensitive={"g": {"column": "g", "reference": reference}})  # fmt: skip


# ---------------------------------------------------------------- labels, scores and decisions


@pytest.mark.parametrize(
    ("classes", "texts"), [(["no", "yes"], ["no", "yes"]), ([0, 1], ["0", "1"]), ([False, True], ["False", "True"])]
)
def test_labels_of_every_kind(audit, classes: list, texts: list[str]) -> None:
    label, decision = (np.array(texts)[codes].tolist() for codes in ([0, 1, 1, 0] * 20, [0, 1, 0, 0] * 20))
    found = audit({"g": ["a", "b"] * 40}, label=label, decision=decision, classes=classes, favorable=classes[1],
                  score={texts[1]: [0.2, 0.8, 0.4, 0.1] * 20})  # fmt: skip
    assert found.metric("selection_rate")["value"] == 0.25
    assert found.metric("true_positive_rate")["value"] == 0.5
    assert found.metric("roc_auc")["value"] == 1


@pytest.mark.parametrize("score", [1.5, -0.2])
def test_probabilities_outside_their_range(audit, score: float) -> None:
    found = audit({"g": ["a", "b"] * 40}, label=["yes", "no", "no", "yes"] * 20, decision=["no", "yes"] * 40,
                  score=[score, 0.2, 0.7, 0.4] * 20)  # fmt: skip
    for name in ("log_loss", "brier_score", "expected_calibration_error"):
        row = found.metric(name, "g", "a")
        assert (row["value"], row["status"]) == (None, "undefined"), name
        assert "outside 0 to 1" in row["reason"], name
    assert found.metric("roc_auc", "g", "a")["value"] is not None  # ranks need no probabilities
    assert found.metric("selection_rate", "g", "a")["value"] == 0


def test_scores_that_are_not_there(audit) -> None:
    score = np.array([0.9, 0.2, 0.7, 0.4] * 20)
    score[::8] = np.nan
    found = audit({"g": ["a", "b"] * 40}, label=["yes", "no", "no", "yes"] * 20, decision=["yes"] * 80, score=score)
    for name in ("roc_auc", "log_loss", "brier_score", "mean_score"):
        row = found.metric(name, "g", "a")
        assert row["n"] == 30, name
        assert np.isfinite(row["value"]), name
    assert found.metric("selection_rate", "g", "a")["n"] == 40


def test_no_score_at_all(audit) -> None:
    """Decisions that the data record need no score."""
    found = audit(
        {"g": ["a", "b"] * 40}, label=["yes", "no", "no", "yes"] * 20, decision=["yes", "no", "yes", None] * 20,
        score=[float("nan")] * 80, bias={"decision": {"column": "decided"}},
    )  # fmt: skip
    assert found.metric("selection_rate", "g", "b")["denominator"] == 20
    assert found.metric("accuracy", "g", "a")["value"] == 0.5
    assert found.done.facts["rows"]["without_decision"] == 20
    for name in ("roc_auc", "log_loss", "brier_score", "mean_score", "expected_calibration_error"):
        row = found.metric(name, "g", "a")
        assert (row["value"], row["status"]) == (None, "undefined"), name


def test_ranking_decisions(audit) -> None:
    """The ten highest scores are selected, whatever they are: rates and ratios follow from who they are."""
    score = np.linspace(0, 1, 80)
    decision = np.where(np.argsort(np.argsort(-score)) < 10, "yes", "no").tolist()
    found = audit({"g": ["a"] * 60 + ["b"] * 20}, label=["yes", "no"] * 40, decision=decision, score=score,
                  bias={"decision": {"top_k": 10}, "min_group_size": 1})  # fmt: skip
    assert found.metric("selection_rate", "g", "b")["value"] == 0.5
    assert found.gap("impact_ratio", "g", "a")["value"] == 0


def test_a_regression_whose_labels_are_all_missing(audit) -> None:
    found = audit({"g": ["a", "b"] * 40}, label=[None] * 80, score=np.arange(80.0), task="regression", favorable=None)
    row = found.metric("mean_absolute_error", "g", "a")
    assert (row["value"], row["status"]) == (None, "undefined")
    assert found.metric("mean_prediction", "g", "a")["value"] == 39


def test_an_empty_table(audit) -> None:
    with pytest.raises(Incomplete, match="the predictions are empty"):
        audit({"g": []}, label=[], decision=[])
