"""LIME for images against lime_image itself, given the same random state, and on images that are hard to segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.errors import OutputError, Stopped
from tasks.explain.base import OF_BATCH, Problem, Saliency
from tasks.explain.lime_image_superpixels import (
    TECHNIQUE,
    LimeImageSettings,
    grid,
    hidden,
    local_model,
    on_off,
    sample_weights,
    superpixels,
)
from tasks.watch import Watch

keras = pytest.importorskip("keras")
layers = keras.layers
Maker = Callable[..., Problem]
Pictures = Callable[..., np.ndarray]


def explained(problem: Problem, **settings: Any) -> Saliency:
    return TECHNIQUE.prepare(problem, LimeImageSettings(**settings), Watch()).explain(problem.rows, problem.explained)


def network(shape: tuple[int, int, int], outputs: int = 3) -> Any:
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input(shape), layers.Conv2D(6, 5, strides=2, activation="relu", padding="same"),
            layers.MaxPooling2D(padding="same"), layers.Flatten(),
            layers.Dense(outputs, "sigmoid" if outputs == 1 else "softmax"),
        ]
    )  # fmt: skip


def patches(n: int, shape: tuple[int, int, int], size: int = 16) -> np.ndarray:
    """(n, *shape): squares of random colours with a little noise, which quickshift can tell apart."""
    generator = np.random.default_rng(2)
    height, width, channels = shape
    coarse = generator.uniform(0, 255, (n, height // size, width // size, channels))
    return np.clip(coarse.repeat(size, 1).repeat(size, 2) + generator.normal(0, 4, (n, *shape)), 0, 255)


@pytest.fixture(scope="module")
def colour(image_problem: Maker) -> Problem:
    return image_problem(network((96, 80, 3)), patches(3, (96, 80, 3)), kind="probability")


def lime_itself(problem: Problem, row: int, seed: int, samples: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """(m, h, w) weights painted on their superpixels, and (m,) R²: lime's package, its own way, on this predictor."""
    from lime.lime_image import LimeImageExplainer

    picture = problem.rows[row].astype(np.float64) / 255
    grey = picture.shape[2] == 1

    def classify(images: np.ndarray) -> np.ndarray:
        return problem.predictor(np.asarray(images[..., :1] if grey else images, np.float64) * 255, problem.kind)

    maps, scores = [], []
    for output in problem.explained[row]:
        found = LimeImageExplainer(random_state=seed).explain_instance(
            picture[..., 0] if grey else picture, classify, labels=(output,), top_labels=None, num_samples=samples,
            num_features=features, batch_size=64,
        )  # fmt: skip
        heat = np.zeros(picture.shape[:2])
        for segment, weight in found.local_exp[output]:
            heat[found.segments == segment] = weight
        maps.append(heat)
        scores.append(found.score)
    return np.stack(maps), np.array(scores)


def seed_of(problem: Problem) -> int:
    seed = TECHNIQUE.prepare(problem, LimeImageSettings(), Watch()).facts["random_state"]
    assert isinstance(seed, int)
    return seed


@pytest.mark.parametrize("features", [None, 8, 4])
def test_equals_lime_image_given_its_random_state(features: int | None, colour: Problem) -> None:
    """Colour, lime's own quickshift, its samples, kernel, choice of features and ridge."""
    found = explained(colour, samples=120, fewest=1, features=features)
    assert found.quality["superpixels"].min() > 10
    for row in range(2):
        maps, scores = lime_itself(colour, row, seed_of(colour), 120, features or 100_000)
        np.testing.assert_allclose(found.maps[row], maps, rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.quality["local_r2"][row], scores, rtol=0, atol=1e-6)
    assert found.signed
    assert not found.notes


def test_one_channel_equals_lime_on_a_grey_image(image_problem: Maker) -> None:
    """lime refuses (h, w, 1); it is given (h, w), of which it makes three equal channels."""
    problem = image_problem(network((48, 48, 1)), patches(1, (48, 48, 1)), kind="probability", explained=[1])
    maps, _ = lime_itself(problem, 0, seed_of(problem), 100, 100_000)
    np.testing.assert_allclose(explained(problem, samples=100, fewest=1).maps[0], maps, rtol=0, atol=1e-6)


def test_within_limes_spread_from_seed_to_seed(colour: Problem) -> None:
    """Distances from the mean of lime's runs, in units of their spread: t with 7 degrees of freedom, variance 7/5."""
    one = replace(colour, rows=colour.rows[:1], explained=colour.explained[:1, :1])
    ours = explained(replace(one, seed=77), samples=200, fewest=1).maps[0, 0].astype(float)
    runs = np.stack([lime_itself(one, 0, seed, 200, 100_000)[0][0] for seed in range(8)])
    distance = (ours - runs.mean(axis=0)) / (runs.std(axis=0, ddof=1) * np.sqrt(1 + 1 / 8))
    _, one_a_superpixel = np.unique(ours, return_index=True)
    assert len(one_a_superpixel) >= 20
    assert 0.5 < np.mean(distance.ravel()[one_a_superpixel] ** 2) < 3


@pytest.mark.parametrize(("samples", "count"), [(50, 3), (7, 10), (2, 1)])
def test_on_off_is_limes_draw(samples: int, count: int) -> None:
    data = on_off(samples, count, np.random.RandomState(3))
    expected = np.random.RandomState(3).randint(0, 2, samples * count).reshape(samples, count)
    assert (data[0] == 1).all()
    assert (data[1:] == expected[1:]).all()


def test_sample_weights_by_hand() -> None:
    """Cosine distances of (1,1,1,1): to itself 0, to one of four 1 − 1/2, to none 1."""
    weights = sample_weights(np.array([[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]]), 0.25)
    np.testing.assert_allclose(weights, np.exp([0, -(0.5**2) / 0.25**2 / 2, -1 / 0.25**2 / 2]))


def test_local_model_against_scikit_learn() -> None:
    from sklearn.linear_model import Ridge

    generator = np.random.default_rng(0)
    data = on_off(60, 7, np.random.RandomState(1))
    outputs = data @ generator.normal(size=(7, 2)) + generator.normal(size=(60, 2))
    weights = sample_weights(data, 0.25)
    found, score = local_model(data, outputs, LimeImageSettings())
    for k in range(2):
        ridge = Ridge(alpha=1).fit(data, outputs[:, k], sample_weight=weights)
        np.testing.assert_allclose(found[k], ridge.coef_, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(score[k], ridge.score(data, outputs[:, k], sample_weight=weights), rtol=1e-9)


def test_output_that_never_varies_has_weights_of_nought() -> None:
    data = on_off(20, 4, np.random.RandomState(1))
    found, score = local_model(data, np.full((20, 1), 0.3), LimeImageSettings())
    assert not found.any()
    assert np.isnan(score).all()


def test_hidden_is_the_mean_colour_of_each_superpixel() -> None:
    image = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    segments = np.array([[0, 0, 1], [0, 1, 1]])
    found = hidden(image, segments)
    for segment in (0, 1):
        for channel in (0, 1):
            inside = image[..., channel][segments == segment]
            np.testing.assert_allclose(found[..., channel][segments == segment], inside.mean(), rtol=1e-6)


def test_small_images_get_finer_superpixels_and_it_is_said(image_problem: Maker) -> None:
    problem = image_problem(network((32, 32, 1)), patches(3, (32, 32, 1), size=4), kind="probability")
    found = explained(problem, samples=40)
    assert found.quality["superpixels"].min() >= LimeImageSettings().fewest
    ((sentence, rows),) = found.notes.items()
    assert "smaller kernel" in sentence
    assert rows.all()


def test_flat_image_gets_a_grid_and_it_is_said(image_problem: Maker) -> None:
    rows = np.concatenate([np.full((1, 12, 12, 1), 90.0), patches(1, (12, 12, 1), size=3)])
    found = explained(image_problem(network((12, 12, 1)), rows, kind="probability"), samples=30, fewest=2)
    assert found.quality["superpixels"][0].tolist() == [36, 36, 36]
    by_grid = next(rows for sentence, rows in found.notes.items() if "regular grid" in sentence)
    assert by_grid.tolist() == [True, False]
    # hiding a flat superpixel behind its own mean changes nothing
    assert not found.maps[0].any()
    assert found.quality["empty_map"][0].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("height", "width", "count"), [(64, 64, 64), (1, 1, 1), (1, 5, 5), (3, 3, 9), (20, 10, 7 * 4), (100, 90, 8 * 7)]
)
def test_grid(height: int, width: int, count: int) -> None:
    segments = grid(height, width)
    assert segments.shape == (height, width)
    assert sorted(np.unique(segments)) == list(range(count))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("segmentation", ["quickshift", "slic", "grid"])
def test_segments_are_numbered_without_gaps(segmentation: Any, channels: int, pictures: Pictures) -> None:
    settings = LimeImageSettings(segmentation=segmentation, fewest=4)
    segments, _ = superpixels(pictures(1, (40, 30, channels))[0], settings, 0)
    assert segments.shape == (40, 30)
    assert sorted(np.unique(segments)) == list(range(segments.max() + 1))
    assert segments.max() >= 3


@pytest.mark.parametrize("shape", [(1, 2, 1), (2, 2, 3), (5, 1, 1)])
def test_smallest_images(shape: tuple[int, int, int], image_problem: Maker) -> None:
    rows = np.linspace(0, 255, int(np.prod(shape))).reshape(1, *shape)
    found = explained(image_problem(network(shape, 1), rows), samples=20)
    assert found.maps.shape == (1, 1, *shape[:2])
    assert np.isfinite(found.maps).all()


def test_one_pixel_does_not_fit(image_problem: Maker) -> None:
    reason = TECHNIQUE.unfit(image_problem(network((1, 1, 1), 1), np.zeros((1, 1, 1, 1))), LimeImageSettings())
    assert reason is not None
    assert "one pixel" in reason


def test_company_and_repetition_change_nothing(colour: Problem) -> None:
    explain = TECHNIQUE.prepare(colour, LimeImageSettings(samples=60), Watch()).explain
    whole = explain(colour.rows, colour.explained).maps
    assert whole.tobytes() == explained(colour, samples=60).maps.tobytes()
    apart = np.concatenate([explain(colour.rows[i : i + 1], colour.explained[i : i + 1]).maps for i in range(3)])
    assert apart.tobytes() == whole.tobytes()
    assert explained(replace(colour, seed=1), samples=60).maps.tobytes() != whole.tobytes()


def test_images_share_calls_whatever_their_number_of_superpixels(colour: Problem) -> None:
    """More images than go together, of few and of many superpixels: each as it is alone."""
    rows = np.concatenate([colour.rows, np.zeros_like(colour.rows[:1]), colour.rows[::-1], *[colour.rows] * 4])
    many = replace(colour, rows=rows.astype(np.float32), explained=np.repeat(colour.explained[:1], len(rows), axis=0))
    explain = TECHNIQUE.prepare(many, LimeImageSettings(samples=37), Watch()).explain
    whole = explain(many.rows, many.explained)
    assert len(np.unique(whole.quality["superpixels"])) > 2
    for row in (0, 3, 6, 18):
        alone = explain(many.rows[row : row + 1], many.explained[:1])
        assert alone.maps.tobytes() == whole.maps[row : row + 1].tobytes()
        assert (alone.segments == whole.segments[row]).all()


def test_a_map_has_one_value_a_superpixel(colour: Problem) -> None:
    found = explained(colour, samples=60)
    assert found.segments.shape == (3, 96, 80)
    for maps, segments in zip(found.maps, found.segments, strict=True):
        first = np.unique(segments, return_index=True)[1]
        for heat in maps:
            np.testing.assert_array_equal(heat, heat.ravel()[first][segments])


def test_samples_that_do_not_fill_a_batch(colour: Problem) -> None:
    """257 samples go in two batches of 129, the last padded: each image's outputs must stay its own."""
    one = replace(colour, rows=colour.rows[:1], explained=colour.explained[:1, :1])
    maps, _ = lime_itself(one, 0, seed_of(one), 257, 100_000)
    np.testing.assert_allclose(explained(one, samples=257, fewest=1).maps[0], maps, rtol=0, atol=1e-6)


def test_model_built_for_one_batch_size(image_problem: Maker, pictures: Pictures) -> None:
    inputs = keras.Input(batch_shape=(8, 16, 16, 1))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(layers.Flatten()(inputs)))
    found = explained(image_problem(model, pictures(2, (16, 16, 1))), samples=20, segmentation="grid")
    assert found.maps.shape == (2, 2, 16, 16)


def test_infinite_output_is_an_error(image_problem: Maker, pictures: Pictures) -> None:
    inputs = keras.Input((16, 16, 1))
    broken = layers.Dense(2)(layers.Flatten()(inputs)) / 0.0
    with pytest.raises(OutputError, match="hidden superpixels") as caught:
        explained(image_problem(keras.Model(inputs, layers.Softmax()(broken)), pictures(1, (16, 16, 1))), samples=4)
    assert (caught.value.code, caught.value.values) == (OF_BATCH, (0,))


@pytest.mark.parametrize(
    "settings", [{"samples": 1}, {"segmentation": "felzenszwalb"}, {"kernel_width": 0}, {"features": 0}, {"sample": 5}]
)
def test_wrong_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LimeImageSettings(**settings)


def test_stops_when_asked(colour: Problem) -> None:
    watch = Watch()
    explain = TECHNIQUE.prepare(colour, LimeImageSettings(samples=4), watch).explain
    watch.stop.set()
    with pytest.raises(Stopped):
        explain(colour.rows, colour.explained)
