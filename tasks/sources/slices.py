"""The worst slices: crossings of up to three attributes and features, searched for on one half of the rows.

Whatever is found by looking at very many slices looks worse than it is. So the rows are halved at random: one half says
which slices to look at, the other, which has not been seen, says how they fare (`confirm.py`). What is found there is
unbiased, and only as many slices are tested as were kept.

Sources: Chung et al. 2019, Slice Finder (ICDE); Sagadeeva and Boehm 2021, SliceLine (SIGMOD), for the search and for
what makes a slice redundant; Cox 1975 (Biometrika 62, 441–444) for splitting the data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import comb

import numpy as np

from tasks.sources.features import Part
from tasks.sources.outcomes import Question
from tasks.sources.sums import ROWS, WEIGHT, Answers, answers_of

#: kept of each metric
KEPT = 20
#: slices are ranked by how much worse than all rows they surely fare: the difference less so many standard errors
SURE = 2.0
#: and those of several parts must be worse than what each of their parts leaves out, by so many
NOISE = 3.0
#: candidates of each metric that are held against the kept ones
POOL = 100
#: crossings of two and of three parts, at most, and rows counted for them
CROSSINGS = {2: 10_000, 3: 10_000}
COUNTED = {2: 4e8, 3: 6e8}
JOIN = " and "


@dataclass(frozen=True)
class Slice:
    """A value of each of one to three parts.

    Attributes:
        parts: indices of parts.
        values: a code of each.
    """

    parts: tuple[int, ...]
    values: tuple[int, ...]

    def holds(self, parts: Sequence[Part], rows: np.ndarray) -> np.ndarray:
        """(m,) bool: which rows it has."""
        found = np.ones(len(rows), bool)
        for place, value in zip(self.parts, self.values, strict=True):
            found &= parts[place].codes[rows] == value
        return found

    def names(self, parts: Sequence[Part]) -> list[str]:
        """`name = value` of each part, attributes first, then by name."""
        own = sorted(zip(self.parts, self.values, strict=True), key=lambda p: (parts[p[0]].kind, parts[p[0]].name))
        return [f"{_word(parts[place].name)} = {_word(parts[place].values[value])}" for place, value in own]

    def text(self, parts: Sequence[Part]) -> str:
        """`sex = Female and age = < 25`."""
        return JOIN.join(self.names(parts))


@dataclass(frozen=True, eq=False)
class Kept:
    """A slice that is to be confirmed: of a question, with its rank in the half that was searched."""

    question: int
    rank: int
    slice: Slice


@dataclass(eq=False)
class Search:
    """What was searched.

    Attributes:
        kept: of each question, in their order, worst first.
        crossings: parts → how many crossings of so many parts were counted.
        possible: parts → how many there are.
        looked_at: slices with enough rows, of all metrics.
    """

    kept: list[Kept] = field(default_factory=list)
    crossings: dict[int, int] = field(default_factory=dict)
    possible: dict[int, int] = field(default_factory=dict)
    looked_at: int = 0


@dataclass(frozen=True, eq=False)
class _Candidate:
    score: float
    rows: float
    slice: Slice


def halves(rows: int, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of rows 0 … rows − 1 at random, each rising: to search, and to confirm."""
    shuffled = np.random.default_rng(list(seed)).permutation(rows)
    return np.sort(shuffled[: rows // 2]), np.sort(shuffled[rows // 2 :])


def search(
    parts: Sequence[Part], questions: Sequence[Question], weight: np.ndarray | None, rows: np.ndarray, least: int,
    advance: Callable[[], None] = lambda: None,
) -> Search:  # fmt: skip
    """The slices of some rows that fare worst, up to KEPT a question.

    Args:
        parts: coded on n rows.
        questions: of the same n rows.
        weight: (n,) or None.
        rows: (m,) the half to search.
        least: rows that count in a slice, and beside it.
        advance: called after each crossing.
    """
    answers = answers_of([question.at(rows) for question in questions], None if weight is None else weight[rows])
    codes = [part.codes[rows] for part in parts]
    found = Search()
    pools: list[list[_Candidate]] = [[] for _ in questions]
    strength = np.zeros(len(parts))
    for depth in (1, 2, 3):
        chosen = _crossings(strength, depth, len(rows))
        found.possible[depth] = comb(len(parts), depth)
        found.crossings[depth] = 0
        for crossing in chosen:
            looked, surest = _look(crossing, codes, parts, answers, least, pools)
            found.crossings[depth] += 1
            found.looked_at += looked
            for place in crossing:
                strength[place] = max(strength[place], surest)
            advance()
        pools = [_best(pool, parts) for pool in pools]
    for q, pool in enumerate(pools):
        kept = _apart(pool, q, parts, codes, answers, least)
        found.kept += [Kept(q, rank, candidate.slice) for rank, candidate in enumerate(kept, 1)]
    return found


def planned(size: int, rows: int) -> dict[int, int]:
    """How many crossings of one, two and three parts are counted.

    Args:
        size: parts.
        rows: of the half that is searched.
    """
    return {depth: comb(_affordable(size, depth, rows), depth) for depth in (1, 2, 3)}


def _affordable(size: int, depth: int, rows: int) -> int:
    """How many parts have all their crossings counted."""
    if depth > 1:
        most = min(CROSSINGS[depth], COUNTED[depth] / max(rows, 1))
        while size > depth and comb(size, depth) > most:
            size -= 1
    return size


def _crossings(strength: np.ndarray, depth: int, rows: int) -> Iterator[tuple[int, ...]]:
    """All crossings of so many parts; where they are too many, those of the parts that told most so far."""
    size = _affordable(len(strength), depth, rows)
    strongest = np.sort(np.argsort(-strength, kind="stable")[:size])
    return combinations(strongest.tolist(), depth)


def _look(
    crossing: tuple[int, ...], codes: Sequence[np.ndarray], parts: Sequence[Part], answers: Answers, least: int,
    pools: list[list[_Candidate]],
) -> tuple[int, float]:  # fmt: skip
    """Puts the crossing's bad slices into the pools; (how many were looked at, the surest novelty's z)."""
    if len({parts[place].column for place in crossing}) < len(crossing):
        return 0, 0.0  # one column twice
    shape = tuple(parts[place].size for place in crossing)
    cell = codes[crossing[0]]
    for place in crossing[1:]:
        cell = cell * parts[place].size + codes[place]
    sums = answers.sums(cell, int(np.prod(shape)))
    rest = answers.total - sums
    enough = (sums[:, ROWS] >= least) & (rest[:, ROWS] >= least)
    looked = int(enough.sum())
    some = np.flatnonzero(enough.any(1))
    if not len(some):
        return 0, 0.0
    worse, error = answers.worse_by(sums[some], rest[some])
    # Against all rows, not the others: nearly all rows are no slice, even where few others fare much better.
    score = (worse - SURE * error) * rest[some, WEIGHT] / answers.total[WEIGHT]
    bad = enough[some] & (score > 0)
    novelty = np.where(bad, worse / error, 0.0)
    if len(crossing) > 1 and bad.any():
        table = sums.reshape(*shape, *sums.shape[1:])
        for axis in range(len(crossing)):
            left = (table.sum(axis, keepdims=True) - table).reshape(sums.shape)[some]
            beyond, noise = answers.worse_by(sums[some], left)
            with np.errstate(invalid="ignore"):
                novelty = np.where(left[:, ROWS] >= least, np.fmin(novelty, beyond / noise), 0.0)
        bad &= novelty > NOISE
    for q, pool in enumerate(pools):
        for i in np.flatnonzero(bad[:, q]):
            values = tuple(int(v) for v in np.unravel_index(some[i], shape))
            pool.append(_Candidate(
                float(score[i, q]), float(sums[some[i], ROWS, q]), Slice(crossing, values)
            ))  # fmt: skip
    return looked, float(max(0.0, np.max(novelty, where=bad, initial=0.0)))


def _best(pool: list[_Candidate], parts: Sequence[Part]) -> list[_Candidate]:
    """The surest first; ties go to fewer parts, more rows, then by name."""
    return sorted(pool, key=lambda c: (-c.score, len(c.slice.parts), -c.rows, c.slice.text(parts)))[:POOL]


def _apart(
    pool: Sequence[_Candidate], question: int, parts: Sequence[Part], codes: Sequence[np.ndarray], answers: Answers,
    least: int,
) -> list[_Candidate]:  # fmt: skip
    """Those candidates that say something beside the ones kept before them."""
    kept: list[tuple[_Candidate, np.ndarray]] = []
    for candidate in pool:
        own = np.ones(len(answers.state), np.int32)
        for place, value in zip(candidate.slice.parts, candidate.slice.values, strict=True):
            own &= codes[place] == value
        if all(_says_more(own, other, question, answers, least) for _, other in kept):
            kept.append((candidate, own))
            if len(kept) == KEPT:
                break
    return [candidate for candidate, _ in kept]


def _says_more(own: np.ndarray, other: np.ndarray, q: int, answers: Answers, least: int) -> bool:
    """Whether a slice says more than another that is kept: its rows beyond that one are worse than the rows of neither,
    or their common rows are worse than the rest of that one."""
    sums = answers.sums(2 * own + other, 4)
    neither, only_other, only_own, both = sums
    for worst, against in ((only_own, neither), (both, only_other)):
        if min(worst[ROWS, q], against[ROWS, q]) >= least:
            worse, error = answers.worse_by(worst, against)
            if worse[q] > SURE * error[q]:
                return True
    return False


def _word(text: str) -> str:
    """Quoted where it could be read as part of the sentence around it."""
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in (JOIN, " = ", '"', "\n")) else text
