"""The document as one self-contained HTML file: no script, no network, readable in print, on a phone, in the dark."""

from __future__ import annotations

import base64
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.report.document import STATUS, Document, Picture
from tasks.report.figures import svg
from tasks.report.numbers import moment
from tasks.report.text import href, parted

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_TEMPLATES = Path(__file__).with_name("templates")
#: nothing may be loaded or run, whatever text found its way into the page
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def render_html(document: Document) -> bytes:
    """The report as HTML, UTF-8. Every text is escaped by the template engine; charts escape their own."""
    template = _environment().get_template("report.html.jinja")
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    page = template.render(document=document, style=style, policy=POLICY, verdict=STATUS[document.verdict])
    # Lone surrogates cannot be encoded; `clean` has taken them out of every span already.
    return page.encode("utf-8", errors="replace")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The chart's SVG is ours and escapes what it is given; so is the stylesheet.
    made.globals["drawn"] = lambda chart, id: Markup(svg(chart, id))  # noqa: S704
    made.globals["stylesheet"] = lambda style: Markup(style)  # noqa: S704
    made.globals["page_foot"] = lambda report_id: Markup(_page_foot(report_id))  # noqa: S704
    made.globals["data_uri"] = _data_uri
    made.filters["breakable"] = _breakable
    made.filters["href"] = href
    made.filters["moment"] = moment
    made.filters["kind"] = _kind
    return made


def _breakable(text: str) -> Markup:
    """Text, escaped, in which long names may be broken between their parts."""
    from markupsafe import Markup, escape

    words = text.split(" ")
    return Markup(" ").join(Markup("<wbr>").join(map(escape, parted(word))) for word in words)


def _page_foot(report_id: str) -> str:
    """Every printed page says which report it is from. An id is letters, digits and dashes; nothing else gets here."""
    plain = re.sub(r"[^A-Za-z0-9-]", "", report_id)
    return f'@page {{ @bottom-left {{ content: "Report {plain}"; font: 9pt sans-serif; color: #57626d; }} }}'


def _kind(node: Any) -> str:
    return type(node).__name__


def _data_uri(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.png).decode("ascii")
