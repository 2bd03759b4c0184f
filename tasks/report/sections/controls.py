"""Regulations: each control with its status by rule, rationale and evidence; and forms for what people state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.report.document import (
    Block,
    Callout,
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
    muted,
    name,
    said,
    status,
)
from tasks.report.numbers import NOT_GIVEN
from tasks.report.reading import Reading
from tasks.report.regulations import AS_OF, Control, Judged, Pointer, attestations, judged
from tasks.report.regulations.base import Attestation

DISCLAIMER = (
    "This is evidence for the clauses named, read by rules that are written in code. It is not legal advice, and it"
    " does not say that anyone complies with a law. What only a person can state is marked so, and is never invented."
)
SOURCES = {
    "P": "read in the text itself",
    "S": "from secondary sources",
    "M": "from memory, to be checked against the text",
}
#: topics that the report itself asks for, beside the packs
OWN_TOPICS = frozenset({"retention"})
#: a line to write on
_BLANK = "_" * 24
_NAMED = 6


@dataclass(frozen=True)
class Asked:
    """A topic that a person is asked to state, with the controls that ask."""

    topic: str
    controls: tuple[tuple[Judged, Control], ...]


def controls(reading: Reading) -> Section:
    packs = judged(reading)
    blocks: list[Block] = [Paragraph(line(f"{DISCLAIMER} Law as of {AS_OF}."), lead=True)]
    if not packs:
        text = "None of the regulations that the config names could be evaluated."
        if not reading.config.report.regulations:
            text = "The config names no regulation (report.regulations)."
        blocks.append(Paragraph(line(text)))
    doubts = _doubts(reading, packs)
    if doubts:
        blocks.append(Callout("Statements to look at", "unsure", tuple(doubts)))
    written = "html" in reading.config.report.formats
    sections = [_pack(pack, pages=written) for pack in packs]
    people = _people(reading, packs)
    if people is not None:
        sections.append(people)
    return Section("controls", "Regulations", tuple(blocks), tuple(sections))


def _pack(pack: Judged, *, pages: bool) -> Section:
    facts = Facts(
        (
            ("Legal status", (said(pack.legal_status),)),
            ("As of", line(pack.as_of)),
            ("Our source", line(f"{pack.source}: {SOURCES[pack.source]}")),
            *((("To publish", _pages(pack)),) if pack.pages and pages else ()),
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
        ((said(c.clause),), (_state(c),), _asks(pack, c), (said(c.rationale),), _evidence(c)) for c in pack.controls
    )
    table = Table(f"controls-{pack.id}", f"Controls: {pack.title}", columns, rows)
    return Section(f"pack-{pack.id}", pack.title, (facts, table, *pack.blocks))


def _pages(pack: Judged) -> Content:
    parts = [part for file, _ in pack.pages for part in (link(file, file), ", ")]
    return line(*parts[:-1])


def _state(control: Control) -> Span:
    """A law without a threshold cannot be passed: what satisfies a control is that its evidence is there."""
    if control.status == "satisfied" and not control.has_limit:
        return Span("evidence present", "status")
    return status(control.status)


def _asks(pack: Judged, control: Control) -> Content:
    """What a control asks; with its legal status and source where these are not the pack's."""
    parts: list[Span | str] = [said(control.ask)]
    if control.legal_status is not None and control.legal_status != pack.legal_status:
        parts += [" Legal status: ", said(control.legal_status)]
    if control.source != pack.source:
        parts += [f" Source {control.source}: {SOURCES[control.source]}."]
    return line(*parts)


def _evidence(control: Control) -> Content:
    parts: list = []
    for pointer in control.evidence:
        parts += [_pointed(pointer), " ", code(pointer.sha256[:12]), ", "]
    if control.stated is not None:
        parts += [link("statement", "#stated"), ", "]
    return line(*parts[:-1]) if parts else line("none")


def _pointed(pointer: Pointer) -> Span:
    if pointer.kind == "input":
        return name(pointer.table)
    return link(pointer.table, f"artifacts/{pointer.table}.parquet")


# ---------------------------------------------------------------- what people state


def _asked(packs: Sequence[Judged]) -> dict[str, Asked]:
    """Topic → who asks, in the order of the packs."""
    found: dict[str, list[tuple[Judged, Control]]] = {}
    for pack in packs:
        for control in pack.controls:
            if control.attestation is not None:
                found.setdefault(control.attestation, []).append((pack, control))
    return {topic: Asked(topic, tuple(asking)) for topic, asking in found.items()}


def _doubts(reading: Reading, packs: Sequence[Judged]) -> list[Content]:
    """Statements that nobody asks for, and those dated after the audit."""
    asked = _asked(packs)
    stated = attestations(reading.config.report.attestations)
    ended = reading.record.finished[:10]
    unasked = [a.topic for a in stated if a.topic not in asked and a.topic not in OWN_TOPICS]
    found: list[Content] = []
    if unasked:
        parts = [part for topic in unasked[:_NAMED] for part in (name(topic), ", ")][:-1]
        more = f" and {len(unasked) - _NAMED} more" if len(unasked) > _NAMED else ""
        found.append(
            line("None of the regulations chosen asks for what report.attestations states on: ", *parts, more + ".")
        )
    found += [
        line("The statement on ", name(a.topic), f" is dated {a.date}, after the end of this audit.")
        for a in stated
        if a.date is not None and a.date > ended
    ]
    return found


def _people(reading: Reading, packs: Sequence[Judged]) -> Section | None:
    """What people stated, and a form for whatever they are asked to state and have not."""
    asked = _asked(packs)
    stated = {a.topic: a for a in attestations(reading.config.report.attestations)}
    sections = []
    if stated:
        sections.append(Section("stated", "Stated by people", (_stated(list(stated.values()), asked),)))
    forms = [block for topic, one in asked.items() if topic not in stated for block in _form(one)]
    if forms:
        how = "Each answers the controls that it names, once it stands in the config under report.attestations."
        blocks = (Paragraph(line(how)), *forms)
        sections.append(Section("forms", "To be stated: forms to fill in", blocks))
    if not sections:
        return None
    intro = "What follows only a person can state. Nothing of it is checked by this audit."
    return Section("people", "What people state", (Paragraph(line(intro)),), tuple(sections))


def _stated(stated: Sequence[Attestation], asked: dict[str, Asked]) -> Table:
    columns = (
        Column("Topic", weight=1.1),
        Column("Statement", weight=2.2),
        Column("Who"),
        Column("Role"),
        Column("Date"),
        Column("Answers", weight=1.3),
    )
    rows = []
    for one in stated:
        more = "".join(f"; {key}: {value}" for key, value in one.more.items())
        asking = asked.get(one.topic)
        rows.append(
            (
                (name(one.topic),),
                (said(f"{one.statement}{more}"),),
                *((said(value),) if value else (muted(NOT_GIVEN),) for value in (one.who, one.role, one.date)),
                (said(_clauses(asking)),) if asking else (muted("none of the regulations chosen"),),
            )
        )
    return Table("attested", "Statements given in the config", columns, tuple(rows))


def _form(asked: Asked) -> list[Block]:
    """A form: who is asked what, and lines to write on."""
    asks = list(dict.fromkeys(control.ask for _, control in asked.controls))
    blank, blank_too = (muted(_BLANK),), (Span(" / "), muted(_BLANK))
    return [
        Paragraph(line("To be stated under ", code(f"report.attestations.{asked.topic}"), ":")),
        Facts(
            (
                ("Asked by", (said(_clauses(asked)),)),
                ("What is asked", (said(" ".join(asks)),)),
                ("Statement", blank),
                ("Who, and role", (*blank, *blank_too)),
                ("Date, and signature", (*blank, *blank_too)),
            )
        ),
    ]


def _clauses(asked: Asked) -> str:
    told = list(dict.fromkeys(f"{pack.title}: {control.clause}" for pack, control in asked.controls))
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return "; ".join(told[:_NAMED]) + more
