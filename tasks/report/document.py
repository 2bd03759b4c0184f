"""The report as a typed document: built once, rendered to HTML, Markdown and PDF.

All text sits in `Span`s, already formatted: a renderer decides how something looks, never what it says. So the same
numbers stand in every form.

    Document → Section → Paragraph | Bullets | Facts | Table | Figure | Callout | FindingNote
             → Content = (Span, …)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from tasks.report.figures.charts import Chart
from tasks.report.text import clean

#: text: our own words · name: a name or value from data, config or model · said: a sentence that another stage made,
#: which may hold such names · number · code: digests, paths, ids ·
#: status: a verdict, with its tone · link: to an anchor of this document or a file of the run ·
#: aside: what qualifies the value before it in a cell: counts, interval, reason ·
#: again: what the row above already says: a ditto mark, in full when read aloud
Kind = Literal["text", "strong", "name", "said", "number", "code", "status", "link", "muted", "aside", "again"]
Tone = Literal["good", "bad", "unsure", "plain"]

#: verdicts of audits, checks, controls and stages → how they are said, and their tone
STATUS: dict[str, tuple[str, Tone]] = {
    "satisfied": ("satisfied", "good"),
    "not_satisfied": ("not satisfied", "bad"),
    "inconclusive": ("inconclusive", "unsure"),
    "insufficient_data": ("insufficient data", "unsure"),
    "not_applicable": ("not applicable", "plain"),
    "human_required": ("human required", "unsure"),
    "refused": ("refused", "bad"),
    "incomplete": ("incomplete", "bad"),
    "undefined": ("undefined", "unsure"),
    "ok": ("ok", "good"),
    "done": ("done", "good"),
    "failed": ("failed", "bad"),
    "not_reached": ("not reached", "unsure"),
    "critical": ("critical", "bad"),
    "warning": ("warning", "unsure"),
    "info": ("note", "plain"),
    "passed": ("passed", "good"),
    "breached": ("breached", "bad"),
    "flagged": ("flagged", "bad"),
    "not_flagged": ("not flagged", "plain"),
    "not_evaluated": ("not evaluated", "plain"),
    "no_threshold": ("no threshold", "plain"),
}


def _cleaned(node: object, *fields: str) -> None:
    """Makes the plain texts of a frozen node fit for every form."""
    for key in fields:
        object.__setattr__(node, key, clean(getattr(node, key)))


@dataclass(frozen=True)
class Span:
    """A run of text of one kind. `href` begins with `#` inside the document, else is a path in the run's folder."""

    text: str
    kind: Kind = "text"
    tone: Tone = "plain"
    href: str = ""

    def __post_init__(self) -> None:
        _cleaned(self, "text")


Content = tuple[Span, ...]


def line(*parts: str | Span) -> Content:
    """A sentence of our own words and marked spans."""
    return tuple(Span(part) if isinstance(part, str) else part for part in parts)


def name(text: object) -> Span:
    """Text from data, config or model. Isolated, so that its direction does not touch what surrounds it."""
    return Span(str(text) if str(text).strip() else "(empty)", "name")


def said(text: object) -> Span:
    """A sentence of another stage."""
    return Span(str(text), "said")


def code(text: object) -> Span:
    return Span(str(text), "code")


def num(text: str) -> Span:
    return Span(text, "number")


def strong(text: str) -> Span:
    return Span(text, "strong")


def muted(text: str) -> Span:
    return Span(text, "muted")


def aside(text: str) -> Span:
    return Span(text, "aside")


def status(key: str, words: str | None = None) -> Span:
    """A verdict or state; an unknown one is shown as it is."""
    said, tone = STATUS.get(key, (key.replace("_", " "), "plain"))
    return Span(words or said, "status", tone)


def link(text: str, href: str) -> Span:
    return Span(text, "link", href=href)


@dataclass(frozen=True)
class Paragraph:
    content: Content
    lead: bool = False  # the opening sentence of a section


@dataclass(frozen=True)
class Bullets:
    items: tuple[Content, ...]


@dataclass(frozen=True)
class Facts:
    """Label and value, line by line."""

    pairs: tuple[tuple[str, Content], ...]


@dataclass(frozen=True)
class Column:
    label: str
    align: Literal["left", "right"] = "left"
    weight: float = 1.0  # share of the page's width in PDF; numbers take what they need

    def __post_init__(self) -> None:
        _cleaned(self, "label")


@dataclass(frozen=True)
class Table:
    """Rows of cells. The first column names its row. `sources` are tables under artifacts/ that it was read from."""

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Content, ...], ...]
    note: Content = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _cleaned(self, "caption")
        wrong = [len(row) for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"{self.id}: rows of {wrong[0]} cells under {len(self.columns)} columns")


@dataclass(frozen=True)
class Picture:
    """A PNG of the run.

    Attributes:
        path: in the run's folder.
        png: its bytes.
        description: what a reader who cannot see it must know.
    """

    path: str
    png: bytes = field(repr=False)
    title: str
    description: str

    def __post_init__(self) -> None:
        _cleaned(self, "title", "description")


@dataclass(frozen=True)
class Figure:
    """Charts or pictures beside each other; every number in it also stands in a table of its section."""

    id: str
    caption: str
    panels: tuple[Chart | Picture, ...]
    note: Content = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _cleaned(self, "caption")


@dataclass(frozen=True)
class Callout:
    """What must not be overlooked, or a text that is quoted.

    Attributes:
        bullets: whether the items are points of a list, or else lines of a text.
    """

    title: str
    tone: Tone
    items: tuple[Content, ...]
    bullets: bool = True


@dataclass(frozen=True)
class FindingNote:
    severity: Literal["critical", "warning", "info"]
    content: Content
    code: str
    stage: str
    evidence: Content = ()


Block = Paragraph | Bullets | Facts | Table | Figure | Callout | FindingNote


@dataclass(frozen=True)
class Section:
    """A heading with what belongs to it. Never empty: what is missing says why."""

    id: str
    title: str
    blocks: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()

    def __post_init__(self) -> None:
        _cleaned(self, "title")
        if not self.blocks and not self.sections:
            raise ValueError(f"section {self.id} says nothing")


@dataclass(frozen=True)
class Document:
    """The whole report.

    Attributes:
        title, subtitle: the audit's title; what the document is.
        report_id, date: the run's id; ISO time of its end.
        verdict: key into STATUS.
        headline: the verdict in a sentence.
        facts: what identifies subject and report, shown on the first page.
        banners: what is missing or was refused, above everything else.
    """

    title: str
    subtitle: str
    report_id: str
    date: str
    verdict: str
    headline: Content
    facts: tuple[tuple[str, Content], ...]
    banners: tuple[Callout, ...]
    sections: tuple[Section, ...]
    closing: Content = ()

    def __post_init__(self) -> None:
        _cleaned(self, "title", "subtitle")
        seen: set[str] = set()
        for anchor in self.anchors():
            if anchor in seen:
                raise ValueError(f"two parts of the report have the id {anchor}")
            seen.add(anchor)

    def anchors(self) -> Iterator[str]:
        """Ids of sections, tables and figures, in order."""
        for section in walk(self.sections):
            yield section.id
            yield from (b.id for b in section.blocks if isinstance(b, Table | Figure))


def walk(sections: tuple[Section, ...]) -> Iterator[Section]:
    """Sections and those below them, in reading order."""
    for section in sections:
        yield section
        yield from walk(section.sections)
