"""Overlays of image techniques: where in the picture the evidence lies. PNG files of the run, embedded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tasks.report.document import (
    Block,
    Bullets,
    Column,
    Figure,
    Paragraph,
    Picture,
    Section,
    Table,
    line,
    num,
    said,
    status,
)
from tasks.report.numbers import count, number
from tasks.report.persons import REDACTED, row_label
from tasks.report.reading import Reading, Row
from tasks.report.sections.single import outcome_shown

_LARGEST = 600_000  # bytes of a picture that is embedded
_TOGETHER = 6_000_000  # bytes of all of them
#: measures against known boxes
_BOXES = {"box_hit_rate": "highest point lies in the box", "box_mass": "share of the map in the box"}
_SENTENCE_ENDS = re.compile(r"(?<=\.) (?=[A-Z])")
_COLUMNS = ("row_id", "output", "layer", "image")


def overlays(reading: Reading) -> Section | None:
    """A figure a row, a picture a technique; None where no technique explained images."""
    tables = reading.tables("saliency")
    if not tables:
        return None
    title = "Where in the picture"
    limit = reading.config.report.rows
    if limit.show == 0 or (reading.config.data.image or "") in limit.redact:
        text = "The config lets the report show no single picture (report.rows)."
        return Section("overlays", title, (Paragraph(line(text)), *_hits(reading)))
    lines = {table: [r for r in _lines(reading, table) if r["image"]] for table in tables}
    order = list(dict.fromkeys(r["row_id"] for rows in lines.values() for r in rows))[: limit.show]
    decisions = _decisions(reading, order)
    blocks: list[Block] = [
        Paragraph(line(f"{len(order)} of the explained pictures. Each overlay is for the output named above it."))
    ]
    spent, left = 0, 0
    for position, row_id in enumerate(order, 1):
        pictures = []
        for table, rows in lines.items():
            row = _of_row(rows, row_id, decisions)
            picture = None if row is None else _picture(reading, table, row, position)
            if picture is None or spent + len(picture.png) > _TOGETHER:
                left += picture is not None or row is not None
                continue
            spent += len(picture.png)
            pictures.append(picture)
        if pictures:
            caption = f"{_called(reading, row_id, position)}{_told(reading, decisions.get(row_id))}"
            blocks.append(Figure(f"overlay-{position}", caption, tuple(pictures)))
    if isinstance(blocks[-1], Figure):
        blocks[-1] = replace(blocks[-1], sources=tables)  # once for all
        blocks[1:1] = _captions(reading, tables)
    if left:
        blocks.append(Paragraph(line(f"{left} more pictures are too large to embed; they lie under artifacts/images.")))
    if len(blocks) == 1:
        blocks = [Paragraph(line("The techniques left maps, but drew no overlay."))]
    return Section("overlays", title, (*blocks, *_hits(reading)))


def _captions(reading: Reading, tables: Sequence[str]) -> list[Block]:
    """How the overlays are read: once what holds for all of them, then what holds for some, with their names."""
    texts = {t: reading.record.fact(f"explain/{t.partition('/')[2]}", "caption") for t in tables}
    sentences = {t: _SENTENCE_ENDS.split(str(text)) for t, text in texts.items() if text}
    if not sentences:
        return []
    common = [s for s in next(iter(sentences.values())) if all(s in those for those in sentences.values())]
    groups: dict[str, list[str]] = {}
    for table, those in sentences.items():
        own = " ".join(sentence for sentence in those if sentence not in common)
        groups.setdefault(own, []).append(reading.technique(table.partition("/")[2]))
    told: list[Block] = [Paragraph(line(said(" ".join(common))))] if common else []
    items = [line(f"{', '.join(names)}: ", said(own)) for own, names in groups.items() if own]
    return [*told, Bullets(tuple(items))] if items else told


def _lines(reading: Reading, table: str) -> list[Row]:
    read = reading.table(table, columns=list(_COLUMNS))
    return [] if read is None else read.to_pylist()


def _decisions(reading: Reading, rows: list[Any]) -> dict[Any, Row]:
    """Per row its decision, its label, and the score of the class decided."""
    read = reading.table("predictions", filters=[("row_id", "in", rows)]) if rows else None
    found: dict[Any, Row] = {}
    for row in [] if read is None else read.to_pylist():
        if row["row_id"] not in found or row["output"] == row["decision"]:
            found[row["row_id"]] = row
    return found


def _of_row(rows: list[Row], row_id: Any, decisions: dict[Any, Row]) -> Row | None:
    """A technique's picture of a row: of the class decided, else of the first output."""
    mine = [r for r in rows if r["row_id"] == row_id]
    decided = decisions.get(row_id, {}).get("decision")
    return next((r for r in mine if r["output"] == decided), mine[0] if mine else None)


def _called(reading: Reading, row_id: Any, position: int) -> str:
    """`Picture 3f9a…`, or which of the pictures shown it is."""
    label = row_label(reading, row_id)
    return f"Picture {label}" if label != REDACTED else f"Picture {position}, its id not shown"


def _told(reading: Reading, row: Row | None) -> str:
    decision, label = outcome_shown(reading, row)
    told = ""
    if row is not None and decision is not None:
        told = f": decided as {decision}"
        if row["output"] == decision and row["score"] is not None:
            told += f" (score {number(row['score'])})"
    return told + (f"{',' if told else ':'} labelled {label}" if label is not None else "")


def _picture(reading: Reading, table: str, row: Row, position: int) -> Picture | None:
    folder = reading.workspace.artifacts.resolve()
    path = (folder / row["image"]).resolve()
    # The path comes from a table: it must stay inside the run, whatever it says.
    if not path.is_relative_to(folder) or path.suffix.lower() != ".png" or not path.is_file():
        return None
    if path.stat().st_size > _LARGEST:
        return None
    png = path.read_bytes()
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    technique = reading.technique(table.partition("/")[2])
    layer = f", layer {row['layer']}" if row["layer"] else ""
    called = _called(reading, row["row_id"], position)
    called = f"{called[0].lower()}{called[1:]}"
    description = f"{technique} overlay of {called}, for the output {row['output']}{layer}"
    inner = path.relative_to(folder).as_posix()
    return Picture(f"artifacts/{inner}", png, f"{technique} for {row['output']}", description)


def _hits(reading: Reading) -> list[Block]:
    """How often a map points into the known box, beside chance, where boxes are known."""
    measured = [r for r in reading.rows("explanation_quality") if r["measure"] in _BOXES and r["output"] is None]
    if not measured:
        return []
    columns = (
        Column("Technique", weight=1.5),
        *(Column(f"{name[0].upper()}{name[1:]}", "right") for name in _BOXES.values()),
        Column("Pictures", "right"),
    )
    found = {(r["technique"], r["measure"]): r for r in measured}
    rows = []
    for technique in dict.fromkeys(r["technique"] for r in measured):
        those = [found.get((technique, measure)) for measure in _BOXES]
        numbers = [r["n_rows"] for r in those if r is not None]
        rows.append(
            (
                line(reading.technique(technique)),
                *(
                    (status("undefined"),) if r is None or r["value"] is None else (num(number(r["value"])),)
                    for r in those
                ),
                line(" and ".join(dict.fromkeys(count(n) for n in numbers))),
            )
        )
    note = line("The random attribution is what a map reaches that says nothing.")
    return [Table("box-hits", "Hits of the known region", columns, tuple(rows), note, ("explanation_quality",))]
