"""The shared part of gradient techniques: hooks that leave no trace, layers by name, batches that fit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks.explain import gradients
from tasks.explain.base import Problem
from tasks.explain.gradients import (
    class_activation_maps,
    convolutions,
    even_batch,
    find_layer,
    fitting_batch,
    layers_by_name,
    padded,
    tapped,
)
from tasks.watch import Watch

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
layers = keras.layers
Maker = Callable[..., Problem]
Pictures = Callable[..., np.ndarray]


def small(**more: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)), layers.Conv2D(3, 3, name="conv", **more), layers.Flatten(),
            layers.Dense(2, "softmax", name="out"),
        ]
    )  # fmt: skip


def test_tapped_hears_each_call_and_leaves_nothing() -> None:
    model, heard = small(), []
    with tapped([model.get_layer("conv"), model.get_layer("out")], lambda layer, output: heard.append(layer.name)):
        model(np.zeros((1, 8, 8, 1)))
    assert heard == ["conv", "out"]
    model(np.zeros((1, 8, 8, 1)))
    assert len(heard) == 2
    assert not any("call" in vars(layer) for layer in model.layers)


def test_tapped_cleans_up_after_an_error_and_keeps_a_call_of_the_layers_own() -> None:
    model = small()
    layer = model.get_layer("conv")
    own = layer.call
    vars(layer)["call"] = own
    with pytest.raises(ZeroDivisionError), tapped([layer], lambda layer, output: None):
        raise ZeroDivisionError
    assert vars(layer)["call"] is own


def test_tapped_does_not_hear_other_threads() -> None:
    model, heard = small(), []
    with tapped([model.get_layer("conv")], lambda layer, output: heard.append(layer.name)):
        other = threading.Thread(target=lambda: model(np.zeros((1, 8, 8, 1))))
        other.start()
        other.join()
    assert heard == []


def test_layers_by_name_reaches_into_models_and_composite_layers() -> None:
    class Block(layers.Layer):
        def __init__(self, **more: Any) -> None:
            super().__init__(**more)
            self.inside = layers.Conv2D(4, 3, name="inside")

        def call(self, x: Any) -> Any:
            return self.inside(x)

    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3, name="deep")], name="inner")
    inputs = keras.Input((8, 8, 1))
    shared = layers.ReLU(name="shared")
    hidden = shared(Block(name="block")(shared(inner(inputs))))
    model = keras.Model(inputs, layers.Flatten()(hidden))
    assert {"inner", "deep", "block", "inside", "shared"} <= set(layers_by_name(model))
    assert list(convolutions(model)) == ["deep", "inside"]


def test_last_convolution_is_the_last_that_is_called(image_problem: Maker, pictures: Pictures) -> None:
    """Not the last that was added, nor one that the outputs do not use."""

    class Backwards(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.second = layers.Conv2D(2, 3, name="second")
            self.first = layers.Conv2D(2, 3, name="first")
            self.unused = layers.Conv2D(2, 3, name="unused")

        def build(self, shape: Any) -> None:
            self.first.build(shape)
            self.second.build(self.first.compute_output_shape(shape))

        def call(self, x: Any) -> Any:
            return self.second(self.first(x))

    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(Backwards()(inputs))))
    found = find_layer(image_problem(model, pictures(1, (8, 8, 1))))
    assert found is not None
    assert (found.name, found.height, found.width) == ("second", 4, 4)


def test_another_map_is_one_function(image_problem: Maker, pictures: Pictures) -> None:
    """HiResCAM, activations times gradients place by place, against eager gradients."""
    problem = image_problem(small(activation="relu"), pictures(3, (8, 8, 1)))
    found = find_layer(problem)
    assert found is not None
    prepared = class_activation_maps(problem, found, lambda a, g: tf.reduce_sum(a * g, axis=-1), Watch())
    maps = prepared.explain(problem.rows, problem.explained).maps
    model = problem.predictor.keras_model
    conv, dense = model.get_layer("conv"), model.get_layer("out")
    inputs = tf.constant(problem.rows / np.float32(255))
    with tf.GradientTape(persistent=True) as tape:
        activations = conv(inputs)
        tape.watch(activations)
        logits = tf.reshape(activations, [3, -1]) @ dense.kernel + dense.bias
        margins = [logits[:, 0] - logits[:, 1], logits[:, 1] - logits[:, 0]]
    expected = np.stack([tf.reduce_sum(activations * tape.gradient(m, activations), -1).numpy() for m in margins], 1)
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_fitting_batch(image_problem: Maker, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = image_problem(small(), pictures(1, (8, 8, 1)))
    assert fitting_batch(problem, 1000, outputs=10) == gradients.LARGEST_BATCH
    assert fitting_batch(problem, 7, outputs=1) == 7
    assert fitting_batch(problem, 1000, largest=500) == 500
    monkeypatch.setattr(gradients, "MEMORY", 10_000)
    some = fitting_batch(problem, 1000, outputs=1)
    assert 1 <= some < 20
    assert fitting_batch(problem, 1000, outputs=50) <= some
    monkeypatch.setattr(gradients, "MEMORY", 1)
    assert fitting_batch(problem, 1000) == 1


@pytest.mark.parametrize(
    ("rows", "largest", "expected"), [(500, 256, 250), (100, 128, 100), (1, 5, 1), (257, 256, 129)]
)
def test_even_batch(rows: int, largest: int, expected: int) -> None:
    assert even_batch(rows, largest) == expected


def test_padded_repeats_the_last_row() -> None:
    np.testing.assert_array_equal(padded(np.array([[1], [2]]), 4)[:, 0], [1, 2, 2, 2])
    np.testing.assert_array_equal(padded(np.array([[1], [2]]), 2)[:, 0], [1, 2])
