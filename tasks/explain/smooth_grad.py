"""SmoothGrad of a table: the slope of the output about a row, averaged over noise, times the row's distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from tasks.explain.base import Attribution, Prepared, Problem, Settings, Technique
from tasks.explain.engine.encoded_gradients import (
    encoded,
    encoded_gradients,
    mean_of_background,
    outputs_at,
    players_of_columns,
    without_gradients,
)
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf


class SmoothGradSettings(Settings):
    samples: int = Field(50, ge=4, le=10_000, multiple_of=2, description="Noisy copies of a row.")
    noise: float = Field(
        0.5,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="Standard deviation of the noise, in those of each encoded column over the background.",
    )


def unfit(problem: Problem, settings: SmoothGradSettings) -> str | None:
    return without_gradients(problem)


def prepare(problem: Problem, settings: SmoothGradSettings, watch: Watch) -> Prepared:
    """(x − b) times the mean gradient over noisy copies of row x, in encoded columns, summed to players.

    b is the mean of the encoded background rows. As published, SmoothGrad is the mean gradient alone: an amount a unit
    of an encoded column, which cannot be summed to features. Times the distance from b it is what a straight line with
    that slope would have added on the way from b, in units of the explained output. `base` is f(b), yet values do not
    add up to f(x) − f(b) unless the output is such a line: the quality measure completeness_error says by how much.

    The noise is drawn once, in opposite pairs, and serves every row. std_error is that of the mean over pairs.

    Source: Smilkov et al. 2017, SmoothGrad: removing noise by adding noise, section 3; ours are the distance, the
    pairs, and noise by each column's standard deviation where they take a share of the range: heavy tails stretch it.
    """
    import tensorflow as tf

    base = mean_of_background(problem)
    spread = encoded(problem, problem.background).std(axis=0)
    half = settings.samples // 2
    drawn = problem.generator("smooth_grad").standard_normal((half, len(base))) * settings.noise * spread
    noise = tf.constant(np.concatenate([drawn, -drawn]), tf.float32)
    start = tf.constant(base, tf.float32)
    owned, ones = tf.constant(players_of_columns(problem), tf.float32), tf.ones((1, half))

    def points(rows: tf.Tensor) -> tf.Tensor:
        return rows + noise

    def reduce(rows: tf.Tensor, gradients: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pairs = (gradients[:, :half] + gradients[:, half:]) / 2
        values = tf.matmul((rows - start)[:, tf.newaxis] * pairs, owned)
        # A product for each row: the order in which TensorFlow sums over a middle axis depends on the row's place.
        mean = tf.matmul(ones, values) / half
        variance = tf.matmul(ones, (values - mean) ** 2) / (half * (half - 1))
        return mean[:, 0], variance[:, 0]

    gradients = encoded_gradients(problem, settings.samples, points, reduce, watch)
    nothing = outputs_at(problem, base[np.newaxis])[0]

    def explain(rows: np.ndarray, explained: np.ndarray) -> Attribution:
        values, variance = gradients(rows, explained)
        own = np.take_along_axis(problem.predictor(rows, problem.kind, watch), explained, axis=1)
        gap = np.abs(values.sum(axis=2) - (own - nothing[explained]))
        spent = len(rows) * (1 + settings.samples * (1 + explained.shape[1]))
        return Attribution(
            values, nothing[explained], np.sqrt(variance), {"completeness_error": gap}, evaluations=spent
        )

    facts = {"samples": settings.samples, "noise": settings.noise, "background": len(problem.background)}
    said = (
        "SmoothGrad's values are slopes near the row times its distance from the mean background row; they do not add"
    )
    return Prepared(explain, facts, (f"{said} up to the prediction.",), evaluations=1)


TECHNIQUE = Technique(
    name="smooth_grad",
    title="SmoothGrad",
    modality="table",
    scope="local",
    settings=SmoothGradSettings,
    prepare=prepare,
    unfit=unfit,
    source="Smilkov et al. 2017, https://arxiv.org/abs/1706.03825",
)
