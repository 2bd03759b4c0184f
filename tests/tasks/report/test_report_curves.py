"""Curves and levels: what is drawn lies where the numbers say."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest

from tasks.report import figures
from tasks.report.figures import Curves, Level, Levels, Line, Mark
from tasks.report.figures.svg import Scale, standalone, width_of
from tests.tasks.report.test_report_figures import NS, drawn

RISING = Line(((0.0, 0.0), (10.0, 1.0)), band=((0.0, 0.1), (0.9, 1.0)))
HOSTILE = "<script>alert(1)</script>" + "W" * 200 + "\x00"


def paths(chart: figures.Chart, css: str) -> list[list[tuple[float, float]]]:
    """Points of the paths of a class."""
    found = [e.get("d") for e in drawn(chart).iter(f"{NS}path") if e.get("class") == css]
    return [[(float(x), float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", d)] for d in found]


def grid(chart: figures.Chart) -> list[float]:
    """Heights of the horizontal grid lines, from the top."""
    return sorted(run[0][1] for run in paths(chart, "axis"))


def test_a_line_leads_from_corner_to_corner() -> None:
    chart = Curves("t", (RISING,), 0.0, 1.0)
    (line,) = paths(chart, "line first")
    lines = grid(chart)
    assert line[0][1] == pytest.approx(lines[-1], abs=0.11)
    assert line[-1][1] == pytest.approx(lines[0], abs=0.11)
    assert line[0][0] < line[-1][0]
    (band,) = paths(chart, "band")
    assert len(band) == 4


def test_panels_with_the_same_ends_have_the_same_axis() -> None:
    other = Line(((3.0, 0.4), (5.0, 0.5), (9.0, 0.45)))
    one, two = (Curves("t", (line,), 0.0, 1.0) for line in (RISING, other))
    assert grid(one) == grid(two)
    height = grid(two)[-1] - grid(two)[0]
    assert grid(two)[-1] - paths(two, "line first")[0][1][1] == pytest.approx(0.5 * height, abs=0.2)


def test_lines_differ_in_their_dashes_and_dots_in_their_shape() -> None:
    lines = tuple(Line(RISING.points, style, style) for style in ("first", "second", "third"))
    svg = standalone(figures.svg(Curves("t", lines, 0.0, 1.0), "f"))
    assert len(set(re.findall(r"\.line\.\w+{[^}]*stroke-dasharray:([^};]*)", svg))) == 2
    dots = tuple(Mark("", "", value) for value in (0.1, 0.2, 0.3))
    root = drawn(Levels("t", (Level("a", dots),), 0.0, 1.0, ("x", "y", "z")))
    shapes = {e.get("class"): e.tag for e in root.iter() if (e.get("class") or "").startswith("dot")}
    assert shapes == {"dot first": f"{NS}circle", "dot second": f"{NS}path", "dot third": f"{NS}rect"}
    assert {"x", "y", "z"} <= {e.text for e in root.iter(f"{NS}text")}


def test_curves_of_single_rows_are_cut_at_the_edge() -> None:
    chart = Curves("t", (RISING,), 0.0, 1.0, thin=(((0.0, -1.0), (5.0, 0.5), (10.0, 2.0)), ((0.0, 5.0), (10.0, 6.0))))
    runs = paths(chart, "thin")
    assert len(runs) == 1  # the other one lies outside altogether
    top, bottom = grid(chart)[0], grid(chart)[-1]
    assert all(top - 0.11 <= y <= bottom + 0.11 for _, y in runs[0])
    left, right = paths(chart, "line first")[0][0][0], paths(chart, "line first")[0][-1][0]
    # −1 → 0.5 over half of the width crosses 0 at two thirds of it, 0.5 → 2 crosses 1 at one third
    assert runs[0][0][0] == pytest.approx(left + (right - left) / 3, abs=0.2)
    assert runs[0][-1][0] == pytest.approx(left + (right - left) * 2 / 3, abs=0.2)


def test_a_curve_that_leaves_and_returns_is_two_runs() -> None:
    chart = Curves("t", (RISING,), 0.0, 1.0, thin=(((0.0, 0.5), (4.0, 3.0), (6.0, 3.0), (10.0, 0.5)),))
    assert len(paths(chart, "thin")) == 2


def test_the_strip_shows_where_rows_are() -> None:
    chart = Curves("t", (RISING,), 0.0, 1.0, rows=((0.0, 5.0, 90.0), (5.0, 10.0, 30.0)))
    bars = [(float(e.get("x")), float(e.get("height"))) for e in drawn(chart).iter(f"{NS}rect")]
    assert len(bars) == 48
    assert {round(height, 1) for _, height in bars[:24]} == {16.0}
    assert {round(height, 1) for _, height in bars[24:]} == {5.3}
    outside = Curves("t", (RISING,), 0.0, 1.0, rows=((-10.0, 10.0, 100.0), (10.0, 20.0, 900.0)))
    heights = [float(e.get("height")) for e in drawn(outside).iter(f"{NS}rect")]
    assert len(heights) == 48  # what lies outside the panel does not make it higher
    assert len({round(height, 1) for height in heights}) == 1


def test_marks_of_points_where_the_rows_are_not_known() -> None:
    assert len([run for run in paths(Curves("t", (RISING,), 0.0, 1.0, ticks=(1.0, 5.0)), "tick") if len(run) == 2]) >= 2


def test_levels_lie_on_their_axis() -> None:
    levels = (Level("a", (Mark("", "", 0.25, 0.2, 0.3), Mark("", "", 0.5)), "12 %"), Level("b", (None, None)))
    root = drawn(Levels("t", levels, 0.0, 1.0))
    axis = sorted(run[0][0] for run in paths(Levels("t", levels, 0.0, 1.0), "axis"))
    dot = next(e for e in root.iter(f"{NS}circle"))
    assert float(dot.get("cx")) == pytest.approx(axis[0] + 0.25 * (axis[-1] - axis[0]), abs=0.2)
    assert len(list(root.iter(f"{NS}circle"))) == 1
    assert "12 %" in [e.text for e in root.iter(f"{NS}text")]


@pytest.mark.parametrize(
    "chart",
    [
        Curves("t", (), 0.0, 0.0), Curves("t", (Line(((3.0, 0.2),)),), 0.2, 0.2), Curves("t", (Line(()),), 0.0, 1.0),
        Curves("t", (Line(((0.0, 1e300), (1e-300, -1e300))),), -1e300, 1e300, rows=((0.0, 0.0, 3.0),)),
        Curves("t", (Line(((1e15, 0.1), (1e15 + 1, 0.2))),), 0.1, 0.2), Levels("t", (), 0.0, 0.0),
        Levels("t", (Level("a", ()),), 1.0, 1.0),
    ],
)  # fmt: skip
def test_degenerate_panels_are_drawn(chart: figures.Chart) -> None:
    text = ET.tostring(drawn(chart), encoding="unicode")
    assert "nan" not in text
    assert "inf" not in text


@pytest.mark.parametrize(
    "chart",
    [
        Curves(HOSTILE, (Line(RISING.points, "first", HOSTILE), Line(RISING.points, "second", HOSTILE)), 0.0, 1.0),
        Levels(HOSTILE, (Level(HOSTILE, (Mark("", "", 0.5),)),), 0.0, 1.0, (HOSTILE, HOSTILE)),
    ],
)
def test_hostile_names_stay_text_and_are_shortened(chart: figures.Chart) -> None:
    root = drawn(chart)
    assert not list(root.iter(f"{NS}script"))
    words = [e for e in root.iter(f"{NS}text") if (e.text or "").startswith("<script")]
    assert words
    assert all((e.text or "").endswith("…") for e in words)


def test_every_class_that_is_drawn_has_a_style_in_the_page_and_alone() -> None:
    charts = (
        Curves("t", (RISING, Line(RISING.points, "second"), Line(RISING.points, "third", "a")), 0.0, 1.0,
               (RISING.points,), ((0.0, 9.0, 3.0),), (1.0,), "", "s"),
        Levels("t", (Level("a", tuple(Mark("", "", v, 0.0, 1.0) for v in (0.1, 0.2, 0.3))),), 0.0, 1.0, ("x",) * 3),
    )  # fmt: skip
    page = Path(figures.__file__).parent.parent.joinpath("templates", "report.css").read_text(encoding="utf-8")
    for chart in charts:
        svg = standalone(figures.svg(chart, "f"))
        for css in {name for group in re.findall(r'class="([^"]+)"', svg) for name in group.split()} - {"chart"}:
            if css == "first":  # the plain form of lines and dots
                continue
            assert re.search(rf"\.{css}\b", page), css
            assert re.search(rf"\.{css}\b", svg.split("</style>")[0]), css


def test_numbers_under_an_axis_do_not_touch() -> None:
    levels = (Level("a label of some length", (Mark("", "", 123_456.0),), "100 %"),)
    root = drawn(Levels("t", levels, -500_000.0, 500_000.0))
    places = [float(e.get("x")) for e in root.iter(f"{NS}text") if e.get("class") == "m" and e.get("text-anchor")]
    widest = width_of("−500000", 11)
    assert len(places) >= 2
    assert all(b - a >= widest * 0.8 for a, b in pairwise(places))
    assert len(paths(Levels("t", levels, -500_000.0, 500_000.0), "axis")) > len(places)


def test_an_axis_reaches_past_the_curves() -> None:
    assert Scale.reaching(0.11, 0.87, 0, 150).ticks()[-1] >= 0.87
