"""Drift: what has moved between the reference and the audited data."""

from __future__ import annotations

from tasks.report.document import Column, Content, Paragraph, Section, Table, line, name, num, said, status
from tasks.report.numbers import limit, number
from tasks.report.reading import Reading, Row
from tasks.report.sections.shared import dash, left_out, plural, top
from tasks.report.words import measure_label


def drift(reading: Reading) -> Section:
    rows = reading.rows("drift")
    if not rows:
        return Section("drift", "Drift", (Paragraph((said(reading.why_absent("drift")),)),))
    named = {
        *reading.record.fact("drift", "drifted", []),
        *reading.record.fact("drift", "drifted_outputs", []),
    }
    moved = [r for r in rows if _beyond(r, named)]
    lead = f"{len(rows):,} measures compare the audited data with the reference. "
    lead += (
        f"{plural(len(moved), 'lies beyond its', 'lie beyond their')} threshold."
        if moved
        else "None lies beyond its threshold."
    )
    ordered = sorted(rows, key=lambda r: (not _beyond(r, named), r["threshold"] is None, -_share(r)))
    shown, more = top(ordered)
    columns = (
        Column("Of"),
        Column("Feature or attribute", weight=1.5),
        Column("Measure", weight=1.5),
        Column("Value", "right"),
        Column("Threshold", "right"),
        Column("State"),
    )
    table = Table(
        "drift-table",
        "Drift, the largest first",
        columns,
        tuple(_cells(r, _beyond(r, named)) for r in shown),
        left_out(more, "measures"),
        ("drift",),
    )
    return Section("drift", "Drift", (Paragraph(line(lead), lead=True), table))


def _share(row: Row) -> float:
    """How far a measure has come towards its threshold; without one, its size."""
    return abs(row["value"] or 0.0) / (row["threshold"] or 1.0)


def _beyond(row: Row, named: set[str]) -> bool:
    """Past its threshold; an index without bound has no value, and the stage names it."""
    if row["threshold"] is None:
        return False
    if row["value"] is None:
        return row["feature"] in named
    return (row["status"] or "ok") == "ok" and abs(row["value"]) >= row["threshold"]


def _cells(row: Row, beyond: bool) -> tuple[Content, ...]:
    what = row["feature"] or row["attribute"]
    value, threshold = row["value"], row["threshold"]
    return (
        line(row["kind"] or "data"),
        (name(what),) if what else dash(),
        line(measure_label(row["measure"])),
        (num(number(value, beside=threshold)),) if value is not None else (status("undefined"),),
        (num(limit(threshold)),) if threshold is not None else dash(),
        (status("breached", "past the threshold") if beyond else status(row["status"] or "ok"),),
    )
