"""SHAP of pixels against closed forms and against shap's own explainers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.errors import Incomplete, Stopped
from tasks.explain.base import Problem, Saliency
from tasks.explain.shapley_image import (
    TECHNIQUE,
    Library,
    ShapleyImageSettings,
    _by_library,
    default_samples,
    estimator_of,
    path_points,
)
from tasks.watch import Watch

keras = pytest.importorskip("keras")
layers = keras.layers
Maker = Callable[..., Problem]
Pictures = Callable[..., np.ndarray]
SHAPE = (8, 8, 2)


def explained(problem: Problem, **settings: Any) -> Saliency:
    return TECHNIQUE.prepare(problem, ShapleyImageSettings(**settings), Watch()).explain(
        problem.rows, problem.explained
    )


def linear(outputs: int = 1, shape: tuple[int, int, int] = SHAPE) -> Any:
    keras.utils.set_random_seed(3)
    activation = "sigmoid" if outputs == 1 else "softmax"
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(outputs, activation)])


@pytest.fixture(scope="module")
def network() -> Any:
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input(SHAPE), layers.Conv2D(6, 3, activation="relu", padding="same"), layers.MaxPooling2D(),
            layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(3, "softmax"),
        ]
    )  # fmt: skip


@pytest.fixture
def problem(network: Any, image_problem: Maker, pictures: Pictures) -> Problem:
    return image_problem(network, pictures(3, SHAPE), background=pictures(6, SHAPE, seed=9), kind="probability")


@pytest.mark.parametrize("estimator", ["gradient", "shap.gradient", "shap.deep"])
def test_linear_margin_has_a_closed_form(estimator: str, image_problem: Maker, pictures: Pictures) -> None:
    """βⱼ(xⱼ − mean background), summed over channels."""
    model = linear()
    rows, background = pictures(3, SHAPE), pictures(5, SHAPE, seed=9)
    problem = image_problem(model, rows, background=background)
    beta = model.layers[-1].kernel.numpy().reshape(SHAPE) / 255
    expected = (beta * (rows - background.mean(axis=0))).sum(axis=-1)[:, None]
    samples = {"gradient": 10, "shap.gradient": 4000, "shap.deep": None}[estimator]
    found = explained(problem, estimator=estimator, samples=samples)
    # shap.gradient draws the background anew; the others see all of it
    tolerance = 0.05 if estimator == "shap.gradient" else 1e-5
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    assert found.signed
    assert found.layer is None


def test_partition_of_a_linear_margin(image_problem: Maker, pictures: Pictures) -> None:
    """The same closed form, on few pixels: shap's partitions come down to the last one only with many evaluations."""
    model = linear(shape=(4, 4, 1))
    rows, background = pictures(2, (4, 4, 1)), pictures(5, (4, 4, 1), seed=9)
    expected = model.layers[-1].kernel.numpy().reshape(4, 4, 1) / 255 * (rows - background.mean(axis=0))
    problem = image_problem(model, rows, background=background)
    found = explained(problem, estimator="shap.partition", samples=600)
    np.testing.assert_allclose(found.maps[:, 0], expected[..., 0], rtol=0, atol=1e-5 * np.abs(expected).max())


def test_agrees_with_shap_gradient_explainer_within_its_spread(problem: Problem) -> None:
    """Both draw; so each is compared with the other's mean over seeds, in units of the standard error of that mean."""
    ours = np.stack([explained(replace(problem, seed=s), samples=300).maps for s in range(6)]).astype(float)
    shaps = np.stack(
        [explained(replace(problem, seed=s), estimator="shap.gradient", samples=300).maps for s in range(6)]
    ).astype(float)
    error = np.sqrt(ours.var(axis=0, ddof=1) / 6 + shaps.var(axis=0, ddof=1) / 6)
    distance = (ours.mean(axis=0) - shaps.mean(axis=0)) / error
    # t with about 10 degrees of freedom: variance 10/8
    assert 0.8 < np.mean(distance**2) < 1.6
    # ... and with the paths stratified and every background row used equally, ours varies less
    assert ours.var(axis=0).sum() < shaps.var(axis=0).sum()


@pytest.mark.parametrize("kind", ["probability", "margin"])
def test_maps_add_up(kind: str, problem: Problem) -> None:
    problem = replace(problem, kind=kind)
    found = explained(problem, samples=600)
    rise = problem.predictor(problem.rows, kind) - problem.predictor(problem.background, kind).mean(axis=0)
    gap = found.maps.sum(axis=(2, 3), dtype=float) - rise
    np.testing.assert_allclose(found.quality["completeness_error"], np.abs(gap), rtol=0, atol=1e-5 * np.abs(rise).max())
    assert (np.abs(gap) < 4 * found.quality["completeness_std_error"] + 1e-5).all()
    more = explained(problem, samples=6000)
    assert more.quality["completeness_std_error"].mean() < 0.4 * found.quality["completeness_std_error"].mean()


def test_relative_error_is_the_spread_over_seeds(problem: Problem) -> None:
    """An upper bound, since the samples are stratified; but not far from it."""
    runs = [explained(replace(problem, seed=seed), samples=60) for seed in range(10)]
    maps = np.stack([run.maps for run in runs]).astype(float)
    spread = np.sqrt(maps.var(axis=0, ddof=1).sum(axis=(2, 3)) / (maps.mean(axis=0) ** 2).sum(axis=(2, 3)))
    told = np.mean([run.quality["relative_error"] for run in runs], axis=0)
    assert (told > 0.8 * spread).all()
    assert (told < 3 * spread).all()


def test_noisy_maps_are_said(problem: Problem) -> None:
    few, many = explained(problem, samples=3), explained(problem, samples=3000)
    ((sentence, rows),) = few.notes.items()
    assert "standard error" in sentence
    assert rows.tolist() == (few.quality["relative_error"] > 0.5).any(axis=1).tolist()
    assert not many.notes


def test_background_larger_than_the_samples(image_problem: Maker, pictures: Pictures) -> None:
    """What the background rows that were not drawn would have added is in the standard error."""
    rows, background = pictures(1, SHAPE), pictures(200, SHAPE, seed=9)
    problem = image_problem(linear(), rows, background=background)
    runs = [explained(replace(problem, seed=seed), samples=20) for seed in range(16)]
    gaps = np.array([run.quality["completeness_error"][0, 0] for run in runs])
    told = np.mean([run.quality["completeness_std_error"] for run in runs])
    assert 0.5 * told < np.sqrt((gaps**2).mean()) < 1.7 * told


def test_null_pixel_and_dummy_channel(image_problem: Maker, pictures: Pictures) -> None:
    model = linear()
    kernel = model.layers[-1].kernel.numpy().reshape(*SHAPE, 1)
    kernel[2, 3] = 0
    model.layers[-1].kernel.assign(kernel.reshape(-1, 1))
    found = explained(image_problem(model, pictures(2, SHAPE), background=pictures(3, SHAPE, seed=1)), samples=9)
    assert (found.maps[:, :, 2, 3] == 0).all()


def test_image_that_is_the_whole_background_gets_an_empty_map(image_problem: Maker, pictures: Pictures) -> None:
    row = pictures(1, SHAPE)
    found = explained(image_problem(linear(2), row, background=row))
    assert not found.maps.any()
    assert found.quality["empty_map"].tolist() == [[1, 1]]
    assert np.isnan(found.quality["relative_error"]).all()


def test_company_and_repetition_change_nothing(problem: Problem) -> None:
    explain = TECHNIQUE.prepare(problem, ShapleyImageSettings(samples=30), Watch()).explain
    whole = explain(problem.rows, problem.explained).maps
    assert whole.tobytes() == explained(problem, samples=30).maps.tobytes()
    apart = np.concatenate([explain(problem.rows[i : i + 1], problem.explained[i : i + 1]).maps for i in range(3)])
    assert apart.tobytes() == whole.tobytes()
    assert explained(replace(problem, seed=1), samples=30).maps.tobytes() != whole.tobytes()


def test_rows_with_outputs_of_their_own(problem: Problem) -> None:
    whole = explained(problem, samples=30).maps
    chosen = np.array([[2], [0], [1]])
    found = explained(replace(problem, explained=chosen), samples=30).maps
    np.testing.assert_allclose(found, np.take_along_axis(whole, chosen[..., None, None], 1), rtol=0, atol=1e-6)


def test_more_outputs_than_one_call_differentiates(image_problem: Maker, pictures: Pictures) -> None:
    problem = image_problem(linear(13), pictures(2, SHAPE), background=pictures(2, SHAPE, seed=1))
    found = explained(problem, samples=4)
    alone = explained(replace(problem, explained=problem.explained[:, 12:]), samples=4)
    np.testing.assert_allclose(found.maps[:, 12:], alone.maps, rtol=0, atol=1e-5 * np.abs(found.maps).max())


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3), (1, 5, 1)])
def test_smallest_images(shape: tuple[int, int, int], image_problem: Maker) -> None:
    rows = np.linspace(0, 255, 2 * int(np.prod(shape))).reshape(2, *shape)
    found = explained(image_problem(linear(shape=shape), rows, background=np.zeros((1, *shape))), samples=3)
    assert found.maps.shape == (2, 1, *shape[:2])
    assert np.abs(found.quality["completeness_error"]).max() < 1e-5


def test_deep_and_partition_add_up_on_a_network(network: Any, image_problem: Maker, pictures: Pictures) -> None:
    problem = image_problem(network, pictures(2, SHAPE), background=pictures(3, SHAPE, seed=9), kind="probability")
    deep = explained(problem, estimator="shap.deep")
    assert np.abs(deep.quality["completeness_error"]).max() < 1e-3
    assert not deep.notes
    partition = TECHNIQUE.prepare(problem, ShapleyImageSettings(estimator="shap.partition", samples=300), Watch())
    found = partition.explain(problem.rows, problem.explained)
    assert np.abs(found.quality["completeness_error"]).max() < 1e-4
    assert any("mean background image" in sentence for sentence in partition.limitations)


def test_deep_without_a_rule_fails_and_leaves_gradients_as_they_were(image_problem: Maker, pictures: Pictures) -> None:
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(keras.ops.sin(inputs))))
    problem = image_problem(model, pictures(2, SHAPE), background=pictures(3, SHAPE, seed=9), kind="probability")
    before = explained(problem, samples=6).maps
    with pytest.raises(Incomplete, match="Sin") as caught:
        explained(problem, estimator="shap.deep")
    assert caught.value.code == "unsupported_operation"
    assert explained(problem, samples=6).maps.tobytes() == before.tobytes()


def test_map_that_does_not_add_up_is_said(image_problem: Maker, pictures: Pictures) -> None:
    rows, base = pictures(3, SHAPE), pictures(1, SHAPE, seed=9)
    rows[1] = base[0]
    problem = image_problem(linear(), rows, background=base)
    nothing = Library(
        lambda image, wanted: np.zeros((len(wanted), *SHAPE)), problem.predictor(base, "margin")[0], {}, lambda m: 0
    )
    found = _by_library(problem, "shap.deep", nothing, Watch()).explain(problem.rows, problem.explained)
    ((sentence, holds),) = found.notes.items()
    assert "do not add up" in sentence
    assert holds.tolist() == [True, False, True]


def test_estimators_fit_the_model(image_problem: Maker, pictures: Pictures) -> None:
    """Integer pixels have no gradients."""
    inputs = keras.Input(SHAPE, dtype="uint8")
    flat = layers.Flatten()(keras.ops.cast(inputs, "float32"))
    problem = image_problem(keras.Model(inputs, layers.Dense(2, "softmax")(flat)), pictures(2, SHAPE), scale=1.0)
    assert estimator_of(problem, ShapleyImageSettings()) == "shap.partition"
    assert TECHNIQUE.unfit(problem, ShapleyImageSettings()) is None
    reason = TECHNIQUE.unfit(problem, ShapleyImageSettings(estimator="gradient"))
    assert reason is not None
    assert "gradients" in reason
    assert explained(problem, samples=50).maps.shape == (2, 2, 8, 8)


def test_model_built_for_one_batch_size(image_problem: Maker, pictures: Pictures) -> None:
    inputs = keras.Input(batch_shape=(4, *SHAPE))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(inputs)))
    problem = image_problem(model, pictures(2, SHAPE), background=pictures(3, SHAPE, seed=1))
    found = explained(problem, samples=6)
    assert np.abs(found.quality["completeness_error"]).max() < 1e-4
    reason = TECHNIQUE.unfit(problem, ShapleyImageSettings(estimator="shap.deep"))
    assert reason is not None
    assert "4 images at a time" in reason


@pytest.mark.parametrize(
    ("background", "samples"), [(1, 100), (50, 100), (100, 100), (60, 120), (150, 150), (400, 150)]
)
def test_default_samples(background: int, samples: int) -> None:
    assert default_samples(background) == samples


@pytest.mark.parametrize(("background", "samples"), [(1, 7), (5, 5), (5, 12), (20, 8)])
def test_path_points_are_balanced(background: int, samples: int) -> None:
    rows, positions = path_points(background, samples, np.random.default_rng(0))
    counts = np.bincount(rows, minlength=background)
    assert counts.max() - counts.min() <= 1
    assert sorted((positions * samples).astype(int)) == list(range(samples))


@pytest.mark.parametrize("settings", [{"estimator": "kernel"}, {"samples": 1}, {"samples": "many"}, {"sample": 10}])
def test_wrong_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ShapleyImageSettings(**settings)


def test_stops_when_asked(problem: Problem) -> None:
    watch = Watch()
    explain = TECHNIQUE.prepare(problem, ShapleyImageSettings(samples=6), watch).explain
    watch.stop.set()
    with pytest.raises(Stopped):
        explain(problem.rows, problem.explained)
