"""Rows of a local technique, shared out among processes: each has its rows' pieces kept, and the stage joins them.

    to_share         what of an audit can be shared out
    explain_shard    some rows of one technique, worked out and kept

A shard is a range of whole batches, so its pieces (`parts.py`) are the technique's own numbers, and the stage, run
after the shards, finds all of them and comes to the bits of a run in one process. What it does not find it works out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from configs.schema import AuditConfig
from tasks.contracts import NotApplicable
from tasks.errors import AuditError
from tasks.explain.base import Prepared
from tasks.explain.parts import folder_of, local, whole_batches
from tasks.explain.stage import asked_for
from tasks.persist import Workspace
from tasks.watch import Watch

#: rows that are worth a shard: a table's take milliseconds each, an image a second
LEAST = {"table": 1024, "image": 32}


@dataclass(frozen=True)
class Shareable:
    """A technique whose rows can be shared out.

    Attributes:
        folder: where its pieces are kept, under `.unfinished`.
        rows: how many there are.
        step: rows of the least shard; a shard begins at a multiple of it.
    """

    folder: str
    rows: int
    step: int

    def ranges(self, count: int) -> list[tuple[int, int]]:
        """At most so many ranges of rows, as even as whole steps allow."""
        steps = -(-self.rows // self.step)
        count = min(count, steps)
        cuts = [place * steps // count * self.step for place in range(count)]
        return list(zip(cuts, [*cuts[1:], self.rows], strict=True))


def to_share(names: Sequence[str], config: AuditConfig) -> dict[str, Shareable]:
    """Of these techniques, those that work row by row on more rows than one shard's.

    What is wrong with a technique or its settings is told by the stage, not here.
    """
    found = {}
    for name in names:
        try:
            asked = asked_for(name, config)
        except AuditError:
            continue
        if isinstance(asked, NotApplicable) or asked.technique.scope != "local":
            continue
        rows, step = len(asked.problem.rows), whole_batches(LEAST[asked.problem.modality], asked.technique)
        part = whole_batches(asked.part, asked.technique)
        folder = folder_of(asked.technique, asked.settings, asked.subject, rows, part)
        if folder is not None and rows > step:
            found[name] = Shareable(folder, rows, step)
    return found


def explain_shard(name: str, config: AuditConfig, workspace: Workspace, watch: Watch, rows: tuple[int, int]) -> bool:
    """Works out some rows of a technique and has them kept for `explain`; False where they cannot be kept.

    Args:
        rows: from, to; one of `Shareable.ranges`.

    Raises:
        OutputError, Stopped, DeadlinePassed, ConfigError: as `explain`.
    """
    asked = asked_for(name, config)
    if isinstance(asked, NotApplicable):
        return False
    technique, settings, problem = asked.technique, asked.settings, asked.problem
    watch.expect(rows[1] - rows[0])
    prepared = technique.prepare(problem, settings, watch)
    if not isinstance(prepared, Prepared):
        return False
    work = local(technique, settings, asked.subject, problem, prepared.explain, workspace, watch, part=asked.part)
    with work as found:
        return found.work_out(slice(*rows), watch)
