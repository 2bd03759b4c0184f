"""Horizontal bars from nought, each with its interval."""

from __future__ import annotations

from tasks.report.figures.charts import Bars
from tasks.report.figures.svg import (
    HEAD,
    ROW,
    TOP,
    WIDTH,
    Scale,
    box,
    frame,
    limit_line,
    rooms,
    rule,
    text,
    whisker,
)


def bars_svg(chart: Bars, id: str) -> str:
    """Plain bars are filled lightly, breaching ones darkly, unsure ones hollow with a dashed edge."""
    label, value = rooms((m.label for m in chart.marks), (m.text for m in chart.marks))
    scale = _scale(chart, label, value)
    top = TOP + HEAD
    bottom = top + ROW * len(chart.marks)
    parts = scale.axis(top, bottom)
    zero = scale(0.0)
    for number, mark in enumerate(chart.marks):
        middle = top + ROW * (number + 0.5)
        parts.append(text(label - 8, middle + 4, mark.label, anchor="end", room=label - 8))
        parts.append(text(WIDTH, middle + 4, mark.text, css="n", anchor="end"))
        if mark.value is None:
            continue
        end = scale(mark.value)
        parts.append(box(min(zero, end), middle - 7, abs(end - zero), 14, mark.tone))
        parts += whisker(scale, mark.low, mark.high, middle) if mark.low is not None or mark.high is not None else []
    parts.append(rule(zero, top, zero, bottom, "zero"))
    if chart.limit is not None:
        parts += limit_line(scale(chart.limit), top, bottom, chart.limit_text)
    return frame(id, bottom + 18, chart.title, chart.description, parts)


def _scale(chart: Bars, label: float, value: float) -> Scale:
    values = [v for m in chart.marks if m.value is not None for v in (m.value, m.low, m.high) if v is not None]
    values += [0.0] + ([chart.limit] if chart.limit is not None else [])
    return Scale.reaching(min(values), max(values), label, WIDTH - value - 8)
