"""Permutation importance beside eli5, the global shape of a table, and whatever else explains tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from harness import DOCUMENTED, FAST, OURS, Bench, main, seconds
from subjects import Case, adult, floor_line, small_network
from techniques import others, whole

from tasks.explain import TECHNIQUES, permutation
from tasks.watch import Watch

REPEATS = 10
#: the same rows so many times: what a call costs is spread over more
LONGER = 8
#: techniques that have a table of their own, here or elsewhere
COMPARED = ("permutation", "shap", "lime")


def run(bench: Bench) -> None:
    for make in (adult, small_network):
        case = make(bench)
        compare_permutation(bench, case)
        rest = [t for t in TECHNIQUES if t.modality == "table" and t.name not in COMPARED]
        others(bench, case, [t for t in rest if t.scope == "shape"], "Global shape")
        others(bench, case, [t for t in rest if t.scope != "shape"], "Other techniques")


def compare_permutation(bench: Bench, case: Case) -> None:
    problem = case.problem
    n, d = problem.rows.shape
    about = f"{n} rows × {d} columns × {REPEATS} repeats. {floor_line(case)}"
    evaluations = n * (d * REPEATS + 1)
    with bench.speed(f"Permutation importance, {case.name}", about) as table:
        with table.attempt(OURS):
            taken, rate, found = whole(case, permutation.TECHNIQUE, repeats=REPEATS)
            evaluations = found.evaluations
            over = case.overhead(taken, evaluations, rate)
            table.floor(n, evaluations, rate)
            table.line(OURS, n, taken, overhead=over, note=f"{evaluations:,} evaluations")
            bench.figure(f"permutation.{case.key}", over)
            settings = permutation.PermutationSettings(repeats=REPEATS)
            longer = case.longer(bench.size(LONGER, 2))
            taken, rate, found = whole(longer, permutation.TECHNIQUE, most=3, repeats=REPEATS)
            over, more = case.overhead(taken, found.evaluations, rate), len(longer.problem.rows)
            table.line(f"{OURS}, {more:,} rows", more, taken, overhead=over)
            bench.profiled(f"permutation.{case.key}", lambda: permutation.prepare(problem, settings, Watch()))
        for who, predict, repeats in ((FAST, problem.predictor, REPEATS), (DOCUMENTED, case.documented, 1)):
            with table.attempt(f"eli5 {who}"):
                taken = _library(case, predict, repeats) * REPEATS / repeats
                note = "" if repeats == REPEATS else f"one repeat, times {REPEATS}"
                table.line(f"eli5 {who}", n, taken, overhead=case.overhead(taken, evaluations), note=note)


def _library(case: Case, predict: Callable[[np.ndarray], np.ndarray], repeats: int) -> float:
    from eli5.permutation_importance import get_score_importances

    problem = case.problem

    def accuracy(rows: np.ndarray, target: np.ndarray) -> float:
        return float(((predict(rows)[:, -1] >= 0.5) == target).mean())

    return seconds(
        lambda: get_score_importances(accuracy, problem.rows, problem.target, n_iter=repeats, random_state=0)
    )


if __name__ == "__main__":
    main(__file__, run, __doc__)
