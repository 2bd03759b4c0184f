"""Integrated gradients of a table: what each feature adds on the straight way from a baseline to the row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from tasks.explain.base import Attribution, Prepared, Problem, Settings, Technique
from tasks.explain.engine.encoded_gradients import (
    encoded_gradients,
    mean_of_background,
    outputs_at,
    players_of_columns,
    without_gradients,
)
from tasks.explain.engine.gradients import path_rule
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf


class IntegratedGradientsSettings(Settings):
    steps: int = Field(50, ge=1, le=10_000, description="Points on the way from the baseline to the row.")
    baseline: Literal["background", "zero"] = Field(
        "background", description="background: the mean of the encoded background rows; zero: 0 in every column."
    )


def unfit(problem: Problem, settings: IntegratedGradientsSettings) -> str | None:
    return without_gradients(problem)


def prepare(problem: Problem, settings: IntegratedGradientsSettings, watch: Watch) -> Prepared:
    """(x − b) times the mean gradient on the way from baseline b to row x, in encoded columns, summed to players.

    In units of the explained output; `base` is f(b). The quality measure completeness_error is how far a row's values
    are from adding up to f(x) − f(b), by the finite number of steps.

    The baseline is one point: the mean of the encoded background rows, a category's columns then being its shares. It
    is not f's mean over the background that the values start from, as in SHAP.

    Source: Sundararajan, Taly and Yan 2017, Axiomatic attribution for deep networks, equation 1. Where they average
    over equal steps, here is Gauss and Legendre's rule: on networks with kinks the mean gap is the same, the largest is
    a fifth.
    """
    import tensorflow as tf

    base = mean_of_background(problem)
    if settings.baseline == "zero":
        base = np.zeros_like(base)
    start = tf.constant(base, tf.float32)
    places, weights = (tf.constant(part[:, np.newaxis], tf.float32) for part in path_rule(settings.steps))
    weights = tf.transpose(weights)
    owned = tf.constant(players_of_columns(problem))

    def points(rows: tf.Tensor) -> tf.Tensor:
        return start + places * (rows - start)

    def reduce(rows: tf.Tensor, gradients: tf.Tensor) -> tuple[tf.Tensor]:
        # A product for each row: the order in which TensorFlow sums over a middle axis depends on the row's place.
        values = (rows - start) * tf.matmul(weights, gradients)[:, 0]
        return (tf.matmul(tf.cast(values, tf.float64), owned),)

    gradients = encoded_gradients(problem, settings.steps, points, reduce, watch)
    nothing = outputs_at(problem, base[np.newaxis])[0]

    def explain(rows: np.ndarray, explained: np.ndarray) -> Attribution:
        (values,) = gradients(rows, explained)
        own = np.take_along_axis(problem.predictor(rows, problem.kind, watch), explained, axis=1)
        gap = np.abs(values.sum(axis=2) - (own - nothing[explained]))
        spent = len(rows) * (1 + settings.steps * (1 + explained.shape[1]))
        return Attribution(values, nothing[explained], quality={"completeness_error": gap}, evaluations=spent)

    facts = {"steps": settings.steps, "baseline": settings.baseline, "background": len(problem.background)}
    said = {
        "background": "Integrated gradients start from one baseline, the mean of the encoded background rows, which no"
        " row need be like; SHAP starts from every background row in turn.",
        "zero": "Integrated gradients start from one baseline, 0 in every encoded column, which no row need be like.",
    }
    return Prepared(explain, facts, (said[settings.baseline],), evaluations=1)


TECHNIQUE = Technique(
    name="integrated_gradients",
    title="Integrated gradients",
    modality="table",
    scope="local",
    settings=IntegratedGradientsSettings,
    prepare=prepare,
    unfit=unfit,
    source="Sundararajan, Taly and Yan 2017, https://proceedings.mlr.press/v70/sundararajan17a.html",
)
