"""Reading what the techniques wrote: attributions, maps and importances as arrays that can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.agreement.maps import resized
from tasks.persist import Workspace

if TYPE_CHECKING:
    import pyarrow.parquet as pq

#: more rows than this do not make a mean over rows more useful; they are then taken evenly over the table
MOST_ROWS = 20_000
#: lines read at a time
BATCH = 65_536
#: maps of an output that are compared: they are large, and a mean over more of them is no more useful
MOST_MAPS = 200
#: side of the grid that larger maps are brought to while they are read
MOST_SIDE = 32
_MAPS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Explained:
    """A technique's attributions of one output.

    Attributes:
        output: None where it is each row's highest-scoring one among those explained (`decided`).
        row_id: (n,) in the order of the table.
        features: d names.
        values: (n, d) float64, NaN where the technique has none.
        base, prediction: (n,) float64, NaN where the technique has none.
    """

    technique: str
    output: str | None
    row_id: pa.Array
    features: tuple[str, ...]
    values: np.ndarray
    base: np.ndarray
    prediction: np.ndarray

    def at(self, rows: np.ndarray, features: tuple[str, ...] | None = None) -> np.ndarray:
        """(len(rows), len(features)) attributions of these rows and features."""
        columns = [self.features.index(name) for name in features or self.features]
        return self.values[rows][:, columns]


@dataclass(frozen=True, eq=False)
class Mapped:
    """A technique's saliency maps of one output (None: as for `Explained`): (n, height, width), of one size."""

    technique: str
    output: str | None
    row_id: pa.Array
    maps: np.ndarray


Entry = Explained | Mapped


@dataclass(frozen=True, eq=False)
class Ranked:
    """A technique's importance of the features, of one output or of the model as a whole (output None)."""

    technique: str
    output: str | None
    features: tuple[str, ...]
    values: np.ndarray
    n_rows: int


def techniques_of(workspace: Workspace, family: str) -> tuple[str, ...]:
    """Techniques that have a table of the family (`attributions`, `saliency`), sorted by name."""
    folder = Path(workspace.artifacts) / family
    return tuple(sorted(file.stem for file in folder.glob("*.parquet") if not file.name.startswith(".")))


def read_attributions(workspace: Workspace, technique: str) -> list[Explained]:
    """A technique's attributions, an entry an output, in the order in which the outputs first come.

    Of an output with more than MOST_ROWS rows some are taken, evenly over the table; no more than those are held.

    Raises:
        ValueError: the table is not a whole number of rows of the same features.
    """
    import pyarrow.parquet as pq

    path = workspace.table_path(f"attributions/{technique}")
    with pq.ParquetFile(path, read_dictionary=["output", "feature"]) as file:
        table = _evenly(file, technique).unify_dictionaries()
    if not table.num_rows:
        return []
    table = table.combine_chunks()
    features, codes = _codes(table.column("feature"))
    d = len(features)
    if len(codes) % d:
        raise ValueError(f"attributions/{technique} does not name every feature for every row")
    if not np.array_equal(codes.reshape(-1, d), np.broadcast_to(np.arange(d), (len(codes) // d, d))):
        order = _rows_together(table, codes)
        table, codes = table.take(order), codes[order]
        if not np.array_equal(codes.reshape(-1, d), np.broadcast_to(np.arange(d), (len(codes) // d, d))):
            raise ValueError(f"attributions/{technique} does not name every feature once for every row")
    starts = pa.array(np.arange(0, len(codes), d))
    heads = table.select(["row_id", "output", "base_value", "prediction"]).take(starts)
    outputs, of_output = _codes(heads.column("output"))
    values = _numbers(table.column("attribution")).reshape(-1, d)
    base, prediction = _numbers(heads.column("base_value")), _numbers(heads.column("prediction"))
    row_id = heads.column("row_id").combine_chunks()
    row_id = row_id.combine_chunks() if isinstance(row_id, pa.ChunkedArray) else row_id
    found = []
    for code, output in enumerate(outputs):
        rows = np.flatnonzero(of_output == code)
        found.append(
            Explained(
                technique, output, row_id.take(pa.array(rows)), features, values[rows], base[rows], prediction[rows]
            )
        )
    return found


def _evenly(file: pq.ParquetFile, technique: str) -> pa.Table:
    """The lines of at most MOST_ROWS rows of each output. The table is read batch by batch, as often as needed."""
    rows, features, lines = _counted(file)
    if lines != len(features) * sum(rows.values()):
        raise ValueError(f"attributions/{technique} does not name every feature for every row")
    columns = ["row_id", "output", "feature", "attribution", "base_value", "prediction"]
    steps = {output: -(-count // MOST_ROWS) for output, count in rows.items()}
    if all(step == 1 for step in steps.values()):
        return file.read(columns=columns)
    wanted = _row_ids(file, features[0], steps)
    kept = []
    for batch in file.iter_batches(BATCH, columns=columns):
        lines_of = [
            pc.and_(pc.equal(batch["output"], output), pc.is_in(batch["row_id"], value_set=ids))
            for output, ids in wanted.items()
        ]
        kept.append(batch.filter(reduce(pc.or_, lines_of)))
    return pa.Table.from_batches(kept)


def _counted(file: pq.ParquetFile) -> tuple[dict[str, int], list[str], int]:
    """Output → rows, the features, and how many lines there are. A row has one line with the first feature."""
    rows: dict[str, int] = {}
    features: dict[str, None] = {}
    lines = 0
    for batch in file.iter_batches(BATCH, columns=["output", "feature"]):
        lines += batch.num_rows
        features |= dict.fromkeys(batch["feature"].unique().to_pylist())
        first = pc.equal(batch["feature"], next(iter(features)))
        for entry in pc.value_counts(batch["output"].filter(first)).to_pylist():
            rows[entry["values"]] = rows.get(entry["values"], 0) + entry["counts"]
    return rows, list(features), lines


def _row_ids(file: pq.ParquetFile, feature: str, steps: dict[str, int]) -> dict[str, pa.Array]:
    """Output → every step-th of its rows, in the order of the table."""
    seen = dict.fromkeys(steps, 0)
    kept: dict[str, list[pa.Array]] = {output: [] for output in steps}
    for batch in file.iter_batches(BATCH, columns=["row_id", "output", "feature"]):
        heads = batch.filter(pc.equal(batch["feature"], feature))
        for output in heads["output"].unique().to_pylist():
            ids = heads["row_id"].filter(pc.equal(heads["output"], output))
            kept[output].append(ids.take(pa.array(np.arange(-seen[output] % steps[output], len(ids), steps[output]))))
            seen[output] += len(ids)
    return {output: pa.concat_arrays(parts) for output, parts in kept.items()}


def read_maps(workspace: Workspace, technique: str) -> list[Mapped]:
    """A technique's maps, an entry an output; only those of the commonest size of that output.

    Of an output with more than MOST_MAPS some are taken, evenly over the table; larger maps than MOST_SIDE cells a
    side are averaged down to that.
    """
    import pyarrow.parquet as pq

    columns = ["row_id", "output", "height", "width", "heatmap"]
    with pq.ParquetFile(workspace.table_path(f"saliency/{technique}")) as file:
        heads = file.read(columns=columns[1:4])
        wanted: dict[str, tuple[tuple[int, int], np.ndarray]] = {}
        outputs, heights, widths = (heads.column(name).to_numpy(zero_copy_only=False) for name in heads.column_names)
        for output in dict.fromkeys(outputs.tolist()):
            own = np.flatnonzero(outputs == output)
            kinds, counts = np.unique(np.stack([heights[own], widths[own]], axis=1), axis=0, return_counts=True)
            size = int(kinds[np.argmax(counts)][0]), int(kinds[np.argmax(counts)][1])
            own = own[(heights[own] == size[0]) & (widths[own] == size[1])]
            wanted[output] = size, own[:: -(-len(own) // MOST_MAPS)]
        ids: dict[str, list[pa.Array]] = {output: [] for output in wanted}
        found: dict[str, list[np.ndarray]] = {output: [] for output in wanted}
        start = 0
        for batch in file.iter_batches(_MAPS_AT_ONCE, columns=columns):
            for output, (size, places) in wanted.items():
                here = places[(places >= start) & (places < start + batch.num_rows)] - start
                cells = pc.list_flatten(batch["heatmap"].take(pa.array(here))).to_numpy(zero_copy_only=False)
                if len(here) and len(cells) == len(here) * size[0] * size[1]:
                    smaller = min(size[0], MOST_SIDE), min(size[1], MOST_SIDE)
                    found[output].append(resized(cells.reshape(len(here), *size), smaller))
                    ids[output].append(batch["row_id"].take(pa.array(here)))
            start += batch.num_rows
    return [
        Mapped(technique, output, pa.concat_arrays(ids[output]), np.concatenate(found[output]))
        for output in wanted
        if found[output]
    ]


def decided(entries: Sequence[Entry], scores: Mapping[str, np.ndarray], row_id: pa.Array) -> Entry | None:
    """A technique's explanations of each row's highest-scoring output among those it explained, as one entry.

    Args:
        entries: of one technique, an entry an output.
        scores: output → (n,) score of each row of row_id.

    Returns:
        An entry with the output None, rows in the order of row_id; None for fewer than two entries, or where their
        features or sizes differ.
    """
    if len(entries) < 2 or len({(e.features if isinstance(e, Explained) else e.maps.shape[1:]) for e in entries}) > 1:
        return None
    best = np.full(len(row_id), -np.inf)
    taken, place = np.full(len(row_id), -1), np.zeros(len(row_id), np.int64)
    for number, entry in enumerate(entries):
        rows, own = common_rows(row_id, entry.row_id)
        values = scores[str(entry.output)][rows]
        better = values > best[rows]  # the first wins a tie; NaN never wins
        rows, own, values = rows[better], own[better], values[better]
        best[rows], taken[rows], place[rows] = values, number, own
    rows = np.flatnonzero(taken >= 0)
    if not len(rows):
        return None

    def gathered(arrays: Sequence[np.ndarray]) -> np.ndarray:
        whole = np.empty((len(rows), *arrays[0].shape[1:]), arrays[0].dtype)
        for number, array in enumerate(arrays):
            mine = taken[rows] == number
            whole[mine] = array[place[rows][mine]]
        return whole

    first, ids = entries[0], row_id.take(pa.array(rows))
    if isinstance(first, Mapped):
        return Mapped(first.technique, None, ids, gathered([e.maps for e in entries if isinstance(e, Mapped)]))
    tables = [e for e in entries if isinstance(e, Explained)]
    values, base, prediction = (
        gathered([getattr(e, name) for e in tables]) for name in ("values", "base", "prediction")
    )
    return Explained(first.technique, None, ids, first.features, values, base, prediction)


def read_importance(workspace: Workspace) -> list[Ranked]:
    """Every technique's importances: from `importance`, and from `importance/<technique>` where they are apart."""
    names = ["importance", *(f"importance/{name}" for name in techniques_of(workspace, "importance"))]
    found: dict[tuple[str, str | None], Ranked] = {}
    for name in names:
        if not workspace.has_table(name):
            continue
        table = workspace.read_table(name, ["technique", "output", "feature", "importance", "n_rows"])
        groups: dict[tuple[str, str | None], list[dict]] = {}
        for row in table.to_pylist():
            groups.setdefault((row["technique"], row["output"]), []).append(row)
        for (technique, output), rows in groups.items():
            values = np.array([np.nan if row["importance"] is None else row["importance"] for row in rows], float)
            n_rows = min((row["n_rows"] for row in rows if row["n_rows"] is not None), default=0)
            features = tuple(row["feature"] for row in rows)
            found.setdefault((technique, output), Ranked(technique, output, features, values, n_rows))
    return list(found.values())


def pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    """Every two of the names, in their order."""
    return ((a, b) for i, a in enumerate(names) for b in names[i + 1 :])


def common_rows(a: pa.Array, b: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Positions in a and in b of the rows that both have, in the order of a."""
    if a.equals(b):
        rows = np.arange(len(a))
        return rows, rows
    places = pc.index_in(a, value_set=b.cast(a.type))
    known = np.flatnonzero(pc.is_valid(places).to_numpy(zero_copy_only=False))
    return known, places.take(pa.array(known)).to_numpy(zero_copy_only=False).astype(np.int64)


def _codes(column: pa.ChunkedArray) -> tuple[tuple[str, ...], np.ndarray]:
    """The texts of a column in the order in which they first come, and each row's index into them."""
    plain = column.combine_chunks()
    plain = plain.chunk(0) if isinstance(plain, pa.ChunkedArray) else plain
    if not pa.types.is_dictionary(plain.type):
        plain = plain.dictionary_encode()
    indices = plain.indices.to_numpy(zero_copy_only=False)
    present, first = np.unique(indices, return_index=True)
    order = present[np.argsort(first)]
    place = np.zeros(len(plain.dictionary), np.int64)
    place[order] = np.arange(len(order))
    texts = plain.dictionary.to_pylist()
    return tuple(texts[i] for i in order), place[indices]


def _rows_together(table: pa.Table, codes: np.ndarray) -> np.ndarray:
    """An order in which the features of a row and output stand together, rows and outputs as they first come."""
    row_id = table.column("row_id").combine_chunks()
    row_id = pa.concat_arrays(row_id.chunks) if isinstance(row_id, pa.ChunkedArray) else row_id
    rows = row_id.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, outputs = _codes(table.column("output"))
    return np.lexsort((codes, outputs, rows))


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
