"""SmoothGrad of pixels: how strongly the output answers to each place, averaged over noisy copies of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from tasks.explain.base import Prepared, Problem, Saliency, Settings, Technique
from tasks.explain.engine.gradients import finite, gradient_sums, map_quality, relative_error, without_gradients
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf


class SmoothGradImageSettings(Settings):
    samples: int = Field(32, ge=2, le=10_000, description="Noisy copies of an image.")
    noise: float = Field(
        0.2,
        gt=0,
        le=10,
        allow_inf_nan=False,
        description="Standard deviation of the noise, as a share of the image's largest pixel less its least.",
    )


def unfit(problem: Problem, settings: SmoothGradImageSettings) -> str | None:
    return without_gradients(problem)


def prepare(problem: Problem, settings: SmoothGradImageSettings, watch: Watch) -> Prepared:
    """Mean over noisy copies of the gradient's absolute value, the largest of a place's channels.

    A sensitivity, not an attribution: it has no sign and adds up to nothing. In units of the explained output per step
    of a pixel of 0–255. The noise is drawn once and serves every image. The quality measure relative_error is the
    standard error of a map over its size, both as Euclidean norms.

    Source: Smilkov et al. 2017, SmoothGrad: removing noise by adding noise, section 3; absolute values and the largest
    channel as in their figures and in tf-keras-vis, to which it is equal in expectation, before scaling.
    """
    import tensorflow as tf

    shape = (settings.samples, *problem.rows.shape[1:])
    noise = problem.generator("smooth_grad").standard_normal(shape, np.float32) * np.float32(settings.noise)

    def points(image: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        return image + noise * (tf.reduce_max(image) - tf.reduce_min(image))

    def contribution(image: tf.Tensor, gradients: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        return tf.abs(gradients)

    sums = gradient_sums(problem, points, contribution, (noise,), watch)

    def explain(rows: np.ndarray, explained: np.ndarray) -> Saliency:
        maps = np.empty((*explained.shape, *rows.shape[1:3]), np.float32)
        error = np.empty(explained.shape)
        for row, (image, wanted) in enumerate(zip(rows, explained, strict=True)):
            found, _, squares = sums(image, wanted)
            mean = found / settings.samples
            maps[row] = mean.max(axis=-1)
            error[row] = relative_error(mean, squares)
        return Saliency(
            finite(maps, "smooth_grad"),
            quality={"relative_error": error, **map_quality(maps)},
            evaluations=(explained.size + len(rows)) * settings.samples,
        )

    facts = {"samples": settings.samples, "noise": settings.noise, "output": problem.kind}
    said = (
        "SmoothGrad tells how strongly the output answers to a place, not for or against what; it adds up to nothing."
    )
    return Prepared(explain, facts, (said,))


TECHNIQUE = Technique(
    name="smooth_grad",
    title="SmoothGrad",
    modality="image",
    scope="local",
    settings=SmoothGradImageSettings,
    prepare=prepare,
    unfit=unfit,
    batch=16,
    source="Smilkov et al. 2017, https://arxiv.org/abs/1706.03825",
)
