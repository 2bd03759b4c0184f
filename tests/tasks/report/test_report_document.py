from __future__ import annotations

import pytest

from tasks.report.document import Column, Document, Paragraph, Section, Span, Table, code, line, link, name, status
from tasks.report.text import clean


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"), ("a\nb\tc", "a b c"), ("\x00\x1b[0m\x7f", "��[0m�"), ("\ud800", "�"),
        ("\ufffe", "�"), ("a\u202eb\u2066c", "a�b�c"), ("שלום 🙂 é", "שלום 🙂 é"), ("\u200dzwj", "\u200dzwj"),
    ],
)  # fmt: skip
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_every_text_of_a_node_is_cleaned() -> None:
    assert Span("a\x00").text == "a�"
    assert Section("s", "a\x00", (Paragraph(line("x")),)).title == "a�"
    assert Table("t", "a\x00", (Column("b\x00"),), ()).caption == "a�"
    assert Column("b\x00").label == "b�"


def test_an_empty_name_is_said() -> None:
    assert name("  ").text == "(empty)"


def test_statuses_have_words_and_unknown_ones_are_shown() -> None:
    assert (status("not_satisfied").text, status("not_satisfied").tone) == ("not satisfied", "bad")
    assert (status("half_done").text, status("half_done").tone) == ("half done", "plain")


def test_a_section_says_something() -> None:
    with pytest.raises(ValueError, match="says nothing"):
        Section("empty", "Empty")


def test_a_table_has_as_many_cells_as_columns() -> None:
    with pytest.raises(ValueError, match="rows of 1 cells under 2 columns"):
        Table("t", "T", (Column("a"), Column("b")), ((line("x"),),))


def test_ids_are_unique() -> None:
    part = Section("same", "Title", (Paragraph(line("x")),))
    with pytest.raises(ValueError, match="the id same"):
        Document("t", "s", "r", "2026-11-22T00:00:00Z", "satisfied", (), (), (), (part, part))


def test_a_line_mixes_words_and_spans() -> None:
    made = line("a ", code("b"), link("c", "#d"))
    assert [(s.text, s.kind) for s in made] == [("a ", "text"), ("b", "code"), ("c", "link")]
