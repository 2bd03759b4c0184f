"""Which thresholds meet an aim at the least cost: one for all groups, or one for each.

One threshold: all are tried. One for each group: an aim on the gap of a rate says that all groups' rates lie in a
window, [t, t + d] for a difference of at most d, [t, t / r] for a ratio of at least r. Inside a window every group is
on its own and takes its most accurate threshold; what is left to search is where the window lies, and it may as well
start at the rate of some group at some threshold. So the result is the best of all combinations, at the cost of
thresholds × groups. Equalized odds have a window in each of two rates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tasks.advice.aims import Aim, Level, included, levels_of, reached
from tasks.advice.curves import KEEP, LOWER, NONE, UPPER, Curves
from tasks.watch import Watch

#: groups times thresholds that are tried for windows in one rate, and in two
MAX_SINGLE, MAX_PAIR = 20_000, 2_000
#: more groups have no thresholds of their own: nobody could live by them
MAX_GROUPS = 100
#: with weights: what share of them, decided as labelled, counts as much as all decisions changed
_FIRST = 1e8
#: what rounding may move an end of a window by
_SLACK = 1e-12


@dataclass(frozen=True, eq=False)
class Board:
    """All that a search looks at. G groups, K thresholds.

    Attributes:
        aim, curves: what is asked, and of what.
        levels: the rates that the aim compares, (G, K) each, with the groups first.
        objective: (G, K) what is to be as large as possible in the sum over groups: rows decided as labelled, and
            among equals as few changed decisions as possible. Without labels, as few changed decisions as possible.
        labelled: Σw of labelled rows that have a decision.
        least: min_group_size.
    """

    aim: Aim
    curves: Curves
    levels: list[Level]
    objective: np.ndarray
    labelled: float
    least: int

    @property
    def values(self) -> np.ndarray:
        """(K,) what the aim comes to with each threshold for all groups."""
        return reached(self.aim, [_across(level) for level in self.levels], self.least)

    @property
    def complete(self) -> np.ndarray:
        """(K,) bool: no group slips out of the comparison, as one would whose precision is 0/0 with nobody selected."""
        kept = [
            (included(_across(level), self.least) | ~over).all(-1)
            for level, over in zip(self.levels, self.sets, strict=True)
        ]
        return np.logical_and.reduce(kept)

    def value_of(self, choice: np.ndarray) -> float:
        """What the aim comes to with a threshold for each group."""
        at = [_picked(level, np.maximum(choice, 0)) for level in self.levels]
        kept = choice == KEEP
        if kept.any():
            now = [self.curves.moved(choice, what).sum(2).reshape(len(choice), 9) for what in ("weight", "rows")]
            at = [
                _merged(one, other, kept)
                for one, other in zip(at, levels_of(self.aim, self.curves.cut, *now), strict=True)
            ]
        return float(reached(self.aim, at, self.least))

    def accuracy(self, choice: np.ndarray) -> float:
        """The share decided as labelled, over all rows; NaN without labels."""
        moved = self.curves.moved(choice).sum((0, 2))
        return float(moved[LOWER, LOWER] + moved[UPPER, UPPER]) / self.labelled if self.labelled else float("nan")

    @property
    def sets(self) -> list[np.ndarray]:
        """For each rate (G,) bool: the groups that the aim is over at some threshold; others are left as they are."""
        found = []
        for level in self.levels:
            over: np.ndarray = np.asarray(included(_across(level), self.least).any(0))
            if self.aim.group is not None:
                over &= np.arange(len(over)) == self.aim.group
            found.append(over)
        return found


def _across(level: Level) -> Level:
    """Thresholds first, groups last."""
    parts = (level.value, level.support, level.numerator, level.denominator)
    return Level(*(None if part is None else np.moveaxis(part, 0, -1) for part in parts))  # type: ignore[arg-type]


def _picked(level: Level, choice: np.ndarray) -> Level:
    rows = np.arange(len(choice))
    parts = (level.value, level.support, level.numerator, level.denominator)
    return Level(*(None if part is None else part[rows, choice] for part in parts))  # type: ignore[arg-type]


def _merged(one: Level, other: Level, kept: np.ndarray) -> Level:
    pairs = ((getattr(one, name), getattr(other, name)) for name in ("value", "support", "numerator", "denominator"))
    return Level(*(None if a is None else np.where(kept, b, a) for a, b in pairs))  # type: ignore[arg-type]


def board_of(aim: Aim, curves: Curves, least: int) -> Board:
    """Evaluates every group at every threshold."""
    cells, rows = curves.cells(), curves.cells("rows")
    right = cells[..., LOWER * 3 + LOWER] + cells[..., UPPER * 3 + UPPER]
    decided = cells.reshape(*right.shape, 3, 3)[..., :NONE, :NONE]
    labelled = float(decided[:, 0].sum())
    objective = -changed(curves)
    if labelled:
        # Rows decided as labelled come first, changes break ties: with counts exactly, up to some 50 million rows.
        total = float(curves.weight.every.sum())
        first, then = (_FIRST / total, 1 / total) if curves.weighted and total else (2 * total + 1, 1)
        objective = first * right + then * objective
    return Board(aim, curves, levels_of(aim, curves.cut, cells, rows), objective, labelled, least)


def changed(curves: Curves) -> np.ndarray:
    """(G, K) Σw of rows whose decision another threshold changes."""
    above = curves.weight.above.sum(1)  # (G, now, K)
    below = curves.weight.every.sum(1)[..., None] - above
    return above[:, LOWER] + above[:, NONE] + below[:, UPPER] + below[:, NONE]


def common(board: Board) -> tuple[np.ndarray | None, np.ndarray]:
    """(the best threshold for all groups that meets the aim or None, the one that comes nearest), as (G,) choices."""
    values, total = board.values, board.objective.sum(0)
    met = board.aim.met(values) & board.complete
    groups = board.curves.groups
    far = np.where(board.complete, board.aim.beyond(values), np.inf)
    close = np.flatnonzero(far == far.min())
    nearest = int(close[total[close].argmax()])
    best = int(np.where(met, total, -np.inf).argmax()) if met.any() else None
    return None if best is None else np.full(groups, best), np.full(groups, nearest)


def apart(board: Board, watch: Watch) -> np.ndarray | None:
    """The best thresholds by group that meet the aim, as a (G,) choice; None where no combination meets it.

    Groups that the aim is not over (too few rows, no labels of a kind) keep their present decisions; all others stay
    in the comparison: a group whose precision is 0/0, since nobody in it is selected, meets nothing.
    """
    limit = MAX_PAIR if len(board.levels) > 1 else MAX_SINGLE
    thin, kept = board.curves.thinned(max(21, limit // board.curves.groups))
    small = board if len(kept) == len(board.curves.thresholds) else board_of(board.aim, thin, board.least)
    if not all(over.any() for over in small.sets):
        return None
    for slack in (_SLACK, -_SLACK):  # a limit that is met exactly is met; what rounding lets in beyond it is not
        choice = _two_windows(small, slack, watch) if len(small.levels) > 1 else _one_window(small, slack)
        watch.advance(0)
        if choice is not None and bool(small.aim.met(small.value_of(choice))):
            return np.where(choice == KEEP, KEEP, kept[np.maximum(choice, 0)])
    return None


@dataclass(frozen=True, eq=False)
class Ladder:
    """One group's thresholds in the order of a rate, and the best of every stretch of them.

    Attributes:
        value: (m,) the rate, rising.
        place: (m,) index of the threshold.
        objective: (m,).
        best: (log₂ m, m) where the best of the 2ʲ from i on stands.
    """

    value: np.ndarray
    place: np.ndarray
    objective: np.ndarray
    best: np.ndarray

    @classmethod
    def of(cls, value: np.ndarray, objective: np.ndarray, usable: np.ndarray) -> Ladder:
        place = np.flatnonzero(usable)
        place = place[np.argsort(value[place], kind="stable")]
        own = objective[place]
        best = [np.arange(len(place))]
        while 2 ** len(best) <= len(place):
            reach = 2 ** (len(best) - 1)
            left, right = best[-1][:-reach], best[-1][reach:]
            row = best[-1].copy()
            row[: len(left)] = np.where(own[left] >= own[right], left, right)
            best.append(row)
        return cls(value[place], place, own, np.array(best).reshape(len(best), len(place)))

    def top(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Where the best of each stretch start ≤ i < stop stands. Every stretch must hold something."""
        level = np.frexp(stop - start)[1] - 1
        left, right = self.best[level, start], self.best[level, stop - (1 << level)]
        return np.where(self.objective[left] >= self.objective[right], left, right)


def _reach(aim: Aim, low: np.ndarray, slack: float) -> np.ndarray:
    """Where windows end that start at low."""
    if aim.comparison == "difference":
        return low + aim.high + slack
    with np.errstate(divide="ignore", invalid="ignore"):
        high = low / aim.low * (1 + slack) if aim.low > 0 else np.full(len(low), np.inf)
    return np.where(low > 0, high, -np.inf)  # 0/0 is no ratio


def _ladders(board: Board) -> list[tuple[int, Ladder]]:
    level, over = board.levels[0], board.sets[0]
    enough = level.support >= board.least
    usable = np.isfinite(level.value) & np.where(enough.any(1, keepdims=True), enough, True)
    return [(g, Ladder.of(level.value[g], board.objective[g], usable[g])) for g in np.flatnonzero(over).tolist()]


def _one_window(board: Board, slack: float) -> np.ndarray | None:
    ladders, aim = _ladders(board), board.aim
    if aim.comparison == "level":
        low, high = np.array([aim.low]), np.array([aim.high])
    else:
        low = np.unique(np.concatenate([ladder.value for _, ladder in ladders]))
        high = _reach(aim, low, slack)
    total, feasible, stretches = np.zeros(len(low)), np.ones(len(low), bool), []
    for _, ladder in ladders:
        start, stop = np.searchsorted(ladder.value, low, "left"), np.searchsorted(ladder.value, high, "right")
        stretches.append((start, stop))
        feasible &= start < stop
    if not feasible.any():
        return None
    for (_, ladder), (start, stop) in zip(ladders, stretches, strict=True):
        total[feasible] += ladder.objective[ladder.top(start[feasible], stop[feasible])]
    chosen = int(np.where(feasible, total, -np.inf).argmax())
    choice = np.full(board.curves.groups, KEEP)
    for (g, ladder), (start, stop) in zip(ladders, stretches, strict=True):
        choice[g] = ladder.place[ladder.top(start[chosen : chosen + 1], stop[chosen : chosen + 1])[0]]
    return choice


@dataclass(frozen=True, eq=False)
class _Windows:
    """Windows of one rate and what they leave of each group's thresholds: start ≤ k < stop, (G, L) each."""

    start: np.ndarray
    stop: np.ndarray


def _two_windows(board: Board, slack: float, watch: Watch) -> np.ndarray | None:
    """Both rates fall with the threshold (or rise), so that two windows leave a stretch of thresholds.

    Windows of the first rate are tried in the order of the best that they could come to without the second, until that
    is no better than what was found.
    """
    sets, size = board.sets, len(board.curves.thresholds)
    free = np.flatnonzero(np.logical_or.reduce(sets))
    # Falling with the threshold: from the last to the first they rise.
    turned = bool(board.levels[0].value[sets[0]][:, 0].sum() >= board.levels[0].value[sets[0]][:, -1].sum())
    order = np.arange(size)[::-1] if turned else np.arange(size)
    objective = board.objective[free][:, order]
    ladders = [Ladder.of(np.arange(size), row, np.ones(size, bool)) for row in objective]
    first, second = (
        _windows(board.aim, level.value[free][:, order], over[free], slack)
        for level, over in zip(board.levels, sets, strict=True)
    )
    bound = _totals(ladders, first.start, first.stop)
    best, chosen = -np.inf, None
    for at in np.argsort(-bound, kind="stable"):
        if bound[at] <= best:
            break
        watch.advance(0)
        start = np.maximum(first.start[:, at, None], second.start)
        stop = np.minimum(first.stop[:, at, None], second.stop)
        total = _totals(ladders, start, stop)
        there = int(total.argmax())
        if total[there] > best:
            best, chosen = float(total[there]), (start[:, there], stop[:, there])
    if chosen is None:
        return None
    choice = np.full(board.curves.groups, KEEP)
    for g, ladder, start, stop in zip(free, ladders, *chosen, strict=True):
        choice[g] = order[ladder.top(np.array([start]), np.array([stop]))[0]]
    return choice


def _windows(aim: Aim, value: np.ndarray, over: np.ndarray, slack: float) -> _Windows:
    """The windows of a rate: value (G, K) in rising order; groups that it is not over are not held by it."""
    rising = np.maximum.accumulate(value, axis=1)  # what weights' rounding turned
    low = np.unique(rising[over])
    high = _reach(aim, low, slack)
    start, stop = (np.zeros((len(value), len(low)), np.int64) for _ in range(2))
    stop += value.shape[1]
    for g in np.flatnonzero(over):
        start[g] = np.searchsorted(rising[g], low, "left")
        stop[g] = np.searchsorted(rising[g], high, "right")
    return _Windows(start, stop)


def _totals(ladders: list[Ladder], start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """(L,) the best sum of objectives over groups in each column of stretches; −∞ where a group has none."""
    total = np.full(start.shape[1], -np.inf)
    feasible = np.flatnonzero((start < stop).all(0))
    if len(feasible):
        parts = [
            ladder.objective[ladder.top(a[feasible], b[feasible])]
            for ladder, a, b in zip(ladders, start, stop, strict=True)
        ]
        total[feasible] = np.sum(parts, axis=0)
    return total


def nearest_apart(board: Board) -> np.ndarray | None:
    """Where no combination meets an aim on one rate: thresholds by group that come nearest to it."""
    if len(board.levels) > 1 or not board.sets[0].any():
        return None
    ladders, aim = _ladders(board), board.aim
    choice = np.full(board.curves.groups, KEEP)
    if aim.comparison == "level":
        for g, ladder in ladders:
            far = aim.beyond(ladder.value)
            choice[g] = ladder.place[np.where(far == far.min(), ladder.objective, -np.inf).argmax()]
        return choice
    low = np.unique(np.concatenate([ladder.value for _, ladder in ladders]))
    high = np.full(len(low), -np.inf)
    for _, ladder in ladders:
        above = np.searchsorted(ladder.value, low, "left")
        high = np.maximum(high, np.append(ladder.value, np.inf)[above])
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(np.isinf(high), np.inf, high - low if aim.comparison == "difference" else -low / high)
    at = int(np.where(np.isnan(gap), np.inf, gap).argmin())
    for g, ladder in ladders:
        start, stop = np.searchsorted(ladder.value, low[at], "left"), np.searchsorted(ladder.value, high[at], "right")
        choice[g] = ladder.place[ladder.top(np.array([start]), np.array([stop]))[0]]
    return choice


def at_level(board: Board, limit: float) -> Board:
    """The same with another limit of the gap."""
    if board.aim.comparison == "difference":
        return replace(board, aim=replace(board.aim, high=limit))
    return replace(board, aim=replace(board.aim, low=limit))
