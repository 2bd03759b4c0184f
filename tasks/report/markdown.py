"""The document as Markdown (CommonMark with pipe tables)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from tasks.report.document import (
    STATUS,
    Block,
    Bullets,
    Callout,
    Content,
    Document,
    Facts,
    Figure,
    FindingNote,
    Paragraph,
    Picture,
    Section,
    Span,
    Table,
)
from tasks.report.numbers import moment
from tasks.report.text import clean, href

#: what Markdown, its pipe tables, or a site's extensions (mentions, mathematics, templates) may read as markup
_MARKUP = re.compile(r"([\\`*_{\[\]<>#|~&$@])")
#: what some sites make an emoji or a link of
_SHORTHAND = re.compile(r":(?=//|[A-Za-z0-9_+-]+:)")
#: what is markup only where a block begins
_STARTS = re.compile(r"^(\s*)([-+=](?=\s|$|[-=])|(?<![0-9])[0-9]+[.)](?=\s|$))")
_BIDI = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u200e\u200f\U00010800-\U00010fff\U0001e800-\U0001efff]")
_FIRST_STRONG, _POP = "\u2068", "\u2069"


def escape_markdown(text: object) -> str:
    """Any text as Markdown that shows just this text, on one line."""
    escaped = _MARKUP.sub(r"\\\1", " ".join(clean(text).split()))
    escaped = _SHORTHAND.sub(r"\:", re.sub(r"(?i)\b(www)\.", r"\1\\.", escaped))
    return _STARTS.sub(lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}", escaped)


def isolated(text: str) -> str:
    """Text with a direction of its own, closed off from what surrounds it; other text unchanged."""
    return f"{_FIRST_STRONG}{text}{_POP}" if _BIDI.search(text) else text


def render_markdown(document: Document) -> bytes:
    """The report as Markdown, UTF-8."""
    words = STATUS[document.verdict][0]
    lines = [f"# {_plain(document.title)}", "", _plain(document.subtitle), ""]
    lines += [f"**Verdict: {words}.** {_content(document.headline)}", ""]
    for banner in document.banners:
        lines += _callout(banner)
    lines += _facts(Facts(document.facts))
    lines += ["**Contents**", ""]
    lines += [f"{n}. [{_plain(s.title)}](#{s.id})" for n, s in enumerate(document.sections, 1)]
    lines.append("")
    for number, section in enumerate(document.sections, 1):
        lines += _section(section, str(number), 2)
    lines += ["---", "", _content(document.closing), ""]
    lines += [f"Report {_code(document.report_id)}, {_plain(moment(document.date))}", ""]
    return "\n".join(lines).encode("utf-8", errors="replace")


def _section(section: Section, number: str, level: int) -> Iterator[str]:
    # The anchor is ours: letters, digits and dashes.
    yield from (f'<a id="{section.id}"></a>', "", f"{'#' * level} {number} {_plain(section.title)}", "")
    for block in section.blocks:
        yield from _block(block)
    for position, child in enumerate(section.sections, 1):
        yield from _section(child, f"{number}.{position}", level + 1)


def _block(block: Block) -> list[str]:
    match block:
        case Paragraph(content):
            return [_content(content), ""]
        case Bullets(items):
            return [f"- {_content(item)}" for item in items] + [""]
        case Facts():
            return _facts(block)
        case Table():
            return _table(block)
        case Figure():
            return _figure(block)
        case Callout():
            return _callout(block)
        case FindingNote():
            return _finding(block)


def _facts(facts: Facts) -> list[str]:
    return [f"- {_plain(label)}: {_content(value)}" for label, value in facts.pairs] + [""]


def _callout(callout: Callout) -> list[str]:
    told = [_content(item) for item in callout.items]
    lines = (
        [f"> - {item}" for item in told] if callout.bullets else "\n>\n".join(f"> {item}" for item in told).split("\n")
    )
    return [f"> **{_plain(callout.title)}**", ">", *lines, ""]


def _finding(finding: FindingNote) -> list[str]:
    evidence = f"; evidence: {_content(finding.evidence)}" if finding.evidence else ""
    severity = STATUS[finding.severity][0]
    where = f"{_plain(finding.stage)}, {_code(finding.code)}{evidence}"
    return [f"- **{severity}**: {_content(finding.content)} ({where})", ""]


def _table(table: Table) -> list[str]:
    lines = [f"**{_plain(table.caption)}**", ""]
    lines.append("| " + " | ".join(_plain(c.label) or " " for c in table.columns) + " |")
    lines.append("|" + "|".join("---:" if c.align == "right" else "---" for c in table.columns) + "|")
    lines += ["| " + " | ".join(_content(cell) for cell in row) + " |" for row in table.rows]
    return [*lines, "", *_footnote(table)]


def _figure(figure: Figure) -> list[str]:
    """Pictures are files of the run; charts are described, their numbers stand in the tables."""
    lines = [f"**{_plain(figure.caption)}**", ""]
    for panel in figure.panels:
        if isinstance(panel, Picture):
            lines += [f"![{_plain(panel.description)}]({_target(panel.path)})", ""]
        else:
            lines.append(f"- *{_plain(panel.title)}*: {_plain(panel.description)}")
    return [*lines, "", *_footnote(figure)]


def _footnote(node: Table | Figure) -> list[str]:
    parts = [_content(node.note)] if node.note else []
    if node.sources:
        links = [f"[{_plain(s)}]({_target(f'artifacts/{s}.parquet')})" for s in node.sources]
        parts.append(f"Source: {', '.join(links)}.")
    return [" ".join(parts), ""] if parts else []


def _content(content: Content) -> str:
    parts = []
    asides: list[str] = []
    for span in content:
        if span.kind == "aside":
            asides.append(_inner(span.text))
            continue
        parts += [_aside(asides), _span(span)]
        asides = []
    text = "".join([*parts, _aside(asides)])
    return text if text.strip() else " "


def _aside(texts: list[str]) -> str:
    return f" ({'; '.join(texts)})" if texts else ""


def _span(span: Span) -> str:
    match span.kind:
        case "code":
            return _code(span.text)
        case "strong" | "status":
            return f"**{_inner(span.text)}**"
        case "link":
            return f"[{_inner(span.text)}]({_target(span.href)})"
        case "again":
            return "″"
        case "name" | "said":
            return isolated(_inner(span.text))
        case _:
            return _inner(span.text)


def _target(to: str) -> str:
    return href(to).removeprefix("./")


def _inner(text: str) -> str:
    """Escaped text within a line: the spaces around it are kept."""
    lead = " " if text[:1].isspace() else ""
    trail = " " if text[-1:].isspace() and text.strip() else ""
    return lead + escape_markdown(text) + trail


def _plain(text: str) -> str:
    return isolated(escape_markdown(text))


def _code(text: str) -> str:
    """Inline code where that can hold the text, else escaped text: a backtick or a pipe would end it."""
    if not text or "`" in text or "|" in text or any(unicodedata.category(c).startswith("C") for c in text):
        return escape_markdown(text) or " "
    return f"`{text}`"
