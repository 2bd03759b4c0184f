"""Shapley values of the margin for chosen rows against a chosen background: what reasons for a decision are made of.

A row gets only as many coalitions as it takes to settle what is asked of its values: first few, then twice as many,
and so on. What a row gets depends on the row alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tasks.explain.base import Attribution, Player, Problem
from tasks.explain.engine.coalitions import draw_coalitions, fewest_coalitions
from tasks.explain.shapley import prepare_kernel
from tasks.load import Subject
from tasks.watch import Watch

#: coalitions of the first stage
FIRST = 128
#: rows explained together: a multiple of it keeps a table's numbers the same in parts of any size
BATCH = 256


@dataclass(frozen=True)
class Contributions:
    """Each player's contribution to the margin of the last audited output, in log-odds.

    Attributes:
        players: g features, or features that the config binds together.
        explain: (n, d) codes → (n, g) values, whose sum is the row's margin less the background's mean one, their
            (n, g) standard errors, and (n,) the coalitions that they took. Raises OutputError where the model returns
            NaN or infinity.
        facts: JSON values: the estimator and its stages.
        batch: rows to explain together; numbers are the same in parts of any multiple of it.
    """

    players: tuple[Player, ...]
    explain: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
    facts: Mapping[str, Any]
    batch: int = BATCH


def contributions(
    subject: Subject,
    problem: Problem,
    rows: np.ndarray,
    background: np.ndarray,
    coalitions: int,
    watch: Watch,
    settled: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> Contributions:
    """Prepares the contributions of rows against a background.

    Args:
        problem: the audit's, for its features, its groups and its seed.
        rows: (n, d) codes, n ≥ 1; those to explain, of which a few are looked at beforehand.
        background: (b, d) codes that stand for "feature absent".
        coalitions: that a row may cost at most; more where that many players need more.
        settled: (n, g) values and standard errors → (n,) rows that need no more; None: every row gets all.

    Raises:
        OutputError: the model returned NaN or infinity.
        Stopped, DeadlinePassed: the watch says so.
    """
    output = range(len(problem.outputs))[subject.predictor.audited][-1]
    asked = replace(
        problem,
        kind="margin",
        rows=rows,
        background=background,
        explained=np.full((len(rows), 1), output),
        positions=None,
    )
    g = len(asked.players)
    budget = max(coalitions - 2, 2 * fewest_coalitions(g))
    drawn = draw_coalitions(g, budget, asked.generator("reasons.coalitions"))
    enough = None if settled is None else lambda values, error: settled(values[:, 0], error[:, 0])
    prepared = prepare_kernel(asked, drawn, "auto", watch, settled=enough, first=FIRST)

    def explain(some: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = prepared.explain(some, np.full((len(some), 1), output))
        assert isinstance(found, Attribution)
        values = found.values[:, 0]
        error = np.zeros_like(values) if found.std_error is None else found.std_error[:, 0]
        looked = found.quality.get("coalitions")
        everyone = np.full(len(some), drawn.count + 2.0)
        return values, error, everyone if looked is None else looked[:, 0]

    return Contributions(asked.players, explain, prepared.facts)
