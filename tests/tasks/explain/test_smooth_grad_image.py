"""SmoothGrad of pixels: against tf-keras-vis in distribution, closed forms, forms of image and of model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.errors import Stopped
from tasks.explain.base import Problem, Saliency
from tasks.explain.smooth_grad_image import TECHNIQUE, SmoothGradImageSettings
from tasks.watch import Watch

keras = pytest.importorskip("keras")
layers = keras.layers
Maker = Callable[..., Problem]
Pictures = Callable[..., np.ndarray]
SHAPE = (8, 8, 2)


def explained(problem: Problem, **options: Any) -> Saliency:
    return TECHNIQUE.prepare(problem, SmoothGradImageSettings(**options), Watch()).explain(
        problem.rows, problem.explained
    )


def convolutional() -> Any:
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input(SHAPE), layers.Conv2D(6, 3, activation="relu", padding="same"), layers.MaxPooling2D(),
            layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(3, "softmax"),
        ]
    )  # fmt: skip


@pytest.fixture
def problem(image_problem: Maker, pictures: Pictures) -> Problem:
    return image_problem(convolutional(), pictures(3, SHAPE), kind="probability")


def test_linear_margin_has_a_closed_form(image_problem: Maker, pictures: Pictures) -> None:
    """The largest |βⱼ| of a place's channels, whatever the noise and the image."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1, "sigmoid")])
    beta = model.layers[-1].kernel.numpy().reshape(SHAPE) / 255
    found = explained(image_problem(model, pictures(3, SHAPE)), samples=4)
    np.testing.assert_allclose(found.maps[:, 0], np.broadcast_to(np.abs(beta).max(axis=-1), (3, 8, 8)), rtol=1e-5)
    assert not found.signed
    assert found.quality["relative_error"].max() < 1e-3


def test_is_distributed_as_tf_keras_vis(image_problem: Maker, pictures: Pictures) -> None:
    """Means over seeds, in units of their standard errors, pixel by pixel; theirs are per scaled pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tf_keras_vis.saliency import Saliency as Theirs
    problem = image_problem(convolutional(), pictures(2, SHAPE), kind="probability", explained=[1])
    ours = np.stack([explained(replace(problem, seed=s), samples=40).maps[:, 0] for s in range(8)]).astype(float)
    saliency = Theirs(problem.predictor.keras_model, clone=False)
    inputs = (problem.rows / 255).astype(np.float32)
    np.random.seed(0)
    theirs = (
        np.stack(
            [
                np.asarray(
                    saliency(lambda p: p[:, 1], inputs, smooth_samples=40, smooth_noise=0.2, normalize_map=False)
                )
                for _ in range(8)
            ]
        )
        / 255
    )
    error = np.sqrt(ours.var(axis=0, ddof=1) / 8 + theirs.var(axis=0, ddof=1) / 8)
    distance = (ours.mean(axis=0) - theirs.mean(axis=0)) / np.maximum(error, 1e-12)
    # t with about 14 degrees of freedom: variance 14/12
    assert 0.7 < np.mean(distance**2) < 1.8


def test_relative_error_is_the_spread_over_seeds(problem: Problem) -> None:
    runs = [explained(replace(problem, seed=seed), samples=30) for seed in range(10)]
    maps = np.stack([run.maps for run in runs]).astype(float)
    spread = np.sqrt(maps.var(axis=0, ddof=1).sum() / (maps.mean(axis=0) ** 2).sum())
    told = np.sqrt(np.mean([run.quality["relative_error"] ** 2 for run in runs]))
    assert 0.6 < spread / told < 1.6


def test_image_of_one_colour_gets_its_gradient(image_problem: Maker) -> None:
    """Its range is zero, so there is no noise."""
    problem = image_problem(convolutional(), np.full((1, *SHAPE), 90.0))
    few, many = explained(problem, samples=2), explained(problem, samples=30)
    np.testing.assert_allclose(few.maps, many.maps, rtol=1e-4, atol=1e-7)
    assert few.maps.any()


def test_company_repetition_and_seed(problem: Problem) -> None:
    explain = TECHNIQUE.prepare(problem, SmoothGradImageSettings(samples=9), Watch()).explain
    whole = explain(problem.rows, problem.explained).maps
    assert whole.tobytes() == explained(problem, samples=9).maps.tobytes()
    apart = np.concatenate([explain(problem.rows[i : i + 1], problem.explained[i : i + 1]).maps for i in range(3)])
    assert apart.tobytes() == whole.tobytes()
    assert explained(replace(problem, seed=1), samples=9).maps.tobytes() != whole.tobytes()


def test_rows_with_outputs_of_their_own(problem: Problem) -> None:
    whole = explained(problem, samples=5).maps
    chosen = np.array([[2], [0], [1]])
    found = explained(replace(problem, explained=chosen), samples=5).maps
    np.testing.assert_allclose(found, np.take_along_axis(whole, chosen[..., None, None], 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (1, 5, 1)])
def test_smallest_images(shape: tuple[int, int, int], image_problem: Maker) -> None:
    model = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(2, "softmax")])
    rows = np.linspace(0, 255, 2 * int(np.prod(shape))).reshape(2, *shape)
    assert explained(image_problem(model, rows), samples=2).maps.shape == (2, 2, *shape[:2])


def test_model_built_for_one_batch_size(image_problem: Maker, pictures: Pictures) -> None:
    inner = convolutional()
    inputs = keras.Input(batch_shape=(4, *SHAPE))
    found = explained(image_problem(keras.Model(inputs, inner(inputs)), pictures(2, SHAPE)), samples=6)
    expected = explained(image_problem(inner, pictures(2, SHAPE)), samples=6)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-5 * expected.maps.max())


def test_model_without_gradients_does_not_fit(image_problem: Maker, pictures: Pictures) -> None:
    inputs = keras.Input(SHAPE, dtype="uint8")
    model = keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(keras.ops.cast(inputs, "float32"))))
    reason = TECHNIQUE.unfit(image_problem(model, pictures(2, SHAPE), scale=1.0), SmoothGradImageSettings())
    assert reason is not None
    assert "occlusion and lime do without" in reason


def test_what_is_said(problem: Problem) -> None:
    prepared = TECHNIQUE.prepare(problem, SmoothGradImageSettings(samples=5), Watch())
    assert prepared.explain(problem.rows, problem.explained).evaluations == (9 + 3) * 5
    assert prepared.facts == {"samples": 5, "noise": 0.2, "output": "probability"}
    assert "adds up to nothing" in prepared.limitations[0]


@pytest.mark.parametrize("options", [{"samples": 1}, {"noise": 0}, {"noise": float("inf")}, {"sample": 3}])
def test_wrong_settings(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SmoothGradImageSettings(**options)


def test_stops_when_asked(problem: Problem) -> None:
    watch = Watch()
    explain = TECHNIQUE.prepare(problem, SmoothGradImageSettings(samples=4), watch).explain
    watch.stop.set()
    with pytest.raises(Stopped):
        explain(problem.rows, problem.explained)
