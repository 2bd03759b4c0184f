"""Arrays and tables too large to be held in memory: kept in a file without a name, and mapped.

What is larger than LIMIT lies in a temporary file (in TMPDIR) that loses its name before anything is written, or never
has one: nobody else can open it, and it is gone when the process ends, however it ends. Pages that were read stay in
memory until `forget` gives them back, or the system takes them when it needs the room.

Small data stay in memory, and nothing here costs them anything.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import pyarrow as pa

from tasks.errors import StorageError

#: bytes of a table or an array beyond which it is kept in a file
LIMIT = 1 << 26
#: rows that are read, coded or looked at together where they are kept in a file
CHUNK = 65_536
#: rows that are read together where they are here and there in a file: the system reads around each of them
FEW = 256
#: bytes that a cell of a table takes at the least that is usual; a file is smaller than what it holds
CELL = 12


def room(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array to be filled: in memory, or in a mapped file where it is larger than LIMIT.

    Raises:
        StorageError: the temporary folder's disk has no room for it.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= LIMIT:
        return np.empty(shape, dtype)
    with _as_storage(), _nameless() as file:
        # Room is taken now: a page that finds none when it is written would end the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:  # pragma: no cover - macOS
            os.ftruncate(file.fileno(), size)
        return np.ndarray(shape, dtype, buffer=mmap.mmap(file.fileno(), size))


def mapped_table(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> tuple[pa.Table, mmap.mmap]:
    """A table whose columns lie in a file, and the file's map: batches are written as they come, none is held.

    Raises:
        StorageError: the temporary folder's disk is full. What reading `batches` raises, stays.
    """
    with _nameless() as file:
        with pa.ipc.new_stream(pa.PythonFile(_Told(file), "w"), schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        mapped = mmap.mmap(file.fileno(), file.tell(), access=mmap.ACCESS_READ)
    return pa.ipc.open_stream(pa.py_buffer(mapped)).read_all(), mapped


def in_file(array: np.ndarray) -> bool:
    """Whether an array, or the one that it is a part of, lies in a file of this module."""
    return _origin(array) is not None


def forget(array: np.ndarray) -> None:
    """Gives back the memory of consecutive rows of an array; what was written to them is kept in the file.

    Nothing happens to an array in memory. Whoever still reads these rows gets them from the file again.
    """
    origin = _origin(array)
    if origin is None or not array.size:
        return
    first = array.__array_interface__["data"][0] - origin.__array_interface__["data"][0]
    start = first // mmap.PAGESIZE * mmap.PAGESIZE
    forget_map(origin.base, start, first + array.nbytes - start)  # type: ignore[arg-type]


def forget_map(mapped: mmap.mmap, start: int = 0, length: int | None = None) -> None:
    """Gives back the memory of a map, or of some of its bytes."""
    if hasattr(mapped, "madvise"):  # not on Windows
        mapped.madvise(mmap.MADV_DONTNEED, start, len(mapped) - start if length is None else length)


def pieces(array: np.ndarray) -> Iterator[slice]:
    """An array's rows: all at once where it is in memory, else CHUNK by CHUNK, each forgotten when it was used."""
    if not in_file(array):
        yield slice(0, len(array))
        return
    for rows in chunks(len(array)):
        yield rows
        forget(array[rows])


def taken(array: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The rows at these positions, copied; in a file where they are large."""
    found = room((len(positions), *array.shape[1:]), array.dtype)
    step = FEW if in_file(array) or in_file(found) else max(1, len(positions))
    for start in range(0, len(positions), step):
        found[start : start + step] = array[positions[start : start + step]]
        forget(array)
        forget(found[start : start + step])
    return found


def chunks(rows: int) -> Iterator[slice]:
    """Rows CHUNK by CHUNK."""
    for start in range(0, rows, CHUNK):
        yield slice(start, min(start + CHUNK, rows))


def _origin(array: np.ndarray) -> np.ndarray | None:
    """The array over a whole map that this one is a view of; None where there is none."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array if isinstance(array.base, mmap.mmap) else None


class _Told:
    """A file for Arrow whose full disk is told as such: it is no error of reading the data."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        with _as_storage():
            while left.nbytes:  # the system takes two GiB at a time
                left = left[self._file.write(left) :]
        return len(content)

    def flush(self) -> None: ...

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None: ...


@contextmanager
def _nameless() -> Iterator[IO[bytes]]:
    """A temporary file that only this process can reach; a map of it outlives it."""
    with _as_storage():
        made = tempfile.TemporaryFile(prefix="keras-audit-", buffering=0)  # noqa: SIM115  # closed below
    with made as file:
        yield file


@contextmanager
def _as_storage() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"the data are too large for memory and cannot be kept in a file ({error.strerror or error})",
            where=tempfile.gettempdir(),
            hint="free space there, or name a folder with more in TMPDIR",
        ) from error
