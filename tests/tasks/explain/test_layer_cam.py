"""LayerCAM against tf-keras-vis, and in an early layer by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tasks.explain.base import Problem, Saliency
from tasks.explain.engine.activation_maps import LayerSettings
from tasks.explain.layer_cam import TECHNIQUE
from tasks.watch import Watch
from tests.tasks.explain.convolutional import MODELS, keras_vis, sequential

keras = pytest.importorskip("keras")
layers = keras.layers
Maker = Callable[..., Problem]
Pictures = Callable[..., np.ndarray]


def explained(problem: Problem, layer: str = "auto") -> Saliency:
    return TECHNIQUE.prepare(problem, LayerSettings(layer=layer), Watch()).explain(problem.rows, problem.explained)


@pytest.mark.parametrize("name", MODELS)
def test_equals_tf_keras_vis(name: str, image_problem: Maker, pictures: Pictures) -> None:
    model = MODELS[name]()
    problem = image_problem(model, pictures(5, model.input_shape[1:]))
    expected = keras_vis("Layercam", model, problem)
    assert expected.max() > 0
    found = explained(problem)
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=1e-5 * expected.max())
    assert not found.signed


def test_by_hand_in_an_early_layer(image_problem: Maker) -> None:
    """x and −x as channels, weights 2 and −1 at the left and −3 and 5 at the right place of a Flatten head."""
    model = sequential(
        layers.Conv2D(2, 1, name="early"), layers.Conv2D(2, 1, name="late"), layers.Flatten(),
        layers.Dense(1, "sigmoid"), shape=(1, 2, 1),
    )  # fmt: skip
    weights = np.array([[2.0], [-1.0], [-3.0], [5.0]])
    model.set_weights(
        [np.array([[[[1.0, -1.0]]]]), np.zeros(2), np.eye(2)[None, None], np.zeros(2), weights, np.zeros(1)]
    )
    found = explained(image_problem(model, np.array([4.0, -7.0]).reshape(1, 1, 2, 1), scale=1.0), "early")
    # positive gradients: 2 of x at the left place, 5 of −x at the right one
    np.testing.assert_allclose(found.maps[0, 0], [[4 * 2, 7 * 5]], rtol=1e-6)
    assert found.layer == "early"
