from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.report import escape_markdown
from tasks.report.markdown import isolated
from tasks.report.text import clean
from tests.tasks.report.report_pages import Node, rendered
from tests.tasks.report.report_runs import HOSTILE


def shown(markdown: str) -> Node:
    return rendered(markdown)


STARTS = ("- item", "1. first", "2) second", "+ x", "=====", "---", "    indented", "a  b")


@pytest.mark.parametrize("text", [*HOSTILE, *STARTS])
def test_escaped_text_shows_as_itself(text: str) -> None:
    page = shown(escape_markdown(text))
    assert page.text == " ".join(clean(text).split())
    assert [n.tag for n in page.walk()][1:] == ["p"]


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp"), include_characters=" "), max_size=40))
def test_any_text_shows_as_itself(text: str) -> None:
    expected = " ".join(clean(text).split())
    page = shown(escape_markdown(text))
    assert page.text == expected
    assert {n.tag for n in page.walk()} <= {"document", "p"}


@given(st.text(max_size=30))
def test_any_text_stays_within_its_cell(text: str) -> None:
    escaped = escape_markdown(text) or "x"
    page = shown(f"| a | b |\n|---|---|\n| {escaped} | c |\n")
    cells = [cell.text for cell in page.all("td")]
    assert len(cells) == 2
    assert cells[1] == "c"
    assert {n.tag for n in page.walk()} <= {"document", "table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize(
    "text", ["http://evil.example", "https://x", "www.evil.example", "a@b.example", ":smile:", "$x$"]
)
def test_shorthands_of_sites_are_broken(text: str) -> None:
    assert "\\" in escape_markdown(text)
    assert shown(escape_markdown(text)).text == text


def test_numbers_are_left_as_they_are() -> None:
    assert escape_markdown("0.340 (95 % interval 0.310 to 0.370)") == "0.340 (95 % interval 0.310 to 0.370)"
    assert escape_markdown("12.5 of 3") == "12.5 of 3"


def test_right_to_left_text_is_closed_off() -> None:
    assert isolated("plain") == "plain"
    assert isolated("שלום") == "\u2068שלום\u2069"
