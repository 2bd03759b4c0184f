"""A curve in words: where it rises, falls and turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tasks.report.document import Content, Span, line, name, num
from tasks.report.numbers import place
from tasks.report.reading import Reading, Row
from tasks.report.sections.interactions import of_output

#: hardly moves: by this share of the widest span of the output's features; a turn, a large step: of a curve's own span
_STILL, _TURN, _STEP = 0.03, 0.1, 0.4


@dataclass
class Shape:
    """What is known of a feature for one output: rows of the tables, by point."""

    feature: str
    number: bool
    dependence: list[Row] = field(default_factory=list)
    local: list[Row] = field(default_factory=list)
    single: list[list[Row]] = field(default_factory=list)
    level: float = 0.0  # mean output, around which local effects are drawn

    @property
    def main(self) -> list[tuple[float, float, str]]:
        """(position, level of the output, value) of the curve that is put into words."""
        if self.dependence:
            return [(r["position"], r["effect"], r["value"]) for r in self.dependence]
        return [(r["position"], r["effect"] + self.level, r["value"]) for r in self.local]

    @property
    def span(self) -> float:
        return max(y for _, y, _ in self.main) - min(y for _, y, _ in self.main)


def movement(reading: Reading, shape: Shape, widest: float) -> Content:
    """`rises from 0.104 at 20 to 0.337 at 51, then falls to 0.252 at 66`."""
    points = shape.main
    if len(points) == 1:
        return line("has one value only: ", *_at(reading, points[0], shape))
    if shape.span <= _STILL * widest or shape.span == 0:
        return line("hardly moves: from ", *_low(reading, shape), " to ", *_high(reading, shape))
    if not shape.number:
        return line("is lowest for ", *_at(reading, min(points, key=_y), shape), " and highest for ",
                    *_at(reading, max(points, key=_y), shape), *_disagreement(shape))  # fmt: skip
    first, last, turn = points[0], points[-1], _TURN * shape.span
    peak, valley = max(points, key=_y), min(points, key=_y)
    ys = [y for _, y, _ in points]
    parts: list[str | Span]
    if _fall(ys) <= turn:
        parts = ["rises from ", *_at(reading, first, shape), " to ", *_at(reading, last, shape)]
    elif _rise(ys) <= turn:
        parts = ["falls from ", *_at(reading, first, shape), " to ", *_at(reading, last, shape)]
    elif _fall(ys[: points.index(peak) + 1]) <= turn and _rise(ys[points.index(peak) :]) <= turn:
        parts = ["rises from ", *_at(reading, first, shape), " to ", *_at(reading, peak, shape), ", then falls to ",
                 *_at(reading, last, shape)]  # fmt: skip
    elif _rise(ys[: points.index(valley) + 1]) <= turn and _fall(ys[points.index(valley) :]) <= turn:
        parts = ["falls from ", *_at(reading, first, shape), " to ", *_at(reading, valley, shape), ", then rises to ",
                 *_at(reading, last, shape)]  # fmt: skip
    else:
        parts = ["moves up and down between ", *_at(reading, valley, shape), " and ", *_at(reading, peak, shape)]
    return line(*parts, *_steepest(reading, points, shape.span), *_disagreement(shape))


def _y(point: tuple[float, float, str]) -> float:
    return point[1]


def _fall(ys: Sequence[float]) -> float:
    """The deepest fall from a point to a later one."""
    highest, deepest = float("-inf"), 0.0
    for y in ys:
        highest = max(highest, y)
        deepest = max(deepest, highest - y)
    return deepest


def _rise(ys: Sequence[float]) -> float:
    return _fall([-y for y in ys])


def _steepest(reading: Reading, points: list[tuple[float, float, str]], span: float) -> list[str | Span]:
    """The largest step, where one of several makes much of the span."""
    steps = [(b[1] - a[1], a, b) for a, b in pairwise(points)]
    step, a, b = max(steps, key=lambda s: abs(s[0]))
    least = max(_STEP, 2 / len(steps)) * span * (1 - 1e-9)
    if len(steps) < 3 or abs(step) < least:
        return []
    size = ("+" if step > 0 else "") + of_output(reading, step)
    return ["; the largest step, ", num(size), ", is between ", num(place(a[0])), " and ", num(place(b[0]))]


def _disagreement(shape: Shape) -> list[str | Span]:
    """Where the two techniques lead in opposite directions."""
    if not shape.dependence or len(shape.local) < 2:
        return []
    dependence = {r["value"]: r["effect"] for r in shape.dependence}
    if shape.number:
        first, last = shape.dependence[0]["effect"], shape.dependence[-1]["effect"]
        a, b = shape.local[0]["effect"], shape.local[-1]["effect"]
    else:
        both = [r for r in shape.local if r["value"] in dependence]
        if len(both) < 2:
            return []
        low, high = (f(both, key=lambda r: dependence[r["value"]]) for f in (min, max))
        first, last, a, b = dependence[low["value"]], dependence[high["value"]], low["effect"], high["effect"]
    least = 0.5 * shape.span
    opposite = (last - first) * (b - a) < 0 and abs(last - first) > least and abs(b - a) > least
    return ["; local effects lead the other way"] if opposite else []


def _at(reading: Reading, point: tuple[float, float, str], shape: Shape) -> list[str | Span]:
    """`0.337 at 51`, `Wife (0.412)`."""
    position, y, value = point
    shown = num(of_output(reading, y))
    return [shown, " at ", num(place(position))] if shape.number else [name(value), " (", shown, ")"]


def _low(reading: Reading, shape: Shape) -> Content:
    return (num(of_output(reading, min(y for _, y, _ in shape.main))),)


def _high(reading: Reading, shape: Shape) -> Content:
    return (num(of_output(reading, max(y for _, y, _ in shape.main))),)


def described(reading: Reading, shape: Shape) -> str:
    """The same as a sentence of its own, for those who do not see the curve."""
    return f"The output {''.join(span.text for span in movement(reading, shape, 0.0))}."
