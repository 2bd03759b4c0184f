"""The PDF as an archive and a screen reader need it, judged by veraPDF and, without it, by its objects."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pikepdf
import pytest

from tasks.report.document import Document, Figure, Paragraph, Section, Table, line, link, walk
from tasks.report.pdf import render_pdf
from tasks.report.stage import report_files
from tests.conftest import ROOT
from tests.tasks.report.report_judges import conformance

PROFILES = ("PDFA-3A", "PDFUA-1")
#: bytes that a careless writer would break the file with
CURSED = b"\x00\xff endstream\nendobj\n%%EOF\nstartxref\n0\n%PDF-1.4 <</Type/Catalog>> " * 3


def document(*blocks, **changes) -> Document:
    fields = {
        "title": "Title", "subtitle": "Audit report", "report_id": "20261122T101500Z-0a1b2c3d",
        "date": "2026-11-22T10:17:30+00:00", "verdict": "satisfied", "headline": line("Head."), "facts": (),
        "banners": (), "sections": (Section("one", "One", blocks or (Paragraph(line("Text.")),)),),
    }  # fmt: skip
    return Document(**{**fields, **changes})


def opened(content: bytes) -> pikepdf.Pdf:
    return pikepdf.open(io.BytesIO(content))


@pytest.fixture(scope="module")
def pdf(run_of) -> Iterator[pikepdf.Pdf]:
    with pikepdf.open(run_of("tabular").folder / "report.pdf") as file:
        yield file


def built(run) -> Document:
    from tasks.report.compose import document_of

    return document_of(run.reading)


# ---------------------------------------------------------------- another's judgement


def test_verapdf_finds_nothing_to_object_to(run_of) -> None:
    files = [run_of("image").folder / "report.pdf"]
    judged = conformance(files, *PROFILES)
    assert len(judged) == len(files) * len(PROFILES)
    assert {key: found.broken for key, found in judged.items() if not found.conforms} == {}
    assert all(found.checks > 5_000 for found in judged.values())


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["tabular", "hostile", "refused", "unreadable", "incomplete", "large"])
def test_verapdf_finds_nothing_to_object_to_in_any_kind_of_run(run_of, kind: str) -> None:
    judged = conformance([run_of(kind).folder / "report.pdf"], *PROFILES)
    assert {key: found.broken for key, found in judged.items() if not found.conforms} == {}


def test_verapdf_sees_what_is_taken_away(tmp_path: Path) -> None:
    spoiled = tmp_path / "spoiled.pdf"
    with opened(render_pdf(document(), {"inputs.json": b"{}"})) as file:
        del file.Root.MarkInfo, file.Root.Metadata
        del file.Root.AF[0].AFRelationship
        file.save(spoiled)
    judged = conformance([spoiled], *PROFILES)
    assert not any(found.conforms for found in judged.values())
    assert any(rule.startswith("6.8-3") for rule in judged[spoiled, "PDFA-3A"].broken)


# ---------------------------------------------------------------- what it says it is


def test_it_says_that_it_is_pdf_a_3a_and_pdf_ua_1(pdf) -> None:
    said = pdf.open_metadata()
    assert (said["pdfaid:part"], said["pdfaid:conformance"], said["pdfuaid:part"]) == ("3", "A", "1")


def test_metadata_and_information_agree(pdf) -> None:
    said = pdf.open_metadata()  # read only: written back, dates would change their form
    assert said["dc:title"] == str(pdf.docinfo.Title) == "Income classifier, UCI Adult: Audit report"
    assert said["pdf:Keywords"] == str(pdf.docinfo.Keywords) == "20261122T101500Z-0a1b2c3d"
    assert said["dc:description"] == str(pdf.docinfo.Subject)
    assert "not satisfied" in said["dc:description"]
    for key, other in (("xmp:CreateDate", "CreationDate"), ("xmp:ModifyDate", "ModDate")):
        when = datetime.fromisoformat(said[key])
        assert f"D:{when:%Y%m%d%H%M%S}Z" == str(pdf.docinfo[f"/{other}"]) == "D:20261122101730Z"


def test_it_has_a_language_a_title_and_tags(pdf) -> None:
    assert str(pdf.Root.Lang) == "en"
    assert pdf.Root.ViewerPreferences.DisplayDocTitle
    assert pdf.Root.MarkInfo.Marked
    assert not pdf.is_encrypted


def test_its_colours_are_defined(pdf) -> None:
    [intent] = pdf.Root.OutputIntents
    assert intent.S == "/GTS_PDFA1"
    assert bytes(intent.DestOutputProfile.read_bytes()[36:40]) == b"acsp"  # an ICC profile


def test_nothing_in_it_runs(pdf) -> None:
    assert set(pdf.Root.Names.keys()) <= {"/EmbeddedFiles", "/Dests"}
    assert not {"/OpenAction", "/AA", "/AcroForm"} & set(pdf.Root.keys())
    notes = [note for page in pdf.pages for note in page.get("/Annots", [])]
    assert {str(note.Subtype) for note in notes} == {"/Link"}
    assert {str(note.A.S) for note in notes if "/A" in note} <= {"/URI", "/GoTo"}
    assert not [n for n in pdf.objects if isinstance(n, pikepdf.Dictionary) and {"/JS", "/XFA", "/AA"} & set(n.keys())]


def test_every_font_is_inside_and_can_be_copied_from(pdf) -> None:
    fonts = [n for n in pdf.objects if isinstance(n, pikepdf.Dictionary) and n.get("/Type") == "/Font"]
    whole = [f for f in fonts if f.Subtype == "/Type0"]
    assert whole
    assert all("/ToUnicode" in font for font in whole)
    for font in whole:
        described = font.DescendantFonts[0].FontDescriptor
        assert {"/FontFile2", "/FontFile3"} & set(described.keys())


# ---------------------------------------------------------------- what a screen reader meets


def _elements(node) -> Iterator[pikepdf.Dictionary]:
    """Elements of the structure tree, in order."""
    if isinstance(node, pikepdf.Array):
        for child in node:
            yield from _elements(child)
    elif isinstance(node, pikepdf.Dictionary):
        if "/S" in node:
            yield node
        if "/K" in node:
            yield from _elements(node.K)


@pytest.mark.parametrize("kind", ["tabular", "image"])
def test_tables_have_headings_and_figures_are_described(run_of, kind: str) -> None:
    blocks = [block for section in walk(built(run_of(kind)).sections) for block in section.blocks]
    with pikepdf.open(run_of(kind).folder / "report.pdf") as file:
        elements = list(_elements(file.Root.StructTreeRoot))
        tables = [e for e in elements if e.S == "/Table"]
        assert len(tables) == sum(isinstance(b, Table) for b in blocks)
        for table, block in zip(tables, (b for b in blocks if isinstance(b, Table)), strict=True):
            inside = [str(e.S) for e in _elements(table.K)]
            assert inside.count("/TH") == len(block.columns)
            assert inside.count("/TD") == len(block.columns) * len(block.rows)
        described = [str(e.Alt) for e in elements if e.S == "/Figure" and "/Alt" in e]
        wanted = [f"{p.title}. {p.description}" for b in blocks if isinstance(b, Figure) for p in b.panels]
        assert [alt for alt in described if alt in wanted] == wanted
        figures = [e for e in elements if e.S == "/Figure"]
        assert all("/Alt" in e for e in figures)


def test_headings_go_down_one_step_at_a_time(pdf) -> None:
    levels = [int(str(e.S)[2:]) for e in _elements(pdf.Root.StructTreeRoot) if str(e.S) in ("/H1", "/H2", "/H3", "/H4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_links_lead_to_places_here_or_to_files_of_the_run(run_of) -> None:
    run = run_of("tabular")
    with pikepdf.open(run.folder / "report.pdf") as file:
        links = [a for page in file.pages for a in page.get("/Annots", []) if a.Subtype == "/Link"]
        targets = [str(a.A.URI) for a in links if "/A" in a and "/URI" in a.A]
        assert len(links) > len(targets) > 10
        assert all("/Contents" in a for a in links)
    assert {t for t in targets if not (run.folder / unquote(t)).is_file()} == set()


@pytest.mark.parametrize("target", ["javascript:alert(1)", "//evil.example/x", "https://evil.example", "../../x"])
def test_a_link_never_leaves_the_run(target: str) -> None:
    with opened(render_pdf(document(Paragraph(line(link("here", target)))))) as file:
        [uri] = [str(a.A.URI) for a in file.pages[0].Annots if "/A" in a and "/URI" in a.A]
    assert uri.startswith("./")
    assert ".." not in uri
    assert ":" not in uri


# ---------------------------------------------------------------- what it carries


def test_it_carries_the_summary_and_the_inputs(run_of) -> None:
    run = run_of("tabular")
    files, _, _ = report_files(run.config, run.workspace, run.record)
    with opened(files["report.pdf"]) as file:
        carried = {str(spec.UF): spec for spec in file.Root.AF}
        assert set(carried) == {"summary.json", "inputs.json"} == set(file.attachments)
        assert file.attachments["summary.json"].get_file().read_bytes() == files["summary.json"]
        assert run.record.run_id.encode() in file.attachments["inputs.json"].get_file().read_bytes()
        assert str(carried["summary.json"].AFRelationship) == "/Alternative"
        assert str(carried["inputs.json"].AFRelationship) == "/Supplement"
        for spec in carried.values():
            assert str(spec.EF.F.Subtype) == "/application/json"
            assert str(spec.Desc)
            assert str(spec.EF.F.Params.ModDate) == "D:20261122101730Z"


def test_any_bytes_are_carried_as_they_are() -> None:
    noise = random.Random(7).randbytes(3_000_000)
    given = {"cursed.bin": CURSED, "empty.json": b"", "noise": noise, "zeros.csv": bytes(5_000_000)}
    content = render_pdf(document(), given)
    with opened(content) as file:
        assert {name: spec.get_file().read_bytes() for name, spec in file.attachments.items()} == given
    assert len(content) < 4_000_000  # what can be packed is


def test_the_digest_of_what_it_carries_is_printed(pdf_text) -> None:
    text = pdf_text(render_pdf(document(), {"inputs.json": CURSED}))
    assert hashlib.sha256(CURSED).hexdigest() in "".join(text.split())


@pytest.mark.parametrize("name", ["../x.json", "/etc/passwd", "a/b.json", "", ".hidden", "a b", "שלום.json", "x" * 200])
def test_names_of_attachments_are_plain(name: str) -> None:
    with pytest.raises(ValueError, match="no name for an attached file"):
        render_pdf(document(), {name: b"x"})


@pytest.fixture
def pdf_text(tmp_path):
    from tests.tasks.report.test_report_pdf import pdf_text as read

    def text(content: bytes) -> str:
        (tmp_path / "read.pdf").write_bytes(content)
        return read(tmp_path / "read.pdf")

    return text


# ---------------------------------------------------------------- the same again


def test_another_process_in_another_folder_writes_the_same_bytes(run_of, tmp_path: Path) -> None:
    run = run_of("tabular")
    given = (built(run), {"summary.json": b'{"a": 1}', "inputs.json": CURSED})
    (tmp_path / "given").write_bytes(pickle.dumps(given))
    elsewhere = tmp_path / "other temp"
    elsewhere.mkdir()
    code = (
        "import pickle, sys\n"
        "from tasks.report.pdf import render_pdf\n"
        f"sys.stdout.buffer.write(render_pdf(*pickle.load(open({str(tmp_path / 'given')!r}, 'rb'))))\n"
    )
    again = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(elsewhere), "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    assert again == render_pdf(*given)


def test_the_order_of_attachments_does_not_matter() -> None:
    one, two = {"a.json": b"1", "b.json": b"2"}, {"b.json": b"2", "a.json": b"1"}
    assert render_pdf(document(), one) == render_pdf(document(), two)
