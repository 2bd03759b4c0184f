"""The data gate: what was asked of the data, and what does not hold."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.report.document import (
    Block,
    Column,
    Content,
    Paragraph,
    Section,
    Table,
    line,
    muted,
    name,
    num,
    said,
    status,
)
from tasks.report.numbers import count, percent
from tasks.report.reading import Reading, Row
from tasks.report.sections.shared import dash, left_out, plural, top

_ORDER = {"critical": 0, "warning": 1, "info": 2}
_SHOWN = 60


def gate(reading: Reading) -> Section:
    rows = reading.rows("validation")
    if not rows:
        return Section("gate", "The data gate", (Paragraph((said(reading.why_absent("validate")),)),))
    failed = [r for r in rows if r["success"] is False]
    lead = f"Before anything was computed, {len(rows):,} expectations were checked on the data. "
    if not failed:
        lead += "All hold."
    else:
        critical = sum(r["severity"] == "critical" for r in failed)
        lead += f"{plural(len(failed), 'does', 'do')} not hold"
        lead += f", {critical:,} of them critical: the audit was refused." if critical else "; none that is critical."
    blocks: list[Block] = [Paragraph(line(lead), lead=True)]
    shown, more = top(sorted(failed, key=lambda r: _ORDER.get(r["severity"], 3)), _SHOWN)
    columns = (
        Column("Expectation", weight=1.6),
        Column("Column", weight=1.1),
        Column("Result"),
        Column("Unexpected", "right"),
        Column("Detail", weight=2.4),
    )
    table = Table(
        "validation",
        "Expectations",
        columns,
        (*map(_cells, shown), *_passed([r for r in rows if r["success"]])),
        left_out(more, "expectations"),
        ("validation",),
    )
    return Section("gate", "The data gate", (*blocks, table))


def _passed(rows: Sequence[Row]) -> list[tuple[Content, ...]]:
    """What holds, a line an expectation: nobody reads the same words once for every column."""
    by_type: dict[str, list[str]] = {}
    for row in rows:
        by_type.setdefault(row["expectation"], []).append(row["column"])
    lines: list[tuple[Content, ...]] = []
    for expectation, columns in by_type.items():
        named, more = top([column for column in dict.fromkeys(columns) if column])
        where = line(*[part for column in named for part in (", ", name(column))][1:]) if named else dash()
        result = status("passed") if len(columns) == 1 else status("passed", f"passed, {len(columns):,} times")
        lines.append(
            (_words(expectation), (*where, *line(f" and {more:,} more" if more else "")), (result,), dash(), dash())
        )
    return lines


def _words(expectation: str) -> Content:
    return (name(expectation.removeprefix("expect_").replace("_", " ")),)


def _cells(row: Row) -> tuple[Content, ...]:
    result = status(row["severity"], f"fails ({status(row['severity']).text})")
    unexpected = dash()
    if row["unexpected_count"] is not None:
        unexpected = (num(count(row["unexpected_count"])),)
        if row["unexpected_count"] and row["unexpected_percent"] is not None:
            unexpected += (muted(f" ({percent(row['unexpected_percent'] / 100)})"),)
    return (
        _words(row["expectation"]),
        (name(row["column"]),) if row["column"] else dash(),
        (result,),
        unexpected,
        (said(row["detail"]),) if row["detail"] else dash(),
    )
