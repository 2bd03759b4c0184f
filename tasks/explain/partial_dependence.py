"""Partial dependence: the mean output over rows when one feature is set to a value; a single row's curve beside it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.explain.base import Effects, Problem, Settings, Technique
from tasks.explain.engine.shapes import (
    BUDGET,
    INTERVAL,
    LEAST_ROWS,
    Axis,
    about_groups,
    about_weights,
    alone,
    answers,
    axis_of,
    effect_rows,
    explained_outputs,
    joined,
    mean_and_error,
    rare_categories,
    replaced,
    sampled,
    unfit_shape,
)
from tasks.watch import Watch

TITLE = "Partial dependence"


class PartialDependenceSettings(Settings):
    points: int = Field(default=20, ge=2, le=1000, description="Values of a number at which it is measured.")
    curves: int = Field(default=30, ge=0, le=1000, description="Rows whose own curves are kept.")
    rows: int = Field(default=1000, ge=1, le=100_000, description="Rows that are averaged, at most.")


def unfit(problem: Problem, settings: PartialDependenceSettings) -> str | None:
    return unfit_shape(problem, "varies")


def prepare(problem: Problem, settings: PartialDependenceSettings, watch: Watch) -> Effects:
    """Friedman's partial dependence with the curves of single rows (individual conditional expectation).

    The average is over a sample of the explained rows, in the explained output's unit: for every point of the grid
    the feature is set to that value in every row. A number's points are quantiles of those rows, or all its values
    where they are few; a null is no point. A category's points are the categories that occur, null among them.
    Standard error and interval are those of the mean over rows. Columns bound in a group are left out.

    scikit-learn's `partial_dependence(method="brute")` gives the same averages on the same grid; its default grid is
    evenly spaced between the 5 % and 95 % quantiles, which may be values that do not occur.
    """
    columns = alone(problem)
    places = sampled(problem, settings.rows, "partial_dependence rows")
    axes = _axes(problem, places, columns, settings.points)
    points = sum(len(axis.positions) for axis in axes)
    if len(places) * points > BUDGET:  # a wide table: fewer rows, so that the cost stays bounded
        places = sampled(problem, max(LEAST_ROWS, BUDGET // points), "partial_dependence fewer rows")
    rows = np.asarray(problem.rows[places], np.float64)
    outputs = explained_outputs(problem, places)
    kept = np.sort(problem.generator("partial_dependence curves").permutation(len(rows))[: settings.curves])
    watch.expect((1 + points) * len(rows))
    found = answers(problem, _questions(rows, axes), outputs, watch)
    level = next(found).mean(axis=0)
    parts: list[pa.Table] = []
    for axis in axes:
        values = np.stack([next(found) for _ in axis.positions]) if len(axis.positions) else None
        if values is not None:
            parts += _tables(problem, axis, values, outputs, kept, places)
    return Effects(
        joined(_by_output(parts, len(outputs))),
        facts={
            "outputs": [problem.outputs[k] for k in outputs],
            "rows": len(rows),
            "curves": len(kept),
            "mean_output": {problem.outputs[k]: float(value) for k, value in zip(outputs, level, strict=True)},
            "rare_categories": rare_categories(axes),
            "interval": INTERVAL,
        },
        limitations=(*about_groups(problem, TITLE), *about_weights(problem, TITLE)),
        evaluations=(1 + points) * len(rows),
    )


def _axes(problem: Problem, places: np.ndarray, columns: list[int], points: int) -> list[Axis]:
    rows = np.asarray(problem.rows[places], np.float64)
    return [axis_of(problem, rows, column, points) for column in columns]


def _questions(rows: np.ndarray, axes: list[Axis]) -> Iterator[tuple[str, np.ndarray]]:
    """The rows as they are, then with each axis set to each of its points."""
    yield "(none)", rows
    for axis in axes:
        for position in axis.positions:
            yield axis.feature.name, replaced(rows, [axis.column], position)


def _tables(
    problem: Problem, axis: Axis, values: np.ndarray, outputs: np.ndarray, kept: np.ndarray, places: np.ndarray
) -> list[pa.Table]:
    """For each output the curve of the mean and those of the rows kept; values: (points, rows, outputs)."""
    p, n, _ = values.shape
    mean, error = mean_and_error(values, axis=1)
    order, texts = np.arange(p), axis.texts
    tables = []
    for k, output in enumerate(outputs):
        about = {"output": problem.outputs[output], "feature": axis.feature.name}
        average = effect_rows(
            p,
            **about,
            effect=mean[:, k],
            error=error[:, k],
            point=order,
            position=axis.positions,
            value=texts,
            n_rows=n,
        )
        single = effect_rows(
            p * len(kept),
            **about,
            effect=values[:, kept, k].T.ravel(),
            row=np.repeat(places[kept], p),
            point=np.tile(order, len(kept)),
            position=np.tile(axis.positions, len(kept)),
            value=texts * len(kept),
        )
        tables.append(pa.concat_tables([average, single]))
    return tables


def _by_output(parts: list[pa.Table], outputs: int) -> list[pa.Table]:
    """Parts that come feature by feature, output by output of each."""
    return [part for k in range(outputs) for part in parts[k::outputs]]


TECHNIQUE = Technique(
    name="partial_dependence",
    title=TITLE,
    modality="table",
    scope="shape",
    settings=PartialDependenceSettings,
    prepare=prepare,
    unfit=unfit,
    source="Friedman 2001, Greedy function approximation, https://doi.org/10.1214/aos/1013203451; Goldstein et al."
    " 2015, Peeking inside the black box, https://doi.org/10.1080/10618600.2014.907095",
)
