"""Whether rows that are alike are decided alike: consistency, and the flip test between two groups.

Alike is near in the model's own features without the sensitive columns: Euclidean, numbers standardised, each value of
a category a column of 0 and 1. The model is opened only when a metric asks.

Sources: Zemel et al. 2013 (ICML, 325–333) for consistency, counted as AIF360 does, a row being one of its own
neighbours; Black, Yeom and Fredrikson 2020 (FAT*, 111–121) for the flip test, as SageMaker Clarify approximates it with
nearest neighbours. Clarify and AIF360 take the columns as they come; here no unit of measurement weighs more than
another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from configs.schema import AuditConfig
from tasks.bias.base import CLASSIFIERS, Measured, Metric, View, nothing, ratio
from tasks.bias.disparities import NAN, Disparity, Gap, Situation, ValueStatus
from tasks.bias.rows import loops
from tasks.bias.rows.evidence import Evidence
from tasks.bias.statistics.intervals import newcombe_paired, student, wilson
from tasks.errors import DataRefused, UsageError

if TYPE_CHECKING:
    from tasks.load import Feature

#: rows among which neighbours are looked for
MAX_ROWS = 10_000
NEIGHBOURS = 5
#: from as many rows on the flip test asks five neighbours, below one: Clarify's rule
_FEW = 10


@dataclass(frozen=True, eq=False)
class Place:
    """Coordinates of m rows.

    Attributes:
        numbers: (m, a) float64, standardised; where a column has nulls, the mean and a column of 0 and 1 that says so.
        codes: (m, b) int32 of categories. Two that differ are 2 apart in squared distance, as columns of 0 and 1 are.
    """

    numbers: np.ndarray
    codes: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Place:
        return Place(self.numbers[rows], self.codes[rows])


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Decided rows with their place among each other, m of them.

    Attributes:
        rows: (m,) int64 rows of the evidence.
        place: their coordinates.
        selected: (m,) bool: the decision is favourable.
        of: rows that these were drawn from.
    """

    rows: np.ndarray
    place: Place
    selected: np.ndarray
    of: int

    @property
    def note(self) -> str | None:
        return f"among {len(self.rows):,} of {self.of:,} rows, drawn by the seed" if len(self.rows) < self.of else None


def neighbourhood(config: AuditConfig, evidence: Evidence) -> Neighbourhood | str:
    """Opens the subject and places the decided rows; or why that cannot be.

    Raises:
        Incomplete: the model or the data are not those that this run began with.
    """
    from tasks.load import open_subject

    try:
        subject = open_subject(config)
    except (UsageError, DataRefused) as error:
        return f"not applicable: the model's features cannot be read ({error.what})"
    sensitive = {declared.column for declared in config.data.sensitive.values()}
    kept = [j for j, feature in enumerate(subject.features) if feature.name not in sensitive]
    if not kept:
        return "not applicable: the model's inputs are no columns by which rows are alike"
    decided = np.flatnonzero(evidence.decision >= 0)
    rows = decided
    if len(decided) > MAX_ROWS:
        generator = np.random.default_rng([config.explain.seed, *b"neighbours"])
        rows = np.sort(generator.choice(decided, MAX_ROWS, replace=False))
    codes = subject.rows[evidence.position[rows]]
    place = coordinates([subject.features[j] for j in kept], codes[:, kept])
    return Neighbourhood(rows, place, np.isin(evidence.decision[rows], evidence.favorable), len(decided))


def coordinates(features: Sequence[Feature], codes: np.ndarray) -> Place:
    """Where coded rows lie.

    Args:
        features: d features.
        codes: (m, d) as `Encoder.codes` makes them: a number is itself, NaN where null; a category is its code.
    """
    numbers, categories = [], []
    for feature, column in zip(features, codes.T, strict=True):
        if feature.kind == "category":
            categories.append(column.astype(np.int32))
            continue
        known = np.isfinite(column)
        spread = column[known].std() if known.any() else 0.0
        if spread > 0:
            numbers.append(np.where(known, (column - column[known].mean()) / spread, 0.0))
        if known.any() and not known.all():
            numbers.append((~known).astype(float))
    empty = np.zeros((len(codes), 0))
    return Place(
        np.stack(numbers, 1) if numbers else empty, np.stack(categories, 1) if categories else empty.astype(np.int32)
    )  # fmt: skip


def nearest(fitted: Place, asked: Place, k: int) -> np.ndarray:
    """(asked, k) int32 indices of the nearest fitted rows, the nearest first; of equally near ones the first."""
    return loops.nearest(fitted.numbers, fitted.codes, asked.numbers, asked.codes, k)


def _opened(view: View) -> Neighbourhood | str:
    evidence = view.evidence
    if evidence.neighbourhood is None:
        return "not applicable: the model's features are not at hand"
    return evidence.memo.get("neighbourhood", lambda: evidence.neighbourhood(evidence))  # type: ignore[misc]


def limitations(evidence: Evidence) -> Iterator[str]:
    """What a reader must know of the neighbours, where any metric asked for them."""
    found = evidence.memo.get("neighbourhood", lambda: None)
    if isinstance(found, Neighbourhood) and found.note:
        yield f"Neighbours of rows (consistency, flip_test) are looked for {found.note}."


def _consistency(view: View) -> Measured:
    """1 − mean |ŷ − mean ŷ of the 5 nearest rows|, ŷ = 1 for the favourable decision, the row itself among the five.

    Range 0–1, higher is better. Student's interval, rows taken as independent; Wilson's where all rows agree.
    """
    found = _opened(view)
    if isinstance(found, str):
        return nothing(view, found)
    if not len(found.rows):
        return nothing(view, "0/0: no decisions")

    def by_row() -> np.ndarray:
        near = nearest(found.place, found.place, min(NEIGHBOURS, len(found.rows)))
        return 1 - np.abs(found.selected - found.selected[near].mean(1))

    alike = view.evidence.memo.get("consistency of rows", by_row)
    weight = None if view.evidence.weight is None else view.evidence.weight[found.rows]
    (rows, size, square, total), off = loops.moments(view.codes[found.rows], alike, weight, view.size)
    effective = np.nan_to_num(ratio(size**2, square))
    mean = ratio(total, size)
    spread = np.sqrt(ratio(off, size**2) * ratio(effective, effective - 1))
    low, high = student(mean, spread, effective, view.confidence)
    flat, stand_in = spread == 0, wilson(mean, effective, view.confidence)
    notes = {} if found.note is None else dict.fromkeys(range(view.size), found.note)
    return Measured(
        value=mean, numerator=total, denominator=size, n=rows, support=rows,
        low=np.where(flat, stand_in[0], np.maximum(low, 0)), high=np.where(flat, stand_in[1], np.minimum(high, 1)),
        std_error=spread, method="student", undefined="0/0: no decisions", notes=notes,
    )  # fmt: skip


def flip_test(name: str, title: str) -> Disparity:
    """(F⁺ − F⁻)/n_d: of group d's rows, the share that the model favours though most of the 5 nearest rows of the
    reference group a are not favoured (F⁺), less the share the other way round (F⁻).

    Below 0 the group fares worse than rows of the reference group that are like its own. Range −1–1, 0 is best. With up
    to 10 rows of a one neighbour is asked, as in Clarify. Newcombe's interval of paired proportions (1998, Stat. Med.
    17, 2635–2650, method 10) and McNemar's exact test, both given a's rows. For the attribute the value farthest from
    0, its interval and p-value corrected for the number of groups (Bonferroni).
    """

    def compare(situation: Situation) -> list[Gap]:
        view, reference = situation.view, situation.reference
        found = _opened(view)
        if isinstance(found, str) or reference is None or view.size < 2:
            lacking = (
                found if isinstance(found, str) else "there is only one group" if view.size < 2 else "no reference"
            )
            return [Gap(None, None, NAN, "undefined", lacking)]
        codes = view.codes[found.rows]
        anchor = np.flatnonzero(codes == reference)
        others = [g for g in range(view.size) if g != reference]
        if not len(anchor):
            lacking = f"{situation.names[reference]}: 0/0: no decisions"
            return [Gap(None, reference, NAN, "undefined", lacking)]
        asked = np.flatnonzero(codes != reference)
        k = NEIGHBOURS if len(anchor) > _FEW else 1
        near = anchor[nearest(found.place[anchor], found.place[asked], k)] if len(asked) else np.zeros((0, k), int)
        flips = _Flips.of(view, found, asked, codes[asked], found.selected[near].mean(1) > 0.5)
        rows = [_flipped(name, situation, found, flips, g, len(anchor), view.confidence) for g in others]
        rows.insert(reference, Gap(reference, reference, 0.0, "ok", "the reference group"))
        return [*rows, _farthest(name, situation, found, flips, rows, len(anchor))]

    return Disparity(name, title, "difference", ("consistency",), compare, attained=True, signed=True)


@dataclass(frozen=True, eq=False)
class _Flips:
    """Pairs of a row's own decision and that of its neighbours, by group: arrays (groups, 4) in the order both
    favoured, only the row, only the neighbours, neither."""

    rows: np.ndarray
    weight: np.ndarray
    square: np.ndarray
    weighted: bool

    @classmethod
    def of(cls, view: View, found: Neighbourhood, asked: np.ndarray, codes: np.ndarray, others: np.ndarray) -> _Flips:
        cell = (2 * ~found.selected[asked] + ~others).astype(np.uint8)
        weight = None if view.evidence.weight is None else view.evidence.weight[found.rows[asked]]
        sums = loops.tally(codes, cell, np.zeros(len(cell)), weight, (view.size, 4))
        return cls(sums[0], sums[1], sums[2], weighted=weight is not None)


def _flipped(
    name: str, situation: Situation, found: Neighbourhood, flips: _Flips, g: int, anchors: int, confidence: float
) -> Gap:
    from scipy.stats import binom

    reference, size = situation.reference, flips.weight[g].sum()
    assert reference is not None
    if not size > 0:
        return Gap(g, reference, NAN, "undefined", f"{situation.names[g]}: 0/0: no decisions")
    _, plus, minus, _ = flips.weight[g]
    value = float((plus - minus) / size)
    effective = size**2 / flips.square[g].sum()
    low, high = newcombe_paired(flips.weight[g] / size, effective, confidence)
    if flips.weighted:
        p, test = NAN, None
    else:
        p, test = min(1.0, 2 * float(binom.cdf(min(plus, minus), plus + minus, 0.5))), "mcnemar"
    small = next((k for k, n in ((g, flips.rows[g].sum()), (reference, anchors)) if n < situation.least), None)
    status: ValueStatus = "ok" if small is None else "insufficient_data"
    reason = found.note
    if small is not None:
        count = int(flips.rows[g].sum() if small == g else anchors)
        reason = f"{situation.names[small]}: rests on {count:,} rows; {situation.least} are needed"
    return Gap(g, reference, value, status, reason, low, high, p, test, (name, frozenset((g, reference))))


def _farthest(
    name: str, situation: Situation, found: Neighbourhood, flips: _Flips, rows: list[Gap], anchors: int
) -> Gap:
    reference = situation.reference
    others = [row for row in rows if row.group != reference and row.status != "undefined"]
    over = [row for row in others if row.status == "ok"] or others
    if not over:
        return Gap(None, reference, NAN, "undefined", "0/0: no decisions")
    widest = max(over, key=lambda row: abs(row.value))
    assert widest.group is not None
    confidence = 1 - (1 - situation.view.confidence) / len(over)
    told = _flipped(name, situation, found, flips, widest.group, anchors, confidence)
    p = min((row.p for row in over), default=NAN) * len(over)
    notes = [f"of {situation.names[widest.group]}", told.reason]
    out = len(rows) - 1 - len(over)
    if out:
        notes.append(f"leaves out {out:,} {'group' if out == 1 else 'groups'} with too few rows")
    return Gap(
        None, reference, widest.value, widest.status, "; ".join(note for note in notes if note), told.low, told.high,
        min(1.0, p) if np.isfinite(p) else NAN, widest.test,
        (name, frozenset(row.group for row in (*over, rows[reference]))),  # type: ignore[index]
    )  # fmt: skip


METRICS: tuple[Metric, ...] = (
    Metric("consistency", "consistency with the nearest rows", _consistency, tasks=CLASSIFIERS, better="higher",
           of="favorable", labels=False),
)  # fmt: skip
