"""Which rows of an array are read where they are, and where the others go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.load.aligned import aligned, aligned_row, around


def _at(offset: int, shape: tuple[int, int]) -> np.ndarray:
    """A float32 array that begins so many bytes after a multiple of 64."""
    room = aligned((shape[0] * shape[1] + 16,), np.dtype(np.float32))
    return room[offset // 4 : offset // 4 + shape[0] * shape[1]].reshape(shape)


@given(st.integers(0, 200), st.integers(1, 40))
def test_a_buffer_begins_at_a_multiple_of_64(rows: int, width: int) -> None:
    found = aligned((rows, width), np.dtype(np.float32))
    assert found.shape == (rows, width)
    assert not found.size or found.ctypes.data % 64 == 0


@pytest.mark.parametrize(
    ("offset", "width", "first"),
    [(0, 20, 0), (16, 20, 3), (16, 107, 4), (48, 1, 4), (16, 16, 200), (16, 32, 200), (4, 20, 200)],
)
def test_the_first_row_from_which_whole_batches_are_aligned(offset: int, width: int, first: int) -> None:
    rows = _at(offset, (200, width))
    assert aligned_row(rows, 64, rows.dtype) == first
    for start in range(first, 200 - 63, 64):
        assert rows[start : start + 64].ctypes.data % 64 == 0


def test_other_arrays_are_not_read_where_they_are() -> None:
    rows, float32 = _at(0, (128, 4)), np.dtype(np.float32)
    locked = rows.view()
    locked.flags.writeable = False
    assert aligned_row(rows, 64, float32) == 0
    assert aligned_row(locked, 64, float32) == 128
    assert aligned_row(rows, 64, np.dtype(np.float64)) == 128
    assert aligned_row(rows[::2], 64, float32) == 64  # not contiguous
    assert aligned_row(rows.view(np.memmap), 64, float32) == 128
    assert aligned_row(rows[:63], 64, float32) == 63  # less than a batch
    assert aligned_row(rows, 3, float32) == 128  # the second batch would not be aligned
    assert aligned_row(rows[:0], 64, float32) == 0


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.data())
def test_rows_around_those_left_out(first: int, inside: int, after: int, data: st.DataObject) -> None:
    stop, n = first + inside, first + inside + after
    expected = [*range(first), *range(stop, n)]
    start = data.draw(st.integers(0, len(expected)))
    count = data.draw(st.integers(0, len(expected) - start))
    found = [-1] * count
    for own, at in around(start, count, first, stop):
        found[own] = range(at, at + own.stop - own.start)
    assert found == expected[start : start + count]
