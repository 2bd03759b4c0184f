"""The bootstrap of whatever follows from a table of counts, at a cost that does not grow with the rows.

Without weights a resample is one multinomial draw on the non-empty cells, which is what drawing rows with replacement
does to their counts. With weights each row would be drawn a Poisson(1) number of times; the Σw of a cell then has mean
Σw and variance Σw², and a gamma variable of that mean and variance stands for it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tasks.bias.base import Shares
from tasks.bias.rows.counts import Confusion
from tasks.bias.statistics.widest import Widest

#: bytes that a block of draws may take
_BLOCK = 64 * 2**20

FromCells = Callable[[np.ndarray], np.ndarray]

#: a share of a disparity is found to one part in 4096
_HALVINGS = 12

#: expected count of a cell from which on the percentile bootstrap is trusted
LEAST_CELL = 10


class Drawn(NamedTuple):
    """A metric of a table of counts, over some groups.

    Attributes:
        name: of the metric.
        from_cells: (…, 9) cells → (…) values.
        groups: (k,) groups that a gap is over.
        value, std_error: (k,) theirs, as counted.
    """

    name: str
    from_cells: FromCells
    groups: np.ndarray
    value: np.ndarray
    std_error: np.ndarray


@dataclass(frozen=True)
class Resampler:
    """Draws tables of one attribute.

    Args:
        draws: how many.
        seed: every table is drawn from it and its question alone, so that the order of asking changes nothing.
    """

    draws: int
    seed: tuple[int, ...]
    _known: dict[Hashable, Widest] = field(default_factory=dict)  # several comparisons look at the same rates

    def generator(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([*self.seed, *purpose.encode()])

    def of_counts(self, question: str, table: Confusion, metrics: Sequence[Drawn], confidence: float) -> Widest:
        """The widest gap of the groups in any of the metrics, in resampled tables.

        Args:
            question: names the table.
            table: what was counted.
        """
        key = (question, confidence, *((metric.name, metric.groups.tobytes()) for metric in metrics))
        if key not in self._known:
            drawn = np.unique(np.concatenate([metric.groups for metric in metrics]))
            places = [np.searchsorted(drawn, metric.groups) for metric in metrics]
            generator = self.generator(question)

            def blocks() -> Iterator[list[np.ndarray]]:
                for size in self._sizes(len(drawn) * 72):
                    tables = self._tables(generator, table, drawn, size)
                    yield [m.from_cells(tables[:, place]) for m, place in zip(metrics, places, strict=True)]

            value, error = [m.value for m in metrics], [m.std_error for m in metrics]
            self._known[key] = Widest.of(blocks(), value, error, confidence)
        return self._known[key]

    def of_estimates(
        self, name: str, value: np.ndarray, std_error: np.ndarray, n: np.ndarray, confidence: float, *,
        on_logits: bool, within: tuple[float, float],
    ) -> Widest:  # fmt: skip
        """The widest gap of groups whose metric does not follow from counts: a parametric bootstrap.

        Each group's value is drawn around what was found, with its standard error, independently of the others (Efron
        and Tibshirani 1993, section 6.5).

        Args:
            name: of the metric.
            value, std_error: (k,) of the groups; standard errors > 0.
            n: (k,) rows behind them: the degrees of freedom of Student's t are one less.
            on_logits: normal on the logit scale (values in (0, 1)); else Student's t on the metric's own, cut off at
                its ends.
            within: the metric's lowest and highest value.
        """
        generator = self.generator(f"estimates {name}")

        def blocks() -> Iterator[list[np.ndarray]]:
            for size in self._sizes(len(value) * 8):
                if on_logits:
                    spread = std_error / (value * (1 - value))
                    drawn = np.log(value / (1 - value)) + spread * generator.standard_normal((size, len(value)))
                    yield [1 / (1 + np.exp(-drawn))]
                else:
                    t = generator.standard_t(np.maximum(n - 1, 1), (size, len(value)))
                    yield [np.clip(value + std_error * t, *within)]

        key = ("estimates", name, confidence, value.tobytes())
        if key not in self._known:
            self._known[key] = Widest.of(blocks(), [value], [std_error], confidence)
        return self._known[key]

    def _sizes(self, row: int) -> Iterator[int]:
        """How many draws there are in each block, where one takes so many bytes."""
        most = max(1, _BLOCK // row)
        for done in range(0, self.draws, most):
            yield min(most, self.draws - done)

    @staticmethod
    def _tables(generator: np.random.Generator, table: Confusion, groups: np.ndarray, draws: int) -> np.ndarray:
        square = table.square[groups] if table.weighted else None
        return resampled(generator, table.weight[groups], square, draws)


def resampled(generator: np.random.Generator, weight: np.ndarray, square: np.ndarray | None, draws: int) -> np.ndarray:
    """(draws, *shape) tables like one that was counted.

    Args:
        weight: Σw of its cells, of any shape.
        square: Σw²; None without weights, where `weight` are counts.
    """
    filled = np.flatnonzero(weight > 0)
    drawn = np.zeros((draws, weight.size))
    mean = weight.ravel()[filled]
    if square is not None:
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


def least_disparity(drawn: Callable[[float], np.ndarray], value: float, confidence: float) -> float:
    """How much of an observed disparity there must be: the lower limit of a statistic that cannot be negative.

    Chance makes such a statistic too large, so its percentiles never reach down to 0. Instead the disparity itself is
    shrunk, all groups moving towards what they have in common, until a statistic as large as the observed one would be
    drawn in no more than half the error (Garthwaite and Buckland 1992 invert a test in this way).

    Args:
        drawn: share of the disparity that is left, 0-1 → (draws,) statistics.
        value: the observed statistic.
        confidence: of the two-sided interval.

    Returns:
        The least share of the disparity that does not make the observed value a surprise; 0 where none does.
    """
    tail = (1 - confidence) / 2
    low, high = 0.0, 1.0
    if np.mean(drawn(0.0) >= value) > tail:
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if np.mean(drawn(middle) >= value) > tail:
            high = middle
        else:
            low = middle
    return low


def trusted(table: Confusion, groups: np.ndarray, shares: Shares) -> bool:
    """Whether in every group enough rows have each property, and enough of those that could have it have not.

    With weights, enough effective rows: ten of which one carries all the weight are one.
    """
    for counted, among in shares:
        for cells in (counted, among - counted):
            if (table.effective(cells)[groups] < LEAST_CELL).any():
                return False
    return True
