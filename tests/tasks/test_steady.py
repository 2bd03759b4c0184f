"""Linear algebra on one thread, whichever thread asks for it and whoever else sets the number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits  # type: ignore[import-untyped]

from tasks.steady import steady_algebra


def threads_of_blas() -> set[int]:
    assert np.ones(2) @ np.ones(2) == 2  # a library is loaded
    return {library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers}


def elsewhere(work: Callable[[], object]) -> None:
    """Runs something on a thread that ends with it."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """BLAS has two threads, set by a thread that lives on: the only one that threadpoolctl listens to."""
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        with threadpool_limits(2, user_api="blas"):
            ready.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    ready.wait()
    yield
    done.set()
    holder.join()


def test_any_thread_may_ask(two_threads: None) -> None:
    before, inside, after = [], [], []

    def work() -> None:
        before.append(threads_of_blas())
        with steady_algebra():
            inside.append(threads_of_blas())
            elsewhere(lambda: inside.append(threads_of_blas()))
        after.append(threads_of_blas())

    elsewhere(work)
    if before == [{2}]:  # else an earlier test's thread still has the word, and two could not be set
        assert after == [{2}]
    assert inside == [{1}, {1}]


def test_the_last_one_out_gives_the_threads_back(two_threads: None) -> None:
    before = threads_of_blas()
    first_in, first_out = threading.Event(), threading.Event()

    def first() -> None:
        with steady_algebra():
            first_in.set()
            first_out.wait()

    thread = threading.Thread(target=first)
    thread.start()
    first_in.wait()
    with steady_algebra():
        first_out.set()
        thread.join()
        assert threads_of_blas() == {1}
    assert threads_of_blas() == before
