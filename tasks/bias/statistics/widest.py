"""The interval of the widest gap between any two of several groups, from draws of every group's value.

The widest gap that is seen is on average wider than the widest there is, so a plain percentile interval lies too high:
where all groups are alike it never covers 0, and with several groups almost tied it covers down to 75 % instead of 95
(docs/uncertainty.md). So its two ends are made in two ways:

- the far end is the percentile of the draws' widest gaps. What makes them too wide makes this end safe;
- the near end is the widest of the pairs' near ends, all of which hold at once: their common critical value is a
  quantile of the largest standardised error of any pair in the draws. Pairs that cannot be the widest, judged by bands
  around all values at a tenth of the error, have no say in it (the two steps of Romano, Shaikh and Wolf 2014,
  Econometrica 82, 1979–2002; inequality selection of Chernozhukov, Lee and Rosen 2013, Econometrica 81, 667–737).

A pair's error is held against the sum of the two standard errors, so that the largest is found without visiting pairs:
cost grows with the groups, not with their square. Ratios are treated as differences of logarithms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.bias.base import ratio
from tasks.bias.statistics.intervals import normal_quantile

#: share of the near end's error that is spent on ruling out pairs
_RULING_OUT = 0.1
#: the search for the largest standardised error converges in a handful of steps
_STEPS = 50

NONE = (float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class Contest:
    """Which groups may hold the highest and the lowest value of each metric.

    Attributes:
        value, std_error: a metric each: (k,) values of the groups that the gap is over, on a scale without ends.
        highest, lowest: a metric each: indices of the groups that may be it.
        tail: error of one end of the interval.
    """

    value: Sequence[np.ndarray]
    std_error: Sequence[np.ndarray]
    highest: Sequence[np.ndarray]
    lowest: Sequence[np.ndarray]
    tail: float

    @classmethod
    def of(cls, value: Sequence[np.ndarray], std_error: Sequence[np.ndarray], confidence: float) -> Contest:
        tail = (1 - confidence) / 2
        spent = _RULING_OUT * tail / sum(map(len, value))
        reach = [normal_quantile(1 - spent) * error for error in std_error]
        return cls(
            value,
            std_error,
            [np.flatnonzero(v + r >= (v - r).max()) for v, r in zip(value, reach, strict=True)],
            [np.flatnonzero(v - r <= (v + r).min()) for v, r in zip(value, reach, strict=True)],
            tail,
        )

    def errors(self, drawn: Sequence[np.ndarray]) -> np.ndarray:
        """(draws,) largest error of any pair that may be the widest, in units of the sum of its standard errors.

        Args:
            drawn: a metric each: (draws, k) values.
        """
        found = [
            _largest(x - v, s, high, low)
            for x, v, s, high, low in zip(drawn, self.value, self.std_error, self.highest, self.lowest, strict=True)
        ]
        return np.max(found, axis=0)

    def near(self, errors: np.ndarray) -> float:
        """The near end: the least that the widest gap can be, ≥ 0."""
        critical = np.quantile(errors, 1 - (1 - _RULING_OUT) * self.tail)
        apart = [
            (v[high] - critical * s[high]).max() - (v[low] + critical * s[low]).min()
            for v, s, high, low in zip(self.value, self.std_error, self.highest, self.lowest, strict=True)
        ]
        return max(0.0, float(max(apart)))


def _largest(off: np.ndarray, std_error: np.ndarray, highest: np.ndarray, lowest: np.ndarray) -> np.ndarray:
    """(draws,) max over i, j of (offᵢ − offⱼ)/(sᵢ + sⱼ), ≥ 0, by Dinkelbach's iteration for ratios."""
    up, down = off[:, highest], off[:, lowest]
    rows, found = np.arange(len(off)), np.zeros(len(off))
    for _ in range(_STEPS):
        i = (up - found[:, None] * std_error[highest]).argmax(1)
        j = (down + found[:, None] * std_error[lowest]).argmin(1)
        better = (up[rows, i] - down[rows, j]) / (std_error[highest[i]] + std_error[lowest[j]])
        better = np.where(highest[i] == lowest[j], found, np.maximum(better, found))
        if (better <= found * (1 + 1e-12)).all():
            break
        found = better
    return found


@dataclass(frozen=True, eq=False)
class Widest:
    """What the draws say of the widest gap, as a difference and as a ratio.

    Attributes:
        ends: (draws, metrics, 2) lowest and highest value over the groups.
        contest, errors: comparison → who was in question, and `Contest.errors`; no ratio where a value is ≤ 0.
    """

    ends: np.ndarray
    contest: dict[str, Contest]
    errors: dict[str, np.ndarray]

    @classmethod
    def of(
        cls,
        blocks: Iterable[Sequence[np.ndarray]],
        value: Sequence[np.ndarray],
        std_error: Sequence[np.ndarray],
        confidence: float,
    ) -> Widest:
        """From blocks of draws.

        Args:
            blocks: of each block a metric each: (draws, k) values.
            value, std_error: a metric each: (k,); standard errors > 0.
            confidence: such as 0.95.
        """
        contest = {"difference": Contest.of(value, std_error, confidence)}
        if all((v > 0).all() for v in value):
            logs = [np.log(v) for v in value]
            relative = [s / v for s, v in zip(std_error, value, strict=True)]
            contest["ratio"] = Contest.of(logs, relative, confidence)
        ends, errors = [], {comparison: [] for comparison in contest}  # type: ignore[var-annotated]
        for block in blocks:
            ends.append(np.stack([np.stack([x.min(-1), x.max(-1)], -1) for x in block], 1))
            errors["difference"].append(contest["difference"].errors(block))
            if "ratio" in contest:
                with np.errstate(divide="ignore", invalid="ignore"):
                    errors["ratio"].append(contest["ratio"].errors([np.log(x) for x in block]))
        return cls(np.concatenate(ends), contest, {key: np.concatenate(found) for key, found in errors.items()})

    def interval(self, comparison: str) -> tuple[float, float]:
        """Of max − min ≥ 0, or of min / max ≤ 1; NaN where a draw or a value leaves it undefined."""
        if comparison not in self.contest:
            return NONE
        low, high = self.ends[..., 0], self.ends[..., 1]
        gaps = (high - low).max(-1) if comparison == "difference" else ratio(low, high).min(-1)
        errors, contest = self.errors[comparison], self.contest[comparison]
        if np.isnan(gaps).any() or np.isnan(errors).any():
            return NONE
        near = contest.near(errors)
        if comparison == "difference":
            return near, float(np.quantile(gaps, 1 - contest.tail))
        return float(np.quantile(gaps, contest.tail)), float(np.exp(-near))
