"""Names made to break a form: in all of them they are text, and the layout holds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.report import report_files
from tasks.report.figures import Bars, Mark
from tasks.report.pdf import render_pdf
from tasks.report.text import clean
from tests.tasks.report import report_runs
from tests.tasks.report.report_judges import browser, conformance
from tests.tasks.report.report_pages import Node, parsed, rendered
from tests.tasks.report.test_report_pdf import document, pdf_text

#: beside those that every form is tested with
WORSE = (
    "</style></title><!-- {{7*7}} {%raw%}",
    "\ue000\U000f1234 private",
    "z\u0335\u0301\u0300a\u0334lgo \u0a48\u20e3 a\u0300",
    "\ufeff\u200f\u00ad\u2028\u3014x\u3015 \U0001f3fd हिन्दी ไทย",
    "\ufdfd" * 8,
    "'; DROP TABLE rows; --",
    "../../etc/passwd %2e%2e%2f #sec?x=1",
    "_under_ *star* ~~tilde~~ ==mark== $$x^2$$ [^1]: ![](x)",
    "=\\/ // /* */ #{ #[ } ] @cite <label> \\u{41} `raw`",
)
NAMES = (*report_runs.HOSTILE, *WORSE)
FORMS = ("summary.json", "report.html", "report.md", "report.pdf")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of a run in which every name, class, feature, group, path and sentence is hostile."""
    folder = tmp_path_factory.mktemp("worse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_runs, "HOSTILE", NAMES)
        config, workspace, record = report_runs.hostile_run(folder)
    made, _, failed = report_files(config, workspace, record)
    assert failed == []
    for name in FORMS:
        (folder / name).write_bytes(made[name])
    return {name: folder / name for name in FORMS}


@pytest.fixture(scope="module")
def page(files) -> Node:
    return parsed(files["report.html"].read_text(encoding="utf-8"))


def squeezed(text: str) -> str:
    """Without spaces and without what is never seen."""
    return re.sub(r"[\s\u00ad\u200b-\u200f\u2060\u2066-\u2069\ufeff]", "", text)


# ---------------------------------------------------------------- text, in all four forms


def test_in_html_they_are_text(page: Node) -> None:
    for name in NAMES:
        assert " ".join(clean(name).split()) in page.text
    assert not page.all("script", "img", "iframe", "b", "object", "link", "base")
    assert not [n for n in page.walk() if any(key.startswith("on") for key in n.attributes)]
    assert all(a.attributes["href"].startswith(("#", "./")) for a in page.all("a"))


def test_in_markdown_they_are_text(files) -> None:
    shown = rendered(files["report.md"].read_text(encoding="utf-8"))
    text = squeezed(shown.text)
    for name in NAMES:
        assert squeezed(clean(name)) in text
    assert not shown.all("script", "img", "s", "iframe")
    assert {a.attributes.get("href", "#")[:1] for a in shown.all("a")} <= {"#", "a", "."}


def test_in_the_summary_they_are_strings(files) -> None:
    said = json.dumps(json.loads(files["summary.json"].read_bytes()), ensure_ascii=False)
    for name in NAMES[:7]:
        assert json.dumps(name, ensure_ascii=False)[1:-1] in said


def test_in_pdf_they_are_text(files) -> None:
    text = squeezed(pdf_text(files["report.pdf"]))
    for name in NAMES:
        if re.search("[\u0590-\u06ff\u0900-\u0eff\u0300-\u036f\u20e3\ufdfd\ue000-\uf8ff]", name):
            continue  # what a reader copies is in the order and the forms that it is drawn in
        assert squeezed(clean(name)) in text


def test_an_archive_takes_the_pdf(files) -> None:
    judged = conformance([files["report.pdf"]], "PDFA-3A")
    assert [found.broken for found in judged.values() if not found.conforms] == []


# ---------------------------------------------------------------- the layout holds


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_keeps_its_width_and_runs_nothing(files, chromium, width: int) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True, bypass_csp=True)
    try:
        opened = context.new_page()
        events: list[str] = []
        opened.on("dialog", lambda dialog: events.append(dialog.message))
        opened.on("console", lambda message: events.append(message.text))
        opened.on("pageerror", lambda error: events.append(str(error)))
        opened.goto(files["report.html"].as_uri())
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        # nothing hangs out of the page, but what lies in a box that scrolls
        out = opened.evaluate(
            """width => [...document.querySelectorAll('main *, header *, footer *')]
                .filter(e => !e.closest('.scroll') && !e.closest('svg') && !e.closest('.sr'))
                .filter(e => e.getBoundingClientRect().right > width + 1)
                .map(e => e.outerHTML.slice(0, 120))""",
            width,
        )
        assert out == []
        assert events == []
    finally:
        context.close()


def test_the_pdfs_text_stays_on_its_pages(files) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler-utils) is not installed")
    said = subprocess.run(["pdftotext", "-bbox", files["report.pdf"], "-"], capture_output=True, check=True, text=True)
    margin = 20 / 25.4 * 72  # of the template
    pages = re.findall(r'<page width="([\d.]+)" height="([\d.]+)">(.*?)</page>', said.stdout, re.S)
    assert len(pages) > 5
    for width, height, words in pages:
        boxes = re.findall(r'<word xMin="(\S+)" yMin="(\S+)" xMax="(\S+)" yMax="(\S+)">', words)
        assert boxes
        for left, top, right, bottom in (map(float, box) for box in boxes):
            assert left >= margin - 2
            assert right <= float(width) - margin + 2
            assert 0 <= top <= bottom <= float(height)


# ---------------------------------------------------------------- any character


def _every_kind(size: int) -> list[str]:
    """A few characters of every category of Unicode, each alone and after a letter, in lines of `size`."""
    import random
    import unicodedata

    draw = random.Random(11)
    kinds: dict[str, list[str]] = {}
    for code in range(0x110000):
        kinds.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    some = [c for members in kinds.values() for c in draw.sample(members, min(size, len(members)))]
    return ["".join(f"{c}a{c}" for c in some[i : i + 24]) for i in range(0, len(some), 24)]


@pytest.mark.parametrize("size", [12, pytest.param(600, marks=pytest.mark.soak)])
def test_any_character_can_stand_in_pdf_and_in_its_charts(size: int) -> None:
    from tasks.report.document import Bullets, Figure, name

    lines = _every_kind(size)
    charts = tuple(Bars(text, tuple(Mark(text[i : i + 12], "1", 1.0) for i in range(0, 72, 12))) for text in lines)
    title = "".join(lines)  # longer than a string of PDF/A may be
    made = document(
        Bullets(tuple((name(text),) for text in lines)), Figure("f", lines[0], charts), title=title, subtitle="Report"
    )
    assert render_pdf(made).startswith(b"%PDF-1.7")
