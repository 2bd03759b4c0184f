"""The neighbours of LIME of tables: what they are drawn from, and when one is the same as a row.

Drawn as the lime package draws: a regressor at a time and whatever the row, a bin (or a category) by its frequency in
the reference, then a number from a truncated normal within the bin; a number without bins from a normal.

Features that the user binds together are one regressor, which the package does not know. It is drawn and compared as
the package would a category whose values are the combinations of its columns' bins: a combination by its frequency, so
that no impossible one is made up, and the same as a row's where all of its columns are. Bound features of which one
enters as a number without bins (discretize: none) are no category: their columns are drawn and compared one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from lime.discretize import BaseDiscretizer

    from tasks.explain.base import Player

Bins = Literal["quartile", "decile", "none"]


@dataclass(frozen=True)
class Column:
    """How one feature is drawn and compared.

    Attributes:
        codes: (v,) what to compare a row with, rising: category codes, or bins 0, 1, …; the bin after the last is null.
        frequencies: (v,) shares in the reference, adding up to 1.
        discretizer: of a number with bins; None for a category.
        empty: the bin of null of a number; -1 for a category, whose null is a code like another.
        single: bins of one single value → that value, where the package would put something else.
    """

    codes: np.ndarray
    frequencies: np.ndarray
    discretizer: BaseDiscretizer | None = None
    empty: int = -1
    single: tuple[tuple[int, float], ...] = ()

    def binned(self, values: np.ndarray) -> np.ndarray:
        """(n,) int32: the bin or the code of each value."""
        if self.discretizer is None:
            return values.astype(np.int32)
        null = np.isnan(values)
        bins = self.discretizer.discretize(np.where(null, 0.0, values)[:, None])[:, 0].astype(np.int32)
        return np.where(null, np.int32(self.empty), bins)

    def drawn(self, count: int, state: np.random.RandomState) -> np.ndarray:
        """(count,) int32 bins or codes."""
        return state.choice(self.codes, size=count, replace=True, p=self.frequencies).astype(np.int32)

    def values_in(self, bins: np.ndarray, repair: bool) -> np.ndarray:
        """(n,) float64: a value drawn in each bin.

        Args:
            repair: whether a bin of one single value gives that value, and not what the package puts there.
        """
        if self.discretizer is None:
            return bins.astype(np.float64)
        values = np.full(len(bins), np.nan)
        given = bins != self.empty
        if given.any():
            values[given] = self.discretizer.undiscretize(bins[given, None].astype(np.float64))[:, 0]
        if repair:
            for single, value in self.single:
                values[bins == single] = value
        return values


def column_of(values: np.ndarray, category: bool, discretize: Bins, state: np.random.RandomState) -> Column:
    """How a feature is drawn, learnt from its reference values (r,): shares of its codes, or of its bins."""
    if category:
        codes, counts = np.unique(values, return_counts=True)
        return Column(codes.astype(np.int32), counts / counts.sum())
    from lime.discretize import DecileDiscretizer, QuartileDiscretizer

    given = values[~np.isnan(values)]
    if not len(given):
        return Column(np.array([0], np.int32), np.ones(1), _Nothing(), empty=0)
    kind = {"quartile": QuartileDiscretizer, "decile": DecileDiscretizer}[discretize]
    discretizer = kind(given[:, None], [], ["value"], random_state=state)
    empty = len(discretizer.means[0])
    column = Column(np.zeros(0, np.int32), np.zeros(0), discretizer, empty)
    codes, counts = np.unique(column.binned(values), return_counts=True)
    low, high, mean, deviation = (getattr(discretizer, name)[0] for name in ("mins", "maxs", "means", "stds"))
    single = tuple(
        (int(code), float(low[code]))
        for code in codes
        if code != empty and (low[code] - mean[code]) / deviation[code] == (high[code] - mean[code]) / deviation[code]
        and (low[code] - mean[code]) / deviation[code] != low[code]
    )  # fmt: skip
    return Column(codes.astype(np.int32), counts / counts.sum(), discretizer, empty, single)


class _Nothing:
    """Stands for the discretizer of a number that the reference never has."""

    def discretize(self, values: np.ndarray) -> np.ndarray:
        return np.ones_like(values)


@dataclass(frozen=True)
class Compared:
    """One regressor that is 1 where a neighbour is the same as the row: a feature, or features bound together.

    Attributes:
        features: its columns of the coded matrix, rising.
        columns: how each of them is cut into bins.
        bins: (v, c) int32: the values of the regressor, each a bin of every column, in rising order.
        frequencies: (v,) shares of them in the reference, adding up to 1.
    """

    features: tuple[int, ...]
    columns: tuple[Column, ...]
    bins: np.ndarray
    frequencies: np.ndarray

    def same_as(self, rows: np.ndarray) -> np.ndarray:
        """(n,) int32 for coded rows (n, d): numbers that are equal where the rows are the same; -1 never occurred."""
        binned = [column.binned(rows[:, j]) for j, column in zip(self.features, self.columns, strict=True)]
        return binned[0] if len(binned) == 1 else _places(self.bins, np.stack(binned, axis=1))

    def drawn(self, count: int, state: np.random.RandomState, repair: bool) -> tuple[np.ndarray, np.ndarray]:
        """(count,) int32 as `same_as` tells them, and (count, c) float64 values."""
        if len(self.columns) == 1:
            (column,) = self.columns
            bins = column.drawn(count, state)
            return bins, column.values_in(bins, repair)[:, None]
        same = state.choice(len(self.bins), size=count, replace=True, p=self.frequencies).astype(np.int32)
        bins = self.bins[same]
        values = [column.values_in(bins[:, place], repair) for place, column in enumerate(self.columns)]
        return same, np.stack(values, axis=1)


def _places(known: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(n,) int32: which of `known`, (v, c) distinct and in rising order, each of `given`, (n, c), is; -1 is none.

    Column after column is folded into one number: what came before, by its rank among the known, and the next.
    """
    rank_known, rank = np.zeros(len(known), np.int64), np.zeros(len(given), np.int64)
    for column in range(known.shape[1]):
        values = np.unique(known[:, column])
        there, at_known = np.searchsorted(values, given[:, column]), np.searchsorted(values, known[:, column])
        rank[values[np.minimum(there, len(values) - 1)] != given[:, column]] = -1
        pairs = np.unique(rank_known * len(values) + at_known)
        wanted = rank * len(values) + there
        found = np.searchsorted(pairs, wanted)
        rank = np.where((rank >= 0) & (pairs[np.minimum(found, len(pairs) - 1)] == wanted), found, -1)
        rank_known = np.searchsorted(pairs, rank_known * len(values) + at_known)
    return rank.astype(np.int32)


def compared_of(
    reference: np.ndarray, features: tuple[int, ...], categories: np.ndarray, bins: Bins, state: np.random.RandomState
) -> Compared:
    """A regressor, learnt from the coded reference (r, d)."""
    columns = tuple(column_of(reference[:, j], bool(categories[j]), bins, state) for j in features)
    if len(columns) == 1:
        return Compared(features, columns, columns[0].codes[:, None], columns[0].frequencies)
    binned = np.stack([c.binned(reference[:, j]) for j, c in zip(features, columns, strict=True)], axis=1)
    values, counts = np.unique(binned, axis=0, return_counts=True)
    return Compared(features, columns, values, counts / counts.sum())


@dataclass(frozen=True)
class Neighbourhood:
    """Neighbours, and how a row is compared with them. a and b regressors make up those of the regression.

    Attributes:
        codes: (N, d) coded rows to put through the model, as they are where they are drawn whatever the row.
        same: (a, N) int32, see `Compared.same_as`; numbers: (b, N) numbers in standard deviations.
        compared: of `same`; numeric: (b,) the features in `numbers`.
        mean, scale: (b,) of the numeric ones.
        around: whether `numbers` are distances from the row, instead of from the mean of the reference.
    """

    codes: np.ndarray
    same: np.ndarray
    numbers: np.ndarray
    compared: tuple[Compared, ...]
    numeric: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    around: bool = False

    @property
    def first_features(self) -> np.ndarray:
        """(a + b,) the first feature of each regressor, which tells them apart."""
        return np.concatenate([[c.features[0] for c in self.compared], self.numeric]).astype(np.int64)

    def compared_with(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, a) int32 and (n, b) float64: rows as `same` and `numbers` know them; a null number is at the mean."""
        same = np.empty((len(rows), len(self.compared)), np.int32)
        for place, compared in enumerate(self.compared):
            same[:, place] = compared.same_as(rows)
        return same, np.nan_to_num((rows[:, self.numeric] - self.mean) / self.scale, nan=0.0)

    def shared_by(self, same: np.ndarray) -> np.ndarray:
        """(n, a) int64: how many neighbours are the same as each row, told as `compared_with` does."""
        counts = np.empty(same.shape, np.int64)
        for place, drawn in enumerate(self.same):
            values, number = np.unique(drawn, return_counts=True)
            at = np.minimum(np.searchsorted(values, same[:, place]), len(values) - 1)
            counts[:, place] = np.where(values[at] == same[:, place], number[at], 0)
        return counts

    def codes_around(self, rows: np.ndarray) -> np.ndarray:
        """(n, 1 + N, d) each coded row, then its neighbours, whose numbers are drawn around it."""
        steps, centre = self.codes.copy(), np.zeros_like(rows)
        steps[:, self.numeric] = self.numbers.T * self.scale
        centre[:, self.numeric] = np.where(np.isnan(rows[:, self.numeric]), self.mean, rows[:, self.numeric])
        codes = np.empty((len(rows), 1 + len(steps), rows.shape[1]))
        codes[:, 0] = rows
        np.add(steps, centre[:, None], out=codes[:, 1:])
        return codes


def _mean_and_scale(reference: np.ndarray, numeric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(b,) mean, NaN without a value, and (b,) standard deviation, 1 where it would be 0, of these columns.

    One column after another: the reference may be larger than memory.
    """
    mean, scale = np.full(len(numeric), np.nan), np.ones(len(numeric))
    for place, j in enumerate(numeric):
        given = reference[:, j]
        given = given[np.isfinite(given)]
        if len(given):
            mean[place], scale[place] = given.mean(), given.std() or 1.0
    return mean, scale


def draw_neighbourhood(
    reference: np.ndarray,
    categories: np.ndarray,
    players: Sequence[Player],
    *,
    count: int,
    discretize: Bins,
    repair: bool,
    around: bool,
    state: np.random.RandomState,
) -> Neighbourhood:
    """Draws the neighbours that all rows share.

    Args:
        reference: (r, d) coded rows of the training distribution.
        categories: (d,) bool.
        players: which features are bound together.
        count: N.
        discretize: how numbers are cut into bins; none: they enter as they are.
        repair: see `Column.values_in`.
        around: whether numbers that enter as they are lie around the row.
    """
    numeric = np.flatnonzero(~categories) if discretize == "none" else np.zeros(0, np.int64)
    parts: list[tuple[int, ...]] = []
    for player in players:
        alone = np.isin(player.columns, numeric).any()
        parts += [(j,) for j in player.columns if j not in numeric] if alone else [player.columns]
    codes = np.empty((count, reference.shape[1]))
    mean, scale = _mean_and_scale(reference, numeric)
    drawn = state.normal(0, 1, (count, len(numeric)))
    codes[:, numeric] = drawn * scale + mean
    compared = []
    same = np.empty((len(parts), count), np.int32)
    for place, features in enumerate(sorted(parts)):
        part = compared_of(reference, features, categories, discretize, state)
        same[place], codes[:, list(features)] = part.drawn(count, state, repair)
        compared.append(part)
    numbers = np.ascontiguousarray(drawn.T)
    return Neighbourhood(codes, same, numbers, tuple(compared), numeric, mean, scale, around and len(numeric) > 0)
