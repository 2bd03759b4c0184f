"""What change would alter the result: the smallest change of one feature, else of two, that the model decides by.

*One feature*: the candidates (`changeable.py`) are tried in the order of their size, all of them where they are no more
than POINTS; of more, POINTS evenly spread ones, then those before the first that altered the result, and so on. So the
change is the smallest candidate where the result turns once on the way, which monotone models do, or where there are
no more than POINTS candidates; elsewhere a smaller one may lie between two that were tried.

*Two features*, where none alone alters the result: greedy. The second is moved as little as it takes while the first
stands at the candidate with the best score; then the first is moved back as far as the result allows. Both ways round,
for every pair that alters the result at the two best candidates; the smallest sum of changes is told. A smaller pair
may exist.

Every change that is told was put to the model. Source of the idea: Wachter, Mittelstadt and Russell 2018,
Counterfactual explanations without opening the black box, https://arxiv.org/abs/1711.00399.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from tasks.load import Subject
from tasks.reasons.background import Decided, upward
from tasks.reasons.changeable import Changeable, Steps
from tasks.watch import Watch

#: candidates of a row and feature that are tried at a time; fewer while two features are searched
POINTS, POINTS_OF_TWO = 200, 32
#: numbers in a matrix of candidates (64 MiB)
CELLS = 2**23

#: (m, d) codes → (m,) how favourable the model's score is, rising
Favor = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Cut:
    """What decides.

    Attributes:
        favor: codes → how favourable the score is.
        crosses: favours → which of them are decided in favour.
        score: favour → the score of the last audited output.
    """

    favor: Favor
    crosses: Callable[[np.ndarray], np.ndarray]
    score: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Change:
    """A change of a row.

    Attributes:
        parts: (feature, old code, new code) each; empty where no change alters the result.
        score: of the last audited output after it, or before it where there is none.
        size: by which the changes of a row are ordered.
    """

    parts: tuple[tuple[Changeable, float, float], ...]
    score: float
    size: float = 0.0


def cut_of(subject: Subject, found: Decided, watch: Watch) -> Cut | None:
    """The rule by which a score decides; None where decisions are a record, or no row is decided in favour by rank."""
    rule = subject.config.bias.decision
    output = range(len(subject.predictor.outputs))[subject.predictor.audited][-1]
    toward = 1.0 if upward(subject) else -1.0

    def favor(codes: np.ndarray) -> np.ndarray:
        return toward * subject.predictor(codes, "probability", watch)[:, output]

    def score(favours: np.ndarray) -> np.ndarray:
        return toward * favours

    if rule.column is not None:
        return None
    if rule.top_k is not None:
        if not found.favorable.any():
            return None
        last = (toward * found.score[found.favorable]).min()
        return Cut(favor, lambda favours: favours > last, score)  # ahead of whoever came in last
    threshold = 0.5 if rule.threshold is None else rule.threshold
    if toward > 0:
        return Cut(favor, lambda favours: favours >= threshold, score)
    return Cut(favor, lambda favours: -favours < threshold, score)


def changes_of(rows: np.ndarray, changeable: Sequence[Changeable], cut: Cut) -> list[list[Change]]:
    """For each row its changes, the smallest first: every single feature that can do it, else one pair, else none.

    Args:
        rows: (n, d) codes of rows decided adversely.
    """
    n = len(rows)
    found: list[list[Change]] = [[] for _ in range(n)]
    best: list[np.ndarray] = []
    for feature in changeable:
        least, top = _single(rows, feature, cut)
        best.append(top)
        for row in np.flatnonzero(np.isfinite(least[:, 0])).tolist():
            new, favour, size = least[row]
            part = (feature, float(rows[row, feature.column]), float(new))
            found[row].append(Change((part,), float(cut.score(favour)), float(size)))
    for own in found:
        own.sort(key=lambda change: (change.size, change.parts[0][0].name))
    left = np.flatnonzero([not own for own in found])
    for row, change in _pairs(rows, left, changeable, best, cut).items():
        found[row].append(change)
    left = np.flatnonzero([not own for own in found])
    if len(left):
        own_score = cut.score(cut.favor(rows[left]))
        for row, now in zip(left.tolist(), own_score, strict=True):
            found[row].append(Change((), float(now)))
    return found


def _single(rows: np.ndarray, feature: Changeable, cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    """The smallest change of one feature, and its most favourable candidate.

    Returns:
        (n, 3) new code, favour and size, NaN where no candidate alters the result; (n,) the code of the candidate with
        the best score among those tried first, NaN where there is none.
    """
    old = rows[:, feature.column]
    least, top = np.full((len(rows), 3), np.nan), np.full(len(rows), np.nan)
    top_favour = np.full(len(rows), -np.inf)
    for steps in feature.steps(old):
        new, favour, highest, highest_favour = _first(rows, feature.column, steps, cut, POINTS)
        better = highest_favour > top_favour
        top[better], top_favour[better] = highest[better], highest_favour[better]
        size = np.where(np.isnan(new), np.nan, feature.cost(old, np.where(np.isnan(new), old, new)))
        smaller = np.isfinite(size) & ~(size >= least[:, 2])
        least[smaller] = np.stack([new, favour, size], axis=1)[smaller]
    return least, top


def _first(
    rows: np.ndarray, column: int, steps: Steps, cut: Cut, points: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The first candidate that alters the result, and the most favourable of those tried in the first round.

    Returns:
        (n,) the first one's code and favour, NaN where none does; (n,) the best one's code (NaN without candidates)
        and favour.
    """
    n = len(rows)
    low, high = np.zeros(n, np.int64), steps.count.copy()  # numbers: the last known not to alter it, the end
    new, favour = np.full(n, np.nan), np.full(n, np.nan)
    best, best_favour = np.full(n, np.nan), np.full(n, -np.inf)
    left, opening = np.flatnonzero(high > 0), True
    while len(left):
        width = np.minimum(points, high[left] - low[left])
        at = np.arange(1, int(width.max()) + 1)[None]
        tried = np.minimum(at, width[:, None])
        # Evenly spread and rising: all of them where they are no more than the points.
        numbers = low[left][:, None] + _spread(high[left] - low[left], tried, width)
        codes, favours = _tried(rows, left, column, steps, numbers, cut)
        crosses = cut.crosses(favours)
        first = np.where(crosses.any(axis=1), crosses.argmax(axis=1), -1)
        if opening:
            place = favours.argmax(axis=1)[:, None]
            best[left] = np.take_along_axis(codes, place, axis=1)[:, 0]
            best_favour[left] = np.take_along_axis(favours, place, axis=1)[:, 0]
            opening = False
        hit = first >= 0
        rows_hit, where = left[hit], first[hit]
        here = np.flatnonzero(hit)
        new[rows_hit], favour[rows_hit] = codes[here, where], favours[here, where]
        high[rows_hit] = numbers[here, where]
        low[rows_hit] = np.where(where > 0, numbers[here, np.maximum(where - 1, 0)], low[rows_hit])
        left = rows_hit[high[rows_hit] - low[rows_hit] > 1]
        # The end of what is left is known to alter the result; what lies before it is tried next.
        high[left] -= 1
    return new, favour, best, best_favour


def _spread(room: np.ndarray, tried: np.ndarray, width: np.ndarray) -> np.ndarray:
    """(p, w) numbers from 1 to room, of which the last is room."""
    share = room[:, None].astype(np.float64) * tried / width[:, None]
    return np.minimum(np.ceil(share - 1e-9), room[:, None]).astype(np.int64)


def _tried(
    rows: np.ndarray, chosen: np.ndarray, column: int, steps: Steps, numbers: np.ndarray, cut: Cut
) -> tuple[np.ndarray, np.ndarray]:
    """(p, w) codes of candidates and their favours."""
    p, w = numbers.shape
    codes = steps.value(np.repeat(chosen, w), numbers.ravel()).reshape(p, w)
    favours = np.empty((p, w))
    few = max(1, CELLS // (w * rows.shape[1]))
    for start in range(0, p, few):
        part = slice(start, min(start + few, p))
        put = np.repeat(rows[chosen[part]], w, axis=0)
        put[:, column] = codes[part].ravel()
        favours[part] = cut.favor(put).reshape(-1, w)
    return codes, favours


def _pairs(
    rows: np.ndarray, left: np.ndarray, changeable: Sequence[Changeable], best: Sequence[np.ndarray], cut: Cut
) -> dict[int, Change]:
    """Row → its smallest change of two features that the greedy search finds."""
    found: dict[int, Change] = {}
    for i, j in permutations(range(len(changeable)), 2):
        if not len(left):
            break
        first, second = changeable[i], changeable[j]
        able = left[np.isfinite(best[i][left]) & np.isfinite(best[j][left])]
        both = rows[able].copy()
        both[:, first.column], both[:, second.column] = best[i][able], best[j][able]
        reached = cut.favor(both) if len(able) else np.empty(0)
        able, reached = able[cut.crosses(reached)], reached[cut.crosses(reached)]
        if not len(able):
            continue
        moved = rows[able].copy()
        moved[:, first.column] = best[i][able]
        new_second, favour = _smallest(moved, rows[able], second, cut)
        missed = np.isnan(new_second)  # between the candidates that were tried
        new_second, favour = np.where(missed, best[j][able], new_second), np.where(missed, reached, favour)
        moved[:, first.column], moved[:, second.column] = rows[able, first.column], new_second
        new_first, closer = _smallest(moved, rows[able], first, cut)
        back = np.isfinite(new_first)
        new_first = np.where(back, new_first, best[i][able])
        favour = np.where(back, closer, favour)
        old_first, old_second = rows[able, first.column], rows[able, second.column]
        size = first.cost(old_first, new_first) + second.cost(old_second, new_second)
        for place, row in enumerate(able):
            own = found.get(int(row))
            if own is None or size[place] < own.size:
                parts = (
                    (first, float(old_first[place]), float(new_first[place])),
                    (second, float(old_second[place]), float(new_second[place])),
                )
                ordered = tuple(sorted(parts, key=lambda part: part[0].name))
                found[int(row)] = Change(ordered, float(cut.score(favour[place])), float(size[place]))
    return found


def _smallest(put: np.ndarray, original: np.ndarray, feature: Changeable, cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    """(n,) code and favour of the smallest change of a feature from its original value, other features as in `put`."""
    old = original[:, feature.column]
    found, favours, size = np.full(len(put), np.nan), np.full(len(put), np.nan), np.full(len(put), np.inf)
    for steps in feature.steps(old):
        new, favour, _, _ = _first(put, feature.column, steps, cut, POINTS_OF_TWO)
        own = np.where(np.isnan(new), np.inf, feature.cost(old, np.where(np.isnan(new), old, new)))
        smaller = own < size
        found[smaller], favours[smaller], size[smaller] = new[smaller], favour[smaller], own[smaller]
    return found, favours
