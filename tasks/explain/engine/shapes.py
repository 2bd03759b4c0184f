"""What the techniques of global shape share: the rows, the axes, many questions in few calls, rows of `effects`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tasks.contracts import MISSING, TABLES
from tasks.errors import OutputError
from tasks.explain.base import Problem
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.load import Feature

#: half of a 95 % interval, in standard errors
HALF = NormalDist().inv_cdf(0.975)
INTERVAL = "95 % over rows (normal)"
#: coded values that wait for a call of the model: enough for full batches, little beside the model's own
STACK = 4_000_000
#: categories of a feature that are explained: the most frequent
MOST_CATEGORIES = 30
#: evaluations that a technique spends by itself; where features are many, it takes fewer rows
BUDGET = 4_000_000
LEAST_ROWS = 100
_NAMED = 10


@dataclass(frozen=True)
class Axis:
    """A feature and where on it the model is asked.

    Attributes:
        column: of the coded matrix.
        feature: what it is.
        positions: (p,) rising numbers, or codes of categories; none where no row has a value.
        left_out: texts of categories that occur but are too rare to be among those explained.
    """

    column: int
    feature: Feature
    positions: np.ndarray
    left_out: tuple[str, ...] = ()

    @property
    def texts(self) -> list[str]:
        """The positions as text."""
        return [text_of(self.feature, position) for position in self.positions]


# ---------------------------------------------------------------- rows and axes


def unfit_shape(problem: Problem, what: str) -> str | None:
    """Why a technique that needs axes does not fit, or None."""
    if problem.features is None:
        return f"it {what} columns of a table; the model takes images"
    if not alone(problem):
        return "every feature belongs to a group (explain.feature_groups), and a group has no axis of its own"
    return None


def alone(problem: Problem) -> list[int]:
    """Columns that are explained by themselves, not bound in a group."""
    return [player.columns[0] for player in problem.players if len(player.columns) == 1]


def about_groups(problem: Problem, title: str) -> tuple[str, ...]:
    """What to say of players that have no axis."""
    bound = [player.name for player in problem.players if len(player.columns) > 1]
    if not bound:
        return ()
    told = ", ".join(bound)
    return (f"{title}: columns that are explained as one have no common axis and are left out: {told}.",)


def about_weights(problem: Problem, title: str) -> tuple[str, ...]:
    """What to say where rows have weights."""
    return () if problem.weight is None else (f"{title}: every row counts once; data.weight is not used.",)


def sampled(problem: Problem, wanted: int, purpose: str) -> np.ndarray:
    """(r,) int64, rising: places of at most `wanted` rows of the problem, a simple random sample."""
    n = len(problem.rows)
    if wanted >= n:
        return np.arange(n)
    return np.sort(problem.generator(purpose).choice(n, wanted, replace=False))


def explained_outputs(problem: Problem, places: np.ndarray) -> np.ndarray:
    """Indices of the outputs that are explained for any of the rows at these places."""
    return np.unique(problem.explained[places])


def axis_of(problem: Problem, rows: np.ndarray, column: int, points: int, categories: int = MOST_CATEGORIES) -> Axis:
    """At most `points` numbers that occur, or the categories that occur, the most frequent ones where they are many."""
    assert problem.features is not None
    feature, values = problem.features[column], rows[:, column]
    if feature.kind == "number":
        return Axis(column, feature, spread(values, points))
    codes, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rare = tuple(text_of(feature, code) for code in codes[order[categories:]])
    return Axis(column, feature, np.sort(codes[order[:categories]]), rare)


def spread(values: np.ndarray, wanted: int) -> np.ndarray:
    """At most `wanted` of the finite values, rising: quantiles, and all of them where they are few.

    Quantiles are values that occur, so that an integer stays one. Where ties leave fewer, what is free goes to
    quantiles of the values not yet taken: a feature that is nearly always 0 is seen where it is not 0, too.
    """
    ordered = np.sort(values[np.isfinite(values)])
    distinct = np.unique(ordered)
    if len(distinct) <= wanted:
        return distinct
    taken = np.unique(ordered[_evenly(len(ordered), wanted)])
    free = wanted - len(taken)
    if free:
        rest = np.setdiff1d(distinct, taken, assume_unique=True)
        taken = np.union1d(taken, rest[_evenly(len(rest), free)])
    return taken


def _evenly(n: int, k: int) -> np.ndarray:
    """(k,) places among n, at the middles of k equal parts; equal places where k > n."""
    return (2 * np.arange(k) + 1) * n // (2 * k)


def text_of(feature: Feature, position: float) -> str:
    """A number or a code as text."""
    if feature.kind == "category":
        code = int(position)
        return MISSING if code >= feature.null_code else feature.categories[code]
    return str(int(position)) if feature.integer and float(position).is_integer() else repr(float(position))


def rare_categories(axes: Iterable[Axis]) -> dict[str, dict[str, Any]]:
    """Facts: per feature how many categories are left out as too rare, and some of their names."""
    return {
        axis.feature.name: {"categories": len(axis.left_out), "named": list(axis.left_out[:_NAMED])}
        for axis in axes
        if axis.left_out
    }


# ---------------------------------------------------------------- asking the model


def answers(
    problem: Problem, asked: Iterable[tuple[str, np.ndarray]], outputs: np.ndarray, watch: Watch
) -> Iterator[np.ndarray]:
    """The chosen outputs, (r, len(outputs)) float64, of each matrix of rows, in order; many share a call of the model.

    Args:
        asked: (what varies, for a message; (r, d) coded rows).

    Raises:
        OutputError: the model returned NaN or infinity; `values` say what varied.
        Stopped, DeadlinePassed: the watch says so.
    """
    d = problem.rows.shape[1]
    lot = max(1, min(4 * problem.predictor.batch, STACK // d))
    waiting: list[tuple[str, np.ndarray]] = []
    size = 0
    for question in asked:
        waiting.append(question)
        size += len(question[1])
        if size >= lot:
            yield from _answered(problem, waiting, outputs)
            watch.advance(size)
            waiting, size = [], 0
    if waiting:
        yield from _answered(problem, waiting, outputs)
        watch.advance(size)


def _answered(problem: Problem, asked: list[tuple[str, np.ndarray]], outputs: np.ndarray) -> list[np.ndarray]:
    ends = np.cumsum([len(rows) for _, rows in asked])
    try:
        found = problem.predictor(np.concatenate([rows for _, rows in asked]), problem.kind)[:, outputs]
    except OutputError as error:
        places = np.searchsorted(ends, [int(str(place)) for place in error.values], side="right")
        raise OutputError(
            "the model returned NaN or infinity for rows in which one feature was changed",
            where="model.path",
            values=list(dict.fromkeys(asked[place][0] for place in places)),
            hint="look at the model's answer to rows that do not occur",
        ) from error
    return np.split(found, ends[:-1])


def replaced(rows: np.ndarray, columns: Sequence[int], values: Any) -> np.ndarray:
    """A copy of the rows with these columns set to the values."""
    changed = rows.copy()
    changed[:, list(columns)] = values
    return changed


# ---------------------------------------------------------------- the table


def effect_rows(
    size: int,
    *,
    output: str,
    feature: str,
    effect: np.ndarray,
    point: np.ndarray | None = None,
    position: np.ndarray | None = None,
    value: Sequence[str] | None = None,
    error: np.ndarray | None = None,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
    n_rows: np.ndarray | int = 1,
    row: np.ndarray | None = None,
    with_feature: str | None = None,
    with_position: np.ndarray | None = None,
    with_value: Sequence[str] | None = None,
    measure: str = "effect",
) -> pa.Table:
    """`size` rows of `effects`; NaN and what is not given are null.

    `row_id` holds the place of a row among the problem's rows: the stage makes the row's id of it. Where an error is
    given and no interval, the interval is the normal one of 95 %.
    """
    if error is not None and low is None and high is None:
        low, high = effect - HALF * error, effect + HALF * error

    def column(values: Any, kind: pa.DataType) -> pa.Array:
        return pa.nulls(size, kind) if values is None else pa.array(values, kind, from_pandas=True)

    real, text = pa.float64(), pa.string()
    return pa.table(
        {
            "row_id": column(row, pa.int64()),
            "output": pa.repeat(pa.scalar(output, text), size),
            "feature": pa.repeat(pa.scalar(feature, text), size),
            "with_feature": pa.repeat(pa.scalar(with_feature, text), size),
            "measure": pa.repeat(pa.scalar(measure, text), size),
            "point": column(point, pa.int64()),
            "position": column(position, real),
            "value": column(value, text),
            "with_position": column(with_position, real),
            "with_value": column(with_value, text),
            "effect": column(effect, real),
            "std_error": column(error, real),
            "ci_low": column(low, real),
            "ci_high": column(high, real),
            "n_rows": column(np.broadcast_to(n_rows, (size,)), pa.int64()),
        }
    )


def joined(parts: list[pa.Table]) -> pa.Table:
    """The parts as one table, which may be empty."""
    return pa.concat_tables(parts) if parts else TABLES["effects"].empty_table()


def mean_and_error(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean over an axis of n values and its standard error; NaN where n is 1."""
    n = values.shape[axis]
    mean = values.mean(axis=axis)
    error = values.std(axis=axis, ddof=1) / np.sqrt(n) if n > 1 else np.full(mean.shape, np.nan)
    return mean, error
