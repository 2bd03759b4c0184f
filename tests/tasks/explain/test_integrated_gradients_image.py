"""Integrated gradients of pixels: closed forms, numeric integration, forms of image and of model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.errors import Stopped
from tasks.explain.base import Problem, Saliency
from tasks.explain.integrated_gradients_image import TECHNIQUE, IntegratedGradientsImageSettings
from tasks.watch import Watch

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
layers = keras.layers
Maker = Callable[..., Problem]
Pictures = Callable[..., np.ndarray]
SHAPE = (8, 8, 2)


def explained(problem: Problem, **options: Any) -> Saliency:
    return TECHNIQUE.prepare(problem, IntegratedGradientsImageSettings(**options), Watch()).explain(
        problem.rows, problem.explained
    )


def linear(outputs: int = 1, shape: tuple[int, int, int] = SHAPE) -> Any:
    keras.utils.set_random_seed(3)
    activation = "sigmoid" if outputs == 1 else "softmax"
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(outputs, activation)])


@pytest.fixture
def problem(image_problem: Maker, pictures: Pictures) -> Problem:
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [
            keras.Input(SHAPE), layers.Conv2D(6, 3, activation="tanh", padding="same"), layers.AveragePooling2D(2),
            layers.Conv2D(8, 3, activation="tanh"), layers.Flatten(), layers.Dense(3, "softmax"),
        ]
    )  # fmt: skip
    return image_problem(model, pictures(3, SHAPE), background=pictures(6, SHAPE, seed=9), kind="probability")


@pytest.mark.parametrize(("baseline", "level"), [("background", None), ("black", 0), ("gray", 127.5), ("white", 255)])
def test_linear_margin_has_a_closed_form(
    baseline: str, level: float | None, image_problem: Maker, pictures: Pictures
) -> None:
    """βⱼ(xⱼ − bⱼ), summed over channels, with any number of steps."""
    model = linear()
    rows, background = pictures(3, SHAPE), pictures(5, SHAPE, seed=9)
    base = background.mean(axis=0) if level is None else np.full(SHAPE, level)
    beta = model.layers[-1].kernel.numpy().reshape(SHAPE) / 255
    expected = (beta * (rows - base)).sum(axis=-1)[:, None]
    found = explained(image_problem(model, rows, background=background), steps=3, baseline=baseline)
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert found.signed
    assert found.layer is None


@pytest.mark.parametrize("kind", ["probability", "margin"])
def test_equals_numeric_integration(kind: str, problem: Problem) -> None:
    problem = replace(problem, kind=kind)
    base = problem.background.mean(axis=0)
    graph = problem.predictor.graph(kind)
    found = explained(problem, steps=12)
    for row, x in enumerate(problem.rows):
        points = tf.constant(base + (np.arange(500)[:, None, None, None] + 0.5) / 500 * (x - base), tf.float32)
        for output in range(3):
            with tf.GradientTape() as tape:
                tape.watch(points)
                score = graph(points)[:, output]
            expected = ((x - base) * tape.gradient(score, points).numpy().mean(axis=0)).sum(axis=-1)
            np.testing.assert_allclose(found.maps[row, output], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_maps_add_up(problem: Problem) -> None:
    found = explained(problem)
    base = problem.predictor(problem.background.mean(axis=0)[None])[0]
    gap = found.maps.sum(axis=(2, 3), dtype=float) - (problem.predictor(problem.rows) - base)
    np.testing.assert_allclose(found.quality["completeness_error"], gap, rtol=0, atol=1e-6)
    assert np.abs(gap).max() < 1e-5
    coarse = explained(problem, steps=1)
    assert np.abs(coarse.quality["completeness_error"]).max() > 1e-4


def test_null_pixel_and_image_that_is_the_baseline(image_problem: Maker, pictures: Pictures) -> None:
    model = linear()
    kernel = model.layers[-1].kernel.numpy().reshape(*SHAPE, 1)
    kernel[2, 3] = 0
    model.layers[-1].kernel.assign(kernel.reshape(-1, 1))
    found = explained(image_problem(model, pictures(2, SHAPE), background=pictures(1, SHAPE)))
    assert (found.maps[:, :, 2, 3] == 0).all()
    assert not found.maps[0].any()
    assert found.quality["empty_map"].tolist() == [[1], [0]]


def test_company_and_repetition_change_nothing(problem: Problem) -> None:
    explain = TECHNIQUE.prepare(problem, IntegratedGradientsImageSettings(steps=9), Watch()).explain
    whole = explain(problem.rows, problem.explained).maps
    assert whole.tobytes() == explained(problem, steps=9).maps.tobytes()
    apart = np.concatenate([explain(problem.rows[i : i + 1], problem.explained[i : i + 1]).maps for i in range(3)])
    assert apart.tobytes() == whole.tobytes()


def test_rows_with_outputs_of_their_own(problem: Problem) -> None:
    whole = explained(problem, steps=5).maps
    chosen = np.array([[2], [0], [1]])
    found = explained(replace(problem, explained=chosen), steps=5).maps
    np.testing.assert_allclose(found, np.take_along_axis(whole, chosen[..., None, None], 1), rtol=0, atol=1e-6)


def test_more_outputs_than_one_call_differentiates(image_problem: Maker, pictures: Pictures) -> None:
    problem = image_problem(linear(13), pictures(2, SHAPE), background=pictures(2, SHAPE, seed=1))
    found = explained(problem, steps=4)
    alone = explained(replace(problem, explained=problem.explained[:, 12:]), steps=4)
    np.testing.assert_allclose(found.maps[:, 12:], alone.maps, rtol=0, atol=1e-5 * np.abs(found.maps).max())


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (1, 5, 1)])
def test_smallest_images(shape: tuple[int, int, int], image_problem: Maker) -> None:
    rows = np.linspace(0, 255, 2 * int(np.prod(shape))).reshape(2, *shape)
    found = explained(image_problem(linear(shape=shape), rows), baseline="black")
    assert found.maps.shape == (2, 1, *shape[:2])
    assert np.abs(found.quality["completeness_error"]).max() < 1e-5


def test_model_built_for_one_batch_size(image_problem: Maker, pictures: Pictures) -> None:
    inputs = keras.Input(batch_shape=(4, *SHAPE))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(inputs)))
    found = explained(image_problem(model, pictures(2, SHAPE), background=pictures(3, SHAPE, seed=1)), steps=6)
    assert np.abs(found.quality["completeness_error"]).max() < 1e-5


def test_a_regression_and_several_heads(image_problem: Maker, pictures: Pictures) -> None:
    inputs = keras.Input(SHAPE)
    flat = layers.Flatten()(inputs)
    heads = [layers.Dense(1, name="label")(flat), layers.Dense(1, name="other")(flat)]
    problem = image_problem(keras.Model(inputs, heads), pictures(2, SHAPE), task="regression", explained=[0, 1])
    found = explained(problem)
    assert found.maps.shape == (2, 2, 8, 8)
    assert np.abs(found.quality["completeness_error"]).max() < 1e-4


def test_models_that_do_not_fit(image_problem: Maker, table_problem: Maker, network: Any, pictures: Pictures) -> None:
    inputs = keras.Input(SHAPE, dtype="uint8")
    whole = keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(keras.ops.cast(inputs, "float32"))))
    settings = IntegratedGradientsImageSettings()
    reasons = [
        TECHNIQUE.unfit(image_problem(whole, pictures(2, SHAPE), scale=1.0), settings),
        TECHNIQUE.unfit(table_problem(network(2), np.zeros((1, 2)), np.zeros((1, 2))), settings),
    ]
    for word, reason in zip(("gives none", "takes a table"), reasons, strict=True):
        assert reason is not None
        assert word in reason


def test_what_is_said(problem: Problem) -> None:
    prepared = TECHNIQUE.prepare(problem, IntegratedGradientsImageSettings(steps=5), Watch())
    assert prepared.explain(problem.rows, problem.explained).evaluations == 9 * 5 + 3 * 6
    assert prepared.facts == {"steps": 5, "baseline": "background", "output": "probability"}
    assert "mean of the background images get nothing" in prepared.limitations[0]


@pytest.mark.parametrize("options", [{"steps": 0}, {"baseline": "blue"}, {"baseline": 0}, {"step": 3}])
def test_wrong_settings(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IntegratedGradientsImageSettings(**options)


def test_stops_when_asked(problem: Problem) -> None:
    watch = Watch()
    explain = TECHNIQUE.prepare(problem, IntegratedGradientsImageSettings(steps=4), watch).explain
    watch.stop.set()
    with pytest.raises(Stopped):
        explain(problem.rows, problem.explained)
