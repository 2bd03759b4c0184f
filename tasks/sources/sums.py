"""Sums of rows over the cells of a crossing, for all questions at once, and how far apart two cells lie.

A row's answers to the questions are one code, its state; a crossing of parts is then counted once, whatever the number
of questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.sources.outcomes import Question

#: rows, Σw, Σw², Σwx, Σwx²
ROWS, WEIGHT, SQUARE, TOTAL, TOTAL_SQUARE = range(5)


@dataclass(frozen=True, eq=False)
class Answers:
    """n rows' answers to q questions.

    Attributes:
        state: (n,) int32 code of what a row answers.
        size: how many states there are.
        counts: (states, q) 1 where a row of the state counts.
        hits: (states, q) 1 where it has the property asked for; 0 for means.
        weight: (n,) or None.
        amounts: question → (n,) values of a mean.
        sign: (q,) what makes a difference positive where a slice fares worse.
        rate: (q,) bool.
        spread: (q,) variance of a mean over all rows.
        total: (5, q) sums over all rows.
    """

    state: np.ndarray
    size: int
    counts: np.ndarray
    hits: np.ndarray
    weight: np.ndarray | None
    amounts: dict[int, np.ndarray]
    sign: np.ndarray
    rate: np.ndarray
    spread: np.ndarray
    total: np.ndarray

    def sums(self, cell: np.ndarray, cells: int) -> np.ndarray:
        """(cells, 5, q) sums over the rows of each cell.

        Args:
            cell: (n,) integer codes of cells.
        """
        key = cell * self.size + self.state
        rows = np.bincount(key, minlength=cells * self.size).reshape(cells, self.size)
        weight = square = rows
        if self.weight is not None:
            weight, square = (
                np.bincount(key, w, cells * self.size).reshape(cells, self.size)
                for w in (self.weight, self.weight * self.weight)
            )
        hit = weight @ self.hits
        found = np.stack([rows @ self.counts, weight @ self.counts, square @ self.counts, hit, hit], 1)
        for q, x in self.amounts.items():
            wx = x if self.weight is None else self.weight * x
            found[:, TOTAL, q] = np.bincount(cell, wx, cells)
            found[:, TOTAL_SQUARE, q] = np.bincount(cell, wx * x, cells)
        return found

    def worse_by(self, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How much worse one set of rows fares than another, disjoint one, and the standard error of that.

        A rate is drawn towards ½ by two rows for its error (Agresti and Caffo 2000), the variance of a mean towards
        that of all rows by one: neither is ever 0. NaN where a set has no row that counts.

        Args:
            one, other: (…, 5, q) sums.
        """
        (mean_a, error_a), (mean_b, error_b) = self._mean(one), self._mean(other)
        return self.sign * (mean_a - mean_b), np.sqrt(error_a + error_b)

    def _mean(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = sums[..., WEIGHT, :]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = sums[..., TOTAL, :] / weight
            n = weight**2 / sums[..., SQUARE, :]
            drawn = (mean * n + 1) / (n + 2)
            own = np.maximum(sums[..., TOTAL_SQUARE, :] / weight - mean**2, 0)
            variance = np.where(self.rate, drawn * (1 - drawn), (own * n + self.spread) / (n + 1))
            return mean, variance / n


def answers_of(questions: Sequence[Question], weight: np.ndarray | None) -> Answers:
    """The answers of rows to questions about them."""
    code = np.zeros(len(questions[0].among), np.int64)
    for question in questions:
        code = code * 3 + question.among * (1 + (question.value > 0 if question.rate else 0))
    states, state = np.unique(code, return_inverse=True)
    digits = np.stack([states // 3**place % 3 for place in reversed(range(len(questions)))], 1)
    rate = np.array([question.rate for question in questions])
    empty = np.zeros(len(questions))
    answers = Answers(
        state=state.astype(np.int32), size=len(states), counts=(digits > 0).astype(float),
        hits=((digits == 2) & rate).astype(float), weight=weight,
        amounts={q: question.value for q, question in enumerate(questions) if not question.rate},
        sign=np.array([question.sign for question in questions]), rate=rate, spread=empty, total=np.zeros((5, 1)),
    )  # fmt: skip
    total = answers.sums(np.zeros(len(state), np.int32), 1)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = total[TOTAL_SQUARE] / total[WEIGHT] - (total[TOTAL] / total[WEIGHT]) ** 2
    return replace(answers, spread=np.maximum(np.nan_to_num(spread), 0), total=total)
