"""A long loop hears the stop flag and the deadline, and says how far it is."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.errors import DeadlinePassed, Stopped
from tasks.watch import Watch


class Told:
    """A listener that keeps what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int | None]] = []

    def __call__(self, task: str, done: int, total: int | None) -> None:
        self.calls.append((task, done, total))


def test_progress_is_told_batch_by_batch():
    told = Told()
    watch = Watch(report=told).for_task("explain")
    watch.expect(10)
    watch.advance(4)
    watch.advance(6)
    watch.finish()
    assert told.calls == [
        ("explain", 0, None),
        ("explain", 0, 10),
        ("explain", 4, 10),
        ("explain", 10, 10),
        ("explain", 10, 10),
    ]


@pytest.mark.parametrize(
    ("total", "advances", "last"),
    [(None, [], (1, 1)), (None, [3, 4], (7, 7)), (0, [], (1, 1)), (5, [2], (5, 5)), (5, [9], (5, 5))],
)
def test_a_finished_task_is_told_as_whole(total, advances, last):
    told = Told()
    watch = Watch(report=told, task="t")
    if total is not None:
        watch.expect(total)
    for units in advances:
        watch.advance(units)
    watch.finish()
    assert told.calls[-1] == ("t", *last)


def test_expecting_again_starts_at_nought():
    watch = Watch()
    watch.expect(3)
    watch.advance(2)
    watch.expect(7)
    assert (watch.done, watch.total) == (0, 7)


def test_the_stop_flag_ends_every_task_at_its_next_batch():
    told = Told()
    audit = Watch(report=told)
    tasks = [audit.for_task(name) for name in ("a", "b")]
    for task in tasks:
        task.advance()
    audit.stop.set()
    for task in tasks:
        with pytest.raises(Stopped, match=f"^{task.task}: stopped by the user$") as stopped:
            task.advance()
        assert stopped.value.exit_code == 130
    assert ("a", 2, None) in told.calls  # the batch that was done is counted


def test_a_stopped_task_does_not_even_begin():
    watch = Watch()
    watch.stop.set()
    with pytest.raises(Stopped, match=r"^stopped by the user$"):
        watch.expect(5)


def test_a_passed_deadline_ends_the_task_and_says_how_far_it_was():
    watch = Watch(task="shap")
    watch.expect(50)
    watch.advance(20)
    watch.deadline = time.monotonic() - 1
    with pytest.raises(DeadlinePassed, match=r"^shap: the deadline passed after 30 of 50 units; raise run\.deadline"):
        watch.advance(10)


def test_a_passed_deadline_without_a_plan():
    with pytest.raises(DeadlinePassed, match=r"after 1 of [?] units"):
        Watch(deadline=time.monotonic() - 1).advance()


def test_stopping_wins_over_the_deadline():
    watch = Watch(deadline=time.monotonic() - 1)
    watch.stop.set()
    with pytest.raises(Stopped):
        watch.advance()


def test_a_deadline_in_the_future_or_none_at_all_does_not_end_it():
    for watch in (Watch(), Watch().for_task("t"), Watch().for_task("t", seconds=3600.0)):
        for _ in range(100):
            watch.advance()
        assert watch.done == 100


def test_each_task_has_its_own_progress_and_deadline_but_one_stop_flag():
    audit = Watch()
    first = audit.for_task("first", seconds=3600.0)
    first.advance(5)
    second = first.for_task("second")
    assert (second.done, second.total, second.deadline) == (0, None, None)
    assert first.deadline is not None
    assert first.deadline > time.monotonic()
    assert first.done == 5
    assert second.stop is first.stop is audit.stop
    second.unfinished.append(Path("x"))
    assert audit.unfinished == [Path("x")]


def test_two_audits_share_nothing():
    first, second = Watch(), Watch()
    first.stop.set()
    first.unfinished.append(Path("x"))
    second.advance()
    assert second.unfinished == []


def test_another_listener_keeps_the_flag():
    told = Told()
    watch = Watch(task="t")
    other = replace(watch, report=told)
    watch.stop.set()
    with pytest.raises(Stopped):
        other.advance()
    assert told.calls == [("t", 1, None)]


def test_a_flag_set_from_another_thread_stops_the_loop():
    watch = Watch(task="loop")
    reached = threading.Event()
    ended: list[BaseException] = []

    def loop() -> None:
        try:
            while True:
                watch.advance()
                reached.set()
        except Stopped as error:
            ended.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    assert reached.wait(30)
    watch.stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert isinstance(ended[0], Stopped)
