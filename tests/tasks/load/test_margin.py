from __future__ import annotations

import numpy as np
import pytest

from tasks.errors import ModelError
from tasks.load.arrangement import identity
from tasks.load.backend import tensorflow
from tasks.load.outputs import describe
from tasks.load.predictor import Predictor

ROWS = np.random.default_rng(0).normal(size=(40, 3))


@pytest.fixture(scope="module")
def keras():
    tensorflow()
    import keras

    return keras


def predictor(model, task="binary", classes=("no", "yes")):
    outputs = describe(model, task, () if task == "regression" else classes, "y", "model")
    return Predictor(model, outputs, identity(3), (3,), batch=64)


def dense(model, name):
    kernel, bias = (np.asarray(w, np.float64) for w in model.get_layer(name).get_weights())
    return kernel, bias


def pre_activation(model) -> np.ndarray:
    """The last layer's matrix product in float64, computed by hand from the weights of `network`."""
    first, last = dense(model, "middle"), dense(model, "score")
    return np.tanh(ROWS @ first[0] + first[1]) @ last[0] + last[1]


def logit(p):
    return np.log(p) - np.log1p(-p)


def test_a_sigmoids_margin_is_its_pre_activation(make_network):
    model = make_network(3)
    found = predictor(model)
    z = pre_activation(model)
    assert found.outputs == ("yes",)
    assert found.limitations == ()
    assert np.allclose(found(ROWS, "margin"), z, atol=1e-5)
    assert np.allclose(found(ROWS), 1 / (1 + np.exp(-z)), atol=1e-6)


def test_a_margin_does_not_saturate(make_network):
    model = make_network(3)
    last = model.get_layer("score")
    last.set_weights([last.get_weights()[0] * 100, last.get_weights()[1]])
    found = predictor(model)
    probability, margin = found(ROWS), found(ROWS, "margin")
    assert (probability == 1).any()  # where the logit of the probability would be infinite
    assert np.allclose(margin, pre_activation(model), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_a_softmaxs_margin_is_the_log_odds_of_each_class(make_network, k):
    model = make_network(3, k, "softmax")
    classes = tuple(f"c{i}" for i in range(k))
    found = predictor(model, "binary" if k == 2 else "multiclass", classes)
    z = pre_activation(model)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert found.outputs == classes
    assert np.allclose(found(ROWS), p, atol=1e-6)
    assert np.allclose(found(ROWS, "margin"), logit(p), atol=1e-4)
    if k == 2:
        assert np.allclose(found(ROWS, "margin")[:, 1], z[:, 1] - z[:, 0], atol=1e-5)


def test_a_softmaxs_margin_is_exact_where_p_is_nearly_one(make_network):
    model = make_network(3, 3, "softmax")
    last = model.get_layer("score")
    last.set_weights([last.get_weights()[0] * 60, last.get_weights()[1]])
    z = pre_activation(model)
    others = np.array([[np.logaddexp.reduce(np.delete(row, j)) for j in range(3)] for row in z])
    found = predictor(model, "multiclass", ("a", "b", "c"))(ROWS, "margin")
    assert np.isfinite(found).all()
    assert np.abs(z - others).max() > 60
    assert np.allclose(found, z - others, rtol=1e-4, atol=1e-3)


def test_gradients_of_the_softmaxs_margin_are_finite(make_network):
    tf = tensorflow()
    model = make_network(3, 4, "softmax")
    graph = predictor(model, "multiclass", ("a", "b", "c", "d")).model_graph("margin")
    matrix = tf.constant(np.concatenate([ROWS, ROWS * 1000, np.zeros((1, 3))]), tf.float32)
    for output in range(4):
        with tf.GradientTape() as tape:
            tape.watch(matrix)
            value = graph(matrix)[:, output]
        assert np.isfinite(tape.gradient(value, matrix)).all()


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_linear_classifier_gives_logits_and_says_so(make_network, width):
    model = make_network(3, width, None)
    task = "multiclass" if width == 3 else "binary"
    found = predictor(model, task, ("a", "b", "c")[: max(2, width)])
    z = pre_activation(model)
    if width == 1:
        assert np.allclose(found(ROWS), 1 / (1 + np.exp(-z)), atol=1e-6)
        assert np.allclose(found(ROWS, "margin"), z, atol=1e-5)
    else:
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        assert np.allclose(found(ROWS), p, atol=1e-6)
        assert np.allclose(found(ROWS, "margin"), logit(p), atol=1e-4)
    assert "is taken as a logit" in found.limitations[0]


def test_a_regressions_margin_is_its_value(make_network):
    model = make_network(3, 1, None)
    found = predictor(model, "regression")
    assert found.outputs == ("value",)
    assert found.limitations == ()
    assert np.array_equal(found(ROWS), found(ROWS, "margin"))
    assert np.allclose(found(ROWS), pre_activation(model), atol=1e-5)


def ends(keras):
    """Ways in which a model may end in a sigmoid, each on the same middle."""
    layers, ops = keras.layers, keras.ops
    return {
        "activation layer": lambda x: layers.Activation("sigmoid")(layers.Dense(1, name="score")(x)),
        "operation": lambda x: ops.sigmoid(layers.Dense(1, name="score")(x)),
        "dropout after it": lambda x: layers.Dropout(0.5)(layers.Dense(1, "sigmoid", name="score")(x)),
        "identity after it": lambda x: layers.Identity()(layers.Dense(1, "sigmoid", name="score")(x)),
        "without bias": lambda x: layers.Dense(1, "sigmoid", use_bias=False, name="score")(x),
    }


@pytest.mark.parametrize(
    "end", ["activation layer", "operation", "dropout after it", "identity after it", "without bias"]
)
def test_the_sigmoid_is_found_however_it_is_written(keras, with_seed, end):
    inputs = keras.Input((3,))
    middle = keras.layers.Dense(8, "tanh", name="middle")(inputs)
    model = with_seed(keras.Model(inputs, ends(keras)[end](middle)))
    first = dense(model, "middle")
    kernel, *bias = (np.asarray(w, np.float64) for w in model.get_layer("score").get_weights())
    z = np.tanh(ROWS @ first[0] + first[1]) @ kernel + (bias[0] if bias else 0)
    found = predictor(model)
    assert found.limitations == ()
    assert np.allclose(found(ROWS, "margin"), z, atol=1e-5)
    assert np.allclose(found(ROWS), 1 / (1 + np.exp(-z)), atol=1e-6)


@pytest.mark.parametrize("layer", ["Softmax", "Activation"])
def test_the_softmax_may_be_a_layer(keras, with_seed, layer):
    inputs = keras.Input((3,))
    z = keras.layers.Dense(3, name="score")(inputs)
    last = keras.layers.Softmax() if layer == "Softmax" else keras.layers.Activation("softmax")
    model = with_seed(keras.Model(inputs, last(z)))
    kernel, bias = dense(model, "score")
    scores = ROWS @ kernel + bias
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    found = predictor(model, "multiclass", ("a", "b", "c"))
    assert np.allclose(found(ROWS, "margin"), logit(p), atol=1e-4)
    assert found.limitations == ()


def test_a_sequential_model_and_a_nested_one(keras, make_network):
    inner = make_network(3)
    sequential = keras.Sequential([keras.Input((3,)), inner.get_layer("middle"), inner.get_layer("score")])
    inputs = keras.Input((3,))
    nested = keras.Model(inputs, inner(inputs))
    twice = keras.Model(inputs, nested(keras.layers.Identity()(inputs)))
    for model in (sequential, nested, twice):
        found = predictor(model)
        assert found.limitations == ()
        assert np.allclose(found(ROWS, "margin"), pre_activation(inner), atol=1e-5)


def test_a_hidden_activation_gives_the_logit_of_the_clipped_probability(keras, make_network):
    inner = make_network(3)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, inner(inputs) * 0.5 + 0.25)
    found = predictor(model)
    assert "cannot be taken off" in found.limitations[0]
    assert np.allclose(found(ROWS, "margin"), logit(found(ROWS)), atol=1e-4)
    certain = keras.Model(inputs, inner(inputs) * 0.0 + 1.0)
    assert np.allclose(predictor(certain)(ROWS, "margin"), np.log(1e7), atol=0.3)


def test_a_softmax_over_another_axis_is_hidden(keras):
    inputs = keras.Input((3,))
    model = keras.Model(
        inputs, keras.layers.Reshape((3,))(keras.layers.Softmax(axis=1)(keras.layers.Reshape((3, 1))(inputs)))
    )
    found = predictor(model, "multiclass", ("a", "b", "c"))
    assert "cannot be taken off" in found.limitations[0]
    assert np.allclose(found(ROWS, "margin"), logit(found(ROWS)), atol=1e-4)


def test_sigmoids_of_their_own_are_said(make_network):
    model = make_network(3, 3, "sigmoid")
    found = predictor(model, "multiclass", ("a", "b", "c"))
    assert "need not sum to one" in found.limitations[0]
    assert np.allclose(found(ROWS, "margin"), pre_activation(model), atol=1e-5)


def test_several_heads_are_named_and_one_is_audited(keras, with_seed):
    inputs = keras.Input((3,))
    model = keras.Model(
        inputs,
        {
            "size": keras.layers.Dense(3, "softmax", name="size")(inputs),
            "y": keras.layers.Dense(2, "softmax", name="y")(inputs),
            "other": keras.layers.Dense(1, "sigmoid", name="other")(inputs),
        },
    )
    with_seed(model)
    found = predictor(model)
    named = dict(zip(model.output_names, [t.shape[1] for t in model.outputs], strict=True))
    expected = []
    for name, width in named.items():
        expected += (
            ["y/no", "y/yes"] if name == "y" else [f"{name}/{i}" for i in range(width)] if width > 1 else ["other/1"]
        )
    assert list(found.outputs) == expected
    assert found.outputs[found.audited] == ("y/no", "y/yes")
    assert "3 outputs" in found.limitations[0]
    scores, margin = found(ROWS), found(ROWS, "margin")
    for name in named:
        columns = [i for i, output in enumerate(expected) if output.startswith(f"{name}/")]
        kernel, bias = dense(model, name)
        z = ROWS @ kernel + bias
        p = 1 / (1 + np.exp(-z)) if z.shape[1] == 1 else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        assert np.allclose(scores[:, columns], p, atol=1e-5)
        assert np.allclose(margin[:, columns], logit(p), atol=1e-3)


@pytest.mark.parametrize(
    ("width", "task", "classes", "message"),
    [
        (3, "binary", ("no", "yes"), "has 3 outputs, but there are 2 classes: no, yes"),
        (1, "multiclass", ("a", "b", "c"), "has 1 output, but there are 3 classes"),
        (2, "multiclass", ("a", "b", "c"), "has 2 outputs, but there are 3 classes"),
    ],
)
def test_outputs_that_do_not_fit_the_classes_are_an_error(make_network, width, task, classes, message):
    with pytest.raises(ModelError, match=message) as caught:
        predictor(make_network(3, width, "softmax"), task, classes)
    assert caught.value.exit_code == 2
    assert "model.classes" in caught.value.hint


def test_outputs_that_are_no_row_are_an_error(keras):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Reshape((3, 1))(inputs))
    with pytest.raises(ModelError, match=r"has the shape \(None, 3, 1\)"):
        predictor(model)


def test_several_values_of_a_regression_are_numbered(make_network):
    assert predictor(make_network(3, 2, None), "regression").outputs == ("value 0", "value 1")
