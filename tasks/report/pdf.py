"""The document as PDF, by typst: contents, page numbers, a header with the report's id, charts as vectors.

It is PDF/A-3a (ISO 19005-3) and PDF/UA-1 (ISO 14289-1) in one: made to be read in fifty years, and to be read aloud.
typst checks what it can of both while it writes; veraPDF, where Java is installed, judges it in the tests.

Text reaches typst as data (one JSON file), never as code. Fonts are those in typst itself, with matplotlib's beside
them for scripts that typst's lack; the system's are ignored, so that the same document is the same bytes everywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.errors import Incomplete
from tasks.report.document import STATUS, Block, Column, Document, Figure, Picture, Section, Span, Table
from tasks.report.figures import standalone, svg
from tasks.report.markdown import isolated
from tasks.report.numbers import moment
from tasks.report.text import LONG_WORD, clean, href, parted

_TEMPLATE = Path(__file__).with_name("templates") / "report.typ"
#: letters from which a name may be broken, after an underscore
_LONGEST_NAME = 10
_BREAK = "\u200b"
#: letters in a cell of numbers that has no more than numbers to say
_LONGEST_NUMBER = 28
#: letters of a title or a description
_LONGEST = 4000
#: characters without a meaning that lasts, which PDF/A-3a has no place for (6.2.11.7.3)
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010ffff]")
#: signs of our own in charts, which the text's font has
_DRAWN = frozenset("−–—…×·≥≤″’±")
#: attached file → (its relationship to the report, ISO 32000-2 14.13; what it is)
_ATTACHED = {
    "summary.json": ("alternative", "This report for machines: the same results, controls and limitations"),
    "inputs.json": ("supplement", "The digests of what the audit read, and of every table and image that it wrote"),
}
_OTHER = ("supplement", "A file of the audit")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TYPES = {".json": "application/json", ".xml": "application/xml", ".csv": "text/csv"}


def render_pdf(document: Document, attachments: Mapping[str, bytes] | None = None) -> bytes:
    """The report as a tagged PDF, dated with the document's date.

    Args:
        attachments: name → content of files that the PDF carries as associated files: names of letters, digits,
            dots and dashes, any bytes.

    Raises:
        ValueError: an attachment's name is no such name.
        Incomplete: typst cannot make it; its message is told.
    """
    return begin_pdf(document, attachments)()


def begin_pdf(document: Document, attachments: Mapping[str, bytes] | None = None) -> Callable[[], bytes]:
    """The same, by typst in a thread, which does without Python; what is handed back waits for the bytes.

    Raises:
        ValueError: as `render_pdf`; the rest is raised when the bytes are asked for.
    """
    attachments = dict(sorted((attachments or {}).items()))
    if wrong := [file for file in attachments if not _FILE.fullmatch(file)]:
        raise ValueError(f"{wrong[0]!r} is no name for an attached file")
    folder = tempfile.TemporaryDirectory(prefix="keras-audit-")
    try:
        _write_source(document, attachments, Path(folder.name))
    except BaseException:
        folder.cleanup()
        raise
    beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pdf")
    future = beside.submit(_compiled, folder, _date(document.date))
    beside.shutdown(wait=False)
    return future.result


def _write_source(document: Document, attachments: Mapping[str, bytes], root: Path) -> None:
    """Writes what the template reads."""
    data = {
        "title": _shown(_bounded(document.title)),
        "title_plain": _bounded(document.title),
        "subtitle": document.subtitle,
        "report_id": document.report_id,
        "date": moment(document.date),
        "attachments": [_attached(*file, root) for file in attachments.items()],
        "verdict": list(STATUS[document.verdict]),
        "headline": _content(document.headline),
        "facts": [[label, _content(value)] for label, value in document.facts],
        "banners": [_block(b, root) for b in document.banners],
        "sections": [_section(s, root) for s in document.sections],
        "closing": _content(document.closing),
    }
    text = _PRIVATE.sub("\ufffd", json.dumps(data, ensure_ascii=False))
    (root / "report.json").write_text(text, encoding="utf-8")
    (root / "report.typ").write_bytes(_TEMPLATE.read_bytes())


def _compiled(folder: tempfile.TemporaryDirectory[str], date: datetime) -> bytes:
    """What typst makes of a folder, which is removed."""
    import typst

    with folder as name:
        root = Path(name)
        try:
            made = typst.compile(
                root / "report.typ",
                root=root,
                font_paths=_fonts(),
                ignore_system_fonts=True,
                timestamp=int(date.timestamp()),
                pdf_standards=["a-3a", "ua-1"],
            )
        except typst.TypstError as error:
            raise Incomplete(
                f"cannot be made ({error})",
                where="report.pdf",
                hint="leave pdf out of report.formats",
                code="pdf",
            ) from error
    assert isinstance(made, bytes)
    return made


def _date(iso: str) -> datetime:
    when = datetime.fromisoformat(iso)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _attached(name: str, content: bytes, root: Path) -> dict[str, str]:
    """A file that the PDF carries: under a name of ours for typst, under its own for the reader."""
    file = f"attached-{len(list(root.iterdir()))}"
    (root / file).write_bytes(content)
    relationship, description = _ATTACHED.get(name, _OTHER)
    return {
        "file": file,
        "name": name,
        "type": _TYPES.get(Path(name).suffix, "application/octet-stream"),
        "relationship": relationship,
        "description": description,
        "sha256": _shown(hashlib.sha256(content).hexdigest()),
    }


def _fonts() -> list[Path]:
    """Where matplotlib keeps its fonts, found without importing it."""
    spec = find_spec("matplotlib")
    places = list(spec.submodule_search_locations or []) if spec else []
    return [p for place in places if (p := Path(place) / "mpl-data" / "fonts" / "ttf").is_dir()]


def _section(section: Section, root: Path) -> dict[str, Any]:
    return {
        "id": section.id,
        "title": _shown(_bounded(section.title)),
        "blocks": [_block(block, root) for block in section.blocks],
        "sections": [_section(child, root) for child in section.sections],
    }


def _block(block: Block, root: Path) -> dict[str, Any]:
    node: dict[str, Any] = {"node": type(block).__name__}
    if isinstance(block, Figure):
        node |= {"id": block.id, "caption": _shown(block.caption), "note": _content(block.note)}
        return node | {"sources": _sources(block.sources), "panels": list(_panels(block, root))}
    for key, value in vars(block).items():
        node[key] = _shown(value) if key in ("caption", "title") else _value(value)
    if isinstance(block, Table):
        node |= {"sources": _sources(block.sources), "shares": _shares(block)}
    return node


def _shares(table: Table) -> list[float]:
    """Each column's share of the width: its weight, up to twice as much where its cells are longer than the weights
    say, down to four fifths where they are shorter; 0 for a column of numbers, which takes what it needs. Paper has no
    scrolling, and rows should not grow tall."""
    lengths = []
    numbers = set()
    for i, column in enumerate(table.columns):
        cells = [sum(len(span.text) for span in row[i]) for row in table.rows]
        if column.align == "right" and max(cells, default=0) <= _LONGEST_NUMBER:
            numbers.add(i)
        squares = sum(n * n for n in cells) / max(len(cells), 1)
        lengths.append(max(math.sqrt(squares), len(column.label) / 2, 1.0))
    left = [i for i, column in enumerate(table.columns) if column.align == "left"]
    usual = sum(lengths[i] for i in left) / max(sum(table.columns[i].weight for i in left), 1e-9)
    wanted = [math.sqrt(n / (c.weight * usual)) if usual else 1.0 for n, c in zip(lengths, table.columns, strict=True)]
    return [
        0 if i in numbers else round(column.weight * min(max(wanted[i], 0.8), 2.0), 2)
        for i, column in enumerate(table.columns)
    ]


def _sources(names: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"name": _shown(name), "href": href(f"artifacts/{name}.parquet")} for name in names]


def _drawable(chart: str) -> str:
    """A chart that typst can show. In an SVG it looks for a font letter by letter and gives up on sequences that none
    has whole: letters beyond Latin are all taken from one font, marks that are no letter with it are left out, and
    what that font has not becomes U+FFFD. No other one here could draw it either; in full, labels stand in tables."""
    if all(char < "\u0250" or char in _DRAWN for char in chart):
        return chart
    known = _letters()
    # Between the brackets alone: a mark after `>` would become a letter with it.
    composed = re.sub("[^<>]+", lambda part: unicodedata.normalize("NFC", part[0]), chart)
    chart = "".join(_drawn(char, known) for char in composed)
    return chart.replace("'Libertinus Serif',", "")


def _drawn(char: str, known: frozenset[int]) -> str:
    category = unicodedata.category(char)
    if category == "Cf" or category[0] == "M":
        return ""
    return char if ord(char) in known and category != "Co" else "\ufffd"


@cache
def _letters() -> frozenset[int]:
    """What DejaVu Sans can draw."""
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    files = [file for folder in _fonts() if (file := folder / "DejaVuSans.ttf").is_file()]
    if not files:
        return frozenset(range(0x20, 0x250))
    with TTFont(files[0], lazy=True) as font:
        return frozenset(font.getBestCmap())


def _panels(figure: Figure, root: Path) -> Iterator[dict[str, str]]:
    """Charts and pictures become files beside the template."""
    for position, panel in enumerate(figure.panels, 1):
        picture = isinstance(panel, Picture)
        file = f"{figure.id}-{position}.{'png' if picture else 'svg'}"
        if isinstance(panel, Picture):
            (root / file).write_bytes(panel.png)
        else:
            drawn = standalone(svg(panel, f"{figure.id}-{position}"))
            (root / file).write_text(_drawable(drawn), encoding="utf-8")
        alt = _bounded(clean(f"{panel.title}. {panel.description}"))
        yield {"file": file, "alt": alt, "title": _shown(panel.title) if picture else ""}


def _value(value: Any) -> Any:
    """Nodes as JSON: spans and texts made ready, the rest as it is."""
    if isinstance(value, Span):
        target = href(value.href) if value.href else ""
        return asdict(value) | {"text": _shown(value.text), "href": target}
    if isinstance(value, str):
        return value
    if isinstance(value, Column):
        return asdict(value) | {"label": _shown(value.label)}
    if isinstance(value, tuple):
        return [_value(v) for v in value]
    return {k: _value(v) for k, v in vars(value).items()} if hasattr(value, "__dict__") else value


def _content(content: tuple[Span, ...]) -> list[Any]:
    return [_value(span) for span in content]


def _bounded(text: str) -> str:
    """Text that becomes one string of the file, as titles do: PDF/A-3a allows 32,767 bytes (6.1.13)."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _shown(text: str) -> str:
    """Long words get places to break at, text with a direction of its own is closed off."""
    words = text.split(" ")
    return isolated(" ".join(_breakable(word) for word in words))


def _breakable(word: str) -> str:
    """A name may be broken after an underscore, a slash or a dot; what is long between them, anywhere."""
    if len(word) <= _LONGEST_NAME:
        return word
    parts = parted(word) if len(word) > LONG_WORD else re.findall(r"[^_]*_|[^_]+$", word)
    return _BREAK.join(
        part[start : start + 6] if len(part) > LONG_WORD else part
        for part in parts
        for start in range(0, len(part) if len(part) > LONG_WORD else 1, 6)
    )
