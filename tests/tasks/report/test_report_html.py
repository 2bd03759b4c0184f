from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html import unescape
from itertools import pairwise
from urllib.parse import unquote, urlparse

import pytest

from tasks.report.compose import document_of
from tasks.report.html import POLICY, _breakable, href, render_html
from tasks.report.text import clean, parted
from tests.tasks.report.report_runs import HOSTILE


def test_it_loads_nothing_and_runs_nothing(run) -> None:
    page = run.page
    assert not page.all("script", "link", "iframe", "object", "embed", "form", "base")
    for node in page.walk():
        assert not [key for key in node.attributes if key.startswith("on")]
        assert node.attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        target = node.attributes.get("href", "#")
        assert target.startswith(("#", "./")), target
        assert not urlparse(target).scheme
    style = page.first("style").text
    assert "url(" not in style
    assert "@import" not in style
    csp = next(n for n in page.all("meta") if n.attributes.get("http-equiv") == "Content-Security-Policy")
    assert csp.attributes["content"] == POLICY
    assert POLICY.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_ids_are_unique_and_every_anchor_leads_somewhere(run) -> None:
    ids = Counter(n.attributes["id"] for n in run.page.walk() if "id" in n.attributes)
    assert [i for i, times in ids.items() if times > 1] == []
    anchors = {n.attributes["href"][1:] for n in run.page.all("a") if n.attributes["href"].startswith("#")}
    assert anchors <= set(ids)
    for node in run.page.walk():
        for key in ("aria-labelledby", "aria-describedby"):
            assert set(node.attributes.get(key, "").split()) <= set(ids)


def test_links_to_files_lead_to_files_of_the_run(run) -> None:
    for node in run.page.all("a"):
        if node.attributes["href"].startswith("./"):
            assert (run.folder / unquote(node.attributes["href"])).is_file()


def test_headings_go_down_one_step_at_a_time(run) -> None:
    levels = [int(n.tag[1]) for n in run.page.walk() if re.fullmatch(r"h[1-6]", n.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_landmarks_and_skip_link(run) -> None:
    page = run.page
    for tag in ("header", "nav", "main", "footer"):
        assert len(page.all(tag)) == 1
    assert page.first("html").attributes["lang"] == "en"
    first = page.first("body").all("a")[0]
    assert (first.classes, first.attributes["href"]) == ({"skip"}, "#summary")
    assert page.first("nav").attributes["aria-label"] == "Contents"
    sections = [
        s.attributes["id"] for s in page.first("main").children if not isinstance(s, str) and s.tag == "section"
    ]
    assert sections == [a.attributes["href"][1:] for a in page.first("nav").all("a")]


def test_every_table_has_a_caption_and_scopes(run) -> None:
    for table in run.page.all("table"):
        assert len(table.all("caption")) == 1
        assert table.first("caption").text
        assert {th.attributes["scope"] for th in table.first("thead").all("th")} == {"col"}
        for row in table.first("tbody").all("tr"):
            assert [th.attributes["scope"] for th in row.all("th")] == ["row"]
            assert len(row.all("th", "td")) == len(table.first("thead").all("th"))


def test_captions_are_unique(run) -> None:
    captions = Counter(table.first("caption").text for table in run.page.all("table"))
    assert [c for c, times in captions.items() if times > 1] == []


def test_every_picture_can_be_heard(run) -> None:
    for svg in run.page.all("svg"):
        assert svg.attributes["role"] == "img"
        assert svg.all("title")[0].text
        assert svg.all("desc")[0].text
    for img in run.page.all("img"):
        assert img.attributes["alt"]
    assert all(f.all("figcaption")[0].text for f in run.page.all("figure"))


def test_statuses_are_words_not_only_colours(run) -> None:
    for node in run.page.all("span"):
        if "status" in node.classes:
            assert node.text


def test_hostile_text_appears_as_text(hostile) -> None:
    text = hostile.page.text
    for name in HOSTILE:
        assert " ".join(clean(name).split()) in text
    assert not hostile.page.all("b", "img")
    names = [n for n in hostile.page.all("bdi") if "WWWW" in n.text]
    assert names
    assert all("long" in n.classes for n in names if "name" in n.classes)


def test_right_to_left_names_in_sentences_are_isolated(hostile) -> None:
    for node in hostile.page.first("main").all("p", "li", "dd"):
        own = "".join(child for child in node.children if isinstance(child, str))
        assert "שלום" not in own


@pytest.mark.parametrize(
    ("target", "safe"),
    [
        ("#summary", "#summary"),
        ("artifacts/a b.parquet", "./artifacts/a%20b.parquet"),
        ("javascript:alert(1)", "./javascript%3Aalert%281%29"),
        ("//evil.example/x", "./evil.example/x"),
        ("https://evil.example", "./https%3A/evil.example"),
        ("../../other-run/./report.html", "./other-run/report.html"),
        ("na\udcffme/report.html", "./na%FFme/report.html"),  # a folder whose name is no UTF-8
    ],
)
def test_a_link_never_leaves_the_run(target: str, safe: str) -> None:
    assert href(target) == safe


def test_the_title_names_audit_verdict_and_run(tabular) -> None:
    assert (
        tabular.page.first("title").text == "Income classifier, UCI Adult · not satisfied · 20261122T101500Z-0a1b2c3d"
    )


def test_rendering_twice_gives_the_same_bytes(tabular) -> None:
    document = document_of(tabular.reading)
    assert render_html(document) == render_html(document)
    assert render_html(document) != render_html(replace(document, title="another"))


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("report.attestations.credit_decided", ["report.", "attestations.", "credit_", "decided"]),
        ("models/adult_income/2/model.keras", ["models/", "adult_", "income/", "2/", "model.", "keras"]),
        ("1.2345678901234567890", ["1.2345678901234567890"]),
        ("marital_status", ["marital_status"]),
        ("<script>alert(1)</script>", ["<script>alert(1)</", "script>"]),
    ],
)
def test_long_names_may_break_between_their_parts_only(word: str, parts: list[str]) -> None:
    assert parted(word) == parts
    made = _breakable(f"see {word}.")
    assert "<script" not in made
    assert unescape(made.replace("<wbr>", "")) == f"see {word}."
