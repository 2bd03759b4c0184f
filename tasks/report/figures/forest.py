"""Forest plot: disparities with their intervals around the value of no difference."""

from __future__ import annotations

from tasks.report.figures.charts import Forest, Mark
from tasks.report.figures.svg import (
    HEAD,
    ROW,
    TOP,
    WIDTH,
    Scale,
    box,
    frame,
    limit_line,
    px,
    rooms,
    rule,
    text,
    whisker,
)

_WIDEST = 4.0  # an interval end further out than so many spans of the points is cut, with an arrow head


def forest_svg(chart: Forest, id: str) -> str:
    """A dot where nothing is breached, a diamond where it is, a hollow dot where the data do not suffice."""
    label, value = rooms((m.label for m in chart.marks), (m.text for m in chart.marks))
    scale = _scale(chart, label, value)
    top = TOP + HEAD
    bottom = top + ROW * len(chart.marks)
    parts = scale.axis(top, bottom)
    parts.append(rule(scale(chart.null), top, scale(chart.null), bottom, "zero"))
    for number, bound in enumerate(chart.limits):
        parts += limit_line(scale(bound), top, bottom, chart.limit_text if number == 0 else "")
    for number, mark in enumerate(chart.marks):
        middle = top + ROW * (number + 0.5)
        parts.append(text(label - 8, middle + 4, mark.label, anchor="end", room=label - 8))
        parts.append(text(WIDTH, middle + 4, mark.text, css="n", anchor="end"))
        parts += _chance(chart, mark, scale, middle) if mark.chance is not None else []
        if mark.value is not None:
            parts += whisker(scale, mark.low, mark.high, middle)
            parts.append(_dot(mark, scale(mark.value), middle))
    return frame(id, bottom + 18, chart.title, chart.description, parts, subtitle=chart.subtitle)


def _chance(chart: Forest, mark: Mark, scale: Scale, y: float) -> list[str]:
    """From no difference to where 95 % of values lie if there is nothing to find, a tick at their mean."""
    assert mark.chance is not None
    expected, end = mark.chance
    left, right = sorted((scale(chart.null), scale(end)))
    return [
        box(left, y - 5, right - left, 10, "expected"),
        rule(scale(expected), y - 5, scale(expected), y + 5, "zero"),
    ]


def _dot(mark: Mark, x: float, y: float) -> str:
    if mark.tone == "bad":
        d = f"M{px(x)} {px(y - 5.5)}L{px(x + 5.5)} {px(y)}L{px(x)} {px(y + 5.5)}L{px(x - 5.5)} {px(y)}Z"
        return f'<path class="dot bad" d="{d}"/>'
    return f'<circle class="dot {mark.tone}" cx="{px(x)}" cy="{px(y)}" r="4"/>'


def _scale(chart: Forest, label: float, value: float) -> Scale:
    points = [m.value for m in chart.marks if m.value is not None] + [chart.null, *chart.limits]
    points += [v for m in chart.marks if m.chance is not None for v in m.chance]
    low, high = min(points), max(points)
    span = (high - low) or 0.1
    ends = [
        min(max(v, low - _WIDEST * span), high + _WIDEST * span)
        for m in chart.marks
        if m.value is not None
        for v in (m.low, m.high)
        if v is not None
    ]
    low, high = min([low, *ends]), max([high, *ends])
    margin = 0.02 * (high - low or 1.0)
    return Scale.reaching(low - margin, high + margin, label, WIDTH - value - 8)
