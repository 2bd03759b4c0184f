"""The rows on which explanations are judged, and what each technique says of them, brought to one form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.agreement.explanations import Entry, Explained, Mapped, common_rows
from tasks.agreement.maps import resized
from tasks.agreement.masked import Masked, grid_cells, masked_image, masked_table
from tasks.explain import Problem
from tasks.load import Subject
from tasks.watch import Watch

#: cells on a side of the grid that images are judged on
GRID = 8


@dataclass(frozen=True, eq=False)
class Judged:
    """Rows that every technique explained, each with one output: the highest-scoring of those that all explained.

    Shapes: n rows, g players (features or groups of a table, cells of an image).

    Attributes:
        rows: (n, d) codes or (n, h, w, c) pixels.
        output: (n,) int64 index of the output.
        own: (n,) float64 the output as it is.
        attributions: technique → (n, g) float64 of that output.
        others: technique → (n, g) of another output of the same row; empty with fewer than three classes, or where
            one output a row was explained.
        masked: the output with players away.
        name: of the output, where only one was explained; else None.
        row_id: (n,) of the rows.
    """

    rows: np.ndarray
    output: np.ndarray
    own: np.ndarray
    attributions: Mapping[str, np.ndarray]
    others: Mapping[str, np.ndarray]
    masked: Masked
    name: str | None
    row_id: pa.Array

    @property
    def players(self) -> int:
        return next(iter(self.attributions.values())).shape[1]


def judged_tables(
    subject: Subject,
    problem: Problem,
    explained: Sequence[Explained],
    most: int,
    watch: Watch,
    background: int | None = None,
) -> Judged | None:
    """Up to `most` rows of a table, evenly over those that all techniques explained; None without any.

    Techniques whose features are not the players of the problem are left out.

    Args:
        background: how many of the problem's background rows stand for "away", evenly over them; default: all, as
            for interventional Shapley values.
    """
    names = tuple(player.name for player in problem.players)
    usable = [one for one in explained if set(one.features) == set(names)]
    count = min(background or len(problem.background), len(problem.background))
    away = problem.background[np.linspace(0, len(problem.background) - 1, count).astype(np.int64)]

    def predict(rows: np.ndarray) -> np.ndarray:
        return subject.predictor(rows, problem.kind, watch)

    masked = masked_table(predict, np.ascontiguousarray(away), problem.membership)
    return _judged(subject, problem, usable, lambda e, rows: e.at(rows, names), masked, most, watch)


def judged_images(
    subject: Subject, problem: Problem, mapped: Sequence[Mapped], most: int, watch: Watch
) -> Judged | None:
    """Up to `most` images, evenly over those that all techniques explained, on a grid of cells; None without any."""
    height, width = subject.rows.shape[1:3]
    cells, size = grid_cells(height, width, GRID)
    behind = problem.background.mean(axis=0, dtype=np.float64).astype(np.float32)

    def predict(rows: np.ndarray) -> np.ndarray:
        return subject.predictor(rows, problem.kind, watch)

    masked = masked_image(predict, behind, cells)

    def values(entry: Mapped, rows: np.ndarray) -> np.ndarray:
        return on_grid(entry.maps[rows], size)

    return _judged(subject, problem, mapped, values, masked, most, watch)


def on_grid(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, height, width) maps → (n, cells) float64 means over the cells of a grid."""
    return resized(maps, size).reshape(len(maps), -1)


def _judged(
    subject: Subject,
    problem: Problem,
    entries: Sequence[Entry],
    values: Callable[[Any, np.ndarray], np.ndarray],
    masked: Masked,
    most: int,
    watch: Watch,
) -> Judged | None:
    by_technique: dict[str, dict[str | None, Entry]] = {}
    for one in entries:
        by_technique.setdefault(one.technique, {})[one.output] = one
    ids = _common(list(by_technique.values()), most)
    places, found = common_rows(subject.row_id, ids)
    ids, outputs = ids.take(pa.array(found)), subject.predictor.outputs
    if not len(ids):
        return None
    allowed = np.zeros((len(ids), len(outputs)), bool)
    for place, output in enumerate(outputs):
        if all(output in own for own in by_technique.values()):
            allowed[:, place] = np.all([_has(ids, own[output].row_id) for own in by_technique.values()], axis=0)
    kept = np.flatnonzero(allowed.any(axis=1))
    if not len(kept):
        return None
    ids, allowed = ids.take(pa.array(kept)), allowed[kept]
    rows = np.ascontiguousarray(subject.rows[places[kept]])
    scores = subject.predictor(rows, problem.kind, watch)
    each = np.arange(len(rows))
    chosen = np.where(allowed, scores, -np.inf).argmax(axis=1)

    def gathered(of: np.ndarray) -> dict[str, np.ndarray]:
        found = {t: _gathered(own, ids, of, outputs, values) for t, own in by_technique.items()}
        return {t: array for t, array in found.items() if np.isfinite(array).all()}

    attributions, others = gathered(chosen), {}
    if len(outputs) > 2 and np.all(allowed.sum(axis=1) > 1):
        # The next one that was explained, the first again after the last.
        ahead = (chosen[:, None] + 1 + np.arange(len(outputs) - 1)) % len(outputs)
        others = gathered(ahead[each, np.take_along_axis(allowed, ahead, axis=1).argmax(axis=1)])
    if not attributions:
        return None
    present = np.flatnonzero(allowed.any(axis=0))
    name = outputs[present[0]] if len(present) == 1 else None
    return Judged(rows, chosen, scores[each, chosen], attributions, others, masked, name, ids)


def _common(techniques: Sequence[Mapping[str | None, Entry]], most: int) -> pa.Array:
    """Ids of up to `most` rows that all techniques explained, evenly over the first one's."""
    every = [pc.unique(pa.concat_arrays([entry.row_id for entry in own.values()])) for own in techniques]
    if not every:
        return pa.array([], pa.int64())
    rows = every[0]
    for other in every[1:]:
        places, _ = common_rows(rows, other)
        rows = rows.take(pa.array(places))
    chosen = np.unique(np.linspace(0, max(len(rows) - 1, 0), min(most, len(rows))).astype(np.int64))
    return rows.take(pa.array(chosen))


def _has(ids: pa.Array, of: pa.Array) -> np.ndarray:
    return pc.is_in(ids, value_set=of.cast(ids.type)).to_numpy(zero_copy_only=False)


def _gathered(
    own: Mapping[str | None, Entry],
    ids: pa.Array,
    of: np.ndarray,
    outputs: Sequence[str],
    values: Callable[[Any, np.ndarray], np.ndarray],
) -> np.ndarray:
    """(n, g) what a technique says of each row's output."""
    parts, order = [], []
    for output in np.unique(of):
        rows = np.flatnonzero(of == output)
        entry = own[outputs[output]]
        _, places = common_rows(ids.take(pa.array(rows)), entry.row_id)
        parts.append(values(entry, places))
        order.append(rows)
    found = np.empty((len(ids), parts[0].shape[1]))
    found[np.concatenate(order)] = np.concatenate(parts)
    return found
