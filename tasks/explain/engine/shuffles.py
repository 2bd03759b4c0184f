"""Tables in which a player's values change places among the rows: how they are drawn, and what the model says of them.

A shuffled table exists a batch at a time, where the model reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.errors import OutputError
from tasks.explain.base import Problem
from tasks.explain.engine.strata import Strata
from tasks.watch import Watch

#: (player, source): row i of a shuffled table has the player's values of row source[i]
Shuffle = tuple[int, np.ndarray]


def shuffles(n: int, players: int, repeats: int, state: np.random.RandomState) -> Iterator[Shuffle]:
    """eli5's shuffles of one column, of the rows' positions in place of their values: one a repeat, for all players."""
    from eli5.permutation_importance import iter_shuffled

    positions = np.arange(n)[:, None]
    for _ in range(repeats):
        for shuffled in iter_shuffled(positions, random_state=state):
            source = shuffled[:, 0].copy()
            yield from ((player, source) for player in range(players))


def within(strata: list[Strata], repeats: int, generator: np.random.Generator) -> Iterator[Shuffle]:
    """Shuffles in which a row's values come from its own stratum."""
    orders = [np.argsort(own.place, kind="stable") for own in strata]
    for _ in range(repeats):
        for player, own in enumerate(strata):
            source = np.empty(len(own.place), np.int64)
            source[orders[player]] = np.lexsort((generator.random(len(source)), own.place))
            yield player, source


@dataclass(frozen=True)
class Table:
    """Rows, (n, d) and by columns (d, n), as the model reads them; as they are, and no columns, if too many to copy."""

    rows: Any
    columns: np.ndarray | None


def evaluated(
    problem: Problem,
    table: Table,
    stack: Sequence[tuple[int | None, np.ndarray]],
    settle: Callable[[int | None, np.ndarray], None],
    watch: Watch,
) -> None:
    """Hands over the outputs, (n, k) of the audited ones, of each shuffled table, one after the other.

    Args:
        stack: shuffles; of player None the rows as they are.

    Raises:
        OutputError: the model returned NaN or infinity; `values` are the players' names, or positions of rows as they
            are.
    """
    n, audited = len(table.rows), problem.predictor.audited
    found = np.empty((n, audited.stop - audited.start))
    moved = []
    for player, source in stack:
        places = () if player is None else problem.players[player].columns
        own = [(j, np.array(table.rows[:, j]) if table.columns is None else table.columns[j]) for j in places]
        moved.append((source, own))

    def fill(start: int, buffer: np.ndarray) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            for which, first, at, stop in pieces(start, len(buffer), n):
                part = buffer[at:stop]
                source, own = moved[which]
                part[:] = table.rows[first : first + len(part)]
                for j, column in own:
                    part[:, j] = column.take(source[first : first + len(part)])

    def keep(start: int, outputs: np.ndarray) -> None:
        for which, first, at, stop in pieces(start, len(outputs), n):
            found[first : first + stop - at] = outputs[at:stop, audited]
            if first + stop - at == n:
                settle(stack[which][0], found)

    try:
        problem.predictor.streamed(len(stack) * n, fill, keep, "probability", watch)
    except OutputError as error:
        players = {stack[int(str(position)) // n][0] for position in error.values}
        if None in players:
            raise
        raise OutputError(
            "the model returned NaN or infinity for rows in which one feature was shuffled",
            where="model.path",
            values=[problem.players[player].name for player in sorted(p for p in players if p is not None)],
            hint="look at the model's answer to rows that do not occur",
        ) from error


def pieces(start: int, count: int, n: int) -> Iterator[tuple[int, int, int, int]]:
    """Rows start … start + count of tables of n rows, one after the other: (table, its row, from, to) of the count."""
    at = 0
    while at < count:
        which, first = divmod(start + at, n)
        stop = min(count, at + n - first)
        yield which, first, at, stop
        at = stop
