"""Categories, one a row: dots on an axis that panels share."""

from __future__ import annotations

from tasks.report.figures.charts import Levels
from tasks.report.figures.curves import legend_lines
from tasks.report.figures.svg import ROW, TOP, WIDTH, Scale, frame, px, rooms, rule, text, whisker, width_of

_STYLES = ("first", "second", "third")
_LEGEND = 18


def levels_svg(chart: Levels, id: str) -> str:
    """A filled dot, a hollow diamond, a filled square: the dots tell apart by shape."""
    label, value = rooms((level.label for level in chart.levels), (level.text for level in chart.levels))
    scale = Scale.reaching(chart.low, chart.high, label, WIDTH - value - 8)
    lines = legend_lines(chart.legend)
    top = TOP + (12.0 if chart.subtitle else 2.0) + (_LEGEND * len(lines) + 6.0 if lines else 0.0)
    bottom = top + ROW * len(chart.levels)
    parts = _legend(chart, lines, TOP + (20.0 if chart.subtitle else 10.0))
    parts += scale.axis(top, bottom)
    for number, level in enumerate(chart.levels):
        middle = top + ROW * (number + 0.5)
        parts.append(text(label - 8, middle + 4, level.label, anchor="end", room=label - 8))
        parts.append(text(WIDTH, middle + 4, level.text, css="n", anchor="end"))
        for style, dot in reversed(list(zip(_STYLES, level.dots, strict=False))):
            if dot is None or dot.value is None:
                continue
            if dot.low is not None and dot.high is not None:
                parts += whisker(scale, dot.low, dot.high, middle)
            parts.append(_dot(style, scale(dot.value), middle))
    parts.append(rule(scale.left, bottom, scale.right, bottom, "zero"))
    return frame(id, bottom + 18, chart.title, chart.description, parts, subtitle=chart.subtitle)


def _legend(chart: Levels, lines: list[int], y: float) -> list[str]:
    parts, x = [], 0.0
    for position, (style, words) in enumerate(zip(_STYLES, chart.legend, strict=False)):
        if len(lines) > 1 and position:
            x, y = 0.0, y + _LEGEND
        room = WIDTH - x - 20 if len(lines) > 1 else WIDTH / 2
        parts += [_dot(style, x + 6, y), text(x + 18, y + 4, words, css="n", room=room)]
        x += min(width_of(words, 11), room) + 38
    return parts


def _dot(style: str, x: float, y: float) -> str:
    if style == "first":
        return f'<circle class="dot first" cx="{px(x)}" cy="{px(y)}" r="4"/>'
    if style == "second":
        d = f"M{px(x)} {px(y - 5.5)}L{px(x + 5.5)} {px(y)}L{px(x)} {px(y + 5.5)}L{px(x - 5.5)} {px(y)}Z"
        return f'<path class="dot second" d="{d}"/>'
    return f'<rect class="dot third" x="{px(x - 3)}" y="{px(y - 3)}" width="6" height="6"/>'
