"""The same bits at any number of threads: numpy's linear algebra on one thread while steps run.

OpenBLAS and MKL split a product among threads and add the parts up, so its last bits depend on how many there are (seen
from about fifty features on). The heavy work of a step is the model's and numba's, which are steady by themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_guard = threading.Lock()
_inside = 0
_limit: Any = None


@contextmanager
def steady_algebra() -> Iterator[None]:
    """While any thread is inside, BLAS works on one thread; the last one out gives it back its threads."""
    global _inside, _limit
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with _guard:
        if _inside == 0:
            _limit = threadpool_limits(1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _guard:
            _inside -= 1
            if _inside == 0:
                _limit.restore_original_limits()
                _limit = None
