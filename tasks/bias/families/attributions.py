"""Which features carry a disparity: the mean attribution of each feature, by group, of each technique and output.

An attributions table may be larger than memory: it is read batch by batch, and only sums are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.bias.measure import MAX_CLASSES, Of
from tasks.bias.rows.groups import Attribute
from tasks.bias.statistics.moments import Means, Moments
from tasks.errors import Incomplete

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from tasks.persist import Workspace

#: lines read at a time
BATCH = 262_144
#: attributes with more groups are not told apart by their attributions
MAX_GROUPS = 250
#: numbers that a technique may have of an attribute: outputs × features × groups
MAX_CELLS = 50_000
METRIC = "mean_attribution"
_LACKING = "no explained row"


def techniques_of(workspace: Workspace) -> tuple[str, ...]:
    """Techniques that wrote attributions, sorted by name."""
    folder = Path(workspace.artifacts) / "attributions"
    return tuple(sorted(file.stem for file in folder.glob("*.parquet") if not file.name.startswith(".")))


@dataclass(frozen=True, eq=False)
class Attributed:
    """The mean attributions of one technique, by group of each attribute.

    Attributes:
        values: an entry an attribute: what → its means by group; empty where there is too much of it.
        left_out: names of attributes that are empty for that reason.
        outputs: how many outputs are left out, past MAX_CLASSES.
    """

    values: tuple[dict[Of, Means], ...]
    left_out: tuple[str, ...]
    outputs: int


def mean_attributions(
    workspace: Workspace,
    technique: str,
    row_id: pa.Array,
    attributes: Sequence[Attribute],
    weight: np.ndarray | None,
    confidence: float,
    tick: Callable[[], None] = lambda: None,
) -> Attributed:
    """The mean attribution of every feature over each group's explained rows, Σwφ/Σw, with Student's interval.

    Args:
        row_id: (n,) of the audited rows.
        attributes: partitions of those rows.
        weight: (n,) ≥ 0, or None.
        tick: called after each batch.

    Raises:
        Incomplete: the table has a row that was not audited.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(
        workspace.table_path(f"attributions/{technique}"), read_dictionary=["output", "feature"]
    ) as file:
        outputs, features = _names(file)
        told = outputs[:MAX_CLASSES]
        of_cell = [(output, feature) for output in told for feature in features]
        fits = [_fits(attribute, len(of_cell)) for attribute in attributes]
        sums = [
            Moments(np.zeros(len(of_cell) * len(a.groups) if fit else 0))
            for a, fit in zip(attributes, fits, strict=True)
        ]
        for number, (row, cell, values) in enumerate(_lines(file, row_id, told, features)):
            shift = _shift(cell, values, len(of_cell)) if number == 0 else None
            for attribute, fit, own in zip(attributes, fits, sums, strict=True):
                if fit:
                    if shift is not None:
                        own.shift = np.repeat(shift, len(attribute.groups))
                    where = cell * len(attribute.groups) + attribute.codes[row]
                    own.add(where, values, None if weight is None else weight[row])
            tick()
    found = [
        {
            Of(METRIC, output, feature, technique): own.measured(
                slice(k * len(attribute.groups), (k + 1) * len(attribute.groups)), confidence, _LACKING
            )
            for k, (output, feature) in enumerate(of_cell)
            if fit
        }
        for attribute, fit, own in zip(attributes, fits, sums, strict=True)
    ]
    left_out = tuple(str(a.name) for a, fit in zip(attributes, fits, strict=True) if not fit)
    return Attributed(tuple(found), left_out, len(outputs) - len(told))


def _fits(attribute: Attribute, cells: int) -> bool:
    return len(attribute.groups) <= MAX_GROUPS and cells * len(attribute.groups) <= MAX_CELLS


def _names(file: pq.ParquetFile) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Outputs and features in the order in which they first come."""
    outputs: dict[str, None] = {}
    features: dict[str, None] = {}
    for batch in file.iter_batches(BATCH, columns=["output", "feature"]):
        outputs |= dict.fromkeys(pc.unique(batch["output"]).to_pylist())
        features |= dict.fromkeys(pc.unique(batch["feature"]).to_pylist())
    return tuple(outputs), tuple(features)


def _lines(
    file: pq.ParquetFile, row_id: pa.Array, outputs: Sequence[str], features: Sequence[str]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Batch by batch: each line's audited row, its cell (output, then feature), its attribution."""
    places = _Places(row_id)
    for batch in file.iter_batches(BATCH, columns=["row_id", "output", "feature", "attribution"]):
        output, feature = _index(batch["output"], outputs), _index(batch["feature"], features)
        coded = batch["row_id"].dictionary_encode()
        row = places.of(coded.dictionary)[coded.indices.to_numpy(zero_copy_only=False)]
        if (row < 0).any():
            raise Incomplete(
                f"{np.count_nonzero(row < 0):,} lines are of rows that were not predicted", where="attributions, row_id"
            )
        values = batch["attribution"].to_numpy(zero_copy_only=False)
        kept = output >= 0
        if not kept.all():
            row, output, feature, values = row[kept], output[kept], feature[kept], values[kept]
        yield row, output * len(features) + feature, values


def _index(column: pa.DictionaryArray, names: Sequence[str]) -> np.ndarray:
    """(n,) place of each text among the names, −1 for another."""
    place = {name: k for k, name in enumerate(names)}
    lookup = np.array([place.get(text, -1) for text in column.dictionary.to_pylist()], np.int64)
    return lookup[column.indices.to_numpy(zero_copy_only=False)]


def _shift(cell: np.ndarray, values: np.ndarray, cells: int) -> np.ndarray:
    """(cells,) a number near each cell's mean."""
    known = np.isfinite(values)
    rows = np.bincount(cell[known], minlength=cells)
    return np.bincount(cell[known], values[known], cells) / np.maximum(rows, 1)


class _Places:
    """Where ids stand among those of the audited rows."""

    def __init__(self, row_id: pa.Array) -> None:
        self.ids = row_id
        self.sorted: np.ndarray | None = None
        if pa.types.is_integer(row_id.type) and not row_id.null_count:
            numbers = row_id.to_numpy(zero_copy_only=False)
            if (numbers[1:] > numbers[:-1]).all():
                self.sorted = numbers

    def of(self, ids: pa.Array) -> np.ndarray:
        """(n,) int64; −1 where an id is not among them."""
        if self.sorted is None:
            found = pc.index_in(ids, value_set=self.ids.cast(ids.type))
            return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        wanted = ids.cast(self.ids.type).to_numpy(zero_copy_only=False)
        place = np.minimum(np.searchsorted(self.sorted, wanted), max(len(self.sorted) - 1, 0))
        return np.where(self.sorted[place] == wanted, place, -1) if len(self.sorted) else np.full(len(wanted), -1)


def explained_rows(row_id: pa.Array, ids: pa.Array) -> np.ndarray:
    """(len(ids),) int64 place of each id among the audited rows, −1 where it is not one of them."""
    return _Places(row_id).of(ids)
