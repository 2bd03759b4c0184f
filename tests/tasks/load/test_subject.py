from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import ConfigError, DataRefused, ModelError
from tasks.load import (
    feature_kinds,
    feature_names,
    nulls_accepted,
    open_data,
    open_model,
    open_subject,
    refusals,
)
from tasks.load.arrangement import Blocks, Frames, Named
from tasks.load.backend import tensorflow


def changed(config, **blocks):
    """The config with keys of its blocks replaced."""
    content = config.model_dump()
    for block, keys in blocks.items():
        content[block].update(keys)
    return type(config).model_validate(content)


def rewritten(config, change):
    """The config's data file, changed in place."""
    pq.write_table(change(pq.read_table(config.data.path)), config.data.path)
    return config


def with_column(table, name, values):
    return table.set_column(table.column_names.index(name), name, values)


def test_a_whole_subject(census, hostile):
    subject = open_subject(census)
    table = pq.read_table(census.data.path)
    assert [f.name for f in subject.features] == ["age", "income per year (€)", "city", hostile, "città"]
    assert [f.kind for f in subject.features] == ["number"] * 2 + ["category"] * 3
    assert [f.integer for f in subject.features] == [True, False, False, False, False]
    assert subject.rows.shape == (300, 5)
    assert subject.reference.shape == (200, 5)
    assert subject.classes == ("no", "yes")
    assert subject.favorable == subject.positive == (1,)
    assert np.array_equal(subject.target, [["no", "yes"].index(v) for v in table["y"].to_pylist()])
    assert type(subject.predictor.arrangement) is Blocks
    matrix = subject.model.preprocessor.transform(table.to_pandas()).astype(np.float32)
    assert np.allclose(subject.predictor(subject.rows), np.asarray(subject.model.keras_model(matrix)), atol=1e-6)
    assert subject.encoder.texts(subject.rows)[3].tolist() == table[hostile].to_pylist()


def test_a_subject_is_opened_once_and_is_the_configs_own(census):
    first = open_subject(census)
    assert open_subject(census) is first
    other = open_subject(changed(census, explain={"rows": 7}))
    assert other.config.explain.rows == 7
    assert first.config.explain.rows != 7
    assert other.predictor is first.predictor  # nothing is compiled again


def test_threads_that_open_it_at_once_get_one(census):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: open_subject(census), range(8)))
    assert all(subject is found[0] for subject in found)
    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(lambda subject: subject.predictor(subject.rows), found))
    assert all(np.array_equal(each, scores[0]) for each in scores)
    assert found[0].predictor.traces == 1


def test_what_it_holds_cannot_be_changed(census):
    subject = open_subject(census)
    for array in (subject.rows, subject.reference, subject.target):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_one_row_is_enough(census):
    subject = open_subject(rewritten(census, lambda table: table.slice(0, 1)))
    assert subject.predictor(subject.rows).shape == (1, 1)


def test_no_row_is_refused(census):
    with pytest.raises(DataRefused, match=r"data\.path: the table has no rows") as caught:
        open_subject(rewritten(census, lambda table: table.slice(0, 0)))
    assert caught.value.exit_code == 3


def test_without_a_reference(census):
    subject = open_subject(changed(census, data={"reference": None}))
    assert subject.reference is None
    assert "background rows are drawn from the audited data" in subject.data.limitations[0]


def test_labels_may_be_missing_but_not_unknown(census):
    labels = pa.array([None, "no"] * 150, pa.string())
    subject = open_subject(rewritten(census, lambda table: with_column(table, "y", labels)))
    assert subject.target.tolist() == [-1, 0] * 150
    strange = pa.array(["perhaps", "no", "other"] * 100)
    with pytest.raises(DataRefused, match=r"'y' has values that are no class: perhaps, other"):
        open_subject(rewritten(census, lambda table: with_column(table, "y", strange)))


def test_classes_default_to_the_sorted_target_and_say_so(census):
    subject = open_subject(changed(census, model={"classes": None}))
    assert subject.classes == ("no", "yes")
    assert "model.classes is not set" in subject.limitations[0]
    three = rewritten(census, lambda table: with_column(table, "y", pa.array(["a", "b", "c"] * 100)))
    with pytest.raises(ModelError, match="a binary task has two classes, not 3: a, b, c"):
        open_subject(changed(three, model={"classes": None}))


def test_a_favourable_outcome_that_is_no_class_is_an_error(census):
    config = changed(census, model={"classes": None}, data={"target": {"column": "y", "favorable": "perhaps"}})
    with pytest.raises(ConfigError, match=r"data\.target\.favorable: is not a class: perhaps; available: no, yes"):
        open_subject(config)


def test_favourable_by_value_where_the_target_is_boolean(census):
    flags = pa.array([True, False] * 150)
    config = rewritten(census, lambda table: with_column(table, "y", flags))
    config = changed(config, model={"classes": None}, data={"target": {"column": "y", "favorable": True}})
    subject = open_subject(config)
    assert subject.classes == ("False", "True")
    assert subject.favorable == (1,)
    assert subject.target.tolist() == [1, 0] * 150


def test_features_are_the_preprocessors_unless_the_config_contradicts(census, hostile):
    model, data = open_model(census), open_data(census)
    assert feature_names(census, model, data) == model.feature_names
    same = changed(census, data={"features": list(reversed(model.feature_names))})
    assert feature_names(same, model, data) == model.feature_names
    fewer = changed(census, data={"features": ["age"]})
    with pytest.raises(ConfigError, match=r"data\.features: are not the features that the model asks for"):
        feature_names(fewer, model, data)
    assert feature_kinds(census, model, data) == {
        "city": "category", hostile: "category", "città": "category", "age": "number", "income per year (€)": "number",
    }  # fmt: skip


def test_a_missing_column_has_no_kind(census):
    rewritten(census, lambda table: table.drop_columns(["age"]))
    assert feature_kinds(census, open_model(census), open_data(census))["age"] is None
    with pytest.raises(ConfigError, match="has no column 'age'"):
        open_subject(census)


def test_nulls_that_the_model_cannot_take_are_known_and_refused(census, hostile):
    assert nulls_accepted(census) == {
        "city": True, hostile: True, "città": True, "age": False, "income per year (€)": False,
    }  # fmt: skip
    assert refusals(census) == ()
    ages = pa.array([None, 30, None] * 100)
    incomes = pa.array([float("inf")] + [1.0] * 299)
    config = rewritten(census, lambda t: with_column(with_column(t, "age", ages), "income per year (€)", incomes))
    assert [(r.feature, r.values, r.rows, r.positions) for r in refusals(config)] == [
        ("age", (None,), 200, (0, 2, 3, 5, 6)),
        ("income per year (€)", ("inf",), 1, (0,)),
    ]
    with pytest.raises(DataRefused, match=r"data\.path: column 'age': the model cannot take 200 of 300 values: null"):
        open_subject(config)


def test_nulls_in_the_reference_are_refused_too(census):
    path = census.data.reference
    table = pq.read_table(path)
    pq.write_table(with_column(table, "age", pa.array([None] + [30] * 199)), path)
    with pytest.raises(DataRefused, match=r"data\.reference: column 'age': the model cannot take 1 of 200 values"):
        open_subject(census)


def test_a_preprocessor_of_another_model_is_refused(census, shop, make_network):
    shop.model(make_network(99))
    with pytest.raises(ModelError, match=r"takes 99 columns, but its preprocessor gives \d+; does the preprocessor"):
        open_subject(census)


# ---------------------------------------------------------------- without a preprocessor

PLAIN = pa.table(
    {
        "a": [1, 2, 3],
        "flag": [True, False, None],
        "b": [0.5, 1.5, None],
        "id": [7, 8, 9],
        "w": [1.0, 1.0, 1.0],
        "y": [0.0, 1.0, None],
    }
)


def test_a_matrix_of_the_columns_in_order(shop, make_network):
    whole = PLAIN.slice(0, 2)
    config = shop.config(shop.model(make_network(3)), shop.table(whole), data={"id": "id", "weight": "w"})
    subject = open_subject(config)
    assert [f.name for f in subject.features] == ["a", "flag", "b"]
    matrix = np.array([[1, 1, 0.5], [2, 0, 1.5]], np.float32)
    assert np.array_equal(subject.predictor.encode(subject.rows).numpy(), matrix)
    assert np.allclose(subject.predictor(subject.rows), np.asarray(subject.model.keras_model(matrix)), atol=1e-6)
    assert nulls_accepted(config) == {"a": False, "flag": False, "b": False}
    assert subject.classes == ("0", "1")


def test_a_null_in_a_plain_matrix_is_refused(shop, make_network):
    config = shop.config(shop.model(make_network(3)), shop.table(PLAIN), data={"id": "id", "weight": "w"})
    assert [(r.feature, r.rows) for r in refusals(config)] == [("flag", 1), ("b", 1)]
    with pytest.raises(DataRefused, match="column 'flag'"):
        open_subject(config)


def test_text_in_a_plain_matrix_is_an_error(shop, make_network):
    table = pa.table({"a": [1, 2], "colour": ["red", "blue"], "y": [0, 1]})
    with pytest.raises(ModelError, match=r"these features are not numbers: colour; put preprocessor\.skops") as caught:
        open_subject(shop.config(shop.model(make_network(2)), shop.table(table)))
    assert caught.value.exit_code == 2
    named = shop.config(shop.model(make_network(1)), shop.table(table), data={"features": ["a"]})
    assert open_subject(named).rows.tolist() == [[1], [2]]


def test_a_width_that_does_not_fit_is_an_error(shop, make_network):
    table = pa.table({"a": [1, 2], "y": [0, 1]})
    with pytest.raises(ModelError, match=r"takes 3 columns, but there are 1; set data\.features"):
        open_subject(shop.config(shop.model(make_network(3)), shop.table(table)))
    with pytest.raises(ConfigError, match="no column is left as a feature"):
        open_subject(shop.config(shop.model(make_network(3)), shop.table(table.select(["y"]))))


def test_a_regression(shop, make_network):
    table = pa.table({"a": [1.0, 2.0], "y": [3, None]})
    subject = open_subject(shop.config(shop.model(make_network(1, 1, None)), shop.table(table), task="regression"))
    assert subject.classes == ()
    assert subject.favorable == ()
    assert np.array_equal(subject.target, [3, np.nan], equal_nan=True)
    assert subject.predictor.outputs == ("value",)
    text = shop.table(pa.table({"a": [1.0], "y": ["high"]}), "text.parquet")
    with pytest.raises(DataRefused, match="holds no numbers"):
        open_subject(shop.config(shop.model(make_network(1, 1, None)), text, task="regression"))


# ---------------------------------------------------------------- named inputs


def named_model(with_seed):
    tensorflow()
    import keras

    number = keras.Input((1,), name="number")
    flat = keras.Input((), name="flat")
    whole = keras.Input((1,), dtype="int64", name="whole")
    word = keras.Input((1,), dtype="string", name="word")
    looked_up = keras.layers.StringLookup(vocabulary=["red", "blue"], output_mode="one_hot")(word)
    parts = [number, keras.layers.Reshape((1,))(flat), keras.ops.cast(whole, "float32"), looked_up]
    score = keras.layers.Dense(1, "sigmoid", name="score")(keras.layers.Concatenate()(parts))
    model = keras.Model({"whole": whole, "word": word, "number": number, "flat": flat}, score)
    model.get_layer("score").set_weights(
        [np.array([[1], [10], [100], [0], [1000], [2000]], np.float32) / 1000, np.zeros(1)]
    )
    return model


NAMED = pa.table(
    {
        "word": ["red", "green", "blue"],
        "number": [1.0, 2.0, 3.0],
        "whole": [4, 5, 6],
        "flat": [True, False, True],
        "ignored": [None, None, "x"],
        "y": ["no", "yes", "no"],
    }
)


def test_a_model_with_an_input_a_feature(shop, with_seed):
    config = shop.config(shop.model(named_model(with_seed)), shop.table(NAMED))
    subject = open_subject(config)
    assert subject.model.inputs == "named"
    assert type(subject.predictor.arrangement) is Named
    assert sorted(f.name for f in subject.features) == ["flat", "number", "whole", "word"]
    z = np.array([1 + 10 + 400 + 1000, 2 + 0 + 500 + 0, 3 + 10 + 600 + 2000]) / 1000
    assert np.allclose(subject.predictor(subject.rows, "margin")[:, 0], z, atol=1e-5)
    assert np.allclose(subject.predictor(subject.rows)[:, 0], 1 / (1 + np.exp(-z)), atol=1e-6)
    assert not subject.predictor.differentiable
    assert not any(nulls_accepted(config).values())


def test_named_inputs_that_do_not_fit_their_columns(shop, with_seed):
    path = shop.model(named_model(with_seed))
    text = with_column(NAMED, "number", pa.array(["a", "b", "c"]))
    with pytest.raises(ConfigError, match="column 'number' of type string holds no numbers"):
        open_subject(shop.config(path, shop.table(text)))
    with pytest.raises(ConfigError, match="has no column 'whole'"):
        open_subject(shop.config(path, shop.table(NAMED.drop_columns(["whole"]))))


def test_several_inputs_cannot_be_one_matrix(shop, with_seed):
    with pytest.raises(ModelError, match=r"has 4 inputs and cannot take one matrix; set model\.inputs: named"):
        open_model(shop.config(shop.model(named_model(with_seed)), "x.csv", model={"inputs": "matrix"}))


# ---------------------------------------------------------------- the slow path


def test_a_preprocessor_that_cannot_be_followed_still_serves(shop, make_network, monkeypatch):
    (shop.folder / "shop_products.py").write_text(
        "def encode(frame):\n    return frame.assign(p=frame['a'] * frame['b'])[['a', 'b', 'p']].to_numpy(float)\n"
    )
    monkeypatch.syspath_prepend(str(shop.folder))
    monkeypatch.setenv("KERAS_AUDIT_TRUST", "shop_products")
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 500))
    table = pa.table({"a": a, "b": b, "y": (a * b > 0).astype(int)})
    config = shop.config(shop.model(make_network(3)), shop.table(table), model={"preprocessor": "shop_products:encode"})
    subject = open_subject(config)
    assert type(subject.predictor.arrangement) is Frames
    assert any("columns interact in it" in sentence for sentence in subject.limitations)
    assert not subject.predictor.differentiable
    assert subject.predictor.owners is None
    matrix = np.stack([a, b, a * b], axis=1).astype(np.float32)
    found = subject.predictor(subject.rows)
    assert np.allclose(found, np.asarray(subject.model.keras_model(matrix)), atol=1e-6)
    assert np.array_equal(subject.predictor(subject.rows[3:5]), found[3:5])
    tf = tensorflow()
    graph = tf.function(subject.predictor.graph("probability"))
    assert np.allclose(graph(tf.constant(subject.rows[:7])), found[:7], atol=1e-6)


@pytest.mark.parametrize("name", ["adult_income", "digit_scenes"])
def test_the_ready_configs_open(name):
    import yaml

    from configs.schema import AuditConfig

    config = AuditConfig.model_validate(yaml.safe_load(Path(f"configs/{name}.yaml").read_text(encoding="utf-8")))
    subject = open_subject(config)
    assert subject.limitations == ()
    assert subject.model.limitations == ()
    scores = subject.predictor(subject.rows)
    decided = (scores[:, 0] >= 0.5) if scores.shape[1] == 1 else scores.argmax(axis=1)
    assert np.mean(decided == subject.target) >= (0.84 if name == "adult_income" else 0.95)
    if name == "adult_income":
        assert type(subject.predictor.arrangement) is Blocks
