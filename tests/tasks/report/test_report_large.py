"""A report over 200 features and 60 groups with their crossings: bounded, and it says what it left to the tables."""

from __future__ import annotations

import re

import pikepdf
import pytest

from tasks.report.compose import document_of
from tasks.report.document import Bullets, Figure, Table, walk

#: rows of a table on paper that a person can still read through
MANY = 130


@pytest.fixture
def large(run_of):
    return run_of("large")


@pytest.fixture
def document(large):
    return document_of(large.reading)


def test_every_list_is_bounded(document) -> None:
    for section in walk(document.sections):
        for block in section.blocks:
            if isinstance(block, Table):
                assert len(block.rows) <= MANY, block.id
            if isinstance(block, Bullets):
                assert len(block.items) <= 40, section.id
            if isinstance(block, Figure):
                assert len(block.panels) <= 24, block.id


def test_no_cell_lists_what_belongs_into_a_table(document) -> None:
    for section in walk(document.sections):
        for block in section.blocks:
            for row in block.rows if isinstance(block, Table) else ():
                assert max(sum(len(span.text) for span in cell) for cell in row) < 2_000, block.id


def test_it_says_what_it_left_to_the_tables(large) -> None:
    told = re.findall(r"([\d,]+) (?:more|others?|further)\b", large.page.text)
    assert len(told) >= 5
    assert max(int(n.replace(",", "")) for n in told) >= 20


def test_every_section_is_there_and_pages_stay_few(large, document) -> None:
    with pikepdf.open(large.folder / "report.pdf") as file:
        assert len(file.pages) <= 60
        assert len(file.open_outline().root) == len(document.sections)


def test_files_stay_small_enough_to_be_sent(large) -> None:
    sizes = {name: (large.folder / name).stat().st_size for name in ("report.html", "report.pdf", "report.md")}
    assert max(sizes.values()) < 4_000_000
