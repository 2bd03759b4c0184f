"""How a long loop hears that it should stop, and says how far it is.

Prefect's cancellation and timeouts do not interrupt a thread, and neither does Ctrl-C. So every batch loop calls
`watch.advance(n)` once a batch: it reports progress and raises when the user has stopped the audit or the task's
deadline has passed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks.errors import DeadlinePassed, Stopped

#: task name, units done, units planned (None where it is not known)
Report = Callable[[str, int, int | None], None]


#: task name, what it has to say, in a sentence without its full stop
Say = Callable[[str, str], None]


def _silent(task: str, done: int, total: int | None) -> None:
    """Progress that nobody asked for."""


def _unheard(task: str, sentence: str) -> None:
    """What nobody asked for."""


@dataclass
class Watch:
    """Stop flag, deadline and progress of one task. Cheap: a batch pays a few microseconds.

    Args:
        stop: set by the first Ctrl-C; shared by all tasks of an audit.
        report: called with (task, done, total) after each batch, from the task's thread.
        task: the name progress is reported under.
        deadline: seconds on the monotonic clock, or None.
        abandoned: set when the audit has failed elsewhere, so that no step goes on working for nobody.
        say: called with (task, sentence) when there is something to tell beside progress.
        unfinished: folders to remove when the process has to end at once; shared by all tasks of an audit.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    report: Report = _silent
    task: str = ""
    deadline: float | None = None
    done: int = 0
    total: int | None = None
    unfinished: list[Path] = field(default_factory=list)
    abandoned: threading.Event = field(default_factory=threading.Event)
    say: Say = _unheard

    def for_task(self, task: str, *, seconds: float | None = None) -> Watch:
        """The watch of one task: same stop flag, own progress, own deadline `seconds` from now."""
        deadline = None if seconds is None else time.monotonic() + seconds
        watch = replace(self, task=task, deadline=deadline, done=0, total=None)
        watch.report(task, 0, None)
        return watch

    def finish(self) -> None:
        """Says that the task is done."""
        total = self.total or max(self.done, 1)
        self.report(self.task, total, total)

    def tell(self, sentence: str) -> None:
        """Says something of the task, such as that it goes on where an earlier run ended."""
        self.say(self.task, sentence)

    def expect(self, total: int) -> None:
        """Says how many units are planned, and starts counting at nought."""
        self.done, self.total = 0, total
        self.advance(0)

    def advance(self, units: int = 1) -> None:
        """Counts finished units.

        Raises:
            Stopped: the user stopped the audit.
            DeadlinePassed: the task ran into its deadline.
        """
        self.done += units
        self.report(self.task, self.done, self.total)
        if self.stop.is_set():
            raise Stopped("stopped by the user", where=self.task or None)
        if self.abandoned.is_set():
            raise Stopped("given up, since the audit has failed", where=self.task or None)
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise DeadlinePassed(
                f"the deadline passed after {self.done} of {self.total or '?'} units",
                where=self.task or None,
                hint="raise run.deadline, or explain fewer rows",
            )
