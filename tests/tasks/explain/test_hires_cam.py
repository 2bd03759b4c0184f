"""HiResCAM against sums by hand, and its property: a map adds up to the margin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks.explain.base import Problem, Saliency
from tasks.explain.hires_cam import TECHNIQUE
from tasks.watch import Watch
from tests.tasks.explain.convolutional import MODELS, activations_and_gradients, conv, sequential

keras = pytest.importorskip("keras")
layers = keras.layers
Maker = Callable[..., Problem]
Pictures = Callable[..., np.ndarray]


def explained(problem: Problem) -> Saliency:
    return TECHNIQUE.prepare(problem, TECHNIQUE.settings(), Watch()).explain(problem.rows, problem.explained)


@pytest.mark.parametrize("name", MODELS)
def test_equals_activation_times_gradient(name: str, image_problem: Maker, pictures: Pictures) -> None:
    model = MODELS[name]()
    problem = image_problem(model, pictures(5, model.input_shape[1:]))
    activations, gradients, _ = activations_and_gradients(model, problem)
    expected = (activations[:, None] * gradients).sum(axis=-1)
    found = explained(problem)
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert found.signed


@pytest.mark.parametrize(
    "head",
    [lambda: [layers.Flatten()], lambda: [layers.GlobalAveragePooling2D()], lambda: [layers.GlobalMaxPooling2D()]],
    ids=["flatten", "mean", "largest"],
)
def test_a_map_adds_up_to_the_margin(head: Callable[[], list[Any]], image_problem: Maker, pictures: Pictures) -> None:
    """Behind the layer everything is linear about the image: the sum is the margin less the bias."""
    model = sequential(conv(), conv(6), *head(), layers.Dense(1, "sigmoid"))
    model.layers[-1].bias.assign([0.75])
    problem = image_problem(model, pictures(6, (16, 16, 1)))
    found = explained(problem)
    margin = problem.predictor(problem.rows, "margin")
    np.testing.assert_allclose(found.maps.sum(axis=(2, 3), dtype=float), margin - 0.75, rtol=0, atol=1e-5)
    assert (found.maps < 0).any()
