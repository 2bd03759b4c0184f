"""What was computed once from the rows and serves every attribute: an order, a loss, a bin of each row.

Kept up to a number of bytes; what was asked for longest ago goes first and is computed again when it is asked for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

#: bytes of arrays that are kept: for ten million rows all that a binary model's metrics share
LIMIT = 512 * 2**20

T = TypeVar("T")


class Memo:
    """Values by key. Threads that ask at the same time wait for one another: what both need is made once.

    Args:
        limit: bytes of arrays.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._guard = threading.RLock()  # a value may be made of other values

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made where it is not kept."""
        with self._guard:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
            value = make()
            size = _bytes(value)
            if size <= self._limit:
                while self._held and self._bytes + size > self._limit:
                    self._bytes -= self._held.popitem(last=False)[1][1]
                self._held[key] = value, size
                self._bytes += size
            return value


def _bytes(value: Any) -> int:
    """Bytes of the arrays in a value, in a tuple of them, or in a record's fields."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    parts = value if isinstance(value, tuple) else vars(value).values() if hasattr(value, "__dict__") else ()
    return sum(_bytes(part) for part in parts)
