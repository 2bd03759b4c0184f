"""LIME on tables beside the lime package, 1000 rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from harness import DOCUMENTED, FAST, OURS, Bench, main, number, seconds
from subjects import Case, adult, floor_line, small_network
from techniques import local

from tasks.explain import lime_tabular

NEIGHBOURS = 5000
ROWS = 1000
#: rows of lime with model.predict: a thousand would take minutes
DOCUMENTED_ROWS = 5


def run(bench: Bench) -> None:
    for make in (adult, small_network):
        compare(bench, make(bench, bench.size(ROWS, 24)))


def compare(bench: Bench, case: Case) -> None:
    neighbours = bench.size(NEIGHBOURS, 100)
    problem = case.first(bench.size(ROWS, 8))
    n, d = problem.rows.shape
    about = f"{neighbours} neighbours of {d} columns, {n} rows. {floor_line(case)}"
    with bench.speed(f"LIME, {case.name}", about) as table:
        with table.attempt(OURS):
            found = local(case, problem, lime_tabular.TECHNIQUE, most=5, samples=neighbours)
            note = f"after the first, which takes {found.ready:.2f} s; {found.evaluations:,} evaluations for all rows"
            table.line(OURS, n, found.taken, note=note)
            if d == 20:
                bench.figure("lime.row", found.taken / n * 1e3)
            bench.profiled(f"lime.{case.key}", found.work)
        with table.attempt(f"lime {FAST}"):
            rows = n
            taken = _library(case, case.problem.predictor, rows, neighbours)
            over = case.overhead(taken, rows * neighbours)
            ratio = table.line(f"lime {FAST}", rows, taken, overhead=over, note=f"{rows} rows")
            bench.figure(f"lime.fast.{case.key}", ratio)
        with table.attempt(f"lime {DOCUMENTED}"):
            rows = min(n, bench.size(DOCUMENTED_ROWS, 1))
            taken = _library(case, case.documented, rows, neighbours)
            over = case.overhead(taken, rows * neighbours)
            note = f"from {rows} rows: {n} would take {number(taken / rows * n)} s"
            ratio = table.line(f"lime {DOCUMENTED}", rows, taken, overhead=over, note=note)
            bench.figure(f"lime.documented.{case.key}", ratio, f"from {rows} rows")


def _library(case: Case, predict: Callable[[np.ndarray], np.ndarray], rows: int, neighbours: int) -> float:
    """Seconds for so many rows, one after the other, as the package does."""
    from lime.lime_tabular import LimeTabularExplainer

    problem = case.problem
    categories = [j for j, feature in enumerate(problem.features or ()) if feature.kind == "category"]
    explainer = LimeTabularExplainer(
        problem.reference, mode="regression", categorical_features=categories, random_state=0
    )

    def explain(row: np.ndarray) -> None:
        explainer.explain_instance(
            row, lambda x: predict(x)[:, -1], num_features=problem.rows.shape[1], num_samples=neighbours
        )

    explain(problem.rows[0])
    return seconds(lambda: [explain(row) for row in problem.rows[:rows]])


if __name__ == "__main__":
    main(__file__, run, __doc__)
