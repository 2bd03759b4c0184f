"""Curves along a number: small multiples that share their y-axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from tasks.report.figures.charts import Curves, Line
from tasks.report.figures.svg import TOP, WIDTH, Scale, box, frame, px, rule, text, tick_text, width_of

_PLOT = 150  # height of the plot
_STRIP = 16  # height of the strip that shows where rows are
_BINS = 48
_LEGEND = 18

Point = tuple[float, float]


def curves_svg(chart: Curves, id: str) -> str:
    """Lines in front of their intervals, curves of single rows behind, the rows as a strip at the foot."""
    rows = len(legend_lines([line.label for line in chart.lines]))
    top = TOP + (14.0 if chart.subtitle else 4.0) + (_LEGEND * rows + 6.0 if rows else 0.0)
    bottom = top + _PLOT
    up = Scale.reaching(chart.low, chart.high, 0, _PLOT)
    left = max(width_of(tick_text(tick), 11) for tick in up.ticks()) + 10
    across = Scale(*_ends(chart), left, WIDTH - 10)

    def at(point: Point) -> str:
        return f"{px(across(point[0]))} {px(bottom - up(point[1]))}"

    parts = legend(chart.lines, TOP + (20.0 if chart.subtitle else 10.0))
    for tick in up.ticks():
        y = bottom - up(tick)
        parts += [rule(left, y, WIDTH - 10, y, "axis"), text(left - 6, y + 4, tick_text(tick), css="m", anchor="end")]
    for curve in chart.thin:
        parts += [_path(run, at, "thin") for run in _inside(curve, up.low, up.high)]
    for line in chart.lines:
        parts += [_band(line, at, up.low, up.high)] if line.band else []
    for line in reversed(chart.lines):  # the first in front
        if len(line.points) == 1:
            x, y = (float(part) for part in at(line.points[0]).split())
            parts.append(f'<circle class="dot {line.style}" cx="{px(x)}" cy="{px(y)}" r="4"/>')
        else:
            parts += [_path(run, at, f"line {line.style}") for run in _inside(line.points, up.low, up.high)]
    floor = bottom + _STRIP + 2
    parts += _strip(chart, across, floor)
    parts.append(rule(left, floor, WIDTH - 10, floor, "zero"))
    for tick in across.ticks(max(2, min(5, int((WIDTH - left) / 60)))):
        x = across(tick)
        parts += [rule(x, floor, x, floor + 3, "tick"), text(x, floor + 15, tick_text(tick), css="m", anchor="middle")]
    return frame(id, floor + 20, chart.title, chart.description, parts, subtitle=chart.subtitle)


def legend_lines(labels: Sequence[str]) -> list[int]:
    """How many of the labels stand on each line of the legend."""
    shown = [label for label in labels if label]
    if not shown:
        return []
    room = [min(width_of(label, 11), WIDTH / 2) + 38 for label in shown]
    return [len(shown)] if sum(room) <= WIDTH else [1] * len(shown)


def legend(lines: Sequence[Line], y: float) -> list[str]:
    """A sample of each line with its label, beside each other where they fit."""
    labelled = [line for line in lines if line.label]
    rows = legend_lines([line.label for line in labelled])
    parts, x = [], 0.0
    for position, line in enumerate(labelled):
        if len(rows) > 1 and position:
            x, y = 0.0, y + _LEGEND
        parts.append(rule(x, y, x + 24, y, f"line {line.style}"))
        room = WIDTH - x - 32 if len(rows) > 1 else WIDTH / 2
        parts.append(text(x + 30, y + 4, line.label, css="n", room=room))
        x += min(width_of(line.label, 11), room) + 38
    return parts


def _ends(chart: Curves) -> Point:
    """The least and the greatest x that a line has."""
    xs = [x for line in chart.lines for x, _ in line.points] or [0.0]
    low, high = min(xs), max(xs)
    return (low, high) if high > low else (low - 0.5 * (abs(low) or 1.0), low + 0.5 * (abs(low) or 1.0))


def _path(points: Sequence[Point], at: Callable[[Point], str], css: str) -> str:
    return f'<path class="{css}" d="M{"L".join(at(point) for point in points)}"/>'


def _band(line: Line, at: Callable[[Point], str], low: float, high: float) -> str:
    xs = [x for x, _ in line.points]
    upper = [at((x, min(max(b, low), high))) for x, (_, b) in zip(xs, line.band, strict=True)]
    lower = [at((x, min(max(a, low), high))) for x, (a, _) in zip(xs, line.band, strict=True)]
    return f'<path class="band" d="M{"L".join([*upper, *reversed(lower)])}Z"/>'


def _inside(points: Sequence[Point], low: float, high: float) -> Iterator[list[Point]]:
    """The stretches of a curve whose y lies within bounds, cut where it crosses them."""
    run: list[Point] = []
    for (x1, y1), (x2, y2) in pairwise(points):
        inside = _segment(x1, y1, x2, y2, low, high)
        if inside is None:
            if len(run) > 1:
                yield run
            run = []
            continue
        begin, end = inside
        if run and run[-1] != begin:
            yield run
            run = []
        run = [*(run or [begin]), end]
        if end != (x2, y2):
            yield run
            run = []
    if len(run) > 1:
        yield run


def _segment(x1: float, y1: float, x2: float, y2: float, low: float, high: float) -> tuple[Point, Point] | None:
    """The part of a straight line that lies within bounds."""
    if max(y1, y2) < low or min(y1, y2) > high:
        return None

    def cut(x: float, y: float) -> Point:
        bound = low if y < low else high
        if low <= y <= high or y1 == y2:
            return (x, y)
        return (x1 + (x2 - x1) * (bound - y1) / (y2 - y1), bound)

    return cut(x1, y1), cut(x2, y2)


def _strip(chart: Curves, across: Scale, floor: float) -> list[str]:
    """Rows in bins of equal width; a mark a point where their number is not known."""
    width = (across.high - across.low) / _BINS
    counts = [0.0] * _BINS
    for begin, end, rows in chart.rows:
        first = min(max(int((begin - across.low) / width), 0), _BINS)
        last = min(max(int((end - across.low) / width - 1e-9), first), _BINS - 1)
        inside = [place for place in range(first, last + 1) if across.low + place * width < across.high]
        # An interval's rows lie evenly in it; what of it lies outside the panel is not drawn.
        span = (end - begin) or width
        for place in inside:
            left, right = across.low + place * width, across.low + (place + 1) * width
            share = (min(right, end) - max(left, begin)) / span if end > begin else 1.0
            counts[place] += rows * max(share, 0.0)
    most = max(counts) or 1.0
    parts = []
    for place, rows in enumerate(counts):
        if rows:
            height = max(_STRIP * rows / most, 0.6)
            x = across(across.low + place * width)
            parts.append(box(x, floor - height, across(across.low + (place + 1) * width) - x, height, "rows"))
    return parts + [rule(across(x), floor - 7, across(x), floor, "tick") for x in chart.ticks]
