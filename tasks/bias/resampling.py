"""The bootstrap of whatever follows from a table of counts, at a cost that does not grow with the rows.

Without weights a resample is one multinomial draw on the non-empty cells, which is what drawing rows with replacement
does to their counts. With weights each row would be drawn a Poisson(1) number of times; the Σw of a cell then has mean
Σw and variance Σw², and a gamma variable of that mean and variance stands for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tasks.bias.base import Shares
from tasks.bias.counts import Confusion

#: bytes that a block of draws may take
_BLOCK = 64 * 2**20

FromCells = Callable[[np.ndarray], np.ndarray]

#: expected count of a cell from which on the percentile bootstrap is trusted
LEAST_CELL = 10


@dataclass(frozen=True)
class Resampler:
    """Draws tables of one attribute.

    Args:
        draws: how many.
        seed: every table is drawn from it and its question alone, so that the order of asking changes nothing.
    """

    draws: int
    seed: tuple[int, ...]
    _known: dict[Hashable, np.ndarray] = field(default_factory=dict)  # several comparisons look at the same rates

    def generator(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([*self.seed, *purpose.encode()])

    def extremes(
        self, question: str, table: Confusion, rates: Sequence[tuple[str, FromCells, np.ndarray]]
    ) -> np.ndarray:
        """(draws, rates, 2) the lowest and the highest value over the groups of each rate, in resampled tables.

        Args:
            question: names the table.
            table: what was counted.
            rates: name, (…, 9) cells → (…) values, and (k,) the groups that it is over.
        """
        key = (question, *((name, groups.tobytes()) for name, _, groups in rates))
        if key not in self._known:
            drawn = np.unique(np.concatenate([groups for _, _, groups in rates]))
            places = [np.searchsorted(drawn, groups) for _, _, groups in rates]
            generator = self.generator(question)
            found, done = np.empty((self.draws, len(rates), 2)), 0
            while done < self.draws:
                block = min(self.draws - done, max(1, _BLOCK // (len(drawn) * 72)))
                tables = self._tables(generator, table, drawn, block)
                for k, ((_, from_cells, _), place) in enumerate(zip(rates, places, strict=True)):
                    values = from_cells(tables[:, place])
                    found[done : done + block, k] = np.stack([values.min(-1), values.max(-1)], -1)
                done += block
            self._known[key] = found
        return self._known[key]

    @staticmethod
    def _tables(generator: np.random.Generator, table: Confusion, groups: np.ndarray, draws: int) -> np.ndarray:
        weight, square = table.weight[groups], table.square[groups]
        filled = np.flatnonzero(weight > 0)
        drawn = np.zeros((draws, weight.size))
        mean = weight.ravel()[filled]
        if table.weighted:
            spread = square.ravel()[filled]
            drawn[:, filled] = generator.gamma(mean**2 / spread, spread / mean, size=(draws, len(filled)))
        else:
            drawn[:, filled] = generator.multinomial(round(mean.sum()), mean / mean.sum(), size=draws)
        return drawn.reshape(draws, *weight.shape)


def percentiles(statistics: np.ndarray, confidence: float) -> tuple[float, float]:
    """The percentile interval; NaN without draws, or where a draw left the statistic undefined."""
    if not len(statistics) or np.isnan(statistics).any():
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistics, [tail, 1 - tail])
    return float(low), float(high)


def trusted(table: Confusion, groups: np.ndarray, shares: Shares) -> bool:
    """Whether in every group enough rows have each property, and enough of those that could have it have not."""
    for counted, among in shares:
        hits = table.rows[groups] @ counted
        rest = table.rows[groups] @ among - hits
        if (hits < LEAST_CELL).any() or (rest < LEAST_CELL).any():
            return False
    return True
