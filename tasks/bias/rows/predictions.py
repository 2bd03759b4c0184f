"""The predictions table, read batch by batch into compact arrays: no column of texts is ever held whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import Incomplete

#: rows of the table that are read together
BATCH = 1 << 18
_HERE = "predictions"


@dataclass(frozen=True, eq=False)
class Predicted:
    """The n rows of the audited head, in the order of the table.

    Attributes:
        row_id: (n,) in their own type.
        outputs: names of the head's outputs, in the order of their first row.
        scores: (n, outputs) float64.
        texts: what labels and decisions say, in the order of their first row.
        label: (n,) int32 index into texts, −1 where missing; all −1 of a regression.
        decision: (n,) int32 index into texts, −1 where missing.
        truth: (n,) float64 label of a regression, NaN where missing; None otherwise.
    """

    row_id: pa.Array
    outputs: tuple[str, ...]
    scores: np.ndarray
    texts: tuple[str, ...]
    label: np.ndarray
    decision: np.ndarray
    truth: np.ndarray | None


def read_predictions(path: str | Path, *, target: str, classes: Sequence[str], numbers: bool) -> Predicted:
    """Reads the table.

    Args:
        target: name of the target column: of several heads that of its name is audited, else the first.
        classes: as declared; a class may have a slash in its own name and is then no head.
        numbers: labels are numbers (regression).

    Raises:
        Incomplete: the table is empty, outputs have different rows, or a label of a regression is no number.
    """
    import pyarrow.parquet as pq

    coded = ["output", "decision", *([] if numbers else ["y_true"])]
    with pq.ParquetFile(path, read_dictionary=coded) as file:
        if file.metadata.num_rows == 0:
            raise Incomplete("the predictions are empty", where=_HERE, code="no_predictions")
        outputs = _distinct(file, "output")
        audited = _audited(outputs, target, classes, file)
        read = _Reader(audited, numbers)
        size = max(1, BATCH // len(outputs)) * len(outputs)  # the outputs of a row lie side by side
        for batch in file.iter_batches(size):
            read.add(batch)
    return read.found(tuple(name.partition("/")[2] for name in audited) if len(audited) < len(outputs) else audited)


def _distinct(file: object, column: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for batch in file.iter_batches(BATCH, columns=[column]):  # type: ignore[attr-defined]
        found.update(dict.fromkeys(batch.column(0).unique().drop_null().to_pylist()))
    return tuple(found)


def _audited(outputs: tuple[str, ...], target: str, classes: Sequence[str], file: object) -> tuple[str, ...]:
    """Of several heads (`head/class`) the outputs of the one named like the target, else of the first."""
    heads = [name.partition("/")[0] for name in outputs]
    if len(set(heads)) < 2 or not all("/" in name for name in outputs):
        return outputs
    if set(outputs) & {*classes, *_distinct(file, "y_true")}:  # a class may have a slash in its own name
        return outputs
    head = target if target in heads else heads[0]
    return tuple(name for name, own in zip(outputs, heads, strict=True) if own == head)


class _Reader:
    """Takes batches, gives arrays."""

    def __init__(self, outputs: tuple[str, ...], numbers: bool) -> None:
        self._outputs, self._numbers = outputs, numbers
        self._ids: list[list[pa.Array]] = [[] for _ in outputs]
        self._scores: list[list[np.ndarray]] = [[] for _ in outputs]
        self._place: dict[str, int] = {}
        self._labels: list[np.ndarray] = []
        self._decisions: list[np.ndarray] = []

    def add(self, batch: pa.RecordBatch) -> None:
        ids, scores = batch.column("row_id"), batch.column("score").to_numpy(zero_copy_only=False)
        for k, own in enumerate(self._rows(batch.column("output"))):
            mine = ids if len(own) == len(ids) else ids.take(pa.array(own))
            if k == 0:
                first = mine
                self._labels.append(self._truth(batch.column("y_true"))[own])
                self._decisions.append(self._codes(batch.column("decision"))[own])
            self._ids[k].append(first if k and mine.equals(first) else mine)
            self._scores[k].append(scores[own].astype(np.float64))

    def _rows(self, column: pa.DictionaryArray) -> Iterator[np.ndarray]:
        """For each output its rows of this batch."""
        place = {name: k for k, name in enumerate(self._outputs)}
        lookup = np.array(
            [*(place.get(str(text), -1) for text in column.dictionary.to_pylist()), place.get("None", -1)]
        )
        codes = lookup[column.indices.fill_null(len(lookup) - 1).to_numpy(zero_copy_only=False)]
        for k in range(len(self._outputs)):
            yield np.flatnonzero(codes == k)

    def _codes(self, column: pa.DictionaryArray) -> np.ndarray:
        lookup = [self._place.setdefault(text, len(self._place)) for text in column.dictionary.to_pylist()]
        found = np.array([*lookup, -1], np.int32)
        return found[column.indices.fill_null(len(lookup)).to_numpy(zero_copy_only=False)]

    def _truth(self, column: pa.Array) -> np.ndarray:
        if not self._numbers:
            return self._codes(column)
        try:
            numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid as error:
            raise Incomplete(
                f"a label of a regression is not a number ({error})", where=_HERE, code="label_not_a_number"
            ) from error
        return np.where(np.isfinite(numbers), numbers, np.nan)

    def found(self, names: tuple[str, ...]) -> Predicted:
        """Everything that was added."""
        row_id = pa.concat_arrays(self._ids[0])
        scores = np.empty((len(row_id), len(names)))
        for k, parts in enumerate(self._scores):
            ids = self._ids[k]
            same = all(mine is first for mine, first in zip(ids, self._ids[0], strict=True))
            if same:
                scores[:, k] = np.concatenate(parts)
            else:
                scores[_among(row_id, pa.concat_arrays(ids), names[k], names[0]), k] = np.concatenate(parts)
            parts.clear()
        label = np.concatenate(self._labels)
        return Predicted(
            row_id, names, scores, tuple(self._place), np.full(len(label), -1, np.int32) if self._numbers else label,
            np.concatenate(self._decisions), label if self._numbers else None,
        )  # fmt: skip


def _among(first: pa.Array, own: pa.Array, name: str, first_name: str) -> np.ndarray:
    """(n,) the row of each of an output's rows."""
    place = pc.index_in(own, first)
    if len(own) != len(first) or place.null_count or len(pc.unique(place)) < len(place):
        raise Incomplete(f"output {name} has other rows than {first_name}", where=_HERE)
    return place.to_numpy(zero_copy_only=False)
