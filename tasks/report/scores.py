"""What the predictions table says about scores: histograms by label, calibration, labels against decisions.

Only counts are taken; a table of ten million rows is read by columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from tasks.report.reading import Reading

if TYPE_CHECKING:
    import pyarrow as pa

_BINS = 20
_CALIBRATION_BINS = 10
_STRIPS = 6


@dataclass(frozen=True)
class LabelScores:
    """Scores of the rows with one label: counts in the common bins."""

    label: str
    rows: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Bin:
    """Rows whose score lies in [left, right); the last bin holds its right edge too."""

    left: float
    right: float
    rows: int
    score: float  # mean score
    share: float  # share whose label is the output
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """Counts from the predictions table.

    Attributes:
        output: the output whose scores are shown.
        is_probability: False for a regression.
        edges: of the histogram's bins, one more than bins.
        confusion: (label, decision) → rows; empty for a regression.
    """

    output: str
    is_probability: bool
    edges: tuple[float, ...]
    strips: tuple[LabelScores, ...] = ()
    bins: tuple[Bin, ...] = ()
    classes: tuple[str, ...] = ()
    confusion: dict[tuple[str, str], int] = field(default_factory=dict)


def scores_of(reading: Reading) -> Scores | None:
    """Reads the predictions, or None where there are none."""
    import pyarrow.compute as pc

    table = reading.table("predictions", columns=["output", "y_true", "score", "decision"])
    if table is None or table.num_rows == 0:
        return None
    outputs = pc.unique(table["output"]).to_pylist()
    # For a multiclass model one histogram cannot stand for all: the confusion table does.
    chosen = _shown_output(reading, outputs)
    one = table.filter(pc.equal(table["output"], chosen)) if len(outputs) > 1 else table
    if reading.config.model.task == "regression":
        edges, counts = _histogram(one["score"].to_numpy(), None)
        return Scores(chosen, False, edges, (LabelScores("all rows", one.num_rows, counts),))
    confusion = _confusion(one)
    order = [str(c) for c in reading.config.model.classes or ()]
    seen = sorted({c for pair in confusion for c in pair} | ({chosen} if not order else set()))
    classes = (*order, *(c for c in seen if c not in order))
    if len(outputs) > 2 or reading.config.model.task == "multiclass":
        return Scores(chosen, True, (), classes=classes, confusion=confusion)
    score = one["score"].to_numpy()
    strips: list[LabelScores] = []
    common: tuple[float, ...] = ()
    for label in classes[:_STRIPS]:
        mine = score[_labelled(one, label)]
        common, counts = _histogram(mine, (0.0, 1.0))
        strips.append(LabelScores(label, len(mine), counts))
    known = one["y_true"].is_valid().to_numpy()
    bins = _bins(score[known], _labelled(one, chosen)[known], reading.config.bias.confidence)
    return Scores(chosen, True, common, tuple(strips), bins, classes, confusion)


def _labelled(table: pa.Table, label: str) -> np.ndarray:
    """(n,) bool: the rows with a label."""
    import pyarrow.compute as pc

    return pc.fill_null(pc.equal(table["y_true"], label), False).to_numpy()


def _shown_output(reading: Reading, outputs: list[str]) -> str:
    """The favourable output where the model has it, else the last."""
    return next((o for o in outputs if o in reading.favorable), outputs[-1])


def _histogram(values: np.ndarray, span: tuple[float, float] | None) -> tuple[tuple[float, ...], tuple[int, ...]]:
    values = values[np.isfinite(values)]
    if span is None:
        span = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    counts, edges = np.histogram(values, bins=_BINS, range=span)
    return tuple(map(float, edges)), tuple(map(int, counts))


def _confusion(table: pa.Table) -> dict[tuple[str, str], int]:
    counted = table.group_by(["y_true", "decision"]).aggregate([([], "count_all")]).to_pylist()
    found = {
        (r["y_true"], r["decision"]): r["count_all"]
        for r in counted
        if r["y_true"] is not None and r["decision"] is not None
    }
    return dict(sorted(found.items()))


def _bins(score: np.ndarray, true: np.ndarray, confidence: float) -> tuple[Bin, ...]:
    place = np.clip((score * _CALIBRATION_BINS).astype(int), 0, _CALIBRATION_BINS - 1)
    rows = np.bincount(place, minlength=_CALIBRATION_BINS)
    sums = np.bincount(place, weights=score, minlength=_CALIBRATION_BINS)
    hits = np.bincount(place, weights=true, minlength=_CALIBRATION_BINS)
    made = []
    for k in range(_CALIBRATION_BINS):
        left, right = k / _CALIBRATION_BINS, (k + 1) / _CALIBRATION_BINS
        n = int(rows[k])
        low, high = wilson(float(hits[k]), n, confidence)
        made.append(Bin(left, right, n, sums[k] / n if n else math.nan, hits[k] / n if n else math.nan, low, high))
    return tuple(made)


def wilson(hits: float, n: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion; (NaN, NaN) of nothing. Source: Wilson 1927."""
    if n == 0:
        return math.nan, math.nan
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = hits / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)
