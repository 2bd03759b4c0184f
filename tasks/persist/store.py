"""The run folder while it is being made: Parquet tables, images and texts, each written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.contracts import SCHEMA_VERSION, TableRef, schema_of
from tasks.errors import StorageError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def make_folder(folder: Path) -> None:
    """Makes a folder and whatever is missing above it, readable by its owner alone: it will hold personal data."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    for part in reversed(missing):
        part.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(exist_ok=True)  # a file of that name is told


@contextmanager
def _told_as_storage(path: Path) -> Iterator[None]:
    """Turns a full disk or a missing permission into an error that names the file."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror or error})",
            where=str(path),
            hint="free space or choose another folder with --reports",
        ) from error


@dataclass(frozen=True)
class Workspace:
    """A run's working folder. Safe to use from many threads: each file has one writer.

    Args:
        folder: absolute path; it takes its final name only when the run is whole.
        run_id: `YYYYMMDDTHHMMSSZ-8hex`.
        metadata: put into every table's file metadata: run id, model and data digests.
        unfinished: where stages keep what a run that does not end had done (`unfinished.py`); None: nowhere.
    """

    folder: Path
    run_id: str
    metadata: dict[str, str] = field(default_factory=dict)
    unfinished: Path | None = None

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def table_path(self, name: str) -> Path:
        return self.place(f"artifacts/{name}.parquet")

    def place(self, name: str) -> Path:
        """Where a file of this run lies. Names are made from techniques and rows: none may lead out of the folder."""
        parts = name.split("/")
        if not all(parts) or {".", ".."} & set(parts):
            raise ValueError(f"not the name of a file in a run: {name!r}")
        return self.folder.joinpath(*parts)

    @contextmanager
    def table_writer(self, name: str, row_id: pa.DataType | None = None) -> Iterator[TableWriter]:
        """Writes a table in row groups; it appears under its name when the block ends without an error.

        Args:
            name: as in the contract, without suffix: `attributions/shap`.
            row_id: type of the row_id column, where the table has one.

        Raises:
            StorageError: the disk is full or the folder cannot be written. What the block itself raises, stays.
        """
        import pyarrow.parquet as pq

        path = self.table_path(name)
        partial = path.with_name(f".{path.name}.partial")
        schema = schema_of(name, row_id).with_metadata(
            {"keras_audit.schema_version": SCHEMA_VERSION, "keras_audit.table": name, **self.metadata}
        )
        with _told_as_storage(path):
            make_folder(path.parent)
        try:
            with _told_as_storage(path):
                writer = pq.ParquetWriter(partial, schema, compression="zstd", write_statistics=True)
            table = TableWriter(writer, schema, path)
            try:
                yield table
            except BaseException:
                with suppress(Exception):  # a full disk refuses the footer too; the block's error is the one to tell
                    writer.close()
                raise
            with _told_as_storage(path):
                writer.close()
                digest = file_digest(partial)
                os.replace(partial, path)
        finally:
            with suppress(OSError):
                partial.unlink()
        table.ref = TableRef(name, str(path), digest, table.rows)

    def write_table(self, name: str, table: pa.Table) -> TableRef:
        """Writes a whole table with the columns, order and types of the contract.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        row_id = table.schema.field("row_id").type if "row_id" in table.column_names else None
        with self.table_writer(name, row_id) as writer:
            writer.write(table)
        assert writer.ref is not None
        return writer.ref

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A table that an earlier stage wrote."""
        import pyarrow.parquet as pq

        return pq.read_table(self.table_path(name), columns=columns)

    def has_table(self, name: str) -> bool:
        return self.table_path(name).is_file()

    def write_bytes(self, name: str, content: bytes) -> str:
        """Writes a file of the run folder (`report.html`, `artifacts/images/0001.png`); returns its name."""
        path = self.place(name)
        partial = path.with_name(f".{path.name}.partial")
        with _told_as_storage(path):
            make_folder(path.parent)
            try:
                partial.write_bytes(content)
                os.replace(partial, path)
            finally:
                with suppress(OSError):
                    partial.unlink()
        return name


class TableWriter:
    """Appends row groups to one table. Columns that are left out become null."""

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema, path: Path) -> None:
        self._writer = writer
        self._schema = schema
        self._path = path
        self.rows = 0
        self.ref: TableRef | None = None  # set when the table is whole

    def write(self, table: pa.Table) -> None:
        """Appends a table as a row group.

        Raises:
            ValueError: it has a column that the contract has not, or values that do not fit the column's type.
            StorageError: the disk is full.
        """
        import pyarrow as pa

        unknown = set(table.column_names) - set(self._schema.names)
        if unknown:
            raise ValueError(f"not columns of the contract: {sorted(unknown)}")
        columns = [
            table.column(f.name).cast(f.type) if f.name in table.column_names else pa.nulls(len(table), f.type)
            for f in self._schema
        ]
        whole = pa.table(columns, schema=self._schema)
        with _told_as_storage(self._path):
            self._writer.write_table(whole)
        self.rows += len(table)
