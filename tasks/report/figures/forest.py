"""Forest plot: disparities with their intervals around the value of no difference."""

from __future__ import annotations

from tasks.report.figures.charts import Forest, Mark
from tasks.report.figures.svg import (
    HEAD,
    LABEL,
    ROW,
    TOP,
    VALUE,
    WIDTH,
    Scale,
    frame,
    limit_line,
    px,
    rule,
    text,
    whisker,
)

_WIDEST = 4.0  # an interval end further out than so many spans of the points is cut, with an arrow head


def forest_svg(chart: Forest, id: str) -> str:
    """A dot where nothing is breached, a diamond where it is, a hollow dot where the data do not suffice."""
    scale = _scale(chart)
    top = TOP + HEAD
    bottom = top + ROW * len(chart.marks)
    parts = scale.axis(top, bottom)
    parts.append(rule(scale(chart.null), top, scale(chart.null), bottom, "zero"))
    for number, bound in enumerate(chart.limits):
        parts += limit_line(scale(bound), top, bottom, chart.limit_text if number == 0 else "")
    for number, mark in enumerate(chart.marks):
        middle = top + ROW * (number + 0.5)
        parts.append(text(LABEL - 8, middle + 4, mark.label, anchor="end", room=LABEL - 8))
        parts.append(text(WIDTH, middle + 4, mark.text, css="n", anchor="end"))
        if mark.value is not None:
            parts += whisker(scale, mark.low, mark.high, middle)
            parts.append(_dot(mark, scale(mark.value), middle))
    return frame(id, bottom + 18, chart.title, chart.description, parts, subtitle=chart.subtitle)


def _dot(mark: Mark, x: float, y: float) -> str:
    if mark.tone == "bad":
        d = f"M{px(x)} {px(y - 5.5)}L{px(x + 5.5)} {px(y)}L{px(x)} {px(y + 5.5)}L{px(x - 5.5)} {px(y)}Z"
        return f'<path class="dot bad" d="{d}"/>'
    return f'<circle class="dot {mark.tone}" cx="{px(x)}" cy="{px(y)}" r="4"/>'


def _scale(chart: Forest) -> Scale:
    points = [m.value for m in chart.marks if m.value is not None] + [chart.null, *chart.limits]
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
    margin = 0.04 * (high - low or 1.0)
    return Scale(low - margin, high + margin, LABEL, WIDTH - VALUE - 8)
