"""Strata of rows in which a feature's correlated features are alike: where it may be shuffled without inventing rows.

Source: Molnar, König, Bischl and Casalicchio 2023, Model-agnostic feature importance and effects with dependent
features: a conditional subgroup approach, https://doi.org/10.1007/s10618-022-00901-9, after Strobl et al. 2008,
Conditional variable importance for random forests, https://doi.org/10.1186/1471-2105-9-307, and Debeer and Strobl 2020,
https://doi.org/10.1186/s12859-020-03622-2, who also condition on the features that are associated beyond a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.explain.base import Player, Problem

if TYPE_CHECKING:
    from tasks.load import Feature

#: rows that associations are measured and trees are grown on
SAMPLE = 10_000
#: leaves of a tree at most
LEAVES = 256
#: categories of a feature that a tree tells apart: the most frequent; the others are one
CATEGORIES = 32
#: rows that are put through a tree at a time
CHUNK = 65_536


@dataclass(frozen=True)
class Strata:
    """Where one player's values may change places.

    Attributes:
        given: the features that it was conditioned on, by column.
        place: (n,) int64, each row's stratum; all 0 where nothing is given.
        count: strata.
        smallest: rows of the smallest.
        movable: rows whose stratum has another row of another value of the player.
    """

    given: tuple[int, ...]
    place: np.ndarray
    count: int
    smallest: int
    movable: int


def strata_of(problem: Problem, rows: Any, bound: float, least: int, generator: np.random.Generator) -> list[Strata]:
    """The strata of each player.

    The features whose association with one of the player's is `bound` or more are what a regression tree predicts the
    player from; its leaves are the strata. Trees are grown on a sample of the rows.

    Args:
        rows: (n, d) codes, all of which are placed; read a part at a time.
        bound: 0–1, see `associations`.
        least: rows of the sample that a stratum has at least.
    """
    assert problem.features is not None
    features = problem.features
    n = len(rows)
    sample = rows if n <= SAMPLE else rows[np.sort(generator.choice(n, SAMPLE, replace=False))]
    strength = associations(sample, features)
    found = []
    for player in problem.players:
        own = list(player.columns)
        near = np.nan_to_num(strength[own]).max(axis=0) >= bound
        near[own] = False
        given = tuple(np.flatnonzero(near).tolist())
        place = _leaves(rows, sample, features, player, given, least)
        sizes = np.bincount(place)
        found.append(Strata(given, place, len(sizes), int(sizes.min()), _movable(rows[:, own], place)))
    return found


def _leaves(
    rows: Any,
    sample: np.ndarray,
    features: tuple[Feature, ...],
    player: Player,
    given: tuple[int, ...],
    least: int,
) -> np.ndarray:
    """(n,) int64: the leaf of each row, counted from 0 in the tree's order."""
    if not given or len(sample) < 2 * least:
        return np.zeros(len(rows), np.int64)
    from sklearn.tree import DecisionTreeRegressor

    columns = [_columns(sample[:, j], features[j], _frequent(sample[:, j], features[j])) for j in player.columns]
    wanted = np.concatenate(columns, axis=1)
    spread = wanted.std(axis=0)
    wanted = wanted[:, spread > 0] / spread[spread > 0]
    if not wanted.shape[1]:
        return np.zeros(len(rows), np.int64)
    kept = [_frequent(sample[:, j], features[j]) for j in given]

    def inputs(part: np.ndarray) -> np.ndarray:
        pieces = [_columns(part[:, j], features[j], levels) for j, levels in zip(given, kept, strict=True)]
        return np.concatenate(pieces, axis=1).astype(np.float32)

    tree = DecisionTreeRegressor(min_samples_leaf=least, max_leaf_nodes=LEAVES, random_state=0)
    tree.fit(inputs(sample), wanted)
    leaves = np.concatenate(
        [tree.apply(inputs(rows[at : at + CHUNK])) for at in range(0, len(rows), CHUNK)], dtype=np.int64
    )
    return np.unique(leaves, return_inverse=True)[1]


def _frequent(codes: np.ndarray, feature: Feature) -> np.ndarray:
    """The codes of a category's most frequent values, rising; of a number none."""
    if feature.kind == "number":
        return np.empty(0)
    levels, counts = np.unique(codes, return_counts=True)
    return np.sort(levels[np.argsort(-counts, kind="stable")[:CATEGORIES]])


def _columns(codes: np.ndarray, feature: Feature, levels: np.ndarray) -> np.ndarray:
    """(n, c) float64: a number, and whether it is null; of a category a column a level."""
    if feature.kind == "number":
        gone = np.isnan(codes)
        bounded = np.clip(np.where(gone, 0.0, codes), -1e30, 1e30)  # trees think in float32
        return np.stack([bounded, gone], axis=1)
    return (codes[:, None] == levels[None]).astype(np.float64)


def _movable(values: np.ndarray, place: np.ndarray) -> int:
    """Rows in strata in which the values are not all the same."""
    first = np.full(place.max() + 1, len(place))
    np.minimum.at(first, place, np.arange(len(place)))
    own, firsts = values, values[first[place]]
    other = ~((own == firsts) | (np.isnan(own) & np.isnan(firsts))).all(axis=1)
    mixed = np.zeros(len(first), bool)
    mixed[place[other]] = True
    return int(mixed[place].sum())


# ---------------------------------------------------------------- what is said


def told_strata(problem: Problem, strata: list[Strata], n: int) -> dict[str, Any]:
    """Facts: for each player what it was conditioned on, in how many strata, and how many of the rows could move."""
    assert problem.features is not None
    return {
        player.name: {
            "given": [problem.features[j].name for j in own.given],
            "strata": own.count,
            "smallest": own.smallest,
            "movable": own.movable,
            "rows": n,
        }
        for player, own in zip(problem.players, strata, strict=True)
    }


def about_strata(problem: Problem, strata: list[Strata], n: int, least: int) -> tuple[str, ...]:
    """Limitations, where strata tell little."""
    pairs = list(zip(problem.players, strata, strict=True))
    whole = [player.name for player, own in pairs if own.given and own.count == 1]
    stuck = [player.name for player, own in pairs if own.given and 2 * own.movable < n]
    small = [player.name for player, own in pairs if own.count > 1 and own.smallest < least]
    said = []
    if whole:
        said.append(
            "Permutation importance is not conditional, though they have correlated features, since no strata of"
            f" {least} rows could be formed, for: {', '.join(whole)}."
        )
    if stuck:
        said.append(
            "Within strata of their correlated features, fewer than half of the rows have another value to take:"
            f" permutation importance rests on the others alone for: {', '.join(stuck)}."
        )
    if small:
        said.append(f"Some strata hold fewer than {least} of the rows shuffled, for: {', '.join(small)}.")
    return tuple(said)


# ---------------------------------------------------------------- association


def associations(rows: np.ndarray, features: tuple[Feature, ...]) -> np.ndarray:
    """(d, d) how closely features go together, 0–1; NaN where one is constant.

    Two numbers: the absolute rank correlation (Spearman). A number and a category: the correlation ratio η of the
    number's ranks. Two categories: Cramér's V without its bias (Bergsma 2013, https://doi.org/10.1016/j.jkss.2012.10.002).
    Null is a value of its own: a category's, or less than every number.

    Args:
        rows: (n, d) codes.
    """
    from scipy.stats import rankdata

    n, d = rows.shape
    found = np.full((d, d), np.nan)
    numbers = [j for j in range(d) if features[j].kind == "number"]
    others = [j for j in range(d) if features[j].kind != "number"]
    # Twice a centred mid-rank is an integer: sums are exact, and the order that a machine adds them in is nothing.
    ranks = np.empty((n, len(numbers)))
    for i, j in enumerate(numbers):
        ranks[:, i] = 2 * rankdata(np.nan_to_num(rows[:, j], nan=-np.inf, posinf=np.inf, neginf=-np.inf)) - (n + 1)
    total = (ranks**2).sum(axis=0)
    levels = [np.unique(rows[:, j], return_inverse=True)[1] for j in others]
    dummies = [(place[:, None] == np.arange(place.max() + 1)[None]).astype(np.float64) for place in levels]
    with np.errstate(invalid="ignore", divide="ignore"):
        found[np.ix_(numbers, numbers)] = np.abs(ranks.T @ ranks) / np.sqrt(total[:, None] * total)
        for a, own in enumerate(dummies):
            sizes = own.sum(axis=0)
            if len(sizes) < 2:
                continue
            between = ((own.T @ ranks) ** 2 / sizes[:, None]).sum(axis=0)
            found[others[a], numbers] = found[numbers, others[a]] = np.sqrt(between / total)
            for b, other in enumerate(dummies[:a]):
                if other.shape[1] > 1:
                    found[others[a], others[b]] = found[others[b], others[a]] = _cramer(own.T @ other)
    return np.minimum(found, 1.0)


def _cramer(counts: np.ndarray) -> float:
    """Cramér's V of a table of counts without empty margins, its bias removed."""
    n, (r, c) = counts.sum(), counts.shape
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    phi = ((counts - expected) ** 2 / expected).sum() / n
    unbiased = max(0.0, phi - (r - 1) * (c - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(unbiased / least)) if least > 0 else float("nan")
