"""Views of rows given as arrays, for tests of single metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasks.bias import METRICS
from tasks.bias.base import View
from tasks.bias.disparities import Situation
from tasks.bias.rows.counts import Counts
from tasks.bias.rows.evidence import Evidence
from tasks.bias.statistics.resampling import Resampler


def view_of(
    scores, label, *, weight=None, truth=None, task="binary", positive=(1,), of_class=None, codes=None, decision=None,
    draws=200,
) -> View:  # fmt: skip
    scores = np.asarray(scores, float)
    scores = scores[:, None] if scores.ndim == 1 else scores
    n = len(scores)
    codes = np.zeros(n, int) if codes is None else np.asarray(codes)
    classes = ("no", "yes") if task != "multiclass" else tuple(map(str, range(scores.shape[1])))
    outputs = {"binary": ("yes",), "multiclass": classes, "regression": ("value",)}[task]
    label = np.asarray(label)
    decision = label if decision is None else np.asarray(decision)
    found = Evidence(
        task=task, row_id=np.arange(n), position=np.arange(n), classes=classes, label=label, decision=decision,
        outputs=outputs, scores=scores, truth=truth, weight=weight, favorable=positive, positive=positive,
    )  # fmt: skip
    counts = Counts.of(codes, codes.max() + 1, label, decision, weight)
    return View(found, codes, counts, 0.95, of_class, draws=draws)


def situation_of(view: View, *metrics: str, reference: int | None = 0, least: int = 1, **more) -> Situation:
    view = replace(view, **more)
    return Situation(
        view=view, measured={name: METRICS[name].measure(view) for name in metrics},
        names=[f"g{k}" for k in range(view.size)], least=least, reference=reference,
        resampler=Resampler(view.draws, view.seed),
    )  # fmt: skip
