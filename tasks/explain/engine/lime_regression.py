"""LIME's local regressions of many rows at once, from one shared sample of neighbours.

For each row the neighbours get weights by their distance to it, and a ridge regression of the model's output on the
interpretable columns is fitted. All that the regression, the choice of features and R² need is the matrix of weighted
second moments of (1, columns, outputs); building it is the whole work, and a compiled loop does it without ever
holding a row's columns in memory. The rest is small dense algebra on batches of rows.

A second pass of the same loop, with squared weighted residuals in the weights' place, gives the sandwich estimate of
how far the coefficients would be from these had other neighbours been drawn (`standard_errors`).
"""

from __future__ import annotations

import functools
import os
import threading
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
        outputs: (k, N) float64 model outputs of the neighbours; (n, k, N) where each row has its own.
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


def _add_products(
    same: np.ndarray,
    same_row: np.ndarray,
    numbers: np.ndarray,
    number_row: np.ndarray,
    outputs: np.ndarray,
    explained: np.ndarray,
    exponent: float,
    lines: np.ndarray,
    products: np.ndarray,
) -> None:  # pragma: no cover - runs compiled
    """Adds weighted products of the neighbours' columns to lower triangles; compiled by numba, in blocks of neighbours.

    Without lines, (n, m, 0): products of (1, columns, outputs), weighted by the kernel, to products[i, 0].
    With lines, (n, m, 1 + columns), regressions by their intercept and coefficients: products of (1, columns), weighted
    by the square of kernel times residual, to products[i, output].
    """
    block = 128
    a, total = same.shape
    b = numbers.shape[0]
    n, m = explained.shape
    passes = m if lines.shape[2] > 0 else 1
    q = products.shape[2]
    columns = np.empty((1 + a + b + m, block))
    weight = np.empty(block)
    factor = np.empty(block)
    weighted = np.empty(block)
    for i in range(n):
        own_outputs = outputs[i if outputs.shape[0] > 1 else 0]
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
                    columns[1 + a + b + o, s] = own_outputs[k, start + s]
            for s in range(size):
                weight[s] = np.exp(weight[s] * exponent)
                factor[s] = weight[s]
            for o in range(passes):
                if lines.shape[2] > 0:
                    for s in range(size):
                        factor[s] = columns[1 + a + b + o, s]
                    for u in range(q):
                        slope = lines[i, o, u]
                        for s in range(size):
                            factor[s] -= slope * columns[u, s]
                    for s in range(size):
                        factor[s] = (weight[s] * factor[s]) ** 2
                for u in range(q):
                    for s in range(size):
                        weighted[s] = factor[s] * columns[u, s]
                    for v in range(u + 1):
                        part = 0.0
                        for s in range(size):
                            part += weighted[s] * columns[v, s]
                        products[i, o, u, v] += part


_SIGNATURE = "void(i4[:,::1], i4[:,::1], f8[:,::1], f8[:,::1], f8[:,:,::1], i8[:,::1], f8, f8[:,:,::1], f8[:,:,:,::1])"
_compiling = threading.Lock()


@functools.cache
def _compile() -> Callable[..., None]:
    import numba

    # Sums may be reordered so that they are vectorised; the order is fixed when the loop is compiled. Not kept on disk:
    # numba would lay its files among the sources, and loads them as pickles.
    return numba.njit(_SIGNATURE, nogil=True, fastmath={"reassoc", "contract", "nsz"})(_add_products)


def compiled() -> Callable[..., None]:
    """The loop, ready to run; about a second of work the first time that a process asks."""
    with _compiling:
        return _compile()


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
    a = len(sample.same)
    chosen = np.take_along_axis(own, explained, axis=1)
    itself = np.concatenate([np.ones((n, 1 + a)), number_row, chosen], axis=1)
    moments = np.ascontiguousarray((itself[:, :, None] * itself[:, None, :])[:, None])
    return _products(sample, same_row, number_row, explained, kernel_width, np.empty((n, m, 0)), moments)[:, 0]


def _products(
    sample: Sample,
    same_row: np.ndarray,
    number_row: np.ndarray,
    explained: np.ndarray,
    kernel_width: float,
    lines: np.ndarray,
    products: np.ndarray,
) -> np.ndarray:
    """Runs the compiled loop on the rows, shared among threads; `products` with both triangles filled."""
    n = len(explained)
    kernel = compiled()
    # The one memory layout that the loop is compiled for.
    same_row, number_row = np.array(same_row, np.int32, order="C"), np.array(number_row, np.float64, order="C")
    explained, lines = np.array(explained, np.int64, order="C"), np.array(lines, np.float64, order="C")
    shared = sample.outputs.ndim == 2
    outputs = np.ascontiguousarray(sample.outputs[None] if shared else sample.outputs)

    def add(part: slice) -> None:
        kernel(
            sample.same, same_row[part], sample.numbers, number_row[part], outputs if shared else outputs[part],
            explained[part], -0.5 / kernel_width**2, lines[part], products[part],
        )  # fmt: skip

    # Slices of rows in threads of our own: numba's pool may not be entered by two techniques at a time.
    step = max(1, -(-n // (4 * threads())))
    parts = [slice(start, start + step) for start in range(0, n, step)]
    if len(parts) == 1:
        add(parts[0])
    else:
        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(add, parts))
    upper = np.triu_indices(products.shape[-1], 1)
    products[..., upper[0], upper[1]] = products[..., upper[1], upper[0]]
    return products


def fit(
    moments: np.ndarray,
    outputs: int,
    at_row: np.ndarray,
    features: int | None = None,
    membership: np.ndarray | None = None,
) -> Fits:
    """Ridge regressions with intercept from weighted moments, as the lime package fits them.

    Args:
        moments: (n, q, q) as `weighted_moments` gives them.
        outputs: m, how many of the q are outputs.
        at_row: (n, d) the columns' values at the row itself: features are ranked by coefficient times this.
        features: how many to choose: up to six by forward selection, else those of the highest weights; None for all.
        membership: (g, d) bool: the columns of each feature, which are chosen together; a column has one. The first
            of equal features is chosen. None: each column is a feature.
    """
    d = moments.shape[1] - 1 - outputs
    mean = moments[:, 0] / moments[:, :1, 0]
    centred = moments - moments[:, :1, 0, None] * mean[:, :, None] * mean[:, None, :]
    gram = np.repeat(centred[:, None, 1 : d + 1, 1 : d + 1], outputs, axis=1)  # (n, m, d, d)
    cross = np.moveaxis(centred[:, 1 : d + 1, d + 1 :], 1, 2)  # (n, m, d)
    spread = np.maximum(np.diagonal(centred[:, d + 1 :, d + 1 :], axis1=1, axis2=2), 0.0)  # (n, m)
    members = np.eye(d, dtype=bool) if membership is None else membership
    if features is None or features >= len(members):
        coefficients = _ridge(gram, cross, PENALTY)
    elif len(members) < d:
        chosen = _together(gram, cross, at_row, features, members)
        coefficients = _ridge(*_masked(gram, cross, chosen), PENALTY)
    else:
        coefficients = _chosen(gram, cross, at_row, features, members.argmax(axis=1))
    explained = 2 * np.einsum("nmd,nmd->nm", coefficients, cross) - np.einsum(
        "nmd,nmde,nme->nm", coefficients, gram, coefficients
    )
    # Outputs that agree to float32 do not vary: their R² would be that of the rounding.
    scale = np.abs(mean[:, d + 1 :]) + np.sqrt(spread / moments[:, :1, 0])
    varies = spread > moments[:, :1, 0] * (1e-7 * scale) ** 2
    r2 = np.divide(explained, spread, out=np.full_like(spread, np.nan), where=varies)
    intercept = mean[:, d + 1 :] - np.einsum("nmd,nd->nm", coefficients, mean[:, 1 : d + 1])
    return Fits(coefficients, intercept, r2)


def _chosen(gram: np.ndarray, cross: np.ndarray, at_row: np.ndarray, features: int, order: np.ndarray) -> np.ndarray:
    """(n, m, d) coefficients of a regression on some of the columns, which are looked through in an order, (d,)."""
    gram, cross = gram[..., order[:, None], order], cross[..., order]
    if features <= FORWARD_UP_TO:
        chosen = _forward(gram, cross, features)
    else:
        weight = np.abs(_ridge(gram, cross, RANKING_PENALTY) * at_row[:, None, order])
        chosen = np.argsort(-weight, axis=-1, kind="stable")[..., :features]
    coefficients = np.zeros_like(cross)
    np.put_along_axis(coefficients, order[chosen], _ridge(*_parts(gram, cross, chosen), PENALTY), axis=-1)
    return coefficients


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


# ---------------------------------------------------------------- columns that are chosen together


def _masked(gram: np.ndarray, cross: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nought outside of the chosen columns, (n, m, d) bool, whose coefficients a ridge then leaves at nought."""
    return gram * (chosen[..., :, None] & chosen[..., None, :]), cross * chosen


def _together(
    gram: np.ndarray, cross: np.ndarray, at_row: np.ndarray, features: int, membership: np.ndarray
) -> np.ndarray:
    """(n, m, d) bool: the columns of the chosen players, by the rules that the lime package has for columns."""
    n, m, _ = cross.shape
    players = np.zeros((n, m, len(membership)), bool)
    if features > FORWARD_UP_TO:
        weight = np.abs((_ridge(gram, cross, RANKING_PENALTY) * at_row[:, None]) @ membership.T)
        np.put_along_axis(players, np.argsort(-weight, axis=-1, kind="stable")[..., :features], True, axis=-1)
        return players @ membership
    for _ in range(features):
        gain = np.full(players.shape, -np.inf)
        for player, columns in enumerate(membership):
            some, with_y = _masked(gram, cross, (players @ membership) | columns)
            solved = np.einsum("nmst,nmt->nms", np.linalg.pinv(some, rcond=1e-10, hermitian=True), with_y)
            gain[..., player] = np.einsum("nms,nms->nm", solved, with_y)
        gain[players] = -np.inf
        np.put_along_axis(players, gain.argmax(axis=2)[..., None], True, axis=2)
    return players @ membership


# ---------------------------------------------------------------- how far other neighbours would lead


def standard_errors(
    sample: Sample,
    same_row: np.ndarray,
    number_row: np.ndarray,
    explained: np.ndarray,
    kernel_width: float,
    moments: np.ndarray,
    fits: Fits,
    membership: np.ndarray | None = None,
) -> np.ndarray:
    """Standard errors of coefficients over draws of the neighbours: the sandwich of weighted least squares.

    Neighbours are drawn one independently of another, so the coefficients are a smooth function of means over them, and
    vary as the sum of the neighbours' influences does: (G + λ)⁻¹ w (x − x̄) e, with the kernel's weight w, the residual
    e and the penalised moments G + λ (White 1980, with the ridge's penalty). That holds where all columns are in the
    regression: choosing among them varies too.

    Args:
        moments, fits: of the same arguments, all columns in the regression.
        membership: (g, d) bool, columns whose coefficients are added up; None where each is alone.

    Returns:
        (n, m, g).
    """
    n, m = explained.shape
    d = fits.coefficients.shape[2]
    mean = moments[:, 0, 1 : d + 1] / moments[:, 0, :1]
    gram = moments[:, 1 : d + 1, 1 : d + 1] - moments[:, :1, :1] * mean[:, :, None] * mean[:, None, :]
    inverse = np.linalg.inv(gram + PENALTY * np.eye(d))
    if membership is not None:  # of each player, the sum of its columns' influences
        alone = len(membership) == d
        inverse = inverse[:, membership.argmax(axis=1)] if alone else membership.astype(np.float64) @ inverse
    influence = np.concatenate([-(inverse @ mean[..., None]), inverse], axis=2)[:, None]  # (n, 1, g, 1 + d)
    lines = np.concatenate([fits.intercept[..., None], fits.coefficients], axis=2)
    meat = _products(
        sample, same_row, number_row, explained, kernel_width, lines, np.zeros((n, m, 1 + d, 1 + d))
    )  # fmt: skip
    return np.sqrt(np.maximum(((influence @ meat) * influence).sum(axis=3), 0.0))
