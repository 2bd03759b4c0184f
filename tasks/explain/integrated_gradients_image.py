"""Integrated gradients of pixels: what each place adds on the straight way from a baseline to the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from tasks.explain.base import Prepared, Problem, Saliency, Settings, Technique
from tasks.explain.engine.gradients import (
    Baseline,
    baseline_image,
    finite,
    gradient_sums,
    map_quality,
    path_rule,
    without_gradients,
)
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf


class IntegratedGradientsImageSettings(Settings):
    steps: int = Field(50, ge=1, le=10_000, description="Points on the way from the baseline to the image.")
    baseline: Baseline = Field(
        "background", description="background: the mean of the background images; or one level everywhere."
    )


def unfit(problem: Problem, settings: IntegratedGradientsImageSettings) -> str | None:
    return without_gradients(problem)


def prepare(problem: Problem, settings: IntegratedGradientsImageSettings, watch: Watch) -> Prepared:
    """(x − b) times the mean gradient on the way from baseline b to image x, summed over channels.

    Maps are in units of the explained output. Their quality measure completeness_error is how far a map is from adding
    up to f(x) − f(b), by the finite number of steps.

    Source: Sundararajan, Taly and Yan 2017, Axiomatic attribution for deep networks, equation 1. Where they average
    over equal steps, here is Gauss and Legendre's rule.
    """
    import tensorflow as tf

    base = baseline_image(problem, settings.baseline)
    start = tf.constant(base)

    def points(image: tf.Tensor, where: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return start + tf.reshape(where, [-1, 1, 1, 1]) * (image - start)

    def contribution(image: tf.Tensor, gradients: tf.Tensor, where: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum((image - start) * gradients, axis=-1) * tf.reshape(weights, [-1, 1, 1])

    sums = gradient_sums(problem, points, contribution, path_rule(settings.steps), watch)
    base_scores = problem.predictor(base[np.newaxis], problem.kind, watch)[0]

    def explain(rows: np.ndarray, explained: np.ndarray) -> Saliency:
        scores = np.take_along_axis(problem.predictor(rows, problem.kind, watch), explained, axis=1)
        maps = np.empty((*explained.shape, *rows.shape[1:3]), np.float32)
        gap = np.empty(explained.shape)
        for row, (image, wanted) in enumerate(zip(rows, explained, strict=True)):
            found = sums(image, wanted)[0]
            maps[row] = found
            gap[row] = found.sum(axis=(1, 2)) - (scores[row] - base_scores[wanted])
        return Saliency(
            finite(maps, "integrated_gradients"),
            signed=True,
            quality={"completeness_error": np.abs(gap), **map_quality(maps)},
            evaluations=explained.size * settings.steps + len(rows) * (settings.steps + 1),
        )

    facts = {"steps": settings.steps, "baseline": settings.baseline, "output": problem.kind}
    return Prepared(explain, facts, _said(settings), evaluations=1)


def _said(settings: IntegratedGradientsImageSettings) -> tuple[str, ...]:
    level = {"background": "like the mean of the background images"}.get(settings.baseline, settings.baseline)
    return (f"Integrated gradients tell how the image differs from one baseline: places that are {level} get nothing.",)


TECHNIQUE = Technique(
    name="integrated_gradients",
    title="Integrated gradients",
    modality="image",
    scope="local",
    settings=IntegratedGradientsImageSettings,
    prepare=prepare,
    unfit=unfit,
    batch=16,
    source="Sundararajan, Taly and Yan 2017, https://proceedings.mlr.press/v70/sundararajan17a.html",
)
