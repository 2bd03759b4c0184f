"""Scores: their distribution for each class, and how well they are calibrated."""

from __future__ import annotations

from tasks.report.figures.charts import Calibration, Histogram
from tasks.report.figures.svg import (
    HEAD,
    LABEL,
    TOP,
    VALUE,
    WIDTH,
    Scale,
    box,
    frame,
    limit_line,
    px,
    rule,
    text,
)

_STRIP = 46  # height of a class's strip
_PLOT = 210  # height of the calibration plot


def histogram_svg(chart: Histogram, id: str) -> str:
    """One strip a class, each scaled to its own highest bin: shapes compare even where counts do not."""
    scale = Scale(chart.edges[0], chart.edges[-1], LABEL, WIDTH - VALUE - 8)
    top = TOP + HEAD
    bottom = top + _STRIP * len(chart.strips)
    parts = scale.axis(top, bottom)
    for number, strip in enumerate(chart.strips):
        floor = top + _STRIP * (number + 1)
        highest = max(strip.counts, default=0) or 1
        for position, count in enumerate(strip.counts):
            if count:
                left, right = scale(chart.edges[position]), scale(chart.edges[position + 1])
                height = (_STRIP - 10) * count / highest
                parts.append(box(left + 0.5, floor - height, right - left - 1, height, "plain"))
        parts.append(rule(scale.left, floor, scale.right, floor, "zero"))
        parts.append(text(LABEL - 8, floor - 12, strip.label, anchor="end", room=LABEL - 8))
        parts.append(text(WIDTH, floor - 12, strip.text, css="n", anchor="end"))
    if chart.limit is not None:
        parts += limit_line(scale(chart.limit), top, bottom, chart.limit_text)
    return frame(id, bottom + 18, chart.title, chart.description, parts)


def calibration_svg(chart: Calibration, id: str) -> str:
    """Points on the diagonal are scores that mean what they say."""
    left, right, top = 40.0, WIDTH - 20.0, TOP + HEAD + (12.0 if chart.subtitle else 0.0)
    bottom = top + _PLOT
    across, up = Scale(0.0, 1.0, left, right), Scale(0.0, 1.0, bottom, top)
    parts = across.axis(top, bottom)
    for tick in up.ticks():
        parts.append(rule(left, up(tick), right, up(tick), "axis"))
        parts.append(text(left - 6, up(tick) + 4, f"{tick:.6g}", css="m", anchor="end"))
    parts.append(rule(left, bottom, right, top, "diagonal"))
    if len(chart.behind) > 1:
        places = "L".join(f"{px(across(score))} {px(up(share))}" for score, share in chart.behind)
        parts.append(f'<path class="behind" d="M{places}"/>')
    for score, share, low, high in chart.points:
        x = across(score)
        parts.append(rule(x, up(low), x, up(high), "whisker"))
        parts.append(rule(x - 3.5, up(low), x + 3.5, up(low), "whisker"))
        parts.append(rule(x - 3.5, up(high), x + 3.5, up(high), "whisker"))
        parts.append(f'<circle class="dot plain" cx="{px(x)}" cy="{px(up(share))}" r="3.5"/>')
    parts.append(text((left + right) / 2, bottom + 28, "score given", css="m", anchor="middle"))
    parts.append(text(0, top - 8, "share that came true", css="m"))
    return frame(id, bottom + 34, chart.title, chart.description, parts, subtitle=chart.subtitle)
