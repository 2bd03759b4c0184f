"""A small cache of opened models, data and subjects, keyed by what they were made from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Keeps the `size` entries used last. Threads that ask for the same key wait for one of them to make it.

    An error is not kept: whoever asks next tries again.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._guard = threading.Lock()
        self._entries: OrderedDict[Hashable, T] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The entry under the key, made by `make()` where it is not there yet."""
        with self._guard:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._guard:
                if key in self._entries:
                    return self._entries[key]
            try:
                entry = make()
                with self._guard:
                    self._entries[key] = entry
                    while len(self._entries) > self._size:
                        self._entries.popitem(last=False)
            finally:
                with self._guard:
                    self._making.pop(key, None)
            return entry

    def clear(self) -> None:
        """Forgets everything."""
        with self._guard:
            self._entries.clear()
