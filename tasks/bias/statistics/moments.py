"""Means of a number a row, by cell, from sums that parts of the data add to.

The rows need not be held: of each cell (a group; a feature and a group) six sums are. Squares are summed about a shift
near the mean, so that the spread does not drown in rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tasks.bias.base import Measured, ratio
from tasks.bias.statistics.intervals import student

#: a sum of squares smaller than this share of what it is the rest of is rounding
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Means(Measured):
    """Means by group, with the degrees of freedom of their standard errors: the effective number of rows less 1."""

    degrees: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(eq=False)
class Moments:
    """Sums of one number a row by cell, c of them.

    Attributes:
        shift: (c,) what squares are taken about; any number serves, one near the mean is exact.
        rows: (c,) int64 rows with a number and a weight above 0.
        total, weight, square: (c,) Σwx, Σw, Σw².
        first, second: (c,) Σw²(x − shift), Σw²(x − shift)².
    """

    shift: np.ndarray
    rows: np.ndarray = field(init=False)
    total: np.ndarray = field(init=False)
    weight: np.ndarray = field(init=False)
    square: np.ndarray = field(init=False)
    first: np.ndarray = field(init=False)
    second: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.rows = np.zeros(len(self.shift), np.int64)
        self.total, self.weight, self.square, self.first, self.second = np.zeros((5, len(self.shift)))

    def add(self, cell: np.ndarray, x: np.ndarray, weight: np.ndarray | None) -> None:
        """Adds rows.

        Args:
            cell: (n,) which cell a row belongs to.
            x: (n,) float64; NaN is left out.
            weight: (n,) ≥ 0, or None.
        """
        known = np.isfinite(x) if weight is None else np.isfinite(x) & (weight > 0)
        if not known.all():
            cell, x = cell[known], x[known]
            weight = None if weight is None else weight[known]
        size = len(self.shift)
        off = x - self.shift[cell]
        rows = np.bincount(cell, minlength=size)
        self.rows += rows
        if weight is None:
            self.total += np.bincount(cell, x, size)
            self.weight += rows
            self.square += rows
            self.first += np.bincount(cell, off, size)
            self.second += np.bincount(cell, off * off, size)
        else:
            both = weight * weight
            self.total += np.bincount(cell, weight * x, size)
            self.weight += np.bincount(cell, weight, size)
            self.square += np.bincount(cell, both, size)
            self.first += np.bincount(cell, both * off, size)
            self.second += np.bincount(cell, both * off * off, size)

    def measured(self, cells: slice, confidence: float, lacking: str) -> Means:
        """The means of some cells, one a group, with Student's interval.

        With weights the standard error is √(Σw²(x − m)²)/Σw · √(n/(n − 1)), n being Kish's effective number; without
        it is the usual one. A spread that is all rounding is 0.

        Args:
            cells: the cells of the groups, in their order.
            lacking: what a group without a row has none of.
        """
        total, weight, square = self.total[cells], self.weight[cells], self.square[cells]
        first, second, rows = self.first[cells], self.second[cells], self.rows[cells]
        mean = ratio(total, weight)
        centre = np.nan_to_num(mean) - self.shift[cells]
        whole = second + centre * centre * square
        off = whole - 2 * centre * first
        off = np.where(off <= _ROUNDING * whole, 0.0, off)
        effective = np.nan_to_num(ratio(weight**2, square))
        spread = np.sqrt(ratio(off, weight**2) * ratio(effective, np.maximum(effective - 1, 0)))
        low, high = student(mean, spread, effective, confidence)
        return Means(
            value=mean, numerator=total, denominator=weight, n=rows, support=rows, low=low, high=high,
            std_error=spread, method="student", undefined=f"0/0: {lacking}", degrees=effective - 1,
        )  # fmt: skip
