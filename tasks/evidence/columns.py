"""Which rows of two columns differ: floats within a tolerance, everything else exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Tolerance:
    """How far a float may lie from the recorded one: `relative` times the recorded one's size, at least `absolute`."""

    relative: float
    absolute: float


#: between machines: the contract's 1e-6, and a floor under which a number is nought
LOOSE = Tolerance(1e-6, 1e-12)
#: columns of floats that count: a whole number in them is exact everywhere
COUNTS = frozenset(
    {"numerator", "denominator", "selected", "gained", "lost", "reference_numerator", "reference_denominator"}
)


def rows_differ(recorded: pa.Array, found: pa.Array, tolerance: Tolerance | None, *, counts: bool = False) -> Any:
    """(n,) bool: which rows differ. Null equals null only, NaN equals NaN only.

    Args:
        recorded, found: (n,) each, of one type; lists are compared element by element.
        tolerance: for floats; None: bit for bit.
        counts: whole numbers among recorded floats are exact.
    """
    kind = recorded.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _lists_differ(recorded, found, tolerance)
    if pa.types.is_floating(kind):
        return _reals_differ(recorded, found, tolerance, counts)
    if recorded.equals(found):
        return np.zeros(len(recorded), bool)
    try:
        unequal = pc.fill_null(pc.not_equal(recorded, found), False)
    except pa.ArrowNotImplementedError:  # structs and the like, as an id column may hold them
        pairs = zip(recorded.to_pylist(), found.to_pylist(), strict=True)
        return np.fromiter((a != b for a, b in pairs), bool, len(recorded))
    return _mask(unequal) | (_mask(recorded.is_null()) != _mask(found.is_null()))


def first_difference(recorded: pa.Scalar, found: pa.Scalar, tolerance: Tolerance | None) -> tuple[str, Any, Any]:
    """Where two values differ (`[3]` in lists of one length, else nothing), and what stands there."""
    kind = recorded.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not (recorded.is_valid and found.is_valid) or len(recorded.values) != len(found.values):
        return "", _plain(recorded), _plain(found)
    place = int(np.argmax(rows_differ(recorded.values, found.values, tolerance)))
    inner, was, now = first_difference(recorded.values[place], found.values[place], tolerance)
    return f"[{place}]{inner}", was, now


def numbers_differ(recorded: float, found: float, tolerance: Tolerance | None, *, counts: bool = False) -> bool:
    """As `rows_differ`, of two numbers."""
    one, other = pa.array([recorded], pa.float64()), pa.array([found], pa.float64())
    return bool(_reals_differ(one, other, tolerance, counts)[0])


def _reals_differ(recorded: pa.Array, found: pa.Array, tolerance: Tolerance | None, counts: bool) -> Any:
    no_value, none_now = _mask(recorded.is_null()), _mask(found.is_null())
    was, now = (_values(array) for array in (recorded, found))
    bits = np.dtype(f"u{was.dtype.itemsize}")
    unequal = was.view(bits) != now.view(bits)
    if tolerance is not None and unequal.any():
        with np.errstate(invalid="ignore", over="ignore"):
            allowed = np.maximum(tolerance.relative * np.abs(was), tolerance.absolute)
            near = np.isfinite(was) & np.isfinite(now) & (np.abs(now - was) <= allowed)
            if counts:
                near &= was != np.floor(was)
        unequal &= ~(near | (was == now))
    unequal &= ~(np.isnan(was) & np.isnan(now))
    return (no_value != none_now) | (unequal & ~no_value)


def _values(array: pa.Array) -> np.ndarray:
    filled = array.fill_null(pa.scalar(0, array.type)) if array.null_count else array
    return np.ascontiguousarray(filled.to_numpy(zero_copy_only=False))


def _lists_differ(recorded: pa.Array, found: pa.Array, tolerance: Tolerance | None) -> Any:
    lengths, others = (pc.list_value_length(array).fill_null(-1) for array in (recorded, found))
    size = lengths.to_numpy(zero_copy_only=False)
    differ = size != others.to_numpy(zero_copy_only=False)
    if differ.any():
        alike = pa.array(~differ)
        recorded, found = recorded.filter(alike), found.filter(alike)
    rows = np.flatnonzero(~differ)
    unequal = rows_differ(pc.list_flatten(recorded), pc.list_flatten(found), tolerance)
    if unequal.any():
        of_row = np.repeat(rows, np.maximum(size[rows], 0))
        differ[of_row[unequal]] = True
    return differ


def _mask(flags: Any) -> np.ndarray:
    return flags.to_numpy(zero_copy_only=False).astype(bool)


def _plain(value: pa.Scalar) -> Any:
    """As Python shows it; a float32 by its own shortest text."""
    if value.is_valid and pa.types.is_float32(value.type):
        return np.float32(value.as_py())
    return value.as_py()


def aligned(
    recorded: Iterable[pa.RecordBatch], found: Iterable[pa.RecordBatch]
) -> Iterable[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Two streams of batches as pairs of batches of the same rows, up to where the shorter one ends."""
    left, right = (filter(len, batches) for batches in (recorded, found))
    one, other = next(left, None), next(right, None)
    while one is not None and other is not None:
        rows = min(len(one), len(other))
        yield one.slice(0, rows), other.slice(0, rows)
        one = one.slice(rows) if len(one) > rows else next(left, None)
        other = other.slice(rows) if len(other) > rows else next(right, None)
