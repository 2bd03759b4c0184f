"""Grad-CAM++ against tf-keras-vis where both are the authors' rule, and against that rule by hand everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks.explain.base import Problem, Saliency
from tasks.explain.grad_cam_plus_plus import TECHNIQUE
from tasks.watch import Watch
from tests.tasks.explain.convolutional import MODELS, activations_and_gradients, branched, conv, keras_vis, sequential

keras = pytest.importorskip("keras")
layers = keras.layers
Maker = Callable[..., Problem]
Pictures = Callable[..., np.ndarray]

#: behind global pooling the gradients of a channel have one sign
POOLED: dict[str, Callable[[], Any]] = {
    "mean": lambda: sequential(conv(), conv(6), layers.GlobalAveragePooling2D(), layers.Dense(3, "softmax")),
    "largest": lambda: sequential(conv(), conv(6), layers.GlobalMaxPooling2D(), layers.Dense(1, "sigmoid")),
    "branched": branched,
}


def explained(problem: Problem) -> Saliency:
    return TECHNIQUE.prepare(problem, TECHNIQUE.settings(), Watch()).explain(problem.rows, problem.explained)


def by_the_authors_rule(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """(n, m, h, w): the second and third derivatives of exp(margin), written out, less exp(margin)."""
    second, third = gradients**2, gradients**3
    total = activations.sum(axis=(1, 2))[:, None, None, None]
    below = 2 * second + third * total
    alpha = second / np.where(below == 0, 1, below)
    positive = np.maximum(gradients, 0)
    scale = np.where(positive > 0, alpha, 0).sum(axis=(2, 3), keepdims=True)
    weights = (alpha / np.where(scale == 0, 1, scale) * positive).sum(axis=(2, 3))
    return np.maximum(np.einsum("nhwc,nmc->nmhw", activations, weights), 0)


@pytest.mark.parametrize("name", POOLED)
def test_equals_tf_keras_vis_but_for_the_exponential(name: str, image_problem: Maker, pictures: Pictures) -> None:
    model = POOLED[name]()
    problem = image_problem(model, pictures(5, model.input_shape[1:]))
    found = explained(problem)
    margins = problem.predictor(problem.rows, "margin")
    expected = keras_vis("GradcamPlusPlus", model, problem) / np.exp(margins)[..., None, None]
    assert expected.max() > 0
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=1e-5 * expected.max())
    assert not found.signed


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "two outputs", "branched, colour"])
def test_equals_the_authors_rule(name: str, image_problem: Maker, pictures: Pictures) -> None:
    """Also where the gradients of a channel differ in sign, behind a Flatten layer."""
    model = MODELS[name]()
    problem = image_problem(model, pictures(5, model.input_shape[1:]))
    activations, gradients, _ = activations_and_gradients(model, problem)
    expected = by_the_authors_rule(activations, gradients)
    assert expected.max() > 0
    np.testing.assert_allclose(explained(problem).maps, expected, rtol=0, atol=1e-5 * expected.max())


def test_channel_without_positive_gradient_has_no_weight(image_problem: Maker) -> None:
    model = sequential(
        layers.Conv2D(1, 1), layers.GlobalAveragePooling2D(), layers.Dense(1, "sigmoid"), shape=(4, 4, 1)
    )
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1), -np.ones((1, 1)), np.zeros(1)])
    found = explained(image_problem(model, np.full((2, 4, 4, 1), 100.0)))
    assert not found.maps.any()
    assert found.quality["empty_map"].tolist() == [[1], [1]]


def test_a_constant_gradient_is_the_channels_weight(image_problem: Maker) -> None:
    """α is 1/9 at each of nine places: the weight is the gradient, 4/9, and the map activation times that."""
    model = sequential(
        layers.Conv2D(1, 1), layers.GlobalAveragePooling2D(), layers.Dense(1, "sigmoid"), shape=(3, 3, 1)
    )
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1), np.full((1, 1), 4.0), np.zeros(1)])
    rows = np.arange(9.0).reshape(1, 3, 3, 1)
    found = explained(image_problem(model, rows, scale=1.0))
    np.testing.assert_allclose(found.maps[0, 0], rows[0, :, :, 0] * 4 / 9, rtol=1e-6)
