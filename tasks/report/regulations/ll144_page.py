"""The page that Local Law 144 wants published: the summary of a bias audit, as a file of its own (6 RCNY § 5-303).

It stands alone: no link leads out of it. What only a person can state, and has not stated, is "to be stated".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tasks.report.document import Content, Document, Facts, Paragraph, Section, Span, code, line, name, num, said
from tasks.report.numbers import count, moment
from tasks.report.regulations.base import attestations
from tasks.report.regulations.ll144_tables import Ll144Settings, Sheet, drawn

if TYPE_CHECKING:
    from tasks.report.reading import Reading

TO_BE_STATED = "to be stated"
#: fact on the page → the topic under report.attestations that answers it
_STATED = {
    "Source and explanation of the data": "data_source",
    "Test data": "test_data",
    "Distribution date": "distribution_date",
    "Independence of the auditor": "independence",
}


def page(reading: Reading, sheets: Sequence[tuple[str, Sheet]], settings: Ll144Settings, how: str) -> Document:
    """The summary to publish.

    Args:
        sheets: (id, table) of every table that has numbers.
        how: what the rule leaves open, and how it was set.
    """
    selection = [(id, one) for id, one in sheets if one.kind == "selection"]
    scoring = [(id, one) for id, one in sheets if one.kind == "scoring"]
    sections = [Section("audit", "The audit", (Facts(_facts(reading)), Paragraph(line(how))))]
    for id, title, some in (("selection", "Selection rates", selection), ("scoring", "Scoring rates", scoring)):
        if some:
            tables = tuple(drawn(own, one, settings.decimals, sources=False) for own, one in some)
            sections.append(Section(id, title, (Paragraph(line(_MEANING[id]), lead=True), *tables)))
    first = {one.what: one.table for _, one in reversed(sheets) if one.table is not None}
    unknown = tuple((f"By {what}", (num(count(table.unknown)),)) for what, table in reversed(first.items()))
    why = "People whose category is not known are left out of the calculations. Their number:"
    sections.append(Section("unknown", "Unknown category", (Paragraph(line(why)), Facts(unknown))))
    return Document(
        title=reading.title,
        subtitle="Bias audit of an automated employment decision tool: results to publish under Local Law 144",
        report_id=reading.record.run_id,
        date=reading.record.finished,
        verdict="no_threshold",
        headline=line("The law sets no threshold: these are the figures that it asks to be published."),
        facts=(
            ("Date of the audit", line(moment(reading.record.finished))),
            ("Report", (code(reading.record.run_id),)),
        ),
        banners=(),
        sections=tuple(sections),
        closing=line("Figures for publication. This is not legal advice, and it does not say that anyone complies."),
    )


_MEANING = {
    "selection": "The selection rate is the share of a category that was selected; its impact ratio is that rate"
    " divided by the highest one.",
    "scoring": "The scoring rate is the share of a category that scored above the median score; its impact ratio is"
    " that rate divided by the highest one.",
}


def _facts(reading: Reading) -> tuple[tuple[str, Content], ...]:
    record = reading.record
    model = record.fact("load_model", "version")
    stated = {a.topic: a for a in attestations(reading.config.report.attestations)}
    independent = stated.get("independence")
    by = [part for part in (independent.who, independent.role) if part] if independent else []
    told: list[tuple[str, Content]] = [
        ("Tool", line(name(reading.config.name), f", version {model}" if model is not None else "")),
        ("Date of the audit", line(moment(record.finished))),
        ("Serves until", line(_year_later(record.finished))),
        ("Audited by", (said(", ".join(by)),) if by else _open()),
    ]
    told += [
        (label, (said(stated[topic].statement),) if topic in stated else _open()) for label, topic in _STATED.items()
    ]
    data = record.fact("load_data", "data", {}) or {}
    told.append(("People in the data", (num(count(data.get("rows"))),)))
    told.append(("SHA-256 of the data", (code(data.get("sha256") or "not given"),)))
    return tuple(told)


def _open() -> Content:
    return (Span(TO_BE_STATED, "status", "unsure"),)


def _year_later(iso: str) -> str:
    """The same day a year later; of 29 February, the day before March."""
    try:
        day = datetime.fromisoformat(iso).date()
    except ValueError:
        return "a year after the audit"
    later = (
        day.replace(year=day.year + 1, day=28) if (day.month, day.day) == (2, 29) else day.replace(year=day.year + 1)
    )
    return f"{later.day} {later:%B %Y}"
