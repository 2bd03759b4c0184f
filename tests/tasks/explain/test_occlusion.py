"""Occlusion against brute force and closed forms, on the sizes of patch and stride, and on forms of model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.errors import ConfigError, Stopped
from tasks.explain.base import Problem, Saliency
from tasks.explain.occlusion import TECHNIQUE, OcclusionSettings, edges, sizes
from tasks.watch import Watch

keras = pytest.importorskip("keras")
layers = keras.layers
Maker = Callable[..., Problem]
Pictures = Callable[..., np.ndarray]
SHAPE = (10, 13, 2)


def explained(problem: Problem, **options: Any) -> Saliency:
    return TECHNIQUE.prepare(problem, OcclusionSettings(**options), Watch()).explain(problem.rows, problem.explained)


def convolutional(shape: tuple[int, int, int] = SHAPE) -> Any:
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input(shape), layers.Conv2D(6, 3, activation="relu", padding="same"), layers.MaxPooling2D(),
            layers.Flatten(), layers.Dense(3, "softmax"),
        ]
    )  # fmt: skip


@pytest.fixture
def problem(image_problem: Maker, pictures: Pictures) -> Problem:
    background = pictures(6, SHAPE, seed=9)
    return image_problem(convolutional(), pictures(3, SHAPE), background=background, kind="probability")


def by_hand(problem: Problem, patch: int, stride: int, base: np.ndarray) -> np.ndarray:
    """One patch after the other, one image after the other."""
    height, width = problem.rows.shape[1:3]
    tops = [*range(0, height - patch, stride), height - patch]
    lefts = [*range(0, width - patch, stride), width - patch]
    maps = np.zeros((*problem.explained.shape, height, width))
    for row, image in enumerate(problem.rows):
        total, count = np.zeros((len(problem.explained[row]), height, width)), np.zeros((height, width))
        own = problem.predictor(image[None], problem.kind)[0, problem.explained[row]]
        for top in tops:
            for left in lefts:
                hidden = image.copy()
                place = (slice(top, top + patch), slice(left, left + patch))
                hidden[place] = base[place]
                fall = own - problem.predictor(hidden[None], problem.kind)[0, problem.explained[row]]
                total[(slice(None), *place)] += fall[:, None, None]
                count[place] += 1
        maps[row] = total / count
    return maps


@pytest.mark.parametrize("kind", ["probability", "margin"])
@pytest.mark.parametrize(("patch", "stride"), [(3, 2), (4, 3), (1, 1), (10, 1), (5, 5)])
def test_equals_brute_force(kind: str, patch: int, stride: int, problem: Problem) -> None:
    problem = replace(problem, kind=kind, rows=problem.rows[:2], explained=np.array([[0, 2], [1, 0]]))
    found = explained(problem, patch=patch, stride=stride)
    expected = by_hand(problem, patch, stride, problem.background.mean(axis=0))
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max()))
    assert found.signed
    assert found.layer is None


@pytest.mark.parametrize(("baseline", "level"), [("black", 0), ("gray", 127.5), ("white", 255)])
def test_of_a_linear_margin_single_pixels_have_a_closed_form(
    baseline: str, level: float, image_problem: Maker, pictures: Pictures
) -> None:
    """βⱼ(xⱼ − bⱼ), summed over channels: the Shapley value."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1, "sigmoid")])
    rows = pictures(2, SHAPE)
    beta = model.layers[-1].kernel.numpy().reshape(SHAPE) / 255
    found = explained(image_problem(model, rows), patch=1, baseline=baseline)
    expected = (beta * (rows - level)).sum(axis=-1)[:, None]
    np.testing.assert_allclose(found.maps, expected, rtol=0, atol=1e-5 * np.abs(expected).max() + 1e-6)


@pytest.mark.parametrize(
    ("shape", "patch", "stride"),
    [((64, 64), 8, 4), ((96, 96), 12, 6), ((224, 300), 28, 14), ((5, 5), 1, 1), ((1, 9), 1, 1), ((13, 13), 2, 1)],
)
def test_default_sizes_follow_the_image(shape: tuple[int, int], patch: int, stride: int, image_problem: Maker) -> None:
    model = keras.Sequential([keras.Input((*shape, 1)), layers.GlobalMaxPooling2D(), layers.Dense(2, "softmax")])
    assert sizes(image_problem(model, np.zeros((1, *shape, 1))), OcclusionSettings()) == (patch, stride)


@pytest.mark.parametrize(
    ("side", "patch", "stride", "expected"),
    [
        (10, 4, 3, [0, 3, 6]),
        (10, 4, 4, [0, 4, 6]),
        (4, 4, 1, [0]),
        (5, 1, 1, [0, 1, 2, 3, 4]),
        (9, 2, 2, [0, 2, 4, 6, 7]),
    ],
)
def test_patches_reach_the_edge(side: int, patch: int, stride: int, expected: list[int]) -> None:
    assert edges(side, patch, stride).tolist() == expected


def test_image_that_is_the_baseline_gets_an_empty_map(image_problem: Maker, pictures: Pictures) -> None:
    row = pictures(1, SHAPE)
    found = explained(image_problem(convolutional(), row, background=row))
    assert np.abs(found.maps).max() < 1e-6


def test_company_and_repetition_change_nothing(problem: Problem) -> None:
    explain = TECHNIQUE.prepare(problem, OcclusionSettings(), Watch()).explain
    whole = explain(problem.rows, problem.explained).maps
    assert whole.tobytes() == explained(problem).maps.tobytes()
    apart = np.concatenate([explain(problem.rows[i : i + 1], problem.explained[i : i + 1]).maps for i in range(3)])
    np.testing.assert_allclose(apart, whole, rtol=0, atol=1e-6)


def test_model_without_gradients_and_of_one_batch_size(image_problem: Maker, pictures: Pictures) -> None:
    inputs = keras.Input(batch_shape=(4, *SHAPE), dtype="uint8")
    model = keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(keras.ops.cast(inputs, "float32") / 255)))
    problem = image_problem(model, np.round(pictures(2, SHAPE)), scale=1.0, kind="probability")
    assert TECHNIQUE.unfit(problem, OcclusionSettings()) is None
    found = explained(problem, patch=4, baseline="black")
    np.testing.assert_allclose(found.maps, by_hand(problem, 4, 2, np.zeros(SHAPE)), rtol=0, atol=1e-5)


def test_a_regression(image_problem: Maker, pictures: Pictures) -> None:
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1)])
    problem = image_problem(model, pictures(2, SHAPE), task="regression")
    found = explained(problem, patch=5)
    np.testing.assert_allclose(found.maps, by_hand(problem, 5, 3, problem.background.mean(axis=0)), rtol=0, atol=1e-5)


def test_a_table_does_not_fit(table_problem: Maker, network: Any) -> None:
    reason = TECHNIQUE.unfit(table_problem(network(2), np.zeros((1, 2)), np.zeros((1, 2))), OcclusionSettings())
    assert reason is not None
    assert "takes a table" in reason


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patch": 11}, "occlusion.patch: 11 pixels are more than .* 13 × 10 have.*at most 10"),
        ({"patch": 3, "stride": 4}, "occlusion.stride: patches of 3 pixels every 4 leave gaps.*at most 3"),
        ({"stride": 9}, "leave gaps"),
    ],
)
def test_sizes_that_do_not_fit_the_image(options: dict[str, Any], said: str, problem: Problem) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        explained(problem, **options)
    assert error.value.exit_code == 2


def test_too_many_patches(image_problem: Maker) -> None:
    model = keras.Sequential([keras.Input((400, 400, 1)), layers.GlobalMaxPooling2D(), layers.Dense(2, "softmax")])
    with pytest.raises(ConfigError, match="159,201 patches an image are more than 100,000"):
        explained(image_problem(model, np.zeros((1, 400, 400, 1))), patch=2, stride=1)


def test_what_is_said(problem: Problem) -> None:
    prepared = TECHNIQUE.prepare(problem, OcclusionSettings(patch=5, stride=5), Watch())
    assert prepared.facts == {
        "patch": 5, "stride": 5, "patches": 6, "baseline": "background", "output": "probability",
    }  # fmt: skip
    assert prepared.explain(problem.rows, problem.explained).evaluations == 3 * 7


@pytest.mark.parametrize("options", [{"patch": 0}, {"stride": -1}, {"baseline": "blur"}, {"patches": 3}])
def test_wrong_settings(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OcclusionSettings(**options)


def test_stops_when_asked(problem: Problem) -> None:
    watch = Watch()
    explain = TECHNIQUE.prepare(problem, OcclusionSettings(), watch).explain
    watch.stop.set()
    with pytest.raises(Stopped):
        explain(problem.rows, problem.explained)
