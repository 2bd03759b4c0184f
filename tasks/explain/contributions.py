"""Shapley values of the margin for chosen rows against a chosen background: what reasons for a decision are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasks.explain.base import Attribution, Problem
from tasks.explain.shapley import ShapleySettings, fewest_coalitions, prepare
from tasks.load import Subject
from tasks.watch import Watch

_BATCH = 256


def contributions(
    subject: Subject, problem: Problem, rows: np.ndarray, background: np.ndarray, coalitions: int, watch: Watch
) -> np.ndarray:
    """Each feature's contribution to the margin of the last audited output, in log-odds.

    Args:
        problem: the audit's, for its features and its seed.
        rows: (n, d) codes to explain.
        background: (b, d) codes that stand for "feature absent".
        coalitions: that a row may cost; more where that many features need more.

    Returns:
        (n, d) float64; a row's add up to its margin less the background's mean margin.

    Raises:
        OutputError: the model returned NaN or infinity.
        Stopped, DeadlinePassed: the watch says so.
    """
    output = range(len(problem.outputs))[subject.predictor.audited][-1]
    explained = np.full((len(rows), 1), output)
    asked = replace(
        problem, kind="margin", rows=rows, background=background, explained=explained, positions=None, groups={}
    )
    settings = ShapleySettings(coalitions=max(coalitions, 2 * fewest_coalitions(rows.shape[1]) + 2))
    prepared = prepare(asked, settings, watch)
    found = np.empty(rows.shape)
    watch.expect(len(rows))
    for start in range(0, len(rows), _BATCH):
        part = slice(start, min(start + _BATCH, len(rows)))
        answer = prepared.explain(rows[part], explained[part])
        assert isinstance(answer, Attribution)
        found[part] = answer.values[:, 0]
        watch.advance(part.stop - part.start)
    return found
