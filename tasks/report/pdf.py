"""The document as PDF, by typst: contents, page numbers, a header with the report's id, charts as vectors.

Text reaches typst as data (one JSON file), never as code. Fonts are those in typst itself, with matplotlib's beside
them for scripts that typst's lack; the system's are ignored, so that the same document is the same bytes everywhere.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.errors import Incomplete
from tasks.report.document import STATUS, Block, Column, Document, Figure, Picture, Section, Span
from tasks.report.figures import standalone, svg
from tasks.report.markdown import isolated
from tasks.report.numbers import moment
from tasks.report.text import clean

_TEMPLATE = Path(__file__).with_name("templates") / "report.typ"
#: letters in a row after which a word may be broken
_LONGEST_WORD = 18
_BREAK = "\u200b"


def render_pdf(document: Document, attachments: Mapping[str, bytes] | None = None) -> bytes:
    """The report as a tagged PDF, dated with the document's date.

    Args:
        attachments: name → content of files that the PDF carries.

    Raises:
        Incomplete: typst cannot make it; its message is told.
    """
    import typst

    with tempfile.TemporaryDirectory(prefix="keras-audit-") as folder:
        root = Path(folder)
        data = {
            "title": _shown(document.title),
            "title_plain": document.title,
            "subtitle": document.subtitle,
            "report_id": document.report_id,
            "date": moment(document.date),
            "verdict": list(STATUS[document.verdict]),
            "headline": _content(document.headline),
            "facts": [[label, _content(value)] for label, value in document.facts],
            "banners": [_block(b, root) for b in document.banners],
            "sections": [_section(s, root) for s in document.sections],
            "closing": _content(document.closing),
        }
        (root / "report.json").write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        (root / "report.typ").write_bytes(_TEMPLATE.read_bytes())
        try:
            made = typst.compile(
                root / "report.typ",
                root=root,
                font_paths=_fonts(),
                ignore_system_fonts=True,
                timestamp=int(_date(document.date).timestamp()),
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


def _fonts() -> list[Path]:
    """Where matplotlib keeps its fonts, found without importing it."""
    spec = find_spec("matplotlib")
    places = list(spec.submodule_search_locations or []) if spec else []
    return [p for place in places if (p := Path(place) / "mpl-data" / "fonts" / "ttf").is_dir()]


def _section(section: Section, root: Path) -> dict[str, Any]:
    return {
        "id": section.id,
        "title": _shown(section.title),
        "blocks": [_block(block, root) for block in section.blocks],
        "sections": [_section(child, root) for child in section.sections],
    }


def _block(block: Block, root: Path) -> dict[str, Any]:
    node: dict[str, Any] = {"node": type(block).__name__}
    if isinstance(block, Figure):
        node |= {"id": block.id, "caption": _shown(block.caption), "note": _content(block.note)}
        return node | {"sources": list(block.sources), "panels": list(_panels(block, root))}
    for key, value in vars(block).items():
        node[key] = _shown(value) if key in ("caption", "title") else _value(value)
    return node


def _panels(figure: Figure, root: Path) -> Iterator[dict[str, str]]:
    """Charts and pictures become files beside the template."""
    for position, panel in enumerate(figure.panels, 1):
        picture = isinstance(panel, Picture)
        file = f"{figure.id}-{position}.{'png' if picture else 'svg'}"
        if isinstance(panel, Picture):
            (root / file).write_bytes(panel.png)
        else:
            (root / file).write_text(standalone(svg(panel, f"{figure.id}-{position}")), encoding="utf-8")
        alt = clean(f"{panel.title}. {panel.description}")
        yield {"file": file, "alt": alt, "title": _shown(panel.title) if picture else ""}


def _value(value: Any) -> Any:
    """Nodes as JSON: spans and texts made ready, the rest as it is."""
    if isinstance(value, Span):
        return asdict(value) | {"text": _shown(value.text)}
    if isinstance(value, str):
        return value
    if isinstance(value, Column):
        return asdict(value) | {"label": _shown(value.label)}
    if isinstance(value, tuple):
        return [_value(v) for v in value]
    return {k: _value(v) for k, v in vars(value).items()} if hasattr(value, "__dict__") else value


def _content(content: tuple[Span, ...]) -> list[Any]:
    return [_value(span) for span in content]


def _shown(text: str) -> str:
    """Long words get places to break at, text with a direction of its own is closed off."""
    words = text.split(" ")
    return isolated(" ".join(_breakable(word) for word in words))


def _breakable(word: str) -> str:
    if len(word) <= _LONGEST_WORD:
        return word
    return _BREAK.join(word[start : start + 6] for start in range(0, len(word), 6))
