from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.errors import Incomplete
from tasks.report.compose import document_of
from tasks.report.document import Document, Paragraph, Picture, Section, line
from tasks.report.pdf import render_pdf
from tests.tasks.report.report_runs import HOSTILE


def pdf_text(path: Path) -> str:
    """The text as a reader copies it; poppler's, where it is installed."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler-utils) is not installed")
    return subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True, text=True).stdout


def document(*blocks, **changes) -> Document:
    made = Document(
        "Title", "Audit report", "20261122T101500Z-0a1b2c3d", "2026-11-22T10:17:30+00:00", "satisfied",
        line("Head."), (), (), (Section("one", "One", blocks or (Paragraph(line("Text.")),)),),
    )  # fmt: skip
    return replace(made, **changes)


def test_it_is_a_tagged_pdf_with_the_documents_date(run) -> None:
    content = (run.folder / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"/StructTreeRoot" in content
    assert re.search(rb"/Lang\s*\(en\)", content)
    assert b"D:20261122101730Z" in content


def test_rendering_twice_gives_the_same_bytes(run_of) -> None:
    built = document_of(run_of("image").reading)
    assert render_pdf(built) == render_pdf(built)


def test_only_the_date_of_the_document_is_in_it() -> None:
    now, later = document(), document(date="2026-11-23T10:17:30+00:00")
    assert render_pdf(now) != render_pdf(later)
    assert b"20261123101730" in render_pdf(later)


def test_a_picture_that_is_none_is_told() -> None:
    from tasks.report.document import Figure

    broken = Figure("f", "Caption", (Picture("a.png", b"\x89PNG\r\n\x1a\nbroken", "t", "d"),))
    with pytest.raises(Incomplete, match=r"report\.pdf"):
        render_pdf(document(broken))


def test_its_text_is_the_documents(tabular) -> None:
    text = pdf_text(tabular.folder / "report.pdf")
    for words in ("Not satisfied", "2 of 3 policy checks are not satisfied.", "Run record", "1 / "):
        assert words in text
    assert text.count(tabular.record.run_id) >= text.count("\f") - 1  # in the header of every page but the first


def test_digests_can_be_copied_whole(tabular) -> None:
    assert tabular.record.fact("load_model", "sha256") in pdf_text(tabular.folder / "report.pdf")


def test_hostile_text_is_not_run_by_typst(hostile) -> None:
    text = pdf_text(hostile.folder / "report.pdf")
    squeezed = "".join(text.split())
    for name in (HOSTILE[0], HOSTILE[2], HOSTILE[3], HOSTILE[7]):
        assert "".join(name.split()) in squeezed
    assert "W" * 12 in text
    assert "W" * 200 not in text  # broken into lines


def test_code_in_a_title_stays_text() -> None:
    render_pdf(document(title='#panic("no") $x$ *b* `c` <label> @ref', subtitle="#eval(1)", sections=(
        Section("one", "#panic()", (Paragraph(line("#panic()")),)),
    )))  # fmt: skip
