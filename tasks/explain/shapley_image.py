"""Shapley values of an image's pixels: expected gradients in one compiled graph, or shap's own explainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tasks.explain.base import Prepared, Problem, Saliency, Settings, Technique
from tasks.explain.engine.gradients import (
    GradientSums,
    finite,
    gradient_sums,
    map_quality,
    relative_error,
    static_batch,
)
from tasks.explain.engine.shap_guard import shap_at_work
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf

Estimator = Literal["auto", "gradient", "shap.gradient", "shap.deep", "shap.partition"]

#: samples a map, where the background does not say it
SAMPLES = 100
MOST_SAMPLES = 150
#: how far shap's maps may be from adding up, as its own check has it
ADDS_UP = 0.01
#: standard error of a map, over its size, above which single pixels say little
NOISY = 0.5
NOISY_MAPS = (
    "The standard error of a SHAP map is more than half the size of the map: its regions can be read, its single pixels"
    " cannot; more samples make it smaller"
)
NOT_ADDING_UP = (
    "SHAP's values do not add up to the difference between the output and that of the background: the estimator does"
    " not know every operation of the model"
)


class ShapleyImageSettings(Settings):
    estimator: Estimator = Field(
        "auto", description="auto: gradient where the model has gradients, else shap.partition."
    )
    samples: int | None = Field(
        None,
        ge=2,
        le=100_000,
        description="Points on the way from the background to the image; default: 100, or the next "
        "multiple of the background up to 150. shap.partition: model evaluations, default 500.",
    )


def estimator_of(problem: Problem, settings: ShapleyImageSettings) -> Estimator:
    if settings.estimator != "auto":
        return settings.estimator
    return "gradient" if problem.predictor.differentiable else "shap.partition"


def unfit(problem: Problem, settings: ShapleyImageSettings) -> str | None:
    if problem.modality != "image":
        return "it explains the pixels of an image; the model takes a table"
    estimator = estimator_of(problem, settings)
    if not problem.predictor.differentiable and estimator != "shap.partition":
        return f"{estimator} needs gradients, and the model gives none; shap.partition does without"
    if estimator in ("shap.gradient", "shap.deep") and static_batch(problem):
        return f"{estimator} chooses its own batches, and the model takes {static_batch(problem)} images at a time"
    return None


def prepare(problem: Problem, settings: ShapleyImageSettings, watch: Watch) -> Prepared:
    estimator = estimator_of(problem, settings)
    if estimator == "gradient":
        return expected_gradients(problem, settings.samples or default_samples(len(problem.background)), watch)
    library = {"shap.gradient": _shap_gradient, "shap.deep": _shap_deep, "shap.partition": _shap_partition}
    return _by_library(problem, estimator, library[estimator](problem, settings.samples), watch)


def default_samples(background: int) -> int:
    """So many that every background row is used equally often, if that takes no more than MOST_SAMPLES."""
    return min(MOST_SAMPLES, -(-SAMPLES // background) * background)


def path_points(background: int, samples: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where on which path gradients are taken.

    Args:
        background: number of background rows.
        samples: S, points a row; shared by all rows, so that an explanation does not depend on its neighbours.

    Returns:
        (S,) int64 background rows, each as often as any other up to one, and (S,) float64 positions, one in each of S
        equal strata of [0, 1], in random order.
    """
    rounds = [generator.permutation(background) for _ in range(-(-samples // background))]
    rows = np.concatenate(rounds)[:samples]
    positions = (generator.permutation(samples) + generator.random(samples)) / samples
    return rows, positions


def expected_gradients(problem: Problem, samples: int, watch: Watch) -> Prepared:
    """Mean over background rows b and positions a of (x − b) times the gradient at b + a(x − b).

    The background rows and positions are drawn once and serve every row. Maps are sums over channels, in units of the
    explained output. Beside them, for each map, as if the samples were independent (they are stratified, so the errors
    are upper bounds):

    - completeness_error: how far the map is from adding up to f(x) − mean f(background), and completeness_std_error;
    - relative_error: standard error of the map over its size, both as Euclidean norms over pixels.

    Source: Erion et al. 2021, Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients, https://doi.org/10.1038/s42256-021-00343-w; equal in expectation to shap.GradientExplainer.
    """
    generator = problem.generator("shap.gradient")
    picked, positions = path_points(len(problem.background), samples, generator)
    base = problem.predictor(problem.background, problem.kind, watch)
    # The share of f(background)'s variance that the sample does not see: none where every row is used.
    unseen = max(0.0, 1.0 - samples / len(base)) * base.var(axis=0) / samples
    path_sums = _path_sums(problem, picked, positions, watch)

    def explain(rows: np.ndarray, explained: np.ndarray) -> Saliency:
        scores = problem.predictor(rows, problem.kind, watch)
        maps = np.empty((*explained.shape, *rows.shape[1:3]), np.float32)
        gap, gap_error, error = (np.empty(explained.shape) for _ in range(3))
        for row, (image, wanted) in enumerate(zip(rows, explained, strict=True)):
            sums, totals, squares = path_sums(image, wanted)
            mean = sums / samples
            maps[row] = mean
            rise = scores[row, wanted]
            gap[row] = totals.mean(axis=1) - (rise - base.mean(axis=0)[wanted])
            # What a path adds up to, less what it should.
            surplus = totals - (rise[:, None] - base[picked][:, wanted].T)
            gap_error[row] = np.sqrt(surplus.var(axis=1, ddof=1) / samples + unseen[wanted])
            error[row] = relative_error(mean, squares)
        quality = {"completeness_error": np.abs(gap), "completeness_std_error": gap_error, "relative_error": error}
        noisy = np.any(error > NOISY, axis=1)
        return Saliency(
            finite(maps, "shap"),
            signed=True,
            quality={**quality, **map_quality(maps)},
            notes={NOISY_MAPS: noisy} if noisy.any() else {},
            evaluations=explained.size * samples + len(rows) * (samples + 1),
        )

    facts = {"estimator": "gradient", "samples": samples, "background": len(base), "output": problem.kind}
    return Prepared(explain, facts, evaluations=len(base))


def _path_sums(problem: Problem, picked: np.ndarray, positions: np.ndarray, watch: Watch) -> GradientSums:
    """Sums over the samples of (x − b) times the gradient on the way from background row b, over channels too."""
    import tensorflow as tf

    background = tf.constant(problem.background, tf.float32)

    def points(image: tf.Tensor, rows: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
        start = tf.gather(background, rows)
        return start + tf.reshape(where, [-1, 1, 1, 1]) * (image - start)

    def contribution(image: tf.Tensor, gradients: tf.Tensor, rows: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum((image - tf.gather(background, rows)) * gradients, axis=-1)

    return gradient_sums(problem, points, contribution, (picked.astype(np.int32), positions), watch)


@dataclass(frozen=True)
class Library:
    """One of shap's explainers.

    Attributes:
        maps: image (h, w, c) float32, (m,) outputs → (m, h, w, c) values.
        base: (k,) what its maps start from.
        facts, limitations: as for Prepared.
        evaluations: rows through the model for a row and m outputs.
        exact: whether its maps should add up without error.
    """

    maps: Callable[[np.ndarray, np.ndarray], np.ndarray]
    base: np.ndarray
    facts: Mapping[str, Any]
    evaluations: Callable[[int], int]
    limitations: tuple[str, ...] = ()
    exact: bool = True


def _by_library(problem: Problem, estimator: Estimator, library: Library, watch: Watch) -> Prepared:
    """shap's maps, and how far each is from adding up to what shap itself starts from."""

    def explain(rows: np.ndarray, explained: np.ndarray) -> Saliency:
        scores = np.take_along_axis(problem.predictor(rows, problem.kind, watch), explained, axis=1)
        maps = np.empty((*explained.shape, *rows.shape[1:3]), np.float32)
        for row, (image, wanted) in enumerate(zip(rows.astype(np.float32), explained, strict=True)):
            maps[row] = library.maps(image, wanted).sum(axis=-1)
            watch.advance(0)
        gap = finite(maps, estimator).sum(axis=(2, 3), dtype=np.float64) - (scores - library.base[explained])
        quality = {"completeness_error": np.abs(gap), **map_quality(maps)}
        # shap raises where deep values are further off than this; here the reader is told.
        off = np.any(np.abs(gap) > ADDS_UP * np.maximum(1, np.abs(scores)), axis=1)
        notes = {NOT_ADDING_UP: off} if library.exact and off.any() else {}
        evaluations = len(rows) * (1 + library.evaluations(explained.shape[1]))
        return Saliency(maps, signed=True, quality=quality, notes=notes, evaluations=evaluations)

    facts = {"estimator": estimator, "output": problem.kind, **library.facts}
    return Prepared(explain, facts, library.limitations)


def _keras_model(problem: Problem) -> Any:
    """A Keras model from pixels, 0–255, to the explained kind of output: what shap's explainers ask for."""
    import keras

    graph = problem.predictor.graph(problem.kind)

    class Explained(keras.layers.Layer):
        def call(self, images: tf.Tensor) -> tf.Tensor:
            return graph(images)

        def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return shape[0], len(problem.outputs)

    images = keras.Input(problem.rows.shape[1:], dtype="float32")
    return keras.Model([images], Explained(name="explained", dtype="float32")(images))  # shap hands over lists


def _shap_gradient(problem: Problem, samples: int | None) -> Library:
    """shap.GradientExplainer: random background rows and positions, the same for every image."""
    import shap

    explainer = shap.GradientExplainer(_keras_model(problem), problem.background.astype(np.float32))
    count = samples or default_samples(len(problem.background))
    seed = int(problem.generator("shap.gradient").integers(2**31))

    def maps(image: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        with shap_at_work("shap.GradientExplainer"):
            values, _ = explainer.shap_values(
                image[None], nsamples=count, ranked_outputs=wanted[None], output_rank_order="custom", rseed=seed
            )
        return np.moveaxis(values[0], -1, 0)

    base = problem.predictor(problem.background, problem.kind).mean(axis=0)
    facts = {"samples": count, "background": len(problem.background), "random_state": seed}
    return Library(maps, base, facts, lambda m: 2 * m * count, exact=False)


def _shap_deep(problem: Problem, samples: int | None) -> Library:
    """shap.DeepExplainer: DeepLIFT's rules against every background row; all outputs, whichever are wanted."""
    import shap

    background = problem.background.astype(np.float32)
    with shap_at_work("shap.DeepExplainer"):
        explainer = shap.DeepExplainer(_keras_model(problem), background)

    def maps(image: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        with shap_at_work("shap.DeepExplainer"):
            # It would raise where a map does not add up; here that is measured and reported.
            values = explainer.shap_values(image[None], check_additivity=False)
        return np.moveaxis(values[0], -1, 0)[wanted]

    base = problem.predictor(problem.background, problem.kind).mean(axis=0)
    outputs = len(problem.outputs)
    return Library(maps, base, {"background": len(background)}, lambda m: 4 * outputs * len(background))


def _shap_partition(problem: Problem, samples: int | None) -> Library:
    """shap's partition explainer: Owen values of ever smaller rectangles, hidden behind the mean background image."""
    import shap

    mean = problem.background.mean(axis=0, dtype=np.float64).astype(np.float32)
    count = samples or 500
    explainer = shap.explainers.Partition(
        lambda images: problem.predictor(np.asarray(images, np.float32), problem.kind),
        shap.maskers.Image(mean, mean.shape),
    )

    def maps(image: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        values = explainer(image[None], max_evals=count, batch_size=problem.predictor.batch, silent=True).values[0]
        return np.moveaxis(values, -1, 0)[wanted]

    base = problem.predictor(mean[None], problem.kind)[0]
    said = "SHAP hides pixels behind the mean background image, not behind each background image in turn."
    return Library(maps, base, {"samples": count}, lambda m: count, (said,))


TECHNIQUE = Technique(
    name="shap",
    title="SHAP",
    modality="image",
    scope="local",
    settings=ShapleyImageSettings,
    prepare=prepare,
    unfit=unfit,
    batch=16,
    source="Lundberg and Lee 2017; Erion et al. 2021, https://doi.org/10.1038/s42256-021-00343-w",
)
