"""Means over rows that come in batches: importance from attributions, and the summary of a quality measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.explain.base import Importance

Z95 = 1.959963984540054


class Tally:
    """Count, mean and sum of squares about the mean, for each output and each of d numbers a row.

    Batches are merged as by Chan, Golub and LeVeque 1983, Algorithms for computing the sample variance, equation 2.1:
    no cancellation, and the same bits whenever the batches are the same.
    """

    def __init__(self, outputs: Sequence[str], width: int) -> None:
        self._outputs = tuple(outputs)
        shape = (len(self._outputs), width)
        self._count, self._mean, self._squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._seen: set[int] = set()

    def add(self, explained: np.ndarray, values: np.ndarray) -> None:
        """Adds a batch.

        Args:
            explained: (n, m) which outputs.
            values: (n, m, d); one that is not finite is left out.
        """
        flat = values.reshape(-1, values.shape[-1])
        which = explained.ravel()
        for k in np.unique(which):
            self._seen.add(int(k))
            own = flat[which == k]
            finite = np.isfinite(own)
            count = finite.sum(axis=0)
            mean = np.divide(np.where(finite, own, 0).sum(axis=0), count, out=np.zeros(own.shape[1]), where=count > 0)
            squares = (np.where(finite, own - mean, 0) ** 2).sum(axis=0)
            total = self._count[k] + count
            share = np.divide(count, total, out=np.zeros(own.shape[1]), where=total > 0)
            step = mean - self._mean[k]
            self._squares[k] += squares + step**2 * self._count[k] * share
            self._mean[k] += step * share
            self._count[k] = total

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that occurred, in order, whether or not their numbers were finite."""
        return tuple(self._outputs[k] for k in sorted(self._seen))

    def _errors(self) -> np.ndarray:
        """(k, d) standard errors of the means; NaN below two rows."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self._count > 1, np.sqrt(self._squares / (self._count - 1) / self._count), np.nan)

    def importance(self) -> Importance:
        """The means of the outputs that occurred, with normal 95 % intervals over rows."""
        seen = np.flatnonzero(self._count.max(axis=1) > 0)
        mean, error = self._mean[seen], self._errors()[seen]
        return Importance(
            outputs=tuple(self._outputs[k] for k in seen),
            values=mean,
            std_error=error,
            ci_low=mean - Z95 * error,
            ci_high=mean + Z95 * error,
            n_rows=self._count[seen].max(axis=1).astype(np.int64),
        )

    def summaries(self) -> list[dict[str, Any]]:
        """Of the first number: one entry for all outputs together (output null), then one each if there are several."""
        together = Tally(("",), 1)
        for k in range(len(self._outputs)):
            together._merge(self._count[k, :1], self._mean[k, :1], self._squares[k, :1])
        entries = [together._summary(0, None)]
        seen = [k for k in range(len(self._outputs)) if self._count[k, 0] > 0]
        if len(self._outputs) > 1:
            entries += [self._summary(k, self._outputs[k]) for k in seen]
        return entries

    def _merge(self, count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        total = self._count[0] + count
        if total[0] == 0:
            return
        step = mean - self._mean[0]
        self._squares[0] += squares + step**2 * self._count[0] * count / total
        self._mean[0] += step * count / total
        self._count[0] = total

    def _summary(self, k: int, output: str | None) -> dict[str, Any]:
        n, mean, error = int(self._count[k, 0]), float(self._mean[k, 0]), float(self._errors()[k, 0])
        known = not math.isnan(error)
        return {
            "output": output,
            "mean": mean if n else None,
            "std_error": error if known else None,
            "ci_low": mean - Z95 * error if known else None,
            "ci_high": mean + Z95 * error if known else None,
            "n": n,
        }
