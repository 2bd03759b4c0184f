"""A value over runs: a line, its limits dashed as they were at each run, and a mark where a run is to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from xml.sax.saxutils import escape

from tasks.report.figures.charts import Moment, Trend
from tasks.report.figures.svg import TOP, WIDTH, Scale, frame, px, rule, text, tick_text, width_of
from tasks.report.text import clean

_PLOT = 84  # height of the plot
_LARGEST = 1e100
_FREE = 0.06  # share of the range that is kept free below
_EVERY = 40  # runs up to which each has a mark; of more, those that are to be looked at, and the last


def trend_svg(chart: Trend, id: str) -> str:
    """Runs stand at equal distances. A value that is undefined breaks the line."""
    moments = [
        replace(m, value=_drawable(m.value), low=_drawable(m.low), high=_drawable(m.high)) for m in chart.moments
    ]
    ends = [v for m in moments for v in (m.value, m.low, m.high) if v is not None] or [0.0, 1.0]
    top = TOP + (16.0 if chart.subtitle else 4.0)
    bottom = top + _PLOT
    low, high = min(ends), max(ends)
    below = low - (high - low) * _FREE  # a limit is not the floor
    up = Scale.reaching(max(below, 0.0) if low >= 0 else below, high, 0, _PLOT)
    left = max(width_of(tick_text(tick), 11) for tick in up.ticks(2)) + 12
    across = Scale(0.0, max(len(moments) - 1, 1), left, WIDTH - 8)

    def at(place: int, value: float) -> tuple[float, float]:
        x = across(place) if len(moments) > 1 else (left + WIDTH - 8) / 2
        return x, bottom - up(value)

    parts = []
    for tick in _few(up):
        y = bottom - up(tick)
        parts += [rule(left - 4, y, WIDTH, y, "axis"), text(left - 8, y + 4, tick_text(tick), css="m", anchor="end")]
    for limit in ([m.low for m in moments], [m.high for m in moments]):
        parts += _limits(limit, at, left)
    for run in _runs(moments):
        points = "L".join(f"{px(x)} {px(y)}" for x, y in (at(place, value) for place, value in run))
        parts += [f'<path class="line first" d="M{points}"/>'] if len(run) > 1 else []
    for place, moment in enumerate(moments):
        marked = len(moments) <= _EVERY or place == len(moments) - 1 or moment.tone != "plain"
        if moment.value is not None and marked:
            parts.append(_mark(moment, *at(place, moment.value), small=len(moments) > _EVERY))
    parts.append(rule(left - 4, bottom, WIDTH, bottom, "zero"))
    if len(moments) > 1 and chart.first != chart.last:
        parts.append(text(left - 4, bottom + 15, chart.first, css="m"))
        parts.append(text(WIDTH, bottom + 15, chart.last, css="m", anchor="end"))
    else:
        parts.append(text((left + WIDTH - 8) / 2, bottom + 15, chart.last, css="m", anchor="middle"))
    return frame(id, bottom + 20, chart.title, chart.description, parts, subtitle=chart.subtitle)


def _drawable(value: float | None) -> float | None:
    """A number that a scale can hold: what is smaller than a hundred noughts is nought, what is larger, that large."""
    if value is None:
        return None
    return 0.0 if abs(value) < 1 / _LARGEST else min(max(value, -_LARGEST), _LARGEST)


def _few(scale: Scale) -> list[float]:
    """Both ends, and what lies between where there is room."""
    ticks = scale.ticks(2)
    return ticks if len(ticks) <= 3 else [ticks[0], ticks[len(ticks) // 2], ticks[-1]]


def _runs(moments: Sequence[Moment]) -> Iterator[list[tuple[int, float]]]:
    """Stretches without a break."""
    run: list[tuple[int, float]] = []
    for place, moment in enumerate(moments):
        if moment.value is None:
            yield run
            run = []
        else:
            run.append((place, moment.value))
    yield run


def _limits(values: Sequence[float | None], at: Callable[[int, float], tuple[float, float]], left: float) -> list[str]:
    """A dashed line for each stretch of runs that were held to the same limit, half a step beyond both ends."""
    if len(values) == 1:
        return [] if values[0] is None else [rule(left - 4, at(0, values[0])[1], WIDTH, at(0, values[0])[1], "limit")]
    parts, start = [], 0
    step = at(1, 0.0)[0] - at(0, 0.0)[0]
    for place in range(1, len(values) + 1):
        if place < len(values) and values[place] == values[start]:
            continue
        value = values[start]
        if value is not None:
            (x1, y), (x2, _) = at(start, value), at(place - 1, value)
            parts.append(rule(x1 - min(step / 2, 4) if start else x1 - 4, y, min(x2 + step / 2, WIDTH), y, "limit"))
        start = place
    return parts


def _mark(moment: Moment, x: float, y: float, *, small: bool) -> str:
    """A dot where a run is in order, a square where a check failed, a ring where it could not be judged."""
    tip = f"<title>{escape(clean(moment.told))}</title>" if moment.told else ""
    half = 1.8 if small else 4.0
    if moment.tone == "bad":
        d = f"M{px(x - half)} {px(y - half)}h{px(2 * half)}v{px(2 * half)}h{px(-2 * half)}Z"
        return f'<path class="dot bad" d="{d}">{tip}</path>'
    tone = " unsure" if moment.tone == "unsure" else ""
    return f'<circle class="dot{tone}" cx="{px(x)}" cy="{px(y)}" r="{px(half)}">{tip}</circle>'
