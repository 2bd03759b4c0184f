"""Grad-CAM against tf-keras-vis, against sums by hand, and on models that it has to refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from tasks.errors import ConfigError, Incomplete, Stopped
from tasks.explain.base import Problem, Saliency
from tasks.explain.engine.activation_maps import LayerSettings
from tasks.explain.grad_cam import TECHNIQUE
from tasks.watch import Watch
from tests.tasks.explain.convolutional import MODELS, conv, keras_vis, last_convolution, sequential

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
layers = keras.layers
Maker = Callable[..., Problem]


def explained(problem: Problem, layer: str = "auto") -> Saliency:
    return TECHNIQUE.prepare(problem, LayerSettings(layer=layer), Watch()).explain(problem.rows, problem.explained)


@pytest.mark.parametrize("name", MODELS)
def test_equals_tf_keras_vis(name: str, image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    model = MODELS[name]()
    problem = image_problem(model, pictures(5, model.input_shape[1:]))
    found = explained(problem)
    assert found.layer == last_convolution(model).name
    expected = keras_vis("Gradcam", model, problem)
    assert expected.max() > 0
    assert found.maps.shape == expected.shape
    assert found.maps.dtype == np.float32
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=1e-5 * expected.max())
    assert not found.signed


def test_layer_inside_a_nested_model(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    body = sequential(conv(), layers.MaxPooling2D(), conv(8, name="deep"))
    head = sequential(layers.GlobalAveragePooling2D(), layers.Dense(3, "softmax"), shape=(8, 8, 8))
    inputs = keras.Input((16, 16, 1))
    nested = keras.Model(inputs, head(body(inputs)))
    flat = sequential(
        conv(), layers.MaxPooling2D(), conv(8), layers.GlobalAveragePooling2D(), layers.Dense(3, "softmax")
    )
    flat.set_weights(body.get_weights() + head.get_weights())
    rows = pictures(4, (16, 16, 1))
    found, expected = explained(image_problem(nested, rows)), explained(image_problem(flat, rows))
    assert found.layer == "deep"
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-5 * expected.maps.max())


def test_equal_names_are_told_apart_by_path(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    inputs = keras.Input((8, 8, 1))
    first = keras.Sequential([keras.Input((8, 8, 1)), conv(3, name="conv")], name="first")
    second = keras.Sequential([keras.Input((8, 8, 3)), conv(5, name="conv")], name="second")
    pooled = layers.GlobalAveragePooling2D()(second(first(inputs)))
    problem = image_problem(keras.Model(inputs, layers.Dense(2, "softmax")(pooled)), pictures(2, (8, 8, 1)))
    assert explained(problem).layer == "second/conv"
    assert explained(problem, "first/conv").layer == "first/conv"
    with pytest.raises(ConfigError, match="second/conv"):
        explained(problem, "conv")


def test_by_hand(image_problem: Maker) -> None:
    """Two 1×1 filters (x and −x, no activation), mean over places, margin 3·mean(x) − 2·mean(−x)."""
    model = sequential(
        layers.Conv2D(2, 1), layers.GlobalAveragePooling2D(), layers.Dense(1, "sigmoid"), shape=(2, 3, 1)
    )
    model.set_weights([np.array([[[[1.0, -1.0]]]]), np.zeros(2), np.array([[3.0], [-2.0]]), np.zeros(1)])
    rows = np.array([[[1, -2, 0], [4, 0.5, -1]]], np.float32)[..., None]
    found = explained(image_problem(model, rows, scale=1.0))
    # gradient of a mean over six places: 3/6 for x, −2/6 for −x; so the map is ReLU(x·3/6 + (−x)·(−2/6))
    np.testing.assert_allclose(found.maps[0, 0], np.maximum(rows[0, :, :, 0] * 5 / 6, 0), rtol=1e-6)


def test_map_without_evidence_stays_empty_and_is_counted(image_problem: Maker) -> None:
    model = sequential(
        layers.Conv2D(1, 1), layers.GlobalAveragePooling2D(), layers.Dense(1, "sigmoid"), shape=(4, 4, 1)
    )
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1), -np.ones((1, 1)), np.zeros(1)])
    rows = np.stack([np.full((4, 4, 1), 100.0), np.zeros((4, 4, 1))])
    found = explained(image_problem(model, rows))
    assert not found.maps.any()
    assert found.quality["empty_map"].tolist() == [[1], [1]]


def test_convolutions_of_one_place_are_passed_over(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    model = sequential(
        conv(4, name="wide"), layers.Conv2D(6, 16, name="narrow"), layers.Flatten(), layers.Dense(2, "softmax")
    )
    problem = image_problem(model, pictures(2, (16, 16, 1)))
    assert explained(problem).layer == "wide"
    assert explained(problem, "narrow").maps.shape == (2, 2, 1, 1)


def test_a_layer_that_is_no_convolution_may_be_named(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    model = sequential(conv(), layers.MaxPooling2D(name="pool"), conv(), layers.Flatten(), layers.Dense(2, "softmax"))
    found = explained(image_problem(model, pictures(2, (16, 16, 1))), "pool")
    assert (found.layer, found.maps.shape) == ("pool", (2, 2, 8, 8))


def test_channels_first_layer_gives_the_same_maps(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    last = sequential(conv(3), conv(5), layers.GlobalAveragePooling2D(), layers.Dense(3, "softmax"))
    inputs = keras.Input((16, 16, 1))
    turned = layers.Permute((3, 1, 2))(inputs)
    for filters in (3, 5):
        turned = conv(filters, data_format="channels_first")(turned)
    pooled = layers.GlobalAveragePooling2D(data_format="channels_first")(turned)
    first = keras.Model(inputs, layers.Dense(3, "softmax")(pooled))
    first.set_weights(last.get_weights())
    rows = pictures(3, (16, 16, 1))
    expected = explained(image_problem(last, rows))
    try:
        found = explained(image_problem(first, rows))
    except tf.errors.UnimplementedError:
        pytest.skip("this TensorFlow has no channels-first convolution on the CPU")
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-5 * expected.maps.max())


def test_each_row_has_its_own_outputs(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    model, rows = MODELS["softmax"](), pictures(4, (16, 16, 1))
    all_of_them = explained(image_problem(model, rows)).maps
    chosen = np.array([[4], [0], [2], [2]])
    found = explained(image_problem(model, rows, explained=chosen)).maps
    expected = np.take_along_axis(all_of_them, chosen[..., None, None], axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * all_of_them.max())


def test_more_outputs_than_one_call_differentiates(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    model = sequential(conv(), layers.GlobalMaxPooling2D(), layers.Dense(23, "softmax"))
    rows = pictures(3, (16, 16, 1))
    found = explained(image_problem(model, rows))
    assert found.maps.shape[1] == 23
    one = explained(image_problem(model, rows, explained=[22]))
    np.testing.assert_allclose(found.maps[:, 22:], one.maps, rtol=0, atol=1e-5 * found.maps.max())


def test_company_and_repetition_change_nothing(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    problem = image_problem(MODELS["softmax"](), pictures(7, (16, 16, 1)))
    explain = TECHNIQUE.prepare(problem, LayerSettings(), Watch()).explain
    whole = explain(problem.rows, problem.explained).maps
    again = TECHNIQUE.prepare(problem, LayerSettings(), Watch()).explain(problem.rows, problem.explained).maps
    assert whole.tobytes() == again.tobytes()
    apart = np.concatenate([explain(problem.rows[i : i + 1], problem.explained[i : i + 1]).maps for i in range(7)])
    np.testing.assert_allclose(apart, whole, rtol=0, atol=1e-5 * whole.max())


def test_threads_share_the_model(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    problem = image_problem(MODELS["softmax"](), pictures(6, (16, 16, 1)))
    expected, found = explained(problem).maps, [None] * 4

    def work(number: int) -> None:
        found[number] = explained(problem).maps

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(maps is not None and maps.tobytes() == expected.tobytes() for maps in found)
    assert not any("call" in vars(layer) for layer in problem.predictor.keras_model.layers)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (2, 1, 1)])
def test_smallest_images(shape: tuple[int, int, int], image_problem: Maker) -> None:
    model = sequential(layers.Conv2D(2, 1), layers.GlobalAveragePooling2D(), layers.Dense(2, "softmax"), shape=shape)
    problem = image_problem(model, np.full((2, *shape), 100))
    reason = TECHNIQUE.unfit(problem, LayerSettings())
    if shape[0] == 1:
        assert reason is not None
        assert "one single place" in reason
    else:
        assert reason is None
        assert explained(problem).maps.shape == (2, 2, 2, 1)


def test_model_without_convolution_does_not_fit(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    model = sequential(layers.Flatten(), layers.Dense(2, "softmax"))
    reason = TECHNIQUE.unfit(image_problem(model, pictures(2, (16, 16, 1))), LayerSettings())
    assert reason is not None
    assert "no two-dimensional convolution" in reason


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("lasst", "did you mean last?"),
        ("<script>alert(1)</script>", "no layer named <script>"),
        ("flat", "2 dimensions, not 4"),
    ],
)
def test_wrong_layer_is_a_config_error(
    layer: str, said: str, image_problem: Maker, pictures: Callable[..., np.ndarray]
) -> None:
    model = sequential(conv(name="last"), layers.Flatten(name="flat"), layers.Dense(2, "softmax"))
    with pytest.raises(ConfigError) as caught:
        explained(image_problem(model, pictures(2, (16, 16, 1))), layer)
    assert said in str(caught.value)
    assert "last" in caught.value.available
    assert caught.value.exit_code == 2


def test_output_without_gradient_is_said(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    inputs = keras.Input((16, 16, 1))
    rounded = keras.ops.cast(conv()(inputs) > 0, "float32")
    model = keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(rounded)))
    with pytest.raises(Incomplete, match="no gradient"):
        explained(image_problem(model, pictures(2, (16, 16, 1))))


def test_stops_when_asked(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> None:
    problem, watch = image_problem(MODELS["softmax"](), pictures(2, (16, 16, 1))), Watch()
    explain = TECHNIQUE.prepare(problem, LayerSettings(), watch).explain
    watch.stop.set()
    with pytest.raises(Stopped):
        explain(problem.rows, problem.explained)
