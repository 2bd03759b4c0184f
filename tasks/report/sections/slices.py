"""The parts of the data in which the model fares worst, found in one half of the rows, measured in the other."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.report.document import Column, Content, Paragraph, Section, Span, Table, aside, line, name, num
from tasks.report.numbers import count, fraction, interval, number, p_value
from tasks.report.reading import Reading, Row
from tasks.report.sections.shared import left_out, plural, top
from tasks.report.words import metric_label

_SLICES = (
    "Parts of the data, by up to three attributes and features, in which the model fares worse than in all other rows."
    " They were found by search in one half of the rows; the numbers are of the other half, which played no part in it."
    " The q-value accounts for how many were tried there."
)
_SHOWN = 12
_LEVEL = 0.05  # of q-values, where the stage tells none


def slices(reading: Reading) -> Section | None:
    """The slices that were found, the worst first; None where the run has none."""
    rows = reading.rows("slices")
    if not rows:
        return None
    told = reading.record.fact("sources", "slices", {}) or {}
    shown, more = top(sorted(rows, key=lambda r: (r["rank"] is None, r["rank"] or 0)), _SHOWN)
    columns = (
        Column("Rows with", weight=2.2),
        Column("Metric", weight=1.1),
        Column("In them", weight=1.1),
        Column("All others", "right"),
        Column("Difference", weight=1.2),
        Column("q", "right"),
    )
    cells = tuple(
        (
            _parts(r),
            line(metric_label(r["metric"])),
            _inside(r),
            (num(number(r["rest"])),),
            (num(number(r["difference"])), *_between(r)),
            (num(p_value(r["q_value"])),),
        )
        for r in shown
    )
    sentence = _verdict(rows, shown[0], float(told.get("level", _LEVEL)))
    table = Table("slices-table", "The worst slices", columns, cells, left_out(more, "slices"), ("slices",))
    return Section("slices", "Where the model fares worst", (Paragraph(line(_SLICES)), Paragraph(sentence), table))


def _verdict(rows: Sequence[Row], first: Row, level: float) -> Content:
    """How many of the slices are confirmed, and what the first comes to."""
    sure = sum(r["q_value"] is not None and r["q_value"] < level for r in rows)
    kept = plural(len(rows), "slice is", "slices are")
    counted = (
        f"{kept} listed; {sure or 'none'} of them {'differs' if sure == 1 else 'differ'} beyond chance (q < {level:g})."
    )
    if first["value"] is None or first["rest"] is None:
        return line(counted)
    return line(
        f"{counted} The first: ", *_parts(first), ", ", metric_label(first["metric"]), " ", num(number(first["value"])),
        f" in {count(first['n'])} rows against ", num(number(first["rest"])), " in all others.",
    )  # fmt: skip


def _parts(row: Row) -> Content:
    """`sex = Female and age ≥ 60`, each part closed off."""
    parts = list(row["parts"] or ()) or [row["slice"]]
    joined: list[str | Span] = []
    for part in parts:
        # The names of bins begin with their sign: `age = < 25` is `age < 25`.
        joined += [name(part.replace(" = < ", " < ", 1).replace(" = ≥ ", " ≥ ", 1)), " and "]
    return line(*joined[:-1])


def _inside(row: Row) -> Content:
    """The value among the slice's rows with its counts."""
    if row["numerator"] is not None and row["denominator"] is not None:
        told = fraction(row["numerator"], row["denominator"])
    else:
        told = f"{count(row['n'])} rows"
    return (num(number(row["value"])), aside(told))


def _between(row: Row) -> Content:
    told = interval(row["ci_low"], row["ci_high"])
    return (aside(told),) if told != "–" else ()
