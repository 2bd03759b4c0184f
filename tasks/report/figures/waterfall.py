"""Waterfall: how the features lead from the base value to one row's prediction."""

from __future__ import annotations

from tasks.report.figures.charts import Mark, Waterfall
from tasks.report.figures.svg import ROW, TOP, WIDTH, Scale, box, frame, px, rooms, rule, text


def waterfall_svg(chart: Waterfall, id: str) -> str:
    """Steps up point to the right, steps down to the left: the direction does not hang on the colour."""
    ends = [chart.base.value or 0.0]
    for step in chart.steps:
        ends.append(ends[-1] + (step.value or 0.0))
    total = chart.total.value if chart.total.value is not None else ends[-1]
    marks = (chart.base, *chart.steps, chart.total)
    label, value = rooms((m.label for m in marks), (m.text for m in marks), css="n")
    scale = Scale.reaching(min([*ends, total]), max([*ends, total]), label, WIDTH - value - 8)
    top, bottom = TOP + 4, TOP + 4 + ROW * (len(chart.steps) + 2)
    parts = scale.axis(top, bottom)
    rows: list[tuple[Mark, float | None, float]] = [(chart.base, None, ends[0])]
    rows += [(step, ends[n], ends[n + 1]) for n, step in enumerate(chart.steps)]
    rows += [(chart.total, None, total)]
    for number, (mark, start, end) in enumerate(rows):
        middle = top + ROW * (number + 0.5)
        parts += _labels(mark, middle, label - 8)
        if start is None:
            parts.append(box(scale(end) - 1.5, middle - 9, 3, 18, "sum"))
        elif start != end:
            parts.append(_arrow(scale(start), scale(end), middle))
        if number + 1 < len(rows):
            parts.append(rule(scale(end), middle + 8, scale(end), middle + ROW - 8, "zero"))
    return frame(id, bottom + 18, chart.title, chart.description, parts)


def _labels(mark: Mark, y: float, room: float) -> list[str]:
    return [
        text(room, y + 4, mark.label, css="n", anchor="end", room=room),
        text(WIDTH, y + 4, mark.text, css="n", anchor="end"),
    ]


def _arrow(start: float, end: float, y: float) -> str:
    """A bar with a point at its end."""
    sign = 1 if end >= start else -1
    tip = min(5.0, abs(end - start))
    neck = end - sign * tip
    d = (
        f"M{px(start)} {px(y - 7)}L{px(neck)} {px(y - 7)}L{px(end)} {px(y)}"
        f"L{px(neck)} {px(y + 7)}L{px(start)} {px(y + 7)}Z"
    )
    return f'<path class="{"up" if sign > 0 else "down"}" d="{d}"/>'
