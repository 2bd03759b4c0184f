"""Memory that TensorFlow reads where it is: its kernels want an array to begin at a multiple of 64 bytes."""

from __future__ import annotations

import numpy as np

_ALIGNMENT = 64


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that begins where TensorFlow's kernels want it to."""
    size = int(np.prod(shape)) * dtype.itemsize
    room = np.empty(size + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)


def aligned_row(rows: np.ndarray, batch: int, dtype: np.dtype) -> int:
    """The first row from which on a whole batch may be read where it is, as TensorFlow's kernels want it to begin; the
    number of rows where there is none. So do all batches after it: a batch is a multiple of 64 rows, or aligned."""
    n = len(rows)
    if n < batch or rows.dtype != dtype or type(rows) is not np.ndarray or not rows.size:
        return n
    if not (rows.flags.c_contiguous and rows.flags.writeable) or rows.strides[0] * batch % _ALIGNMENT:
        return n  # a read-only array is not handed over
    start, step = rows.ctypes.data, rows.strides[0]
    return next((row for row in range(min(_ALIGNMENT, n - batch + 1)) if not (start + row * step) % _ALIGNMENT), n)


def around(start: int, count: int, first: int, stop: int) -> list[tuple[slice, int]]:
    """Where rows start … start + count are found once first … stop are left out: (which of them, their place)."""
    head = min(max(first - start, 0), count)
    parts = [(slice(0, head), start), (slice(head, count), start + head + stop - first)]
    return [(own, at) for own, at in parts if own.stop > own.start]
