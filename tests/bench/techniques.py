"""A technique at work: prepared, timed beside the floor, and those that no library is compared with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from harness import Bench, Speed, number, seconds
from subjects import Case, floor_line

from tasks.explain.base import Importance, Prepared, Problem, Technique
from tasks.watch import Watch

#: rows that a technique without a library beside it starts with, and seconds that its rows are chosen for
FEW, AIM = 8, 0.5


@dataclass(frozen=True)
class Run:
    """A technique over a problem's rows.

    Attributes:
        ready: seconds to prepare, compiling and the first row included.
        taken: seconds for all rows after that.
        evaluations: rows through the model, for all rows; preparing not counted.
        rate: the floor's rows a second at that moment.
        rows: those explained.
        work: explains them once more.
    """

    ready: float
    taken: float
    evaluations: int
    rate: float
    rows: np.ndarray
    work: Callable[[], int]


def local(case: Case, problem: Problem, technique: Technique, *, most: int = 7, **settings: Any) -> Run:
    """A local technique: prepared, called once, then timed over all rows, the best of runs in turn with the floor."""
    made: list[Prepared] = []

    def prepare() -> None:
        prepared = technique.prepare(problem, technique.settings.model_validate(settings), Watch())
        assert isinstance(prepared, Prepared)
        prepared.explain(problem.rows[:1], problem.explained[:1])
        made.append(prepared)

    ready = seconds(prepare)
    explain = made[0].explain

    def work() -> int:
        parts = range(0, len(problem.rows), technique.batch)
        cuts = [slice(start, start + technique.batch) for start in parts]
        return sum(explain(problem.rows[cut], problem.explained[cut]).evaluations for cut in cuts)

    evaluations = work()
    taken, rate = case.beside_floor(work, most=most)
    return Run(ready, taken, evaluations, rate, problem.rows, work)


def whole(case: Case, technique: Technique, *, most: int = 5, **settings: Any) -> tuple[float, float, Any]:
    """A technique that looks at all rows at once: seconds, the floor's rate at that moment, what it found."""
    chosen = technique.settings.model_validate(settings)
    found: list[Any] = []
    taken, rate = case.beside_floor(lambda: found.append(technique.prepare(case.problem, chosen, Watch())), most=most)
    assert found[-1].evaluations or not isinstance(found[-1], Importance)
    return taken, rate, found[-1]


# ---------------------------------------------------------------- without a library beside them


def others(bench: Bench, case: Case, techniques: Iterable[Technique], title: str) -> None:
    """A table of techniques, each as it is set by default, one output; overhead is of its own passes."""
    about = f"One output, settings as they are by default; overhead is of their own passes. {floor_line(case)}"
    with bench.speed(f"{title}, {case.name}", about) as table:
        for technique in techniques:
            with table.attempt(technique.title):
                _other(bench, case, technique, table)
        if not table.rows:
            table.row("no technique of this kind is registered")


def _other(bench: Bench, case: Case, technique: Technique, table: Speed) -> None:
    settings = technique.settings()
    reason = technique.unfit(case.problem, settings)
    if reason is not None:
        table.row(technique.title, *[""] * 4, f"does not fit: {reason}")
        return
    if technique.scope == "local":
        found = _enough_rows(bench, case, technique)
        rows, taken, rate, evaluations, work = len(found.rows), found.taken, found.rate, found.evaluations, found.work
    else:
        rows = len(case.problem.rows)
        taken, rate, result = whole(case, technique, most=bench.size(2, 1))
        evaluations = result.evaluations

        def work() -> int:
            technique.prepare(case.problem, settings, Watch())
            return evaluations

    over = case.overhead(taken, evaluations, rate) if evaluations else None
    note = f"{rows} rows, {number(evaluations / rows)} passes each"
    table.line(technique.title, rows, taken, overhead=over, note=note)
    bench.profiled(f"{technique.name}.{case.key}", work)


def _enough_rows(bench: Bench, case: Case, technique: Technique) -> Run:
    """A local technique on as many rows as it explains in half a second: of few rows the cost is that of the call."""
    most = len(case.problem.rows)
    few = min(bench.size(FEW, 1), most)
    found = local(case, case.first(few, 1), technique, most=1)
    rows = min(most, int(few * AIM / found.taken))
    return found if bench.quick or rows <= few else local(case, case.first(rows, 1), technique, most=3)


# ---------------------------------------------------------------- an oracle


def exact_values(problem: Problem, rows: int) -> np.ndarray:
    """(rows, d) Shapley values of the first output by all 2^d coalitions, in plain numpy: an oracle, not our estimator.

    For a coalition S of size s, features in S gain (s−1)!(d−s)!/d! of its value and the others lose s!(d−s−1)!/d!.
    """
    d = problem.rows.shape[1]
    weights = np.array([1 / (d * math.comb(d - 1, size)) for size in range(d)])
    found = np.zeros((rows, d))
    chunk = max(1, 2**20 // len(problem.background))
    for row, start in itertools.product(range(rows), range(0, 2**d, chunk)):
        numbers = np.arange(start, min(start + chunk, 2**d))
        inside = (numbers[:, None] >> np.arange(d)) & 1 == 1
        mixed = np.where(inside[:, None, :], problem.rows[row], problem.background)
        values = problem.predictor(mixed.reshape(-1, d), problem.kind)[:, 0].reshape(len(numbers), -1).mean(axis=1)
        size = inside.sum(axis=1)
        gain, loss = weights[np.maximum(size - 1, 0)] * values, weights[np.minimum(size, d - 1)] * values
        found[row] += np.where(inside, gain[:, None], -loss[:, None]).sum(axis=0)
    return found
