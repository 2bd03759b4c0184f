"""Several curves or places in one plane: ROC curves, rates against thresholds, what accuracy a disparity costs."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.report.figures.charts import Plane, Trace
from tasks.report.figures.svg import TOP, WIDTH, Scale, frame, limit_line, px, rule, text, tick_text, width_of

_PLOT = 230  # height of the plot
_HEAD = 32  # room for the y-axis' words and those of a limit
_ROW = 18  # of the legend
_SAMPLE = 30  # length of a line in the legend
_RIGHT = 10
#: place → what is drawn; a shape each, so that places tell apart in grey
_SHAPES = ("circle", "diamond", "square", "triangle", "nabla", "cross")
_HOLLOW = ("diamond", "triangle")


def plane_svg(chart: Plane, id: str) -> str:
    """Curves behind, places in front, the legend below: each trace with dash, shape and number."""
    top = TOP + _HEAD + (8.0 if chart.subtitle else 0.0)
    bottom = top + _PLOT
    up = _axis(chart.y, bottom, top)
    left = max(width_of(tick_text(tick), 11) for tick in up.ticks()) + 10
    across = _axis(chart.x, left, WIDTH - _RIGHT)
    parts = across.axis(top, bottom)
    for tick in up.ticks():
        parts.append(rule(left, up(tick), WIDTH - _RIGHT, up(tick), "axis"))
        parts.append(text(left - 6, up(tick) + 4, tick_text(tick), css="m", anchor="end"))
    parts.append(rule(left, bottom, WIDTH - _RIGHT, bottom, "zero"))
    if chart.diagonal:
        parts += _diagonal(chart, across, up)
    for number, trace in enumerate(chart.traces, 1):
        parts += [_band(trace, across, up, number)] if len(trace.band) > 1 else []
    for number, trace in reversed(list(enumerate(chart.traces, 1))):  # the first in front
        parts += _curve(trace, across, up, number)
    if chart.limit is not None:
        parts += limit_line(across(chart.limit), top, bottom, chart.limit_text)
    for number, trace in reversed(list(enumerate(chart.traces, 1))):
        parts += [_spot(number, across(trace.at[0]), up(trace.at[1]))] if trace.at is not None else []
    parts.append(text(0, top - 22, chart.y_label, css="m", room=WIDTH))
    parts.append(text((left + WIDTH - _RIGHT) / 2, bottom + 30, chart.x_label, css="m", anchor="middle", room=WIDTH))
    parts += _legend(chart.traces, bottom + 52)
    height = bottom + 46 + _ROW * len(chart.traces)
    return frame(id, height, chart.title, chart.description, parts, subtitle=chart.subtitle)


def _axis(ends: tuple[float, float], start: float, end: float) -> Scale:
    """Upwards or rightwards, its ends at ticks."""
    scale = Scale.reaching(*ends, min(start, end), max(start, end))
    made = Scale(scale.low, scale.high, start, end)
    made.step = scale.step
    return made


def _diagonal(chart: Plane, across: Scale, up: Scale) -> list[str]:
    """y = x as far as both axes go, its words below its upper end."""
    low, high = max(across.low, up.low), min(across.high, up.high)
    if low >= high:
        return []
    x, y = across(high), up(high)
    words = text(x - 8, y + (up(low) - y) * 0.32, chart.diagonal, css="m", anchor="end")
    return [rule(across(low), up(low), x, y, "diagonal"), words]


def _curve(trace: Trace, across: Scale, up: Scale, number: int) -> list[str]:
    if len(trace.points) < 2:
        return []
    places = "L".join(f"{px(across(x))} {px(up(y))}" for x, y in trace.points)
    return [f'<path class="trace s{number}" d="M{places}"/>']


def _band(trace: Trace, across: Scale, up: Scale, number: int) -> str:
    upper = [(across(x), up(high)) for (x, _), (_, high) in zip(trace.points, trace.band, strict=True)]
    lower = [(across(x), up(low)) for (x, _), (low, _) in zip(trace.points, trace.band, strict=True)]
    places = "L".join(f"{px(x)} {px(y)}" for x, y in [*upper, *reversed(lower)])
    return f'<path class="spread s{number}" d="M{places}Z"/>'


def _spot(number: int, x: float, y: float) -> str:
    """The shape of a trace: circle, diamond, square, triangles, cross."""
    shape = _SHAPES[number - 1]
    css = f"spot s{number}{' hollow' if shape in _HOLLOW else ''}"
    if shape == "circle":
        return f'<circle class="{css}" cx="{px(x)}" cy="{px(y)}" r="4.5"/>'
    around = {
        "diamond": ((0, -6), (6, 0), (0, 6), (-6, 0)),
        "square": ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        "triangle": ((0, -5.5), (5.5, 4.5), (-5.5, 4.5)),
        "nabla": ((-5.5, -4.5), (5.5, -4.5), (0, 5.5)),
        "cross": ((-4.5, -4.5), (0, -1.2), (4.5, -4.5), (1.2, 0), (4.5, 4.5), (0, 1.2), (-4.5, 4.5), (-1.2, 0)),
    }[shape]
    places = "L".join(f"{px(x + dx)} {px(y + dy)}" for dx, dy in around)
    return f'<path class="{css}" d="M{places}Z"/>'


def _legend(traces: Sequence[Trace], y: float) -> list[str]:
    """A sample of each trace, its label, its number."""
    parts = []
    for number, trace in enumerate(traces, 1):
        if len(trace.points) > 1:
            parts.append(rule(0, y - 4, _SAMPLE, y - 4, f"trace s{number}"))
        if trace.at is not None:
            parts.append(_spot(number, _SAMPLE / 2, y - 4))
        value = width_of(trace.text, 11)
        parts.append(text(_SAMPLE + 8, y, trace.label, css="n", room=0.94 * (WIDTH - _SAMPLE - 16 - value)))
        parts.append(text(WIDTH, y, trace.text, css="n", anchor="end"))
        y += _ROW
    return parts
