"""The page of all runs: what it says, where it leads, and that text in a summary stays text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from tasks.history import CheckEntry, Entry, entries
from tasks.history.page import CHARTS, LISTED, index_document, index_page
from tasks.report.figures import Moment, Trend, svg
from tests.tasks.history.history_builder import check, publish, run_id
from tests.tasks.report.report_pages import Node, parsed, tables
from tests.tasks.report.report_runs import HOSTILE


def page_of(found: list[Entry]) -> Node:
    return parsed(index_page(found).decode("utf-8"))


def entry(place: int, verdict: str | None = "satisfied", name: str = "credit", **more: object) -> Entry:
    made = Entry(name, run_id(place), verdict, generated_at=f"2026-01-{place + 1:02}T06:03:00+00:00")
    return replace(made, **more)  # type: ignore[arg-type]


def test_it_says_for_every_audit_what_it_came_to(tmp_path: Path) -> None:
    publish(tmp_path, "income", 0, "satisfied")
    publish(tmp_path, "income", 1, "not_satisfied", checks=[check(0.7, "not_satisfied")])
    publish(tmp_path, "credit", 2, "satisfied")
    (publish(tmp_path, "scenes", 3) / "summary.json").write_text("nope")
    page = page_of(entries(tmp_path))
    (overview,) = [t for t in tables(page) if t[0][0] == "Audit"]
    assert [row[0] for row in overview[1:]] == ["scenes", "credit The audit credit", "income The audit income"]
    assert [row[1] for row in overview[1:]] == ["cannot be read summary.json is no JSON", "satisfied", "not satisfied"]
    assert overview[3][2] == "satisfied"  # before
    assert page.first("p").text == "History"
    words = [node.text for node in page.all("p") if "verdict-word" in node.classes]
    assert words == ["Verdict: not satisfied"]
    runs = next(t for t in tables(page) if t[0][0] == "Run" and len(t) == 3)
    assert runs[1][:3] == [
        f"12 January 2026, 06:03 UTC {run_id(1)}", "not satisfied", "impact ratio by sex 0.700; at least 0.8",
    ]  # fmt: skip
    assert runs[1][5] == "PDF · summary"


def test_links_lead_to_files_that_are_there(tmp_path: Path) -> None:
    publish(tmp_path, "credit", 0, files=("report.html", "attestation.json"))
    publish(tmp_path, "credit", 1, files=())
    page = page_of(entries(tmp_path))
    targets = [n.attributes["href"] for n in page.all("a") if not n.attributes["href"].startswith("#")]
    assert len(targets) == 4  # the report, its summary and signature; the other summary
    for target in targets:
        assert target.startswith("./")
        assert not urlparse(target).scheme
        assert (tmp_path / unquote(target)).is_file()
    ids = {n.attributes["id"] for n in page.walk() if "id" in n.attributes}
    assert {n.attributes["href"][1:] for n in page.all("a") if n.attributes["href"].startswith("#")} <= ids


def test_it_runs_nothing_and_loads_nothing(tmp_path: Path) -> None:
    publish(tmp_path)
    page = page_of(entries(tmp_path))
    assert not page.all("script", "link", "iframe", "object", "form", "img")
    csp = next(n for n in page.all("meta") if n.attributes.get("http-equiv") == "Content-Security-Policy")
    assert csp.attributes["content"].startswith("default-src 'none'")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_text(text: str) -> None:
    checks = (CheckEntry(text, "not_satisfied", text, text, text, text, 0.8, None, 0.7),)
    found = [entry(place, "not_satisfied", name=text[:60], title=text, model_version=text[:40], checks=checks,
                   model_sha256=text, problem=text, generated_at=text, files=("report.html", "report.pdf"))
             for place in range(2)]  # fmt: skip
    page = page_of(found)
    assert not page.all("script", "img", "b")
    for node in page.walk():
        assert not [key for key in node.attributes if key.startswith("on")]
        assert node.attributes.get("href", "#").startswith(("#", "./"))
    text_of = page.text
    for turn in "\u202e\u202a\u2066\x1b":
        assert turn not in text_of


def test_nothing_and_what_cannot_be_read_have_a_page() -> None:
    assert "There is no run here" in page_of([]).text
    page = page_of([entry(0, None, problem="is gone")])
    assert "cannot be read is gone" in page.text
    assert "Verdict: inconclusive" in page.text
    assert index_document([entry(0), entry(1, None, name="b")]).verdict == "inconclusive"
    assert index_document([entry(0), entry(1, "refused", name="b")]).verdict == "refused"


def test_a_trend_has_every_run_in_which_the_check_was_judged() -> None:
    values = (0.9, None, 0.75, 0.82)
    verdicts = ("satisfied", "insufficient_data", "not_satisfied", "satisfied")
    found = [
        entry(place, checks=(CheckEntry("accuracy", verdict, min=0.8, value=value),))
        for place, (value, verdict) in enumerate(zip(values, verdicts, strict=True))
    ]
    found.insert(2, entry(9, None))
    document = index_document(found)
    (chart,) = [p for s in document.sections for b in s.blocks for p in getattr(b, "panels", ())]
    assert isinstance(chart, Trend)
    assert [m.value for m in chart.moments] == list(values)
    assert [m.tone for m in chart.moments] == ["plain", "unsure", "bad", "plain"]
    assert chart.subtitle == "Latest: 0.820, satisfied; at least 0.8"
    assert chart.description == "Over 4 runs: between 0.750 and 0.900. Latest: 0.820, satisfied; at least 0.8."
    page = page_of(found)
    checks = next(t for t in tables(page) if t[0][0] == "Check")
    assert checks[1] == ["accuracy", "at least 0.8", "0.820", "satisfied", "not satisfied 0.750", "0.750 to 0.900"]


def test_the_line_breaks_where_a_value_is_undefined_and_limits_may_move() -> None:
    moments = tuple(Moment(v, low=limit) for v, limit in ((0.9, 0.8), (0.8, 0.8), (None, 0.8), (0.7, 0.6), (0.9, None)))
    drawn = svg(Trend("accuracy", moments, "a", "b", "told"), "x")
    assert len(re.findall(r'class="line first"', drawn)) == 2
    assert len(re.findall(r'class="limit"', drawn)) == 2
    assert len(re.findall(r'class="dot"', drawn)) == 4
    one = svg(Trend("accuracy", (Moment(0.9, "bad", 0.8, None, "<b>"),), "a", "a"), "x")
    assert (one.count('class="limit"'), one.count('class="line'), one.count('class="dot bad"')) == (1, 0, 1)
    assert "&lt;b&gt;" in one
    assert 'class="dot' not in svg(Trend("accuracy", (Moment(None),)), "x")


@pytest.mark.parametrize(
    "values", [(0.0,), (0.0, 0.0), (-5.0, -5.0), (1e300, -1e300), (1e-300,), (5e-324, 0.0), (1.7e308, -1.7e308)]
)
def test_any_number_can_be_drawn(values: tuple[float, ...]) -> None:
    drawn = svg(Trend("x", tuple(Moment(v, low=0.0) for v in values)), "x")
    numbers = [float(n) for n in re.findall(r'(?:[xy]|c[xy])="(-?[\d.]+)"', drawn)]
    assert all(-10 <= n <= 400 for n in numbers)
    assert "nan" not in drawn


def test_of_many_runs_those_to_be_looked_at_are_marked() -> None:
    moments = tuple(Moment(0.9, "bad" if place % 50 == 7 else "plain") for place in range(200))
    drawn = svg(Trend("x", moments, "a", "b"), "x")
    assert drawn.count('class="dot bad"') == 4
    assert drawn.count('class="dot"') == 1  # the last


def test_what_is_left_out_is_said() -> None:
    checks = tuple(CheckEntry(f"metric_{k}", "satisfied", value=0.5) for k in range(CHARTS + 2))
    found = [entry(0, checks=checks) for _ in range(LISTED + 7)]
    text = page_of(found).text
    assert "2 more checks are in the table." in text
    assert "7 older runs are left to keras-audit list." in text


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    for place in range(3):
        publish(tmp_path, place=place)
    assert index_page(entries(tmp_path)) == index_page(entries(tmp_path))
