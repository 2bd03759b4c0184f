"""What can be drawn, as data. Values are for lengths and places; the text beside a mark is what the table says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: bad: breaches the policy · unsure: insufficient data or undefined
MarkTone = Literal["plain", "bad", "unsure"]


@dataclass(frozen=True)
class Mark:
    """One row of a chart.

    Attributes:
        label: what it is about; shortened to fit, in full on hovering.
        text: its value as the table says it.
        value: None draws no mark: the text says why.
        low, high: the interval; None is an open end.
        chance: (expected, where 95 % lie within) of the value if there were nothing to find; drawn in a forest plot.
    """

    label: str
    text: str
    value: float | None
    low: float | None = None
    high: float | None = None
    tone: MarkTone = "plain"
    chance: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bars:
    """Bars from nought with their intervals, and the policy's line."""

    title: str
    marks: tuple[Mark, ...]
    limit: float | None = None
    limit_text: str = ""
    description: str = ""


@dataclass(frozen=True)
class Forest:
    """Points with intervals around the value of no difference, and the policy's lines."""

    title: str
    marks: tuple[Mark, ...]
    null: float = 0.0
    limits: tuple[float, ...] = ()
    limit_text: str = ""
    description: str = ""
    subtitle: str = ""  # whom the groups are compared with


@dataclass(frozen=True)
class Waterfall:
    """From the base value to the prediction, a step a feature."""

    title: str
    base: Mark
    steps: tuple[Mark, ...]
    total: Mark
    description: str = ""


@dataclass(frozen=True)
class Strip:
    """One class's histogram."""

    label: str
    text: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Histogram:
    """Distributions over common bins, one strip a class, each to its own height."""

    title: str
    edges: tuple[float, ...]
    strips: tuple[Strip, ...]
    limit: float | None = None
    limit_text: str = ""
    description: str = ""


@dataclass(frozen=True)
class Calibration:
    """Share that came true against the score that was given: (mean score, share, low, high) a bin.

    Attributes:
        behind: (mean score, share) of another one, as a line behind the points.
    """

    title: str
    points: tuple[tuple[float, float, float, float], ...]
    description: str = ""
    subtitle: str = ""
    behind: tuple[tuple[float, float], ...] = ()


#: of a line or a dot; they differ in dashes and shape as well as in colour
Style = Literal["first", "second", "third"]


@dataclass(frozen=True)
class Line:
    """A curve through (x, y), rising in x; band: for each point the ends of its interval."""

    points: tuple[tuple[float, float], ...]
    style: Style = "first"
    label: str = ""  # in the panel's legend
    band: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Curves:
    """How an output moves along a number.

    Attributes:
        low, high: of the y-axis, the same for panels that are to be compared.
        thin: curves of single rows, behind the others; cut where they leave the panel.
        rows: (from, to, rows) along x: where the data are.
        ticks: x of points, a mark each, where it is not known how many rows lie where.
    """

    title: str
    lines: tuple[Line, ...]
    low: float
    high: float
    thin: tuple[tuple[tuple[float, float], ...], ...] = ()
    rows: tuple[tuple[float, float, float], ...] = ()
    ticks: tuple[float, ...] = ()
    description: str = ""
    subtitle: str = ""


@dataclass(frozen=True)
class Level:
    """A category: a dot for each line that its panel has; None where one has no value. text: its rows."""

    label: str
    dots: tuple[Mark | None, ...]
    text: str = ""


@dataclass(frozen=True)
class Levels:
    """How an output moves over categories, one a row; legend: what the dots are, in the order of their styles."""

    title: str
    levels: tuple[Level, ...]
    low: float
    high: float
    legend: tuple[str, ...] = ()
    description: str = ""
    subtitle: str = ""


#: how many traces of a plane tell apart
TRACES = 6


@dataclass(frozen=True)
class Trace:
    """One of several in a plane: a curve, a place, or a curve with a place on it.

    Attributes:
        label, text: in the legend: what it is, and its number as the table says it.
        points: (x, y) of the curve, rising in x.
        band: for each point the ends of y's interval.
        at: the place that is marked.
    """

    label: str
    text: str = ""
    points: tuple[tuple[float, float], ...] = ()
    band: tuple[tuple[float, float], ...] = ()
    at: tuple[float, float] | None = None


@dataclass(frozen=True)
class Plane:
    """One number against another, a trace each; they differ in dash, shape and lightness.

    Attributes:
        x, y: ends of the axes, in the data's units.
        diagonal: words for y = x, which is then drawn.
        limit: an x at which a line is drawn, with its words.
    """

    title: str
    traces: tuple[Trace, ...]
    x_label: str
    y_label: str
    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)
    diagonal: str = ""
    limit: float | None = None
    limit_text: str = ""
    description: str = ""
    subtitle: str = ""

    def __post_init__(self) -> None:
        if len(self.traces) > TRACES:
            raise ValueError(f"{len(self.traces)} traces: no more than {TRACES} tell apart")


#: bad: breaches the policy · unsure: too few rows to be judged · empty: no rows
CellTone = Literal["plain", "bad", "unsure", "empty"]


@dataclass(frozen=True)
class Cell:
    """A cell of a heat map; below: a second line, in small."""

    text: str = ""
    below: str = ""
    value: float | None = None
    tone: CellTone = "plain"


@dataclass(frozen=True)
class Heat:
    """A value for each crossing of two attributes.

    Attributes:
        rows, columns: groups of the two attributes.
        cells: a row each, a cell a column.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    description: str = ""
    subtitle: str = ""

    def __post_init__(self) -> None:
        if len(self.cells) != len(self.rows) or any(len(row) != len(self.columns) for row in self.cells):
            raise ValueError("a heat map has a cell for each of its rows and columns")


@dataclass(frozen=True)
class Moment:
    """One of several runs: its value, None where it was undefined, and the limits that it was held to.

    Attributes:
        told: said of it on hovering.
    """

    value: float | None
    tone: MarkTone = "plain"
    low: float | None = None
    high: float | None = None
    told: str = ""


@dataclass(frozen=True)
class Trend:
    """A value over runs, the oldest left, with its limits as they were at each.

    Attributes:
        first, last: words under the ends of the axis: dates.
    """

    title: str
    moments: tuple[Moment, ...]
    first: str = ""
    last: str = ""
    description: str = ""
    subtitle: str = ""


Chart = Bars | Forest | Waterfall | Histogram | Calibration | Curves | Levels | Plane | Heat | Trend
