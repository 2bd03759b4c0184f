"""A run against the same run done again: every value of every table, the verdict and the policy's checks.

Tables are read batch by batch: memory does not grow with their rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import one_line
from tasks.persist import file_digest

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.evidence.columns import Tolerance

#: differences that are told one by one, and of one table
SHOWN = 20
SHOWN_OF_TABLE = 5
#: bytes of one table that are looked at together
_BATCH_BYTES = 8 << 20
_MOST_ROWS = 65_536
#: columns that say which row it is, in the order they are told
_KEYS = (
    "row_id", "expectation", "technique", "technique_a", "technique_b", "attribute", "aim", "kind", "sample", "group",
    "reference", "output", "feature", "with_feature", "metric", "comparison", "measure", "curve", "k", "point", "rank",
    "layer", "column", "slice",
)  # fmt: skip
_IMAGES = (".png", ".jpg", ".jpeg", ".svg")
_RUN_ID = b"keras_audit.run_id"


@dataclass
class Differences:
    """What differs: the first of them as lines, and how many there are.

    Attributes:
        notes: what was not compared, and why.
    """

    shown: list[str] = field(default_factory=list)
    count: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, *lines: str, more: int = 0) -> None:
        """Adds a line each, and others that nobody wrote a line for."""
        self.shown += lines[: self.room]
        self.count += len(lines) + more

    def first(self, line: str) -> None:
        """Adds a line before all others: what explains them."""
        self.shown.insert(0, line)
        self.count += 1

    @property
    def room(self) -> int:
        """How many more lines will be told."""
        return max(0, SHOWN - len(self.shown))

    @property
    def lines(self) -> tuple[str, ...]:
        """The first of them, and how many more there are."""
        left = self.count - len(self.shown)
        return (*self.shown, *([f"and {left:,} more"] if left else []))


def compare_runs(recorded: Path, found: Path, tolerance: Tolerance | None) -> Differences:
    """Compares two runs of one audit.

    Args:
        recorded, found: run folders; nothing is written to either.
        tolerance: for floats; None: bit for bit, and images byte for byte.
    """
    differences = Differences()
    _compare_summaries(recorded, found, tolerance, differences)
    was, now = ({p.relative_to(run).as_posix(): p for p in _artifacts(run)} for run in (recorded, found))
    for name in sorted(was.keys() ^ now.keys()):
        differences.add(f"{one_line(name)}: {'not made' if name in was else 'not recorded, and made'}")
    images = 0
    for name in sorted(was.keys() & now.keys()):
        if name.endswith(".parquet"):
            shown = name.removeprefix("artifacts/").removesuffix(".parquet")
            _compare_files(one_line(shown), was[name], now[name], tolerance, differences)
        elif tolerance is not None and name.endswith(_IMAGES):
            images += 1
        elif file_digest(was[name]) != file_digest(now[name]):
            differences.add(f"{one_line(name)}: another content")
    if images:
        told = "1 image was" if images == 1 else f"{images:,} images were"
        differences.notes.append(f"{told} not compared: they depend on the libraries that draw them")
    return differences


def _artifacts(run: Path) -> Iterator[Path]:
    return (path for path in (run / "artifacts").rglob("*") if path.is_file())


# ---------------------------------------------------------------- tables


def _compare_files(name: str, recorded: Path, found: Path, tolerance: Tolerance | None, into: Differences) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(recorded) as was, pq.ParquetFile(found) as now:
            _compare_tables(name, was, now, tolerance, into)
    except (pa.ArrowException, OSError, ValueError) as error:
        into.add(f"{name}: cannot be read ({one_line(error, 200)})")


def _compare_tables(
    name: str, recorded: pq.ParquetFile, found: pq.ParquetFile, tolerance: Tolerance | None, into: Differences
) -> None:
    from tasks.evidence.columns import aligned

    was, now = recorded.schema_arrow, found.schema_arrow
    if not was.equals(now):
        into.add(f"{name}: recorded the columns {_columns(was)}, found {_columns(now)}")
        return
    told, tells = ({k: v for k, v in (s.metadata or {}).items() if k != _RUN_ID} for s in (was, now))
    for key in sorted(told.keys() | tells.keys()):
        if told.get(key) != tells.get(key):
            into.add(
                f"{name}, metadata {one_line(key.decode(errors='replace'))}:{_pair(told.get(key), tells.get(key))}"
            )
    rows, others = recorded.metadata.num_rows, found.metadata.num_rows
    if rows != others:
        into.add(f"{name}: recorded {rows:,} rows, found {others:,}")
    size = min(_batch_rows(recorded), _batch_rows(found))
    batches = (table.iter_batches(size, use_threads=False) for table in (recorded, found))
    row, last = 0, len(into.shown) + SHOWN_OF_TABLE
    for one, other in aligned(*batches):
        _compare_batches(name, row, one, other, tolerance, into, last)
        row += len(one)


def _batch_rows(table: pq.ParquetFile) -> int:
    """Rows that take about _BATCH_BYTES, by the row group whose rows are largest."""
    most = 1.0
    for number in range(table.metadata.num_row_groups):
        group = table.metadata.row_group(number)
        cells = sum(group.column(c).num_values for c in range(group.num_columns))  # elements of lists too
        most = max(most, max(group.total_byte_size, 8 * cells) / max(group.num_rows, 1))
    return int(min(_MOST_ROWS, max(1, _BATCH_BYTES // most)))


def _compare_batches(
    name: str,
    start: int,
    one: pa.RecordBatch,
    other: pa.RecordBatch,
    tolerance: Tolerance | None,
    into: Differences,
    last: int,
) -> None:
    """Compares the same rows of both tables.

    Args:
        start: position of the first of them in the table.
        last: how many lines there may be when the table ends: every table that differs is to be named.
    """
    import numpy as np

    from tasks.evidence.columns import COUNTS, first_difference, rows_differ

    for column in one.schema.names:
        recorded, found = one.column(column), other.column(column)
        # An id is a name, whatever its type.
        near = None if column == "row_id" else tolerance
        rows = np.flatnonzero(rows_differ(recorded, found, near, counts=column in COUNTS))
        lines = []
        for row in rows[: max(0, min(into.room, last - len(into.shown)))].tolist():
            place, was, now = first_difference(recorded[row], found[row], near)
            lines.append(f"{name}, row {start + row}{_key(one, row)}, {one_line(column)}{place}:{_pair(was, now)}")
        into.add(*lines, more=len(rows) - len(lines))


def _key(batch: pa.RecordBatch, row: int) -> str:
    """What names a row, as ` (sex, Female, selection_rate)`."""
    values = [batch.column(key)[row].as_py() for key in _KEYS if key in batch.schema.names]
    told = [one_line(value, 60) for value in values if value is not None]
    return f" ({', '.join(told)})" if told else ""


def _columns(schema: pa.Schema) -> str:
    return one_line(", ".join(f"{f.name} {f.type}" for f in schema), 300)


def _pair(was: Any, now: Any) -> str:
    return f" recorded {_shown(was)}, found {_shown(now)}"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return one_line(value if isinstance(value, str) else str(value), 120)


# ---------------------------------------------------------------- verdict and policy


def _compare_summaries(recorded: Path, found: Path, tolerance: Tolerance | None, into: Differences) -> None:
    try:
        was, now = (json.loads((run / "summary.json").read_text(encoding="utf-8")) for run in (recorded, found))
        was, now = _decided(was), _decided(now)
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        into.add(f"summary.json: cannot be read ({one_line(error, 200)})")
        return
    _compare_values("", was, now, tolerance, into)


def _decided(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What a run decided: verdict, policy, what is missing or refused, and how every control stands."""
    controls = {f"{control['regulation']} {control['id']}": control["status"] for control in summary["controls"]}
    policy = {key: summary["policy"][key] for key in ("sha256", "checks")}
    missing = {one["stage"]: one["code"] for one in summary["run"]["missing"]}
    run = {"missing": missing, "refused": summary["run"]["refused"]}
    return {"verdict": summary["verdict"], "policy": policy, "run": run, "controls": controls}


def _compare_values(place: str, was: Any, now: Any, tolerance: Tolerance | None, into: Differences) -> None:
    from tasks.evidence.columns import COUNTS, numbers_differ

    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*was, *now]):
            _compare_values(f"{place}.{key}" if place else key, was.get(key), now.get(key), tolerance, into)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for position, pair in enumerate(zip(was, now, strict=True)):
            _compare_values(f"{place}.{position}", *pair, tolerance, into)
    elif isinstance(was, float) and isinstance(now, float):
        if numbers_differ(was, now, tolerance, counts=place.rpartition(".")[2] in COUNTS):
            into.add(f"summary.json, {one_line(place)}:{_pair(was, now)}")
    elif type(was) is not type(now) or was != now:
        into.add(f"summary.json, {one_line(place)}:{_pair(was, now)}")
