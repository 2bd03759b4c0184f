"""The same bits at any number of threads: numpy's linear algebra on one thread while steps run.

OpenBLAS and MKL split a product among threads and add the parts up, so its last bits depend on how many there are (seen
from about fifty features on). The heavy work of a step is the model's and numba's, which are steady by themselves.

Newer versions of threadpoolctl (3.8) let only one living thread set OpenBLAS's number and ignore all others, without
a word. Steps run on whichever thread of a pool is free, so the number is set past that.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_guard = threading.Lock()
_inside = 0
#: path of a library → itself, and its threads as they were
_before: dict[str, tuple[Any, int]] = {}


@contextmanager
def steady_algebra() -> Iterator[None]:
    """While any thread is inside, BLAS works on one thread; the last one out gives it back its threads."""
    global _inside
    with _guard:
        _limit()  # each time: a library may have been loaded meanwhile
        _inside += 1
    try:
        yield
    finally:
        with _guard:
            _inside -= 1
            if _inside == 0:
                _restore()


def _limit() -> None:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        threads = library.num_threads
        if threads is not None and threads != 1:
            _before.setdefault(library.filepath, (library, threads))
            _set(library, 1)


def _restore() -> None:
    for library, threads in _before.values():
        _set(library, threads)
    _before.clear()


def _set(library: Any, threads: int) -> None:
    getattr(library, "_real_set_num_threads", library.set_num_threads)(threads)
