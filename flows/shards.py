"""Rows of local techniques, shared out among the workers of a cluster; with threads nothing is shared out.

Each worker keeps the pieces that it works out; when all of a technique's shards are there, its ordinary step finds
them, writes the table and comes to the same bits as in one process. A lost worker's shards are given to another.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows import steps
from flows.run import Ledger, Run
from tasks.explain import Shareable
from tasks.persist import take_unfinished
from tasks.persist.finished import has
from tasks.watch import Watch

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture

#: shards for each task that can run at a time: the last ones to end keep few waiting
EACH = 4
#: seconds between two looks at the shards
_LOOK = 0.1

#: first row, row after the last, the task that works them out
Shard = tuple[int, int, Any]


@dataclass(frozen=True)
class Sharing:
    """An audit whose rows may be shared out.

    Attributes:
        plan: the task that finds out what can be, or None.
    """

    run: Run
    runner: Any
    plan: PrefectFuture[Any] | None

    @classmethod
    def begun(cls, run: Run, runner: Any, ledger: Ledger, techniques: Sequence[str]) -> Sharing:
        """Has a worker look at the techniques whose results are not kept from an earlier run."""
        if run.config.run.task_runner != "dask" or run.workspace.unfinished is None:
            return cls(run, runner, None)
        keys = {f"explain/{name}": run.keys and run.keys.of(f"explain/{name}", ledger.results) for name in techniques}
        open_ = [step.partition("/")[2] for step, key in keys.items() if not (key and has(run.finished, step, key))]
        plan = runner.submit(steps.share_rows, parameters={"run": run, "techniques": open_})
        return cls(run, runner, plan)

    @contextmanager
    def shards(self) -> Iterator[Shards]:
        """The shards at work; for the length of the block their pieces are this run's."""
        shares: Mapping[str, Shareable] = {}
        if self.plan is not None:
            self.plan.wait()
            found = self.plan.result(raise_on_failure=False)
            shares = found if isinstance(found, dict) else {}  # what is wrong, the techniques' own steps tell
        with ExitStack() as held:
            started = {name: self._started(name, share, held) for name, share in shares.items()}
            kept = {name: shards for name, shards in started.items() if shards is not None}
            yield Shards(self.run, self.runner, kept)

    def _started(self, name: str, share: Shareable, held: ExitStack) -> list[Shard] | None:
        """The shards of a technique, without those that are there; None where another run works with its pieces."""
        workspace = self.run.workspace
        assert workspace.unfinished is not None
        kept = take_unfinished(workspace.unfinished, share.folder, run_id=workspace.run_id, stage=f"explain/{name}")
        if kept is None:
            return None
        held.callback(kept.close)
        if not kept.claim():
            return None
        asked = {"run": self.run, "technique": name}
        return [
            (*rows, self.runner.submit(steps.explain_shard, parameters={**asked, "rows": rows}))
            for rows in share.ranges(EACH * self.runner.slots)
            if not kept.covers(*rows)
        ]


@dataclass(frozen=True)
class Shards:
    """The shards of an audit, by technique."""

    run: Run
    runner: Any
    of: Mapping[str, list[Shard]]

    def joined(self, start: Callable[..., Any]) -> dict[str, Any]:
        """Waits for the shards; when a technique has all of its own, its step is started.

        Returns:
            Step → its future, or that of its first shard that failed: then there is nothing to join.

        Raises:
            Stopped: the user stopped the audit.
        """
        started: dict[str, Any] = {}
        waiting = {name: deque(shards) for name, shards in self.of.items()}
        watches = {name: self.run.watch.for_task(f"explain with {name}") for name in waiting}
        for name, watch in watches.items():
            watch.expect(sum(stop - first for first, stop, _ in waiting[name]))
        while waiting:
            for name, shards in list(waiting.items()):
                failed = _passed(shards, watches[name])
                if failed is not None:
                    self.runner.cancel([future for *_, future in shards])
                    started[f"explain/{name}"] = failed
                elif not shards:
                    started[f"explain/{name}"] = start(f"explain/{name}", steps.explain, technique=name)
                if f"explain/{name}" in started:
                    del waiting[name]
            if waiting:
                time.sleep(_LOOK)
        return started


def _passed(shards: deque[Shard], watch: Watch) -> Any:
    """Takes off the shards that are done, in the order of their rows: so the error is that of one process."""
    watch.advance(0)
    while shards and shards[0][2].done():
        first, stop, future = shards.popleft()
        if isinstance(future.result(raise_on_failure=False), BaseException):
            return future
        watch.advance(stop - first)
    return None
