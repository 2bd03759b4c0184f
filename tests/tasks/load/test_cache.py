from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.load.cache import Cache


def test_the_oldest_entry_goes_first():
    cache: Cache[int] = Cache(2)
    made: list[str] = []

    def make(key: str) -> int:
        return cache.get(key, lambda: made.append(key) or len(made))

    for key in ("a", "b", "a", "c", "a", "b"):
        make(key)
    assert made == ["a", "b", "c", "b"]


def test_threads_that_ask_at_once_share_one_making():
    cache: Cache[object] = Cache(2)
    started, go_on = threading.Event(), threading.Event()
    made = []

    def make() -> object:
        started.set()
        go_on.wait()
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(cache.get, "key", make)
        started.wait()
        others = [pool.submit(cache.get, "key", make) for _ in range(7)]
        go_on.set()
        found = {id(future.result()) for future in [first, *others]}
    assert len(made) == len(found) == 1


def test_an_error_is_not_kept():
    cache: Cache[int] = Cache(2)

    def fail() -> int:
        raise ValueError("once")

    with pytest.raises(ValueError, match="once"):
        cache.get("key", fail)
    assert cache.get("key", lambda: 7) == 7


def test_clear_forgets():
    cache: Cache[int] = Cache(2)
    assert cache.get("key", lambda: 1) == 1
    cache.clear()
    assert cache.get("key", lambda: 2) == 2
