"""The shared part of class activation maps: hooks that leave no trace, layers by name, batches under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks.errors import OutputError
from tasks.explain import grad_cam, grad_cam_plus_plus, hires_cam, layer_cam
from tasks.explain.base import OF_BATCH, Problem, Saliency, Technique
from tasks.explain.engine import activation_maps
from tasks.explain.engine.activation_maps import convolutions, find_layer, layers_by_name, tapped
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


# ---------------------------------------------------------------- every technique of this kind

TECHNIQUES = [module.TECHNIQUE for module in (grad_cam, grad_cam_plus_plus, hires_cam, layer_cam)]
every_technique = pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: technique.name)


def explained(technique: Technique, problem: Problem) -> Saliency:
    found = technique.prepare(problem, technique.settings(), Watch()).explain(problem.rows, problem.explained)
    assert isinstance(found, Saliency)
    return found


@every_technique
def test_batch_size_and_company_change_nothing(
    technique: Technique, image_problem: Maker, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = image_problem(small(activation="relu"), pictures(11, (8, 8, 1)))
    whole = explained(technique, problem)
    assert whole.maps.tobytes() == explained(technique, problem).maps.tobytes()
    monkeypatch.setattr(activation_maps, "BATCH", 3)  # four batches, two of them under way at a time
    parts = explained(technique, problem)
    np.testing.assert_allclose(parts.maps, whole.maps, rtol=0, atol=1e-5 * np.abs(whole.maps).max())
    assert parts.evaluations == whole.evaluations == 11


@every_technique
def test_model_built_for_one_batch_size(technique: Technique, image_problem: Maker, pictures: Pictures) -> None:
    inner, rows = small(activation="relu"), pictures(6, (8, 8, 1))
    inputs = keras.Input(batch_shape=(4, 8, 8, 1))
    found = explained(technique, image_problem(keras.Model(inputs, inner(inputs)), rows))
    expected = explained(technique, image_problem(inner, rows))
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-5 * np.abs(expected.maps).max())


@every_technique
def test_several_heads_and_regression(technique: Technique, image_problem: Maker, pictures: Pictures) -> None:
    """Either head's map is that of a model with this head alone."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((8, 8, 3))
    flat = layers.Flatten()(layers.Conv2D(4, 3, activation="relu", name="conv")(inputs))
    heads = [layers.Dense(1, name="label")(flat), layers.Dense(1, name="other")(flat)]
    rows = pictures(2, (8, 8, 3))
    found = explained(technique, image_problem(keras.Model(inputs, heads), rows, task="regression", explained=[0, 1]))
    for place, head in enumerate(heads):
        alone = explained(technique, image_problem(keras.Model(inputs, head), rows, task="regression"))
        np.testing.assert_allclose(found.maps[:, place], alone.maps[:, 0], rtol=0, atol=1e-5)


@every_technique
def test_input_of_another_precision_goes_through_the_graph(
    technique: Technique, image_problem: Maker, pictures: Pictures
) -> None:
    inner, rows = small(activation="relu"), pictures(3, (8, 8, 1))
    inputs = keras.Input((8, 8, 1), dtype="float64")
    outer = keras.Model(inputs, inner(keras.ops.cast(inputs, "float32")))
    found, expected = explained(technique, image_problem(outer, rows)), explained(technique, image_problem(inner, rows))
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-5 * np.abs(expected.maps).max())


@every_technique
def test_models_that_do_not_fit(
    technique: Technique, image_problem: Maker, table_problem: Maker, network: Any, pictures: Pictures
) -> None:
    flat = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2, "softmax")])
    problems = {
        "no two-dimensional convolution": image_problem(flat, pictures(2, (8, 8, 1))),
        "takes a table": table_problem(network(2), np.zeros((1, 2)), np.zeros((1, 2))),
    }
    for said, problem in problems.items():
        reason = technique.unfit(problem, technique.settings())
        assert reason is not None
        assert said in reason


@every_technique
def test_a_map_that_is_no_number_is_refused(technique: Technique, image_problem: Maker, pictures: Pictures) -> None:
    """A weight beyond what float32 holds once it is multiplied."""
    model = small(activation="relu")
    model.get_layer("conv").kernel.assign(np.full((3, 3, 1, 3), 3e38))
    model.get_layer("out").kernel.assign(np.full((108, 2), [1e30, -1e30]))
    with pytest.raises(OutputError, match="the layer conv is not a finite number") as caught:
        explained(technique, image_problem(model, pictures(2, (8, 8, 1))))
    assert (caught.value.code, caught.value.values) == (OF_BATCH, (0, 1))
