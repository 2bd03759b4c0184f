"""Loops over rows that numba compiles: one pass over ten million rows takes tens of milliseconds and no memory.

Sums are taken in the order of the rows, so they have the same bits on any number of cores. A loop is compiled when it
is first asked for (`compiled.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tasks.bias.rows import loop_bodies
from tasks.bias.rows.compiled import compiled

#: bits of a ranked row's flags: its label is positive; it begins a run of equal scores
HIT, BEGINS = 1, 2
#: rows of a bin index that belong to no bin
NO_BIN = 255


def moments(codes: np.ndarray, x: np.ndarray, weight: np.ndarray | None, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums by group for a mean and its spread; rows without a number (NaN) or of weight 0 are left out.

    Args:
        codes: (n,) group of each row.
        x: (n,) float64.
        weight: (n,) ≥ 0, or None.

    Returns:
        (4, groups): rows, Σw, Σw², Σwx; and (groups,) Σ(w(x − mean))², the mean taken first.
    """
    sums = np.zeros((4, groups))
    arrays = _rows(codes, groups), _reals(x), _weights(weight)
    _loop("moments")(*arrays, sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums[3] / sums[1]
    off = np.zeros(groups)
    _loop("offsets")(*arrays, mean, off)
    return sums, off


def tally(codes: np.ndarray, cell: np.ndarray, x: np.ndarray, weight: np.ndarray | None, shape: tuple[int, int]) -> Any:
    """Sums by group and cell.

    Args:
        codes: (n,) group of each row.
        cell: (n,) uint8; NO_BIN: the row is left out, as are those of weight 0.
        x: (n,) float64.
        shape: groups, cells.

    Returns:
        (4, groups, cells): rows, Σw, Σw², Σwx.
    """
    sums = np.zeros((4, *shape))
    _loop("tally")(_rows(codes, shape[0]), np.ascontiguousarray(cell), _reals(x), _weights(weight), sums)
    return sums


def areas(
    codes: np.ndarray, order: np.ndarray, flags: np.ndarray, weight: np.ndarray | None, groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """One sweep over ranked rows: what every group's area under the ROC curve is made of.

    Args:
        order: (m,) int32 rows by rising score.
        flags: (m,) uint8: HIT, BEGINS.
        weight: (m,) of the ranked rows, in their order, or None.

    Returns:
        (7, groups): Σw of positives, of negatives, their Σw², Σw of concordant pairs (ties half), rows, positive rows;
        and (m,) int32 the group of each ranked row.
    """
    sums, group = np.zeros((7, groups)), np.empty(len(order), np.int32)
    _loop("areas")(_rows(codes, groups), order, flags, _weights(weight), group, sums)
    return sums, group


def placements(
    order: np.ndarray, flags: np.ndarray, weight: np.ndarray | None, group: np.ndarray, sums: np.ndarray,
    influence: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """The second sweep: how far the placements of DeLong's lie from the area.

    Args:
        order, flags, weight: as `areas` takes them.
        group, sums: as `areas` gave them.
        influence: (n,) float64; each row's pull on its group's area is added, scaled so that its squares sum to
            DeLong's variance. None: not asked for.

    Returns:
        (2, groups) Σ(w(V − area))² of positives and of negatives; 0 where a group has no area.
    """
    spread = np.zeros((2, sums.shape[1]))
    pull = np.zeros(0) if influence is None else influence
    _loop("placements")(order, flags, _weights(weight), group, sums, spread, pull)
    return spread


def parted(
    flags: np.ndarray, weight: np.ndarray | None, group: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ranked rows, group after group, each group's by rising score.

    Args:
        flags, weight: as `areas` takes them.
        group: as `areas` gave it.
        start: (groups + 1,) int64 where each group starts.

    Returns:
        (m,) uint8 flags, BEGINS within the group; (m,) weights, or (0,) without.
    """
    mine = np.empty(len(flags), np.uint8)
    wide = np.empty(0 if weight is None else len(flags))
    _loop("parted")(flags, _weights(weight), group, start[:-1].copy(), mine, wide)
    return mine, wide


def steps(flags: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(1, 2 · scores) rows or Σw at each score that occurs, rising: negatives, then positives; as `between` takes them.

    Args:
        flags, weight: a group's rows as `parted` gives them.
    """
    found = np.zeros(2 * np.count_nonzero(flags & BEGINS))
    _loop("steps")(flags, weight, found)
    return found[None]


def corners(flags: np.ndarray, weight: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a ROC curve at falling thresholds, from (0, 0) to (1, 1): false and true positive rates. All of them,
    or where they are many at most so many, evenly spaced along the curve.

    Args:
        flags, weight: a group's rows as `parted` gives them, both labels among them.
    """
    scores = np.count_nonzero(flags & BEGINS)
    if scores < points:
        whole = steps(flags, weight)[0].reshape(-1, 2)[::-1].cumsum(0)
        whole = np.concatenate([np.zeros((1, 2)), whole / whole[-1]])
        return whole[:, 0], whole[:, 1]
    found = np.zeros((2, points))
    _loop("corners")(flags, weight, np.linspace(0, 2, points), found)
    kept = np.append(True, (np.diff(found) > 0).any(0))
    return found[0, kept], found[1, kept]


def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Areas between pairs of ROC curves, exactly: a curve is a straight line between the scores that occur.

    Args:
        first, second: (k, 2 · scores) rows or Σw at each rising score: negatives, then positives. The two may have
            scores of their own.

    Returns:
        (k,); NaN where a side is empty.
    """
    found = np.empty(len(first))
    _loop("between")(_reals(first), _reals(second), found)
    return found


def curves_at(tables: np.ndarray, points: int) -> np.ndarray:
    """ROC curves at equal steps: shares of positives passed where a share of negatives is, from the lowest score up.

    Args:
        tables: (k, 2 · scores) as `between` takes them.
        points: from 0 to 1, both among them.

    Returns:
        (k, points); NaN where a side is empty.
    """
    found = np.empty((len(tables), points))
    _loop("curves_at")(_reals(tables), found)
    return found


def extents(
    codes: np.ndarray, z: np.ndarray, hit: np.ndarray, weight: np.ndarray | None, groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """The range of z among negatives and among positives, by group.

    Args:
        hit: (n,) int8: 1, 0, or −1 for rows that are left out.

    Returns:
        (2, 2, groups): label, lowest and highest, infinite where there is no row; (2, groups) rows by label.
    """
    ends, rows = np.empty((2, 2, groups)), np.zeros((2, groups))
    ends[:, 0], ends[:, 1] = np.inf, -np.inf
    _loop("extents")(_rows(codes, groups), _reals(z), hit, _weights(weight), ends, rows)
    return ends, rows


def logistic(
    codes: np.ndarray, z: np.ndarray, hit: np.ndarray, weight: np.ndarray | None, at: np.ndarray, active: np.ndarray,
    sums: np.ndarray,
) -> None:  # fmt: skip
    """Adds the log-likelihood of y = logistic(intercept + slope · z) by group, and its derivatives.

    Args:
        hit: (n,) int8, −1: no label.
        at: (2, groups) intercepts and slopes.
        active: (groups,) bool: which groups are asked for.
        sums: (9, groups) to add to: log-likelihood; its gradient (2); the information matrix (00, 01, 11); the sum of
            the squared scores of rows (00, 01, 11), with Σw².
    """
    _loop("logistic")(_rows(codes, len(active)), _reals(z), hit, _weights(weight), at, active, sums)


def nearest(
    fit_numbers: np.ndarray, fit_codes: np.ndarray, numbers: np.ndarray, codes: np.ndarray, k: int
) -> np.ndarray:
    """The k nearest of the fitted rows, Euclidean in numbers, 2 for each code that differs; ties to the first.

    Args:
        fit_numbers, fit_codes: (m, a) float64, (m, b) int32, m ≥ k.
        numbers, codes: (q, a), (q, b) of the rows that are asked for.

    Returns:
        (q, k) int32, the nearest first.
    """
    found = np.empty((len(numbers), k), np.int32)
    loop, fitted = _loop("nearest"), (_reals(fit_numbers), _whole(fit_codes))
    numbers, codes = _reals(numbers), _whole(codes)

    def part(start: int) -> None:
        rows = slice(start, start + 500)
        loop(*fitted, numbers[rows], codes[rows], found[rows])

    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(part, range(0, len(numbers), 500)))
    return found


def threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _whole(codes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(codes, np.int32)


def _rows(codes: np.ndarray, groups: int) -> np.ndarray:
    """Codes as the loops read them. A loop does not look where it writes, so that is looked at here."""
    if len(codes) and not (codes.min() >= 0 and codes.max() < groups):
        raise IndexError(f"a group beyond the {groups} that there are")
    return _whole(codes)


def _reals(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, np.float64)


def _weights(weight: np.ndarray | None) -> np.ndarray:
    return np.zeros(0) if weight is None else _reals(weight)


def _loop(name: str) -> Callable[..., Any]:
    return compiled(loop_bodies, name)
