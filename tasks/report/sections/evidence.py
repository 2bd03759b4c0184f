"""The tables and images of the run with their digests: what a reader checks the report against."""

from __future__ import annotations

from tasks.report.document import Block, Column, Paragraph, Section, Table, code, line, link, num
from tasks.report.numbers import count, size
from tasks.report.reading import Reading


def evidence(reading: Reading) -> Section:
    tables = [a for a in reading.artifacts if a.kind == "table"]
    images = [a for a in reading.artifacts if a.kind == "image"]
    text = (
        "Every number of this report is read from the tables below, which lie beside it. summary.json says the same for"
        " programs; manifest.json holds the digest of every file of the run, inputs included."
    )
    blocks: list[Block] = [Paragraph(line(text))]
    if tables:
        columns = (
            Column("Table", weight=1.4),
            Column("Rows", "right"),
            Column("Size", "right"),
            Column("SHA-256", weight=3),
        )
        rows = tuple(
            (line(link(a.name, a.path)), (num(count(a.rows)),), (num(size(a.bytes)),), (code(a.sha256),))
            for a in tables
        )
        blocks.append(Table("artifact-tables", "Tables under artifacts/", columns, rows))
    else:
        blocks.append(Paragraph(line("The run wrote no table.")))
    if images:
        total = size(sum(a.bytes for a in images))
        blocks.append(
            Paragraph(
                line(f"Beside them lie {len(images):,} images ({total}), listed with their digests in summary.json.")
            )
        )
    return Section("evidence", "Evidence", tuple(blocks))
