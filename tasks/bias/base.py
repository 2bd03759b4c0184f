"""What a metric of one group is given, and what it gives back.

A family of metrics is one file with a METRICS tuple; `registry.py` lists them. A metric is a function from a View (all
groups of one attribute at once) to a Measured (one number a group, with what it rests on).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from tasks.bias.rows.counts import Confusion, Counts
from tasks.bias.rows.evidence import Evidence
from tasks.bias.rows.memo import Memo

Question = Literal["favorable", "positive", "correct"]
#: (cells counted, among cells), as (9,) coefficients each
Shares = tuple[tuple[np.ndarray, np.ndarray], ...]
Better = Literal["higher", "lower"] | None
ALL_TASKS = frozenset({"binary", "multiclass", "regression"})
CLASSIFIERS = frozenset({"binary", "multiclass"})


@dataclass(frozen=True, eq=False)
class View:
    """One attribute, and one output where a metric is asked of a single class.

    Attributes:
        evidence: the rows.
        codes: (n,) group of each row.
        counts: their table of counts.
        confidence: of intervals.
        of_class: index of the class that is held against the rest; None: the declared outcomes.
        draws: resamples, where an interval needs them.
        seed: what they are drawn from.
        memo: what several metrics of this attribute share.
    """

    evidence: Evidence
    codes: np.ndarray
    counts: Counts
    confidence: float
    of_class: int | None = None
    draws: int = 2000
    seed: tuple[int, ...] = (0,)
    memo: Memo = field(default_factory=Memo)

    def generator(self, purpose: str) -> np.random.Generator:
        """Draws of a purpose are the same whatever else is asked."""
        return np.random.default_rng([*self.seed, *purpose.encode()])

    @property
    def size(self) -> int:
        """How many groups."""
        return self.counts.groups

    @cached_property
    def tables(self) -> Mapping[str, Confusion]:
        """Question → its yes-or-no table; only the questions that this audit can ask."""
        if self.of_class is not None:
            table = self.counts.asked([self.of_class])
            return {"favorable": table, "positive": table}
        found = {}
        if self.evidence.favorable:
            found["favorable"] = self.counts.asked(self.evidence.favorable)
        if self.evidence.positive:
            found["positive"] = self.counts.asked(self.evidence.positive)
        if self.evidence.truth is None:
            found["correct"] = self.counts.correct()
        return found

    @cached_property
    def members(self) -> tuple[int, ...]:
        """The classes that count as positive."""
        return self.evidence.positive if self.of_class is None else (self.of_class,)

    @cached_property
    def score(self) -> np.ndarray | None:
        """(n,) probability of the positive classes, or None."""
        return self.evidence.positive_score if self.of_class is None else self.evidence.score_of(self.members)


@dataclass(frozen=True, eq=False)
class Measured:
    """A metric of every group; arrays of one number a group, NaN where there is none.

    Attributes:
        value: the metric; NaN where it is undefined.
        numerator, denominator: what was divided, Σw with weights.
        n: rows that it is computed over.
        support: rows that it rests on: the denominator, for pairs the smaller side. Held against min_group_size.
        low, high: interval.
        std_error: standard error, for tests where counts do not serve.
        method: how the interval was made.
        undefined: what is lacking where the value is NaN, as in `no positive labels`.
        notes: group index → something a reader must know; where the value is NaN, what that group lacks.
    """

    value: np.ndarray
    numerator: np.ndarray
    denominator: np.ndarray
    n: np.ndarray
    support: np.ndarray
    low: np.ndarray
    high: np.ndarray
    std_error: np.ndarray
    method: str | None
    undefined: str
    notes: Mapping[int, str] = field(default_factory=dict)

    @property
    def defined(self) -> np.ndarray:
        return np.isfinite(self.value)

    def sufficient(self, least: int) -> np.ndarray:
        """(groups,) bool: a value that rests on at least so many rows."""
        return self.defined & (self.support >= least)

    def status(self, group: int, least: int) -> tuple[str, str | None]:
        """(status, reason) of one group, as the contract words them."""
        if not self.defined[group]:
            return "undefined", self.notes.get(group, self.undefined)
        if self.support[group] < least:
            return "insufficient_data", f"rests on {_rows(self.support[group])}; {least} are needed"
        return "ok", self.notes.get(group)


def nothing(view: View, lacking: str) -> Measured:
    """The same reason for every group."""
    none, zero = np.full(view.size, np.nan), np.zeros(view.size, np.int64)
    return Measured(none, none, none, zero, zero, none, none, none, None, lacking)


def _rows(count: float) -> str:
    return "1 row" if count == 1 else f"{int(count):,} rows"


@dataclass(frozen=True)
class Metric:
    """An entry of the registry: one number for a group of rows.

    Attributes:
        name: the id in tables and policies.
        title: for people, lower case, fits "the … of women".
        measure: View → Measured.
        tasks: kinds of model that have it.
        better: which direction people want, if any.
        of: the outcome that it counts; what must be declared for it to exist.
        labels: whether it needs labels.
        scores: whether it needs scores.
        per_class: whether several classes have it one against the rest.
        lowest, highest: its range.
        signed: 0 is the ideal, and policies compare the absolute value.
        fairlearn: whether fairlearn computes its value.
        from_cells: (…, 9) cells of the table of `of` → (…) values, for the bootstrap; None where counts do not suffice.
        shares: the shares of cells that it is made of.
        proportion: whether it is such a share itself, so that exact tests of two proportions apply.
        unweighted: it counts rows as people, and does not exist where data.weight is declared.
    """

    name: str
    title: str
    measure: Callable[[View], Measured]
    tasks: frozenset[str] = CLASSIFIERS
    better: Better = None
    of: Question | None = None
    labels: bool = True
    scores: bool = False
    per_class: bool = False
    lowest: float = 0.0
    highest: float = 1.0
    signed: bool = False
    fairlearn: bool = False
    from_cells: Callable[[np.ndarray], np.ndarray] | None = None
    shares: Shares = ()
    proportion: bool = False
    unweighted: bool = False


def ratio(numerator: np.ndarray | float, denominator: np.ndarray | float) -> np.ndarray:
    """numerator / denominator; 0/0, and all else over 0, is NaN."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)
