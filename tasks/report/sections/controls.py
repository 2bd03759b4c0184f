"""Regulations: each control with its status by rule, its rationale and its evidence."""

from __future__ import annotations

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
    said,
    status,
)
from tasks.report.reading import Reading
from tasks.report.regulations import AS_OF, Control, Judged, judged, unevaluated

DISCLAIMER = (
    "This is evidence for the clauses named, read by rules that are written in code. It is not legal advice, and it"
    " does not say that anyone complies with a law. What only a person can state is marked so, and is never invented."
)
SOURCES = {
    "P": "read in the text of the law",
    "S": "from secondary sources",
    "M": "from memory, to be checked against the text",
}


def controls(reading: Reading) -> Section:
    packs = judged(reading)
    blocks: list[Block] = [Paragraph(line(f"{DISCLAIMER} Law as of {AS_OF}."), lead=True)]
    if not packs:
        later = unevaluated(reading.config)
        text = (
            "None of the regulations that the config names is evaluated by this version; they are listed under Limits."
            if later
            else "The config names no regulation (report.regulations)."
        )
        return Section("controls", "Regulations", (*blocks, Paragraph(line(text))))
    return Section("controls", "Regulations", tuple(blocks), tuple(_pack(p) for p in packs))


def _pack(pack: Judged) -> Section:
    facts = Facts(
        (
            ("Legal status", line(pack.legal_status)),
            ("As of", line(pack.as_of)),
            ("Our source", line(f"{pack.source}: {SOURCES[pack.source]}")),
        )
    )
    columns = (
        Column("Clause", weight=1.2),
        Column("Status", weight=1.1),
        Column("What it asks", weight=2),
        Column("Why", weight=2.2),
        Column("Evidence", weight=1.1),
    )
    rows = tuple(
        (line(c.clause), (_state(c),), (said(c.ask),), (said(c.rationale),), _evidence(c)) for c in pack.controls
    )
    table = Table(f"controls-{pack.id}", f"Controls: {pack.title}", columns, rows)
    return Section(f"pack-{pack.id}", pack.title, (facts, table, *pack.blocks))


def _state(control: Control) -> Span:
    """A law without a threshold cannot be passed: what satisfies a control is that its evidence is there."""
    if control.status == "satisfied":
        return Span("evidence present", "status")
    return status(control.status)


def _evidence(control: Control) -> Content:
    parts: list = []
    for pointer in control.evidence:
        parts += [
            link(pointer.table, f"artifacts/{pointer.table}.parquet"),
            " ",
            code(pointer.sha256[:12]),
            ", ",
        ]
    return line(*parts[:-1]) if parts else line("none")
