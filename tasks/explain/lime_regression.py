"""LIME's local regressions of many rows at once, from one shared sample of neighbours.

For each row the neighbours get weights by their distance to it, and a ridge regression of the model's output on the
interpretable columns is fitted. All that the regression, the choice of features and R² need is the matrix of weighted
second moments of (1, columns, outputs); building it is the whole work, and a compiled loop does it without ever
holding a row's columns in memory. The rest is small dense algebra on batches of rows.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

#: ridge penalties of the lime package: of the explanation, and of the regression that ranks features
PENALTY, RANKING_PENALTY = 1.0, 0.01
#: up to so many features are chosen by forward selection
FORWARD_UP_TO = 6


@dataclass(frozen=True)
class Sample:
    """Neighbours that every row shares.

    Attributes:
        same: (a, N) int32: columns that are 1 where the neighbour's value equals the row's, else 0.
        numbers: (b, N) float64: columns that are themselves, standardised.
        outputs: (k, N) float64 model outputs of the neighbours.
    """

    same: np.ndarray
    numbers: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True)
class Fits:
    """Regressions of n rows and m outputs on d columns.

    Attributes:
        coefficients: (n, m, d), nought where a column was not chosen.
        intercept: (n, m).
        r2: (n, m) weighted share of variance explained; NaN where the outputs do not vary.
    """

    coefficients: np.ndarray
    intercept: np.ndarray
    r2: np.ndarray


def _add_moments(
    same: np.ndarray,
    same_row: np.ndarray,
    numbers: np.ndarray,
    number_row: np.ndarray,
    outputs: np.ndarray,
    explained: np.ndarray,
    exponent: float,
    moments: np.ndarray,
) -> None:  # pragma: no cover - runs compiled
    """Adds the neighbours' moments, lower triangle, to `moments`; compiled by numba, block by block of neighbours."""
    block = 128
    a, total = same.shape
    b = numbers.shape[0]
    n, m = explained.shape
    q = 1 + a + b + m
    columns = np.empty((q, block))
    weight = np.empty(block)
    weighted = np.empty(block)
    for i in range(n):
        for start in range(0, total, block):
            size = min(block, total - start)
            for s in range(size):
                columns[0, s] = 1.0
                weight[s] = 0.0
            for j in range(a):
                own = same_row[i, j]
                for s in range(size):
                    equal = 1.0 if same[j, start + s] == own else 0.0
                    columns[1 + j, s] = equal
                    weight[s] += 1.0 - equal
            for j in range(b):
                value = number_row[i, j]
                for s in range(size):
                    number = numbers[j, start + s]
                    columns[1 + a + j, s] = number
                    weight[s] += (number - value) * (number - value)
            for o in range(m):
                k = explained[i, o]
                for s in range(size):
                    columns[1 + a + b + o, s] = outputs[k, start + s]
            for s in range(size):
                weight[s] = np.exp(weight[s] * exponent)
            for u in range(q):
                for s in range(size):
                    weighted[s] = weight[s] * columns[u, s]
                for v in range(u + 1):
                    part = 0.0
                    for s in range(size):
                        part += weighted[s] * columns[v, s]
                    moments[i, u, v] += part


@functools.cache
def _compiled() -> Callable[..., None]:
    import numba

    # Sums may be reordered so that they are vectorised; the order is fixed when the loop is compiled.
    options = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(_add_moments)
    except RuntimeError:  # nowhere to keep what is compiled
        return numba.njit(**options)(_add_moments)


def threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def weighted_moments(
    sample: Sample,
    same_row: np.ndarray,
    number_row: np.ndarray,
    own: np.ndarray,
    explained: np.ndarray,
    kernel_width: float,
) -> np.ndarray:
    """Second moments of (1, columns, outputs) around each row, the row itself among its neighbours with weight 1.

    The weight of a neighbour at the distance D is √exp(−D²/width²), D Euclidean in the columns.

    Args:
        same_row: (n, a) int32, the rows' values in the columns of `sample.same`.
        number_row: (n, b) float64, in those of `sample.numbers`.
        own: (n, k) float64 the rows' own outputs.
        explained: (n, m) int64 which outputs.

    Returns:
        (n, q, q) symmetric, q = 1 + a + b + m.
    """
    n, m = explained.shape
    a, b = len(sample.same), len(sample.numbers)
    chosen = np.take_along_axis(own, explained, axis=1)
    itself = np.concatenate([np.ones((n, 1 + a)), number_row, chosen], axis=1)
    moments = itself[:, :, None] * itself[:, None, :]
    kernel = _compiled()
    # One memory layout, so that the loop is compiled once.
    same_row, number_row = np.array(same_row, np.int32, order="C"), np.array(number_row, np.float64, order="C")
    explained = np.array(explained, np.int64, order="C")

    def add(part: slice) -> None:
        kernel(
            sample.same, same_row[part], sample.numbers, number_row[part], sample.outputs, explained[part],
            -0.5 / kernel_width**2, moments[part],
        )  # fmt: skip

    # Slices of rows in threads of our own: numba's pool may not be entered by two techniques at a time.
    step = max(1, -(-n // (4 * threads())))
    parts = [slice(start, start + step) for start in range(0, n, step)]
    if len(parts) == 1:
        add(parts[0])
    else:
        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(add, parts))
    upper = np.triu_indices(1 + a + b + m, 1)
    moments[:, upper[0], upper[1]] = moments[:, upper[1], upper[0]]
    return moments


def fit(moments: np.ndarray, outputs: int, at_row: np.ndarray, features: int | None = None) -> Fits:
    """Ridge regressions with intercept from weighted moments, as the lime package fits them.

    Args:
        moments: (n, q, q) as `weighted_moments` gives them.
        outputs: m, how many of the q are outputs.
        at_row: (n, d) the columns' values at the row itself: features are ranked by coefficient times this.
        features: how many to choose: up to six by forward selection, else those of the highest weights; None for all.
    """
    d = moments.shape[1] - 1 - outputs
    mean = moments[:, 0] / moments[:, :1, 0]
    centred = moments - moments[:, :1, 0, None] * mean[:, :, None] * mean[:, None, :]
    gram = np.repeat(centred[:, None, 1 : d + 1, 1 : d + 1], outputs, axis=1)  # (n, m, d, d)
    cross = np.moveaxis(centred[:, 1 : d + 1, d + 1 :], 1, 2)  # (n, m, d)
    spread = np.maximum(np.diagonal(centred[:, d + 1 :, d + 1 :], axis1=1, axis2=2), 0.0)  # (n, m)
    if features is None or features >= d:
        coefficients = _ridge(gram, cross, PENALTY)
    else:
        if features <= FORWARD_UP_TO:
            chosen = _forward(gram, cross, features)
        else:
            weight = np.abs(_ridge(gram, cross, RANKING_PENALTY) * at_row[:, None])
            chosen = np.argsort(-weight, axis=-1, kind="stable")[..., :features]
        coefficients = np.zeros_like(cross)
        np.put_along_axis(coefficients, chosen, _ridge(*_parts(gram, cross, chosen), PENALTY), axis=-1)
    explained = 2 * np.einsum("nmd,nmd->nm", coefficients, cross) - np.einsum(
        "nmd,nmde,nme->nm", coefficients, gram, coefficients
    )
    # Outputs that agree to float32 do not vary: their R² would be that of the rounding.
    scale = np.abs(mean[:, d + 1 :]) + np.sqrt(spread / moments[:, :1, 0])
    varies = spread > moments[:, :1, 0] * (1e-7 * scale) ** 2
    r2 = np.divide(explained, spread, out=np.full_like(spread, np.nan), where=varies)
    intercept = mean[:, d + 1 :] - np.einsum("nmd,nd->nm", coefficients, mean[:, 1 : d + 1])
    return Fits(coefficients, intercept, r2)


def _ridge(gram: np.ndarray, cross: np.ndarray, penalty: float) -> np.ndarray:
    return np.linalg.solve(gram + penalty * np.eye(gram.shape[-1]), cross[..., None])[..., 0]


def _parts(gram: np.ndarray, cross: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the chosen features, (n, m, t, t) and (n, m, t)."""
    some = np.take_along_axis(gram, chosen[..., None], axis=2)
    return np.take_along_axis(some, chosen[..., None, :], axis=3), np.take_along_axis(cross, chosen, axis=2)


def _forward(gram: np.ndarray, cross: np.ndarray, features: int) -> np.ndarray:
    """(n, m, features): in each step the feature that raises an unpenalised R² most; the first of equals."""
    n, m, d = cross.shape
    chosen = np.zeros((n, m, 0), np.int64)
    for _ in range(features):
        gain = np.full((n, m, d), -np.inf)
        for feature in range(d):
            tried = np.concatenate([chosen, np.full((n, m, 1), feature)], axis=2)
            some, with_y = _parts(gram, cross, tried)
            # A feature that no neighbour shares, or that copies another, leaves no inverse.
            solved = np.einsum("nmst,nmt->nms", np.linalg.pinv(some, rcond=1e-10, hermitian=True), with_y)
            gain[..., feature] = np.einsum("nms,nms->nm", solved, with_y)
        np.put_along_axis(gain, chosen, -np.inf, axis=2)
        chosen = np.concatenate([chosen, gain.argmax(axis=2)[..., None]], axis=2)
    return chosen
