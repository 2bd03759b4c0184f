from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from tasks.contracts import schema_of
from tasks.errors import ConfigError, DataRefused, OutputError, Stopped
from tasks.predict import predict
from tasks.watch import Watch


def test_one_output_has_a_row_a_row(make_config, workspace):
    config = make_config({"x": [-2.0, 0.0, 2.0], "y": ["no", "yes", None]}, classes=["no", "yes"])
    done = predict(config, workspace, Watch())
    table = workspace.read_table("predictions")
    assert table.schema.equals(schema_of("predictions"))
    assert table.drop_columns("score").to_pylist() == [
        {"row_id": 0, "output": "yes", "y_true": "no", "decision": "no"},
        {"row_id": 1, "output": "yes", "y_true": "yes", "decision": "yes"},
        {"row_id": 2, "output": "yes", "y_true": None, "decision": "yes"},
    ]
    assert np.allclose(table["score"].to_numpy(), 1 / (1 + np.exp([2, 0, -2])), atol=1e-6)
    assert done.tables[0].rows == 3
    assert done.facts["accuracy"] == {"value": 1.0, "n": 2}
    assert done.facts["labelled"] == 2
    assert done.facts["decided"] == {"yes": 2, "no": 1}
    json.dumps(done.facts, allow_nan=False)


def test_several_outputs_have_a_row_each_and_the_decision_is_repeated(make_config, workspace):
    config = make_config(
        {"x": [1.0, -1.0], "y": [2, 0], "id": ["a", "b"]},
        weights=[-1.0, 0.0, 1.0], activation="softmax", task="multiclass", classes=[0, 1, 2], data={"id": "id"},
    )  # fmt: skip
    predict(config, workspace, Watch())
    table = workspace.read_table("predictions")
    assert table["row_id"].to_pylist() == ["a", "a", "a", "b", "b", "b"]
    assert table["output"].to_pylist() == ["0", "1", "2"] * 2
    assert table["decision"].to_pylist() == ["2"] * 3 + ["0"] * 3
    assert table["y_true"].to_pylist() == ["2"] * 3 + ["0"] * 3
    scores = table["score"].to_numpy().reshape(2, 3)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-6)
    expected = np.exp([-1, 0, 1]) / np.exp([-1, 0, 1]).sum()
    assert np.allclose(scores, [expected, expected[::-1]], atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "classes", "truth"),
    [
        ([1, None], ["0", "1"], ["1", None]),
        ([1.0, float("nan")], [0, 1], ["1", None]),
        ([True, False], [False, True], ["True", "False"]),
        ([True, False], [0, 1], ["1", "0"]),
    ],
)
def test_labels_are_written_as_their_class_is_named(make_config, workspace, labels, classes, truth):
    predict(make_config({"x": [1.0, 2.0], "y": labels}, classes=classes), workspace, Watch())
    assert workspace.read_table("predictions")["y_true"].to_pylist() == truth


@pytest.mark.parametrize(
    "ids", [pa.array([2**53 + 1, 7]), pa.array(["ü", "<b>"]), pa.array(["k", "l"]).dictionary_encode()]
)
def test_row_ids_keep_their_type(make_config, workspace, ids):
    config = make_config({"x": [1.0, 2.0], "y": ["no", "yes"], "id": ids}, classes=["no", "yes"], data={"id": "id"})
    predict(config, workspace, Watch())
    column = workspace.read_table("predictions")["row_id"]
    assert column.to_pylist() == ids.to_pylist()
    assert column.type == (pa.string() if pa.types.is_dictionary(ids.type) else ids.type)


def test_a_regression_writes_values(make_config, workspace):
    config = make_config(
        {"x": [1.0, 2.0], "y": [3, None]}, weights=[2.0], activation=None, task="regression",
        decision={"favorable_when": ">= 3"},
    )  # fmt: skip
    done = predict(config, workspace, Watch())
    assert workspace.read_table("predictions").to_pylist() == [
        {"row_id": 0, "output": "value", "y_true": "3", "score": 2.0, "decision": "unfavorable"},
        {"row_id": 1, "output": "value", "y_true": None, "score": 4.0, "decision": "favorable"},
    ]
    assert done.facts["mean_absolute_error"] == {"value": 1.0, "n": 1}


def test_the_top_two_are_selected(make_config, workspace):
    config = make_config(
        {"x": [1.0, 3.0, 2.0, 3.0], "y": ["no"] * 4}, classes=["no", "yes"], target={"favorable": "yes"},
        decision={"top_k": 2},
    )  # fmt: skip
    predict(config, workspace, Watch())
    assert workspace.read_table("predictions")["decision"].to_pylist() == ["no", "yes", "no", "yes"]


def test_recorded_decisions(make_config, workspace):
    columns = {"x": [1.0, -1.0], "y": ["no", "yes"], "officer": ["no", None]}
    config = make_config(columns, classes=["no", "yes"], decision={"column": "officer"})
    done = predict(config, workspace, Watch())
    assert workspace.read_table("predictions")["decision"].to_pylist() == ["no", None]
    assert done.facts["accuracy"] == {"value": 1.0, "n": 1}
    with pytest.raises(ConfigError, match=r"bias\.decision\.column: has no column 'clerk'"):
        predict(make_config(columns, classes=["no", "yes"], decision={"column": "clerk"}), workspace, Watch())
    columns["officer"] = ["no", "later"]
    with pytest.raises(DataRefused, match="later"):
        predict(make_config(columns, classes=["no", "yes"], decision={"column": "officer"}), workspace, Watch())


def test_nan_names_the_rows_by_their_ids_and_leaves_no_table(make_config, workspace):
    config = make_config(
        {"x": [1.0, 2.0], "y": ["no", "yes"], "id": ["first", "<second>"]}, weights=[float("nan")],
        classes=["no", "yes"], data={"id": "id"},
    )  # fmt: skip
    with pytest.raises(OutputError, match="NaN or infinity for rows with the row_id: first, <second>") as caught:
        predict(config, workspace, Watch())
    assert caught.value.exit_code == 4
    assert caught.value.values == ("first", "<second>")
    assert not workspace.has_table("predictions")


def test_rows_far_into_the_data_are_named_too(make_config, workspace):
    x = np.zeros(70_000)
    x[[69_998, 69_999]] = 1e300  # more than the model's float32 holds
    config = make_config(
        {"x": x, "y": x, "id": np.arange(70_000) + 5}, activation=None, task="regression", data={"id": "id"}
    )
    with pytest.raises(OutputError) as caught:
        predict(config, workspace, Watch())
    assert caught.value.values == (70_003, 70_004)


def test_it_stops_and_tells_how_far_it_is(make_config, workspace):
    config = make_config({"x": np.arange(100.0), "y": ["no", "yes"] * 50}, classes=["no", "yes"])
    seen = []
    predict(config, workspace, Watch(report=lambda task, done, total: seen.append((done, total))))
    assert seen[-1] == (100, 100)
    watch = Watch()
    watch.stop.set()
    with pytest.raises(Stopped):
        predict(config, workspace, watch)


def test_two_runs_write_the_same_bytes(make_config, workspace, tmp_path):
    columns = {"x": np.random.default_rng(0).normal(size=20_000), "y": ["no", "yes"] * 10_000}
    config = make_config(columns, classes=["no", "yes"])
    first = predict(config, workspace, Watch()).tables[0].sha256
    assert predict(config, workspace, Watch()).tables[0].sha256 == first


def test_what_the_subject_cannot_promise_is_said(make_config, workspace):
    config = make_config({"x": [1.0, 2.0], "y": ["no", "yes"]}, activation=None)
    said = predict(config, workspace, Watch()).limitations
    assert any("model.classes is not set" in sentence for sentence in said)
    assert any("taken as a logit" in sentence for sentence in said)


@pytest.mark.parametrize("favorable", [1, "1", 1.0, True])
def test_outcomes_are_told_as_the_classes_name_them(make_config, workspace, favorable):
    config = make_config({"x": [1.0, -1.0], "y": [1, 0]}, target={"favorable": favorable})
    facts = predict(config, workspace, Watch()).facts
    assert (facts["favorable"], facts["positive"]) == (["1"], ["1"])
    config = make_config({"x": [1.0, -1.0], "y": [1, 0]}, target={"favorable": favorable, "positive": 0.0})
    assert predict(config, workspace, Watch()).facts["positive"] == ["0"]
