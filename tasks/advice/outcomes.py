"""What other thresholds come to: rates, decisions that change, the disparity then; by the bias stage's functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tasks.advice.aims import Aim, levels_of, reached
from tasks.advice.curves import KEEP, Curves, Cut, counts_of
from tasks.advice.parity import Parity, expected_moves, parity_of
from tasks.advice.search import MAX_GROUPS, Board, apart, board_of, common, nearest_apart
from tasks.bias import METRICS, Attribute, Counts, Disparity, Evidence, Found, Of, Settings, View, compare
from tasks.watch import Watch

#: rates that every row of the table has
_RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")
_GONE = "no combination of thresholds reaches it"


@dataclass(frozen=True, eq=False)
class Case:
    """One attribute and one aim.

    Attributes:
        evidence, cut: the rows.
        attribute: their groups.
        aim: what is asked.
        settings: confidence, min_group_size, resamples, seed.
        whole, first, second: curves of all rows, and of the two halves.
        half: (n,) bool: the row is in the second half.
    """

    evidence: Evidence
    cut: Cut
    attribute: Attribute
    aim: Aim
    settings: Settings
    whole: Curves
    first: Curves
    second: Curves
    half: np.ndarray

    def board(self, curves: Curves) -> Board:
        return board_of(self.aim, curves, self.settings.least)


@dataclass(frozen=True, eq=False)
class Plan:
    """A way to decide: a threshold for each group, or fairlearn's lottery.

    Attributes:
        kind: current, common, group or parity.
        choice: (G,) index of each group's threshold, KEEP where it keeps its decisions; None of a lottery.
        lottery: fairlearn's.
        missing: why there is no such plan; None where there is.
    """

    kind: str
    choice: np.ndarray | None = None
    lottery: Parity | None = None
    missing: str | None = None


def plans_of(case: Case, board: Board, which: np.ndarray, watch: Watch) -> list[Plan]:
    """The present decisions and what may take their place; for an example, the present ones alone.

    Args:
        board: of the rows that thresholds are chosen on.
        which: (n,) bool: those rows.
    """
    groups = len(case.attribute.groups)
    plans = [Plan("current", np.full(groups, KEEP))]
    if case.aim.example:
        return plans
    best, nearest = common(board)
    watch.advance(0)
    plans.append(Plan("common", nearest if best is None else best))
    if groups > MAX_GROUPS:
        told = f"with more than {MAX_GROUPS} groups, none has thresholds of its own"
        return [*plans, Plan("group", missing=told), Plan("parity", missing=told)]
    choice = apart(board, watch)
    if choice is None:
        choice = nearest_apart(board)
    plans.append(Plan("group", choice, missing=_GONE if choice is None else None))
    codes = np.where(which, case.attribute.codes, -1)
    free = np.flatnonzero(np.logical_or.reduce(board.sets))
    found = parity_of(case.aim, case.cut, codes, free, case.settings.seed) if len(free) > 1 else "there is one group"
    watch.advance(0)
    lottery = Plan("parity", lottery=found) if isinstance(found, Parity) else Plan("parity", missing=found)
    return [*plans, lottery]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a plan comes to on some rows.

    Attributes:
        plan, sample: all (chosen and evaluated on all rows) or held_out (chosen on one half, evaluated on the other).
        thresholds: (G,) NaN where a group keeps its decisions or draws lots.
        moved: (G, 3, 3, 3) Σw by label, present decision and decision then.
        rows: (G,) how many.
        value, low, high: what the aim is held against, and its interval where the plan was not chosen on these rows.
        reason: what a reader must know of the value.
        by_group: (G, 3) each group's value, low and high: its gap to the reference, or its rate.
        met: whether the value is within the limits.
    """

    plan: Plan
    sample: str
    thresholds: np.ndarray
    moved: np.ndarray
    rows: np.ndarray
    value: float
    low: float
    high: float
    met: bool
    by_group: np.ndarray = field(repr=False)
    reason: str | None = None

    def cells(self, group: int | None) -> np.ndarray:
        """(9,) label × decision then, of a group or of all."""
        moved = self.moved.sum(0) if group is None else self.moved[group]
        return moved.sum(1).reshape(9)

    def rates(self, cut: Cut, group: int | None) -> dict[str, float]:
        """Selected, the rates, accuracy, and whom it concerns."""
        cells = self.cells(group)
        found = {name: _rate(name, cut, cells) for name in _RATES}
        moved = (self.moved.sum(0) if group is None else self.moved[group]).sum(0)  # now × then
        wanted, other = cut.wanted, 1 - cut.wanted
        return {
            "selected": float(cells.reshape(3, 3)[:, wanted].sum()), **found, "accuracy": _rate("accuracy", cut, cells),
            "gained": float(moved[other, wanted]), "lost": float(moved[wanted, other]),
        }  # fmt: skip


def _rate(name: str, cut: Cut, cells: np.ndarray) -> float:
    metric = METRICS[name]
    assert metric.of is not None
    assert metric.from_cells is not None
    return float(metric.from_cells(cells @ cut.questions[metric.of]))


def outcomes_of(case: Case, watch: Watch) -> Iterator[Outcome | Plan]:
    """Every plan on all rows, and again chosen on one half and evaluated on the other; a Plan where there is none."""
    everyone = np.ones(len(case.half), bool)
    for plan in plans_of(case, case.board(case.whole), everyone, watch):
        yield plan if plan.missing else evaluated(case, plan, case.whole, everyone, "all")
    if case.aim.example:
        return
    for plan in plans_of(case, case.board(case.first), ~case.half, watch):
        if not plan.missing:
            yield evaluated(case, plan, case.second, case.half, "held_out")


def evaluated(case: Case, plan: Plan, curves: Curves, which: np.ndarray, sample: str) -> Outcome:
    """What a plan comes to.

    Args:
        curves, which: of the rows to evaluate it on.
    """
    aim, groups = case.aim, curves.groups
    rows = curves.moved(np.full(groups, KEEP), "rows").sum((1, 2, 3)).astype(np.int64)
    thresholds = np.full(groups, np.nan)
    if plan.choice is None:
        assert plan.lottery is not None
        moved = expected_moves(plan.lottery, case.cut, case.attribute.codes, groups, which)
        return _expected(case, plan, sample, moved, rows, thresholds)
    moved, number, square = (curves.moved(plan.choice, what) for what in ("weight", "rows", "square"))
    counts = counts_of(moved, number, square, case.cut)
    by_group, (value, low, high), reason = _compared(case, counts)
    if sample == "all" and plan.kind != "current":  # chosen on these very rows: an interval would not hold
        low = high = np.nan
        by_group[:, 1:] = np.nan
    thresholds = np.where(plan.choice == KEEP, np.nan, curves.thresholds[plan.choice])
    if plan.kind == "current":
        thresholds = np.full(groups, case.cut.threshold)
    return Outcome(plan, sample, thresholds, moved, rows, value, low, high, bool(aim.met(value)), by_group, reason)


def _expected(
    case: Case, plan: Plan, sample: str, moved: np.ndarray, rows: np.ndarray, thresholds: np.ndarray
) -> Outcome:
    """Of a lottery: its expected counts; support is the rows as they are expected to be decided."""
    cells = moved.sum(2).reshape(len(moved), 9)
    levels = levels_of(case.aim, case.cut, cells, cells)
    # Rates that are equal by design differ by rounding.
    value = round(float(reached(case.aim, levels, case.settings.least)), 12)
    by_group = np.full((len(moved), 3), np.nan)
    met = bool(case.aim.met(value))
    return Outcome(plan, sample, thresholds, moved, rows, value, np.nan, np.nan, met, by_group, None)


def _compared(case: Case, counts: Counts) -> tuple[np.ndarray, tuple[float, float, float], str | None]:
    """(each group's value, low and high; those that the aim is held against; reason), as the bias stage has them."""
    aim, settings, attribute = case.aim, case.settings, case.attribute
    view = View(case.evidence, attribute.codes, counts, settings.confidence)
    names = dict.fromkeys(["count", "selection_rate", *(rate.name for rate in aim.rates)])
    if case.evidence.truth is not None:  # a regression has no accuracy, and no aim at one
        names.pop("accuracy", None)
    measured = {name: METRICS[name].measure(view) for name in names}
    by_group = np.full((len(attribute.groups), 3), np.nan)
    if not isinstance(aim.entry, Disparity):
        found = measured[aim.metric]
        by_group[:] = np.stack([found.value, found.low, found.high], -1)
        over = np.isfinite(found.value) & found.sufficient(settings.least)
        over = over if over.any() else np.isfinite(found.value)
        if aim.group is None and not over.any():
            return by_group, (np.nan, np.nan, np.nan), found.undefined
        far = np.where(over, np.maximum(aim.low - found.value, found.value - aim.high), -np.inf)
        deciding = int(far.argmax()) if aim.group is None else aim.group
        return by_group, tuple(by_group[deciding].tolist()), found.status(deciding, settings.least)[1]
    gaps = compare(
        Found(attribute, view, {Of(name): values for name, values in measured.items()}), [aim.entry], settings
    ).gaps[aim.metric]
    for gap in gaps:
        if gap.group is not None:
            by_group[gap.group] = gap.value, gap.low, gap.high
    whole = gaps[-1]
    return by_group, (whole.value, whole.low, whole.high), whole.reason
