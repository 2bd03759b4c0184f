"""Data files: Parquet, CSV and Arrow, from a path or any fsspec address, with their digest.

A format is a function and one line in FORMATS. A Parquet file on this machine that would be large in memory is copied,
row group by row group, to where `spill.py` keeps such tables; everything else is read whole.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig
from tasks.contracts import Done
from tasks.errors import ConfigError, DataRefused, nearest
from tasks.load.cache import Cache
from tasks.load.digests import digest_of, state_of
from tasks.load.pins import require, under_pins
from tasks.load.remote import fetched, passes, unread
from tasks.load.spill import CELL, CHUNK, LIMIT, forget_map, mapped_table
from tasks.watch import Watch

#: a path on this machine, or the bytes of something far away
Source = Path | bytes

#: texts that mean "no value" where a CSV cell is not quoted
CSV_NULLS = (
    "", "#N/A", "#N/A N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip

#: columns in which pandas keeps a row's label
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True, eq=False)
class Dataset:
    """The data under audit, as read.

    Attributes:
        table: n rows in the order of the file.
        reference: training data, or None.
        row_id: (n,) the id column's values in their own type, else int64 positions.
        sha256, reference_sha256: of the files' bytes.
        path, reference_path: as in the config.
        limitations: sentences for the report.
        maps: of the files that large tables are kept in.
    """

    table: pa.Table
    reference: pa.Table | None
    row_id: pa.Array
    sha256: str
    reference_sha256: str | None
    path: str
    reference_path: str | None
    limitations: tuple[str, ...] = ()
    maps: tuple[mmap.mmap, ...] = ()

    def forget(self) -> None:
        """Gives back the memory of what was read of large tables; whoever needs it reads it again."""
        for mapped in self.maps:
            forget_map(mapped)


@dataclass(frozen=True, eq=False)
class _Read:
    """A table, the SHA-256 of the bytes it was read from, and the map of the file that it is kept in, if it is."""

    table: pa.Table
    sha256: str
    mapped: mmap.mmap | None = None


def open_data(config: AuditConfig) -> Dataset:
    """Reads the audited data and its reference. Rows are not judged here: an empty table is the gate's.

    Of large tables that were read before, the memory is given back: a stage begins without what others have read.

    Raises:
        ConfigError: a file is missing, unreadable or of an unknown format.
        DataUnavailable: the network or the file system fails; another try may do.
        DataRefused: two columns have one name.
        Incomplete: a file is not the pinned one (`pinned`).
    """
    with under_pins() as pins:
        data = _read(config.data.path, "data.path", pins.data if pins else None)
        reference = None
        if config.data.reference is not None:
            reference = _read(config.data.reference, "data.reference", pins.reference if pins else None)
    limitations: tuple[str, ...] = ()
    if reference is None:
        limitations = ("No reference data is given (data.reference): background rows are drawn from the audited data.",)
    found = Dataset(
        table=data.table,
        reference=reference.table if reference else None,
        row_id=_row_id(data.table, config.data.id),
        sha256=data.sha256,
        reference_sha256=reference.sha256 if reference else None,
        path=config.data.path,
        reference_path=config.data.reference,
        limitations=limitations,
        maps=tuple(read.mapped for read in (data, reference) if read is not None and read.mapped is not None),
    )
    found.forget()
    return found


def load_data(config: AuditConfig, watch: Watch) -> Done:
    """The stage: opens the data and says what it is, in JSON values.

    Raises:
        ConfigError, DataUnavailable, DataRefused: as `open_data`; a column to be redacted is unknown.
    """
    watch.expect(1)
    data = open_data(config)
    _check_redacted(config, data.table)
    watch.advance()
    facts = {"data": _facts(data.path, data.sha256, data.table), "reference": None}
    if data.reference is not None and data.reference_path and data.reference_sha256:
        facts["reference"] = _facts(data.reference_path, data.reference_sha256, data.reference)
    return Done("load_data", facts=facts, limitations=data.limitations)


def _check_redacted(config: AuditConfig, table: pa.Table) -> None:
    """A misspelt column would be printed. One that the audit needs and the data lack is the gate's to refuse."""
    data = config.data
    needed = (data.id, data.target.column, data.image, data.weight, config.bias.decision.column, *(data.features or ()))
    known = {*table.column_names, *needed, *(one.column for one in data.sensitive.values())}
    unknown = [name for name in config.report.rows.redact if name not in known]
    if unknown:
        raise ConfigError(
            "is not a column of the data",
            where="report.rows.redact",
            values=unknown,
            available=table.column_names,
            hint=nearest(unknown[0], table.column_names),
        )


def default_columns(table: pa.Table) -> tuple[str, ...]:
    """The columns that a person wrote into the file: all but those in which pandas keeps its index."""
    return tuple(name for name in table.column_names if not _PANDAS_INDEX.fullmatch(name))


def _facts(path: str, sha256: str, table: pa.Table) -> dict[str, Any]:
    columns = [{"name": field.name, "type": str(field.type)} for field in table.schema]
    return {"path": path, "sha256": sha256, "rows": table.num_rows, "columns": columns}


def _row_id(table: pa.Table, column: str | None) -> pa.Array:
    if column is None or column not in table.column_names:  # a missing id column is the gate's to refuse
        return pa.array(np.arange(table.num_rows, dtype=np.int64))
    values = table.column(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)


# ---------------------------------------------------------------- formats


def _parquet(source: Source) -> pa.Table | tuple[pa.Table, mmap.mmap]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(source if isinstance(source, Path) else io.BytesIO(source)) as file:
        _refuse_twins(file.schema_arrow.names)
        about = file.metadata
        groups = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        if isinstance(source, Path) and max(groups, CELL * about.num_rows * about.num_columns) > LIMIT:
            schema = _without_views(file.schema_arrow)
            return mapped_table(schema, (batch.cast(schema) for batch in file.iter_batches(CHUNK)))
        return file.read()


def _arrow(source: Source) -> pa.Table:
    import pyarrow.feather as feather

    # Not mapped into memory: a file that is overwritten later must not change, or break, what was read.
    with pa.OSFile(str(source)) if isinstance(source, Path) else pa.BufferReader(source) as stream:
        start = stream.read(6)
        stream.seek(0)
        if start == b"ARROW1":
            return pa.ipc.open_file(stream).read_all()
        if start[:4] == b"FEA1":
            return feather.read_table(stream)
        return pa.ipc.open_stream(stream).read_all()


def _delimited(delimiter: str) -> Callable[[Source], pa.Table]:
    def read(source: Source) -> pa.Table:
        from pyarrow import csv

        def table(types: dict[str, pa.DataType]) -> pa.Table:
            return csv.read_csv(
                str(source) if isinstance(source, Path) else io.BytesIO(source),
                parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=csv.ConvertOptions(
                    null_values=list(CSV_NULLS),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    column_types=types,
                ),
            )

        found = table({})
        _refuse_twins(found.column_names)
        # A text that looks like a date stays text, as whoever trained on this file will have read it.
        dates = {field.name: pa.string() for field in found.schema if pa.types.is_temporal(field.type)}
        found = table(dates) if dates else found
        for field in found.schema:
            if pa.types.is_binary(field.type):
                raise pa.ArrowInvalid(f"column {field.name!r} is not UTF-8 text")
        return found

    return read


#: file suffix → its reader (a table, or one that is kept in a file, with the map); a reader raises pa.ArrowException,
#: ValueError or OSError on what it cannot read
FORMATS: dict[str, Callable[[Source], pa.Table | tuple[pa.Table, mmap.mmap]]] = {
    ".parquet": _parquet,
    ".pq": _parquet,
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".arrow": _arrow,
    ".feather": _arrow,
    ".ipc": _arrow,
}

_tables: Cache[_Read] = Cache(4)


def _read(path: str, key: str, pin: str | None) -> _Read:
    """A table; the digest is the pin's where there is one."""
    suffix = Path(path.split("?")[0]).suffix.lower()
    if suffix not in FORMATS:
        raise ConfigError(
            f"{path} has a format that is not known",
            where=key,
            available=FORMATS,
            hint="save the table in one of these formats",
        )
    if "://" in path or "::" in path:
        return _read_address(path, suffix, key, pin)
    file = Path(path)

    def table() -> _Read:
        sha256 = digest_of(file)
        found = _parsed(file, suffix, path, key, sha256)
        if digest_of(file) != sha256:
            raise ConfigError(f"{path} changed while it was read", where=key, hint="run again")
        return found

    try:
        if not file.exists():
            raise ConfigError(f"{path} does not exist", where=key, hint="relative paths start at the current folder")
        if file.is_dir():
            raise ConfigError(f"{path} is a folder", where=key, hint="name the file in it")
        if pin is not None:
            require(pin, digest_of(file), path)  # before it is read: what it has become may be no table at all
        found = _tables.get((suffix, state_of(file)), table)
    except OSError as error:
        raise unread(path, key, error) from error
    if pin is not None:
        require(pin, found.sha256, path)
    return found


def _read_address(address: str, suffix: str, key: str, pin: str | None) -> _Read:
    """A table from far away; a pinned one is fetched again only where it is no longer in memory."""

    def table(content: bytes, sha256: str) -> _Read:
        return _parsed(content, suffix, address, key, sha256)

    def again(pin: str) -> _Read:
        content = fetched(address, key)
        require(pin, hashlib.sha256(content).hexdigest(), address)
        return table(content, pin)

    if pin is not None:
        return _tables.get((suffix, pin), lambda: again(pin))
    content = fetched(address, key)
    sha256 = hashlib.sha256(content).hexdigest()
    return _tables.get((suffix, sha256), lambda: table(content, sha256))


def _parsed(source: Source, suffix: str, path: str, key: str, sha256: str) -> _Read:
    try:
        found = FORMATS[suffix](source)
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and passes(error):
            raise unread(path, key, error) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{path} cannot be read as {suffix[1:]} ({reason[:300]})", where=key, hint="is the file damaged?"
        ) from error
    table, mapped = found if isinstance(found, tuple) else (found, None)
    table = table if mapped is not None else table.cast(_without_views(table.schema))
    _refuse_twins(table.column_names, path)
    return _Read(table, sha256, mapped)


def _without_views(schema: pa.Schema) -> pa.Schema:
    """The same columns, text and bytes in the layouts that all of Arrow's functions take."""
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return pa.schema([field.with_type(plain.get(field.type, field.type)) for field in schema], schema.metadata)


def _refuse_twins(names: list[str], path: str | None = None) -> None:
    twins = [name for name, times in Counter(names).items() if times > 1]
    if twins:
        raise DataRefused(
            "more than one column has the name",
            where=path,
            values=twins,
            hint="rename one of them",
            code="duplicate_columns",
        )
