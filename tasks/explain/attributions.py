"""Writing `attributions/<technique>`: a line for each row, output and feature, a part of the rows a row group.

What grows with the rows is the file. Beside it a part is held, the model's answers to PREDICTED rows, and the tallies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contracts import TableRef
from tasks.explain.base import Attribution, Importance, Problem
from tasks.explain.parts import Local
from tasks.explain.tallies import Tally
from tasks.persist import Workspace
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.load import Encoder

#: lines that make a row group, and with it a part, at the least
ROW_GROUP = 262_144
#: rows that the model is asked about together for the column `prediction`
PREDICTED = 65_536


@dataclass(frozen=True)
class WrittenAttributions:
    """What `write_attributions` made.

    Attributes:
        importance: mean sizes of the attributions.
        outputs: that occurred, in the model's order.
        quality: measure → its summaries.
    """

    table: TableRef
    importance: Importance
    outputs: tuple[str, ...]
    evaluations: int
    quality: Mapping[str, list[dict[str, Any]]]
    limitations: tuple[str, ...]


def rows_of_part(problem: Problem) -> int:
    """Rows whose lines make a row group."""
    return -(-ROW_GROUP // max(1, problem.explained.shape[1] * len(problem.players)))


def write_attributions(local: Local, encoder: Encoder, workspace: Workspace, watch: Watch) -> WrittenAttributions:
    """Writes a technique's attributions as its parts come.

    Raises:
        OutputError: the model or the technique came to NaN or infinity.
        StorageError, Stopped, DeadlinePassed.
    """
    problem = local.problem
    size = Tally(problem.outputs, len(problem.players))
    quality: dict[str, Tally] = {}
    notes: dict[str, int] = {}
    evaluations = 0
    lines = _Lines(problem, encoder, local.ids, watch)
    with workspace.table_writer(f"attributions/{local.technique.name}", local.ids.type) as writer:
        for rows, found in local.parts(watch):
            explained = problem.explained[rows]
            size.add(explained, np.abs(found.values))
            for measure, values in found.quality.items():
                quality.setdefault(measure, Tally(problem.outputs, 1)).add(explained, values[..., None])
            for sentence, holds in found.notes.items():
                notes[sentence] = notes.get(sentence, 0) + int(np.sum(holds))
            evaluations += found.evaluations
            writer.write(lines.of(rows, found))
    assert writer.ref is not None
    return WrittenAttributions(
        writer.ref,
        size.importance(),
        size.outputs,
        evaluations,
        {measure: tally.summaries() for measure, tally in quality.items()},
        tuple(f"{sentence} ({count} of {len(problem.rows)} rows)." for sentence, count in notes.items() if count),
    )


@dataclass
class _Lines:
    """Makes the lines of consecutive rows: row by row, output by output, player by player."""

    problem: Problem
    encoder: Encoder
    ids: pa.Array
    watch: Watch
    _asked: range = range(0)
    _answers: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    def of(self, rows: slice, found: Attribution) -> pa.Table:
        problem = self.problem
        n, m, g = found.values.shape
        explained = problem.explained[rows]
        row = pa.array(np.repeat(np.arange(n, dtype=np.int32), m * g))
        return pa.table(
            {
                "row_id": self.ids.slice(rows.start, n).take(row),
                "output": pa.array(problem.outputs).take(pa.array(np.repeat(explained.ravel(), g))),
                "feature": pa.array([p.name for p in problem.players]).take(
                    pa.array(np.tile(np.arange(g, dtype=np.int32), n * m))
                ),
                "value": self._values(problem.rows[rows], m),
                "attribution": found.values.ravel(),
                "std_error": pa.nulls(n * m * g, pa.float64())
                if found.std_error is None
                else pa.array(found.std_error.ravel(), from_pandas=True),  # NaN: undefined
                "base_value": np.repeat(found.base.ravel(), g),
                "prediction": np.repeat(self._predictions(rows).ravel(), g),
            }
        )

    def _values(self, codes: np.ndarray, m: int) -> pa.Array:
        """(n · m · g,) the players' values as text; a group's are named: `city = Rome; country = Italy`."""
        problem, n, g = self.problem, len(codes), len(self.problem.players)
        texts = [self.encoder.column_words(codes[:, j], j) for j in range(codes.shape[1])]
        names = [feature.name for feature in problem.features or ()]

        def of(columns: tuple[int, ...]) -> pa.Array:
            if len(columns) == 1:
                return texts[columns[0]]
            told = [pc.binary_join_element_wise(f"{names[j]} =", _or_none(texts[j]), " ") for j in columns]
            return pc.binary_join_element_wise(*told, "; ")

        by_player = pa.concat_arrays([of(player.columns) for player in problem.players])
        place = np.repeat(np.arange(n)[:, None] + np.arange(g)[None, :] * n, m, axis=0)
        return by_player.take(pa.array(place.ravel()))

    def _predictions(self, rows: slice) -> np.ndarray:
        """(n, m) the model's answers. It is asked about many rows at once: a part may be a fraction of its batch."""
        parts = []
        at = rows.start
        while at < rows.stop:
            if at not in self._asked:
                self._ask(at)
            stop = min(rows.stop, self._asked.stop)
            parts.append(self._answers[at - self._asked.start : stop - self._asked.start])
            at = stop
        return np.concatenate(parts) if parts else np.empty((0, self.problem.explained.shape[1]))

    def _ask(self, start: int) -> None:
        problem = self.problem
        rows = slice(start, min(start + PREDICTED, len(problem.rows)))
        answers = problem.predictor(problem.rows[rows], problem.kind, self.watch)
        self._asked, self._answers = (
            range(rows.start, rows.stop),
            np.take_along_axis(answers, problem.explained[rows], axis=1),
        )


def _or_none(texts: pa.Array) -> pa.Array:
    """Null within a group's text is a word, or the whole text would be null."""
    return pc.fill_null(texts, "None")
