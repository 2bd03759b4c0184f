from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from tasks.report import figures
from tasks.report.figures import Bars, Calibration, Forest, Histogram, Mark, Strip, Waterfall
from tasks.report.figures.svg import Scale, fitted, tick_text, width_of

NS = "{http://www.w3.org/2000/svg}"
CHARTS = {
    "bars": Bars("Rates", (Mark("a", "0.2", 0.2, 0.1, 0.3), Mark("b", "0.4", 0.4, 0.3, 0.5, "bad")), 0.25, "policy"),
    "forest": Forest("Gaps", (Mark("a", "", -0.1, -0.2, 0.0), Mark("b", "", 0.2, None, 0.3, "bad")), 0.0, (-0.1, 0.1)),
    "waterfall": Waterfall(
        "Row", Mark("base", "0.3", 0.3), (Mark("x", "+0.4", 0.4), Mark("y", "−0.1", -0.1)), Mark("out", "0.6", 0.6)
    ),
    "histogram": Histogram("Scores", (0.0, 0.5, 1.0), (Strip("no", "3 rows", (2, 1)), Strip("yes", "", (0, 0))), 0.5),
    "calibration": Calibration("Calibration", ((0.1, 0.2, 0.1, 0.3), (0.9, 0.8, 0.7, 0.9))),
}  # fmt: skip


def drawn(chart: figures.Chart) -> ET.Element:
    return ET.fromstring(figures.standalone(figures.svg(chart, "f-1")))


def box(element: ET.Element) -> tuple[float, float]:
    return float(element.get("x")), float(element.get("width"))


@pytest.mark.parametrize("kind", CHARTS)
def test_every_chart_is_xml_with_title_and_description(kind: str) -> None:
    svg = figures.svg(CHARTS[kind], "f-1")
    root = drawn(CHARTS[kind])
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "f-1-t"
    assert root.find(f"{NS}title").text == CHARTS[kind].title
    assert [e.get("id") for e in root.iter() if e.get("id")] == ["f-1-t", "f-1-d"]
    assert svg == figures.svg(CHARTS[kind], "f-1")
    assert "http" not in svg  # loads nothing


def test_bars_are_as_long_as_their_values() -> None:
    root = drawn(CHARTS["bars"])
    rects = {e.get("class"): box(e) for e in root.iter(f"{NS}rect")}
    (left, short), (same, long) = rects["plain"], rects["bad"]
    assert left == same
    assert long == pytest.approx(2 * short, abs=0.11)
    limit = next(e for e in root.iter(f"{NS}path") if e.get("class") == "limit")
    x = float(re.match(r"M([\d.]+)", limit.get("d"))[1])
    assert x - left == pytest.approx(1.25 * short, abs=0.11)


def test_a_negative_bar_ends_at_nought() -> None:
    root = drawn(Bars("t", (Mark("a", "", -0.2), Mark("b", "", 0.2))))
    (x1, w1), (x2, w2) = (box(e) for e in root.iter(f"{NS}rect"))
    assert x1 + w1 == pytest.approx(x2, abs=0.11)
    assert w1 == pytest.approx(w2, abs=0.11)


def test_what_has_no_value_has_words_and_no_mark() -> None:
    root = drawn(Bars("t", (Mark("a", "undefined", None), Mark("b", "0.1", 0.1))))
    assert len(list(root.iter(f"{NS}rect"))) == 1
    assert "undefined" in [e.text for e in root.iter(f"{NS}text")]


def test_breaches_and_doubts_differ_in_shape_too() -> None:
    marks = (Mark("ok", "", 0.1), Mark("breach", "", 0.5, tone="bad"), Mark("few", "", 0.3, tone="unsure"))
    root = drawn(Forest("t", marks))
    assert {e.get("class"): e.tag for e in root.iter() if "dot" in (e.get("class") or "")} == {
        "dot plain": f"{NS}circle", "dot bad": f"{NS}path", "dot unsure": f"{NS}circle",
    }  # fmt: skip


def test_a_waterfall_leads_from_base_to_output() -> None:
    root = drawn(CHARTS["waterfall"])
    steps = [e for e in root.iter(f"{NS}path") if e.get("class") in ("up", "down")]
    assert [e.get("class") for e in steps] == ["up", "down"]
    marks = [x + width / 2 for x, width in (box(e) for e in root.iter(f"{NS}rect") if e.get("class") == "sum")]
    tips = []
    for step in steps:
        points = [float(x) for x in re.findall(r"[ML]([\d.]+) ", step.get("d"))]
        tips.append((points[0], points[2]))  # from, to
    assert tips[0][0] == pytest.approx(marks[0], abs=0.11)
    assert tips[1][0] == pytest.approx(tips[0][1], abs=0.11)
    assert tips[1][1] == pytest.approx(marks[1], abs=0.11)


def test_hostile_labels_stay_text_and_are_shortened_with_a_tooltip() -> None:
    name = "<script>alert(1)</script>" + "W" * 200 + "\x00"
    root = drawn(Bars(name, (Mark(name, "0.1", 0.1),)))
    assert not list(root.iter(f"{NS}script"))
    label = next(e for e in root.iter(f"{NS}text") if (e.text or "").startswith("<script") and e.get("class") is None)
    assert label.text.endswith("…")
    assert label.find(f"{NS}title").text == name.replace("\x00", "�")


@pytest.mark.parametrize(
    "chart",
    [
        Bars("t", ()), Bars("t", (Mark("a", "0", 0.0),)), Bars("t", (Mark("a", "", 1e300), Mark("b", "", -1e300))),
        Forest("t", (Mark("a", "", 0.0, 0.0, 0.0),)), Forest("t", (Mark("a", "", 0.1, -1e9, 1e9),)),
        Forest("t", (Mark("a", "", 1e-12),)), Waterfall("t", Mark("b", "", 0.5), (), Mark("o", "", 0.5)),
        Waterfall("t", Mark("b", "", None), (Mark("x", "", 0.0),), Mark("o", "", None)),
        Histogram("t", (0.0, 0.0), (Strip("a", "", (3,)),)), Histogram("t", (0.0, 1.0), ()), Calibration("t", ()),
    ],
)  # fmt: skip
def test_degenerate_charts_are_drawn(chart: figures.Chart) -> None:
    text = ET.tostring(drawn(chart), encoding="unicode")
    assert "nan" not in text
    assert "inf" not in text


def test_a_wide_interval_is_cut_and_says_so() -> None:
    whiskers = list(drawn(Forest("t", (Mark("a", "", 0.1, -1e6, 0.2),))).iter(f"{NS}path"))
    heads = [e.get("d") for e in whiskers if e.get("class") == "whisker" and e.get("d").count("L") == 2]
    assert len(heads) == 1


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]), (0, 0.3, [0, 0.1, 0.2, 0.3]), (-0.2, 0.2, [-0.2, -0.1, 0, 0.1, 0.2]),
        (0, 40, [0, 10, 20, 30, 40]),
    ],
)  # fmt: skip
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert Scale(low, high, 0, 100).ticks() == pytest.approx(ticks)


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (-0.0, "0"), (0.25, "0.25"), (-0.1, "−0.1"), (1e-7, "1e−7")])
def test_tick_text(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_fitted_text_fits() -> None:
    assert fitted("short", 100) == "short"
    long = fitted("a long name of a group " * 5, 100)
    assert long.endswith("…")
    assert width_of(long) <= 100
    assert width_of("中文") > width_of("ab")


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.339), (-0.013, 0.081), (0.0, 7.3e-4), (0.0, 97000.0), (0.2, 1.0)])
@pytest.mark.parametrize("room", [90, 150, 260])
def test_an_axis_reaches_past_what_it_shows(low: float, high: float, room: int) -> None:
    scale = Scale.reaching(low, high, 0, room)
    ticks = scale.ticks()
    assert ticks[0] <= low + 1e-12
    assert ticks[-1] >= high - 1e-12 * high
    assert 2 <= len(ticks) <= 7
    assert scale(ticks[-1]) == pytest.approx(room)


def test_labels_of_22_letters_are_whole_and_values_are_never_cut() -> None:
    label = "Female and Pac-Islande"
    steps = (Mark(label, "−1,234,567.891", -1_234_567.891),)
    for chart in (Bars("t", steps), Waterfall("t", Mark("base", "0", 0.0), steps, Mark("out", "0", -1_234_567.891))):
        words = [e.text for e in drawn(chart).iter(f"{NS}text")]
        assert label in words
        assert "−1,234,567.891" in words
