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
    """

    label: str
    text: str
    value: float | None
    low: float | None = None
    high: float | None = None
    tone: MarkTone = "plain"


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
    """Share that came true against the score that was given: (mean score, share, low, high) a bin."""

    title: str
    points: tuple[tuple[float, float, float, float], ...]
    description: str = ""


Chart = Bars | Forest | Waterfall | Histogram | Calibration
