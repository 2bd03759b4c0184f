"""Planes and heat maps: what is drawn lies where the numbers say, and tells apart without colour."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from tasks.report import figures
from tasks.report.figures import Calibration, Cell, Forest, Heat, Mark, Plane, Trace
from tasks.report.figures.charts import TRACES
from tasks.report.figures.heat import STEPS, step_of
from tasks.report.figures.svg import HEAT_STEPS, TRACE_STYLES, WIDTH, width_of
from tests.tasks.report.test_report_curves import HOSTILE, paths
from tests.tasks.report.test_report_figures import NS, drawn

CSS = Path(figures.__file__).parent.parent.joinpath("templates", "report.css").read_text(encoding="utf-8")
LEAST_STEP = 6.0  # of lightness (L*, 0–100) between any two marks that must tell apart in grey
DIAGONAL = tuple((x / 10, x / 10) for x in range(11))


def plane(traces: int = 2, **changes) -> Plane:
    made = tuple(
        Trace(f"group {n}", f"0.{n}", tuple((x, x ** (1 / (n + 2))) for x, _ in DIAGONAL), at=(0.5, 0.1 * n))
        for n in range(traces)
    )
    return Plane("t", made, "x", "y", **changes)


def cell_boxes(chart: Heat) -> list[tuple[float, float, float, float]]:
    return [
        tuple(float(e.get(key)) for key in ("x", "y", "width", "height"))
        for e in drawn(chart).iter(f"{NS}rect")
        if float(e.get("height")) > 20
    ]  # type: ignore[misc]


def luminance(colour: str) -> float:
    parts = [int(colour.lstrip("#")[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def lightness(colour: str) -> float:
    return 116 * luminance(colour) ** (1 / 3) - 16


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def colours(scheme: str) -> dict[str, str]:
    """The variables of the page, light, dark or printed."""
    light, rest = CSS.split("prefers-color-scheme: dark")
    dark, rest = rest.split("* { box-sizing", 1)
    printed = rest.split("@media print")[1]
    text = {"light": light, "dark": dark, "print": printed}[scheme]
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", text))


# ---------------------------------------------------------------- planes


def test_curves_and_places_lie_where_the_numbers_say() -> None:
    chart = Plane("t", (Trace("a", "", ((0.0, 0.0), (1.0, 1.0)), at=(0.25, 0.5)),), "x", "y", diagonal="chance")
    (line,), (diagonal,) = ([p for p in paths(chart, css) if len(p) == 2 and p[0][1] != p[1][1]]
                            for css in ("trace s1", "diagonal"))  # fmt: skip
    assert line == diagonal
    (left, bottom), (right, top) = line
    spot = next(e for e in drawn(chart).iter(f"{NS}circle"))
    assert float(spot.get("cx")) == pytest.approx(left + 0.25 * (right - left), abs=0.1)
    assert float(spot.get("cy")) == pytest.approx(bottom + 0.5 * (top - bottom), abs=0.1)
    assert "chance" in [e.text for e in drawn(chart).iter(f"{NS}text")]


def test_an_interval_lies_around_its_curve() -> None:
    curve = Trace("a", "", ((0.0, 0.5), (1.0, 0.5)), band=((0.4, 0.6), (0.3, 0.7)))
    chart = Plane("t", (curve,), "x", "y")
    (band,), (line, *_) = paths(chart, "spread s1"), paths(chart, "trace s1")
    assert len(band) == 4
    assert band[0][1] < line[0][1] < band[3][1]
    assert band[1][1] < band[0][1]


def test_the_line_of_a_limit() -> None:
    chart = plane(limit=0.5, limit_text="threshold 0.5")
    (line,) = paths(chart, "limit")
    axis = sorted({p[0][0] for p in paths(chart, "axis") if p[0][0] == p[1][0]})
    assert line[0][0] == pytest.approx((axis[0] + axis[-1]) / 2, abs=0.1)


def test_more_traces_than_tell_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="no more than 6"):
        plane(TRACES + 1)


def test_every_trace_has_a_shape_and_a_dash_of_its_own() -> None:
    root = drawn(plane(TRACES))
    shapes = set()
    for n in range(1, TRACES + 1):
        spot = next(e for e in root.iter() if (e.get("class") or "").startswith(f"spot s{n}"))
        numbers = [float(x) for x in re.findall(r"-?[\d.]+", spot.get("d") or "0 0")]
        around = tuple((round(x - numbers[0], 1), round(y - numbers[1], 1))
                       for x, y in zip(numbers[::2], numbers[1::2], strict=True))  # fmt: skip
        shapes.add((spot.tag, "hollow" in spot.get("class"), around))
    assert len(shapes) == TRACES
    assert len({dash for _, dash in TRACE_STYLES}) == TRACES
    for n, (_, dash) in enumerate(TRACE_STYLES, 1):
        told = re.search(rf"\.trace\.s{n} {{ stroke-dasharray: ([^;]+);", CSS)
        assert (told[1] if told else "none") == dash


def test_the_legend_names_every_trace_and_its_number_without_touching() -> None:
    traces = (Trace("a label that is so long that it cannot stand beside its number", "AUC 0.912, 0.9 to 0.92"),
              Trace("b", "1", at=(0.1, 0.1)))  # fmt: skip
    texts = {e.text: e for e in drawn(Plane("t", traces, "x", "y")).iter(f"{NS}text")}
    label = next(text for text in texts if text.startswith("a label"))
    assert label.endswith("…")
    number = texts["AUC 0.912, 0.9 to 0.92"]
    assert float(texts[label].get("x")) + width_of(label, 11) < float(number.get("x")) - width_of(number.text, 11)
    assert float(texts["b"].get("y")) - float(texts[label].get("y")) >= 16


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_marks_tell_apart_in_grey_and_stand_out(scheme: str) -> None:
    known = colours(scheme)
    paper = colours(scheme)["paper"].replace("#fff", "#ffffff")[:7]
    traces = [known[f"s{n}"] for n in range(1, TRACES + 1)]
    assert min(abs(lightness(a) - lightness(b)) for a, b in combinations(traces, 2)) >= LEAST_STEP
    assert all(contrast(colour, paper) >= 3 for colour in traces)
    if scheme != "dark":
        assert traces == [colour for colour, _ in TRACE_STYLES]  # as in the PDF


# ---------------------------------------------------------------- heat maps


HEAT = Heat(
    "rate", ("a", "b"), ("x", "y", "z"),
    ((Cell("0.1", "40", 0.1), Cell("0.2", "50", 0.2, "bad"), Cell("no rows", tone="empty")),
     (Cell("0.4", "60", 0.4), Cell("0.9", "7", 0.9, "unsure"), Cell("0/0", "9", None, "unsure"))),
)  # fmt: skip


def test_cells_stand_in_rows_and_columns_and_do_not_overlap() -> None:
    boxes = sorted(set(cell_boxes(HEAT)))
    plain = [e for e in drawn(HEAT).iter(f"{NS}rect") if (e.get("class") or "").startswith("heat h")]
    big = [e for e in plain if float(e.get("height")) > 20]
    assert len(big) == 3
    assert {e.get("x") for e in big} == {big[0].get("x"), big[1].get("x")}
    assert all(x >= 0 and x + width <= WIDTH + 0.1 for x, _, width, _ in boxes)
    for (x1, y1, w1, h1), (x2, y2, _, _) in combinations(
        [tuple(float(e.get(k)) for k in ("x", "y", "width", "height")) for e in big], 2
    ):
        assert x1 + w1 <= x2 or y1 + h1 <= y2 or x2 < x1


def test_the_scale_is_over_the_cells_that_can_be_judged() -> None:
    classes = [e.get("class") for e in drawn(HEAT).iter(f"{NS}rect") if float(e.get("height")) > 20]
    assert [c for c in classes if c.startswith("heat")] == ["heat h1", "heat h3", "heat h6"]
    ticks = [e.text for e in drawn(HEAT).iter(f"{NS}text") if e.get("class") == "m"]
    assert {"0.1", "0.4"} <= set(ticks)


def _holds(box: tuple[float, ...], points: list[tuple[float, float]]) -> bool:
    left, top, width, height = box
    return all(left - 0.6 <= x <= left + width + 0.6 and top - 0.6 <= y <= top + height + 0.6 for x, y in points)


@pytest.mark.parametrize(("value", "step"), [(0.0, 1), (0.16, 1), (0.17, 2), (0.99, STEPS), (1.0, STEPS), (7.0, STEPS)])
def test_steps(value: float, step: int) -> None:
    assert step_of(value, 0.0, 1.0) == step


def test_cells_without_enough_rows_are_hatched_and_empty_ones_are_not() -> None:
    root = drawn(HEAT)
    hatched = [e for e in root.iter(f"{NS}path") if e.get("class") == "hatch"]
    assert len(hatched) == 3  # two cells, and the legend's sample
    for lines in hatched[:2]:
        points = [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", lines.get("d"))]
        assert any(_holds(box, points) for box in cell_boxes(HEAT))
    assert len([e for e in root.iter(f"{NS}rect") if e.get("class") == "hollow"]) == 2
    words = [e.text for e in root.iter(f"{NS}text")]
    assert {"no rows", "too few rows", "beyond the policy", "0/0", "7"} <= set(words)


def test_a_breach_has_a_shape() -> None:
    assert len([e for e in drawn(HEAT).iter(f"{NS}path") if e.get("class") == "flag"]) == 2  # the cell's, the legend's
    calm = Heat("t", ("a",), ("x",), ((Cell("1", "", 1.0),),))
    assert not [e for e in drawn(calm).iter(f"{NS}path") if e.get("class") == "flag"]
    assert "beyond the policy" not in [e.text for e in drawn(calm).iter(f"{NS}text")]


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_words_are_legible_on_every_step(scheme: str) -> None:
    known = colours(scheme)
    steps = [known[f"h{n}"] for n in range(1, STEPS + 1)]
    if scheme == "print":
        paper, ink = "#ffffff", "#000000"
    else:
        paper, ink = known["paper"], known["ink"]
    for n, colour in enumerate(steps, 1):
        assert contrast(colour, paper if n >= 5 else ink) >= 4.5, n
    grey = [lightness(colour) for colour in steps]
    assert all(abs(a - b) >= LEAST_STEP for a, b in pairwise(grey))
    assert grey in (sorted(grey), sorted(grey, reverse=True))
    assert tuple(known[f"h{n}"] for n in range(1, STEPS + 1)) == HEAT_STEPS or scheme == "dark"


def test_words_stay_within_their_cells() -> None:
    many = Heat("t", ("row",), tuple(f"A group of the {n}th kind" for n in range(6)),
                (tuple(Cell(f"0.{n}23", "1,234,567", 0.1 * n) for n in range(6)),))  # fmt: skip
    root = drawn(many)
    (width,) = {round(b[2], 1) for b in cell_boxes(many)}
    for e in root.iter(f"{NS}text"):
        if e.get("class") in ("over", "on"):
            assert width_of(e.text or "", 12) <= width
        if e.get("class") in ("over small", "on small"):
            assert width_of(e.text or "", 10) <= width
    upright = [e for e in root.iter(f"{NS}text") if e.get("transform")]
    assert len(upright) == 6
    top = min(b[1] for b in cell_boxes(many))
    for e in upright:
        assert float(e.get("y")) < top
        assert float(e.get("y")) - width_of(e.text or "", 11) > 14  # below the title


def test_a_cell_for_every_row_and_column() -> None:
    with pytest.raises(ValueError, match="a cell for each"):
        Heat("t", ("a",), ("x", "y"), ((Cell(),),))


# ---------------------------------------------------------------- additions to other charts


def test_what_chance_comes_to_is_a_pale_bar_behind_the_mark() -> None:
    chart = Forest("t", (Mark("a", "0.2", 0.2, 0.1, 0.3, chance=(0.05, 0.1)), Mark("b", "0.1", 0.1)))
    root = drawn(chart)
    (bar,) = [e for e in root.iter(f"{NS}rect") if e.get("class") == "expected"]
    dots = sorted(float(e.get("cx")) for e in root.iter(f"{NS}circle"))
    null = float(bar.get("x"))
    assert null + float(bar.get("width")) == pytest.approx(dots[0], abs=0.2)  # 0.1
    assert dots[1] - null == pytest.approx(2 * (dots[0] - null), abs=0.3)
    ratio = drawn(Forest("t", (Mark("a", "0.5", 0.5, chance=(0.95, 0.9)),), 1.0))
    (bar,) = [e for e in ratio.iter(f"{NS}rect") if e.get("class") == "expected"]
    assert float(bar.get("x")) > next(float(e.get("cx")) for e in ratio.iter(f"{NS}circle"))


def test_another_groups_calibration_is_a_line_behind() -> None:
    chart = Calibration("t", ((0.1, 0.2, 0.1, 0.3),), "", "line: other", ((0.1, 0.1), (0.9, 0.9)))
    assert len(paths(chart, "behind")) == 1
    assert "line: other" in [e.text for e in drawn(chart).iter(f"{NS}text")]
    assert not paths(Calibration("t", ((0.1, 0.2, 0.1, 0.3),)), "behind")


# ---------------------------------------------------------------- all of them


CHARTS = (
    plane(TRACES, diagonal="chance", limit=0.5, limit_text="threshold"), HEAT,
    Plane("t", (Trace("a", "", ((0.0, 0.1), (1.0, 0.2)), ((0.0, 0.2), (0.1, 0.3))),), "x", "y"),
    Forest("t", (Mark("a", "0.2", 0.2, chance=(0.05, 0.1)),)),
    Calibration("t", ((0.1, 0.2, 0.1, 0.3),), "", "s", ((0.1, 0.1), (0.9, 0.9))),
)  # fmt: skip


@pytest.mark.parametrize("chart", CHARTS)
def test_every_class_that_is_drawn_has_a_style_in_the_page_and_in_the_pdf(chart: figures.Chart) -> None:
    svg = figures.standalone(figures.svg(chart, "f"))
    assert svg == figures.standalone(figures.svg(chart, "f"))
    for css in {name for group in re.findall(r'class="([^"]+)"', svg) for name in group.split()} - {"chart"}:
        assert re.search(rf"\.{css}\b", CSS), css
        assert re.search(rf"\.{css}\b", svg.split("</style>")[0]), css


@pytest.mark.parametrize(
    "chart",
    [
        Plane("t", (), "x", "y"), Plane("t", (Trace("a", "", ((0.5, 0.5),)),), "x", "y"),
        Plane("t", (Trace("a", "", at=(1.0, 1e300)),), "x", "y", (1.0, 1.0), (1e300, 1e300)),
        Plane("t", (Trace("a", "", ((0.0, 5.0), (9.0, -5.0))),), "x", "y", diagonal="d"),
        Heat("t", (), (), ()), Heat("t", ("a",), ("x",), ((Cell("0", "1", 0.0),),)),
        Heat("t", ("a",), ("x",), ((Cell("none", tone="empty"),),)),
        Forest("t", (Mark("a", "", None, chance=(0.0, 0.0)),)),
    ],
)  # fmt: skip
def test_degenerate_charts_are_drawn(chart: figures.Chart) -> None:
    text = ET.tostring(drawn(chart), encoding="unicode")
    assert "nan" not in text
    assert "inf" not in text


@pytest.mark.parametrize(
    "chart",
    [
        Plane(HOSTILE, (Trace(HOSTILE, "1", ((0.0, 0.0), (1.0, 1.0))),), HOSTILE, HOSTILE),
        Heat(HOSTILE, (HOSTILE,), (HOSTILE, "b"), ((Cell("0.1", "1", 0.1), Cell("0.2", "1", 0.2)),)),
    ],
)
def test_hostile_names_stay_text_and_are_shortened(chart: figures.Chart) -> None:
    root = drawn(chart)
    assert not list(root.iter(f"{NS}script"))
    words = [e for e in root.iter(f"{NS}text") if (e.text or "").startswith("<script")]
    assert len(words) >= 3
    assert all((e.text or "").endswith("…") for e in words)
