"""What personal data the run's folder holds, file by file, and what this report prints of single persons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.report.document import (
    Block,
    Column,
    Content,
    Facts,
    Paragraph,
    Section,
    Span,
    Table,
    code,
    line,
    link,
    name,
    num,
    said,
    status,
)
from tasks.report.numbers import count, size
from tasks.report.reading import Artifact, Reading
from tasks.report.regulations import attestations

ROW_ID = "row_id"
#: what a person is asked to state, under report.attestations
RETENTION = "retention"
_LEAD = (
    "The run’s folder holds data of single persons beside this report. It is made readable by its owner alone (mode"
    " 0700); whoever is given a copy of it is given these data."
)
_HASHED = (
    "hashed: the first 12 hex digits of HMAC-SHA-256, under a key made of the scores of all rows in the table"
    " predictions. With that table every id can be called by its pseudonym; with this report alone, none can be found."
)


@dataclass(frozen=True)
class Personal:
    """A table with lines of single rows of the data.

    Attributes:
        rows: how many rows of the data it tells of.
        columns: what it says of them, beside row_id.
    """

    rows: int
    columns: tuple[str, ...]


def personal_data(reading: Reading) -> Section:
    """Built from the tables' schemas: whatever has a row_id with a value in it tells of single rows."""
    tables = [(a, found) for a in reading.artifacts if (found := _personal(reading, a)) is not None]
    others = [a for a in reading.artifacts if a.kind != "table"]
    blocks: list[Block] = [Paragraph(line(_LEAD), lead=True)]
    if tables:
        blocks.append(_tables(tables))
    else:
        blocks.append(Paragraph(line("The run wrote no table with lines of single rows.")))
    blocks.append(Facts((*_files(reading, others), *_printed(reading), ("Retention", _retention(reading)))))
    return Section("personal_data", "Personal data", tuple(blocks))


def _tables(tables: list[tuple[Artifact, Personal]]) -> Table:
    columns = (
        Column("Table", weight=1.4),
        Column("Rows of the data", "right"),
        Column("Lines", "right"),
        Column("What it says of each", weight=3),
    )
    cells = tuple(
        (
            line(link(a.name, a.path)),
            (num(count(found.rows)),),
            (num(count(a.rows)),),
            line(*[part for column in found.columns for part in (code(column), ", ")][:-1]),
        )
        for a, found in tables
    )
    note = line("A row of the data is, as a rule, a person. All other tables hold numbers over many rows.")
    return Table("personal-tables", "Tables with lines of single rows", columns, cells, note)


def _personal(reading: Reading, artifact: Artifact) -> Personal | None:
    if artifact.kind != "table":
        return None
    return _personal_of(reading.workspace.folder / artifact.path, artifact.sha256)


@lru_cache(maxsize=256)
def _personal_of(path: Path, sha256: str) -> Personal | None:
    """What a table tells of single rows; by its digest a table is known again, and counted once."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = tuple(file.schema_arrow.names)
        if ROW_ID not in names:
            return None
        seen = pa.chunked_array([], file.schema_arrow.field(ROW_ID).type)
        for batch in file.iter_batches(batch_size=1 << 18, columns=[ROW_ID]):
            seen = pa.chunked_array([pc.unique(pa.chunked_array([*seen.chunks, batch.column(0).unique()]))])
    rows = len(seen) - seen.null_count
    return Personal(rows, tuple(column for column in names if column != ROW_ID)) if rows else None


def _files(reading: Reading, others: list[Artifact]) -> list[tuple[str, Content]]:
    """Images, letters and the like: how many of each folder under artifacts/."""
    folders: dict[str, list[Artifact]] = {}
    for artifact in others:
        folders.setdefault(PurePosixPath(artifact.path).parent.as_posix(), []).append(artifact)
    found: list[tuple[str, Content]] = []
    for folder, files in folders.items():
        pictures = all(file.path.endswith(".png") for file in files)
        what = "pictures of single rows" if pictures else "files"
        text = f" ({size(sum(file.bytes for file in files))}) under "
        found.append((what.capitalize(), (num(count(len(files))), Span(text), code(folder))))
    if _names_rows([done.facts for done in reading.record.done]):
        found.append(
            ("Ids outside the tables", line(code("record.json"), " names the rows of which pictures were drawn"))
        )
    return found


def _names_rows(value: Any) -> bool:
    """Whether some of the stages' facts are about single rows."""
    if isinstance(value, Mapping):
        return any((key == ROW_ID and inner is not None) or _names_rows(inner) for key, inner in value.items())
    return isinstance(value, list | tuple) and any(_names_rows(inner) for inner in value)


def _printed(reading: Reading) -> list[tuple[str, Content]]:
    """What the config lets this report print of single rows."""
    config, rows = reading.config, reading.config.report.rows
    some = "row, explained one by one" if rows.show == 1 else "rows, explained one by one"
    shown = line("up to ", num(count(rows.show)), f" {some} (report.rows.show)") if rows.show else line("no single row")
    redacted: Content = line("none (report.rows.redact)")
    if rows.redact:
        redacted = line(*[part for column in rows.redact for part in (name(column), ", ")][:-1])
    return [
        ("Printed in this report", shown),
        ("How a row is called", _called(config.data.id, rows.ids, rows.redact)),
        ("Columns never printed", redacted),
        *_small_groups(reading),
    ]


def _called(column: str | None, ids: str, redacted: list[str]) -> Content:
    if column is None:
        return line(
            "by its position in the data, counted from 0: that names nobody, but whoever holds the data finds the row"
        )
    if column in redacted:
        return line("not at all: ", name(column), " is redacted")
    if ids == "plain":
        return line("by its ", name(column), ", as the config asks (report.rows.ids: plain)")
    return line("by its ", name(column), f", {_HASHED}")


def _small_groups(reading: Reading) -> list[tuple[str, Content]]:
    """Numbers of a handful of persons may point at one of them."""
    least = reading.config.bias.min_group_size
    sizes: dict[tuple[str, str], int] = {}
    for row in reading.group_metrics:
        if row["attribute"] is not None and row["group"] is not None and row["n"] is not None:
            key = (row["attribute"], row["group"])
            sizes[key] = max(sizes.get(key, 0), row["n"])
    small = sum(0 < n < least for n in sizes.values())
    if not small:
        return []
    text = f" of {len(sizes):,}, each of fewer than {least:,} rows: their counts may point at single persons"
    return [("Small groups", (num(count(small)), Span(text)))]


def _retention(reading: Reading) -> Content:
    """How long the folder is kept: a person's to say."""
    stated = next((a for a in attestations(reading.config.report.attestations) if a.topic == RETENTION), None)
    if stated is None:
        asked = f". How long the folder is kept, and who removes it, is stated under report.attestations.{RETENTION}."
        return line(status("human_required"), asked)
    by = ", ".join(part for part in (stated.who, stated.role, stated.date) if part)
    return line(said(stated.statement), *((" (", said(by), ")") if by else ()), ". Stated by a person, not checked.")
