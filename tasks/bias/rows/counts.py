"""The table of counts: rows, weights and squared weights by group, label and decision.

Everything that depends on counts alone (rates, their intervals, tests and bootstrap) starts here, so it costs the same
for a thousand rows and for a billion. Tables of parts of the data add up.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

#: cells of a table that asks yes or no: label, then decision; ? is missing
CELLS = ("00", "01", "0?", "10", "11", "1?", "?0", "?1", "??")
NO, YES, UNKNOWN = 0, 1, 2
#: tables of at most so many cells are counted directly, however few rows there are
_SMALL = 1_000_000


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of one yes-or-no question (is it favourable? positive? correct?) by group.

    Attributes:
        rows: (groups, 9) int64, in the order of CELLS.
        weight: (groups, 9) Σw; equal to rows without weights.
        square: (groups, 9) Σw².
        weighted: whether weights were declared.
    """

    rows: np.ndarray
    weight: np.ndarray
    square: np.ndarray
    weighted: bool

    def sum(self, coefficients: np.ndarray) -> np.ndarray:
        """(groups,) weighted sum of cells."""
        return self.weight @ coefficients

    def effective(self, cells: np.ndarray) -> np.ndarray:
        """(groups,) Kish's effective number of the rows in some cells: (Σw)²/Σw²; without weights the rows."""
        if not self.weighted:
            return (self.rows @ cells).astype(float)
        square = self.square @ cells
        return np.divide((self.weight @ cells) ** 2, square, out=np.zeros(len(square)), where=square > 0)


@dataclass(frozen=True, eq=False)
class Counts:
    """The non-empty cells of groups × labels × decisions, k of them.

    Attributes:
        groups: how many groups there are.
        group: (k,) group of each cell.
        label, decision: (k,) class codes; −1 is missing.
        rows, weight, square: (k,) rows of positive weight, Σw, Σw².
        weighted: whether weights were declared.
    """

    groups: int
    group: np.ndarray
    label: np.ndarray
    decision: np.ndarray
    rows: np.ndarray
    weight: np.ndarray
    square: np.ndarray
    weighted: bool

    @classmethod
    def of(
        cls, group: np.ndarray, groups: int, label: np.ndarray, decision: np.ndarray, weight: np.ndarray | None
    ) -> Counts:
        """Counts rows.

        Args:
            group: (n,) codes 0 … groups − 1.
            label, decision: (n,) class codes, −1 where missing.
            weight: (n,) ≥ 0, or None.
        """
        classes = 2 + int(max(label.max(initial=-1), decision.max(initial=-1)))
        key = group.astype(np.int64)
        for codes in (label, decision):
            key *= classes
            key += codes
            key += 1
        size = groups * classes * classes
        if size <= max(_SMALL, 4 * len(key)):
            cells = np.flatnonzero(np.bincount(key, minlength=size))

            def total(values: np.ndarray | None) -> np.ndarray:
                return np.bincount(key, values, size)[cells]

        else:  # a table with more cells than rows is mostly empty
            cells, place = np.unique(key, return_inverse=True)

            def total(values: np.ndarray | None) -> np.ndarray:
                return np.bincount(place, values, len(cells))

        # A row of weight 0 stands for nobody.
        rows = np.rint(total(None if weight is None else weight > 0)).astype(np.int64)
        return cls(
            groups=groups,
            group=cells // (classes * classes),
            label=cells // classes % classes - 1,
            decision=cells % classes - 1,
            rows=rows,
            weight=rows.astype(float) if weight is None else total(weight),
            square=rows.astype(float) if weight is None else total(weight * weight),
            weighted=weight is not None,
        )

    def asked(self, members: Collection[int]) -> Confusion:
        """The table of "is it one of these classes?", of labels and of decisions."""
        wanted = np.fromiter(members, np.int64, len(members))
        return self._table(_answers(self.label, wanted), _answers(self.decision, wanted))

    def correct(self) -> Confusion:
        """The table of "is the decision the label?": known labels count as yes, decisions as right or wrong."""
        label = np.where(self.label < 0, UNKNOWN, YES)
        right = np.where(self.decision == self.label, YES, NO)
        return self._table(label, np.where(self.decision < 0, UNKNOWN, right))

    def _table(self, label: np.ndarray, decision: np.ndarray) -> Confusion:
        # CELLS puts the missing label last, and the missing decision last within a label
        key = self.group * 9 + label * 3 + decision
        size = self.groups * 9

        def total(values: np.ndarray) -> np.ndarray:
            return np.bincount(key, values, size).reshape(self.groups, 9)

        return Confusion(
            rows=np.rint(total(self.rows)).astype(np.int64),
            weight=total(self.weight),
            square=total(self.square),
            weighted=self.weighted,
        )


def merged(parts: list[Counts]) -> Counts:
    """One table of the counts of several parts of the data, which share their groups and classes."""
    group, label, decision = (np.concatenate([getattr(p, f) for p in parts]) for f in ("group", "label", "decision"))
    classes = 2 + int(max(label.max(initial=-1), decision.max(initial=-1)))
    cells, place = np.unique((group * classes + label + 1) * classes + decision + 1, return_inverse=True)

    def total(name: str) -> np.ndarray:
        return np.bincount(place, np.concatenate([getattr(p, name) for p in parts]), len(cells))

    return Counts(
        groups=parts[0].groups,
        group=cells // (classes * classes),
        label=cells // classes % classes - 1,
        decision=cells % classes - 1,
        rows=np.rint(total("rows")).astype(np.int64),
        weight=total("weight"),
        square=total("square"),
        weighted=any(p.weighted for p in parts),
    )


def _answers(codes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.where(codes < 0, UNKNOWN, np.where(np.isin(codes, wanted), YES, NO))
