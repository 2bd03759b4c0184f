"""Accumulated local effects: how the output changes along a feature where rows really are, added up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    rare_categories,
    replaced,
    sampled,
    spread,
    unfit_shape,
)
from tasks.watch import Watch

TITLE = "Accumulated local effects"
#: quantiles at which two distributions are compared to order categories
_QUANTILES = 100
#: other features, and rows, that the order of categories is taken from, at most
_COMPARED, _COMPARED_ROWS = 64, 2000


class AleSettings(Settings):
    intervals: int = Field(default=20, ge=1, le=1000, description="Intervals of a number, of about equally many rows.")
    rows: int = Field(default=5000, ge=1, le=1_000_000, description="Rows that are used, at most.")


def unfit(problem: Problem, settings: AleSettings) -> str | None:
    return unfit_shape(problem, "varies")


@dataclass(frozen=True)
class Steps:
    """The local changes along an axis.

    Attributes:
        axis: its positions in the order in which changes are added up.
        rows: (r,) places of the rows that take part, one or two entries a row.
        step: (r,) 1…: the step from position `step − 1` to `step` that an entry measures.
        before, after: (r,) what the feature is set to.
        shares: (p,) of the rows, at each position: what centring weighs it with.
        counts: (p,) int64 rows behind each position.
    """

    axis: Axis
    rows: np.ndarray
    step: np.ndarray
    before: np.ndarray
    after: np.ndarray
    shares: np.ndarray
    counts: np.ndarray


def prepare(problem: Problem, settings: AleSettings, watch: Watch) -> Effects:
    """First-order effects as Apley and Zhu define them, in the explained output's unit, centred to a mean of 0.

    A number is cut at quantiles that occur; within an interval, each of its rows is moved to either end, and the
    mean difference is the interval's local effect. `n_rows` are the rows of the interval that ends at a point; at
    the first point, those of the first. A null takes no part. Categories are ordered by how similar the other
    features are distributed among their rows (the paper's order: distances as Kolmogorov–Smirnov or half the sum of
    differences in share, put on a line by classical scaling); a row is moved to the category before and after its
    own. `n_rows` are then the category's rows. Where others differ: R's ALEPlot cuts at quantiles between values.

    The standard error comes from the spread of the local changes within each step, the shares taken as given; a
    step of one row takes the spread of all steps.
    """
    columns = alone(problem)
    most = max(LEAST_ROWS, BUDGET // (2 * len(columns)))
    places = sampled(problem, min(settings.rows, most), "ale rows")
    rows = np.asarray(problem.rows[places], np.float64)
    outputs = explained_outputs(problem, places)
    walks = []
    for column in columns:
        walks.append(_steps(problem, rows, column, settings.intervals))
        watch.advance(0)
    evaluations = len(rows) + sum(2 * len(walk.rows) for walk in walks)
    watch.expect(evaluations)
    found = answers(problem, _questions(rows, walks), outputs, watch)
    level = next(found).mean(axis=0)
    parts: list[list[pa.Table]] = [[] for _ in outputs]
    for walk in walks:
        p = len(walk.axis.positions)
        if not p:
            continue
        changes = next(found)
        changes = next(found) - changes
        for k, output in enumerate(outputs):
            effect, error = accumulated(changes[:, k], walk.step, walk.shares)
            parts[k].append(
                effect_rows(
                    p,
                    output=problem.outputs[output],
                    feature=walk.axis.feature.name,
                    effect=effect,
                    error=error,
                    point=np.arange(p),
                    position=walk.axis.positions,
                    value=walk.axis.texts,
                    n_rows=walk.counts,
                )
            )
    axes = [walk.axis for walk in walks]
    return Effects(
        joined([part for of_output in parts for part in of_output]),
        facts={
            "outputs": [problem.outputs[k] for k in outputs],
            "rows": len(rows),
            "mean_output": {problem.outputs[k]: float(value) for k, value in zip(outputs, level, strict=True)},
            "rare_categories": rare_categories(axes),
            "interval": INTERVAL,
        },
        limitations=(*about_groups(problem, TITLE), *about_weights(problem, TITLE)),
        evaluations=evaluations,
    )


def _questions(rows: np.ndarray, walks: list[Steps]) -> Iterator[tuple[str, np.ndarray]]:
    yield "(none)", rows
    for walk in walks:
        if len(walk.axis.positions):
            for values in (walk.before, walk.after):
                yield walk.axis.feature.name, replaced(rows[walk.rows], [walk.axis.column], values[:, None])


def accumulated(changes: np.ndarray, step: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean changes of each step added up and centred, and their standard errors.

    Args:
        changes: (r,) differences of the output.
        step: (r,) 1…p−1, which step each belongs to; every step has at least one.
        shares: (p,) weights of the positions, which add up to 1.

    Returns:
        (p,) effects whose mean by `shares` is 0, (p,) standard errors, NaN where no step has two changes.
    """
    p = len(shares)
    n = np.bincount(step, minlength=p)[1:]
    mean = np.bincount(step, changes, minlength=p)[1:] / n
    squares = np.bincount(step, (changes - mean[step - 1]) ** 2, minlength=p)[1:]
    # (p, p − 1): what each step adds to each position, less what it adds on average
    adds = np.tri(p, p - 1, -1)
    adds = adds - shares @ adds
    spare = (n - 1).sum()
    pooled = squares.sum() / spare if spare else np.nan
    variance = np.where(n > 1, squares / np.maximum(n - 1, 1), pooled)
    return adds @ mean, np.sqrt(adds**2 @ (variance / n))


# ---------------------------------------------------------------- the steps along an axis


def _steps(problem: Problem, rows: np.ndarray, column: int, intervals: int) -> Steps:
    assert problem.features is not None
    if problem.features[column].kind == "number":
        return number_steps(problem, rows, column, intervals)
    return category_steps(problem, rows, column)


def number_steps(problem: Problem, rows: np.ndarray, column: int, intervals: int) -> Steps:
    """Each row with a value moves to both ends of its interval, which is closed above; the first one below, too."""
    assert problem.features is not None
    values = rows[:, column]
    own = np.flatnonzero(np.isfinite(values))
    values = values[own]
    edges = spread(values, intervals + 1)
    if len(edges) > 1:  # from the least to the greatest value
        edges[0], edges[-1] = values.min(), values.max()
    axis = Axis(column, problem.features[column], edges)
    if len(edges) < 2:  # a constant, or no value at all
        none = np.zeros(0, np.int64)
        counts = np.full(len(edges), len(own))
        return Steps(axis, none, none, np.zeros(0), np.zeros(0), np.ones(len(edges)), counts)
    step = np.maximum(np.searchsorted(edges, values, side="left"), 1)
    counts = np.bincount(step, minlength=len(edges))
    shares = (counts + np.append(counts[1:], 0)) / (2 * len(own))
    counts[0] = counts[1]
    return Steps(axis, own, step, edges[step - 1], edges[step], shares, counts)


def category_steps(problem: Problem, rows: np.ndarray, column: int) -> Steps:
    """Each row moves one category up and one down in the order of similarity, where there is one."""
    axis = axis_of(problem, rows, column, 0)
    order = category_order(problem, rows, column, axis.positions)
    codes = axis.positions[order]
    rank = np.full(int(codes.max()) + 1, -1)
    rank[codes.astype(np.int64)] = np.arange(len(codes))
    values = rows[:, column].astype(np.int64)
    known = np.flatnonzero(values < len(rank))
    own = known[rank[values[known]] >= 0]
    place = rank[values[own]]
    up, down = place < len(codes) - 1, place > 0
    step = np.concatenate([place[up] + 1, place[down]])
    counts = np.bincount(place, minlength=len(codes))
    return Steps(
        replace(axis, positions=codes),
        np.concatenate([own[up], own[down]]),
        step,
        codes[step - 1] if len(codes) > 1 else np.zeros(0),
        codes[step] if len(codes) > 1 else np.zeros(0),
        counts / counts.sum(),
        counts,
    )


def category_order(problem: Problem, rows: np.ndarray, column: int, codes: np.ndarray) -> np.ndarray:
    """(c,) places of the codes in the order in which similar categories are neighbours.

    The first of the codes comes before the last one: the direction of the order means nothing. Of many other features
    every so many are looked at.
    """
    assert problem.features is not None
    distance = np.zeros((len(codes), len(codes)))
    if len(codes) > 2:
        rows = rows[:_COMPARED_ROWS]
        member = rows[:, column] == codes[:, None]
        others = [j for j in range(len(problem.features)) if j != column]
        for j in others[:: -(-len(others) // _COMPARED)] if others else []:
            distance += _distances(rows[:, j], member, number=problem.features[j].kind == "number")
    if not distance.any():
        return np.arange(len(codes))
    squared = distance**2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()
    _, vectors = np.linalg.eigh(-centred / 2)
    line = np.round(vectors[:, -1], 9)
    return np.argsort(-line if line[0] > line[-1] else line, kind="stable")


def _distances(values: np.ndarray, member: np.ndarray, *, number: bool) -> np.ndarray:
    """(c, c) how differently values are distributed in the rows of each category; member: (c, rows)."""
    if number:
        finite = np.isfinite(values)
        cuts = np.unique(np.quantile(values[finite], np.linspace(0, 1, _QUANTILES))) if finite.any() else np.zeros(0)
        held = (values <= cuts[:, None]) & finite
        member = member & finite
    else:
        held = values == np.unique(values)[:, None]
    total = np.maximum(member.sum(axis=1), 1)
    shares = (member.astype(np.float64) @ held.T.astype(np.float64)) / total[:, None]
    apart = np.abs(shares[:, None] - shares[None])
    if not apart.shape[-1]:
        return np.zeros(apart.shape[:2])
    return apart.max(axis=-1) if number else apart.sum(axis=-1) / 2


TECHNIQUE = Technique(
    name="ale",
    title=TITLE,
    modality="table",
    scope="shape",
    settings=AleSettings,
    prepare=prepare,
    unfit=unfit,
    source="Apley and Zhu 2020, Visualizing the effects of predictor variables in black box supervised learning"
    " models, https://doi.org/10.1111/rssb.12377",
)
