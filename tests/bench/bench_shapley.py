"""SHAP on tables: kernel and gradient estimators beside shap's own, and their errors against exact values."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from harness import DOCUMENTED, FAST, OURS, Bench, main, number, quiet, seconds
from subjects import BACKGROUND, Case, adult, floor_line, small_network
from techniques import exact_values, local

from tasks.explain import shapley
from tasks.explain.base import Attribution, Prepared, Problem
from tasks.explain.shapley import ShapleySettings
from tasks.watch import Watch

COALITIONS = 2048
FEW_COALITIONS = 512
#: points of a row for expected gradients: shap.GradientExplainer's default
SAMPLES = 200
#: draws that an error is the mean of
SEEDS = 4
#: rows of the bundled test set, for scale
WHOLE_TEST_SET = 16_281


def run(bench: Bench) -> None:
    logging.getLogger("shap").setLevel(logging.ERROR)
    for make in (adult, small_network):
        case = make(bench)
        kernel(bench, case)
        errors(bench, case)
        gradient(bench, case)


def kernel(bench: Bench, case: Case) -> None:
    coalitions = bench.size(COALITIONS, 256)
    problem = case.first(bench.size(400, 4))
    about = f"{coalitions} coalitions × {len(problem.background)} background rows a row. {floor_line(case)}"
    with bench.speed(f"Kernel SHAP, {case.name}", about) as table:
        with table.attempt(OURS):
            found = local(case, problem, shapley.TECHNIQUE, estimator="kernel", coalitions=coalitions)
            over = case.overhead(found.taken, found.evaluations, found.rate)
            table.floor(len(problem.rows), found.evaluations, found.rate)
            note = f"ready in {found.ready:.1f} s"
            if case.key == "adult":
                minutes = found.taken / len(problem.rows) * WHOLE_TEST_SET / 60
                note += f"; the whole test set of {WHOLE_TEST_SET:,} rows in {minutes:.1f} minutes"
            table.line(OURS, len(problem.rows), found.taken, overhead=over, note=note)
            bench.figure(f"kernel.overhead.{case.key}", over)
            bench.profiled(f"kernel.{case.key}", found.work)
        each = len(problem.background) * coalitions
        for who, predict, rows, key in (
            (FAST, case.problem.predictor, bench.size(8, 1), "fast"),
            (DOCUMENTED, case.documented, 1, "documented"),
        ):
            with table.attempt(f"shap.KernelExplainer {who}"):
                taken = _library_kernel(problem, predict, rows, coalitions)
                over = case.overhead(taken, rows * each)
                note = f"{rows} row{'s' if rows > 1 else ''}"
                ratio = table.line(f"shap.KernelExplainer {who}", rows, taken, overhead=over, note=note)
                bench.figure(f"kernel.{key}.{case.key}", ratio)


def _library_kernel(problem: Problem, predict: Callable[[np.ndarray], np.ndarray], rows: int, samples: int) -> float:
    import shap

    explainer = shap.KernelExplainer(lambda x: predict(np.asarray(x, np.float64)), problem.background)
    explainer.shap_values(problem.rows[:1], nsamples=len(problem.features or ()) + 2, l1_reg=0, silent=True)  # warm
    return seconds(lambda: explainer.shap_values(problem.rows[:rows], nsamples=samples, l1_reg=0, silent=True))


def errors(bench: Bench, case: Case) -> None:
    """Mean distance to the exact values at equal evaluations."""
    d = len(case.problem.features or ())
    all_of_them = d <= shapley.MOST_EXACT
    rows = bench.size(12 if all_of_them else 6, 1)
    # 2^20 coalitions against a hundred background rows would take minutes a row.
    background = case.problem.background if all_of_them else case.problem.background[:10]
    problem = replace(case.first(rows), background=background)
    columns = ("coalitions", OURS, "stated", "shap", "ours / shap", "shap, no selection", "ours / that", "note")
    what = f"{rows} rows and {bench.size(SEEDS, 1)} seeds, {len(background)} background rows, equal evaluations"
    about = f"Mean distance to the exact values over {what}"
    with bench.table(f"Error of kernel SHAP, {case.name}", columns, about) as table, table.attempt("exact values"):
        if bench.quick and not all_of_them:
            return
        exact = _values(problem, estimator="exact")[0] if all_of_them else exact_values(problem, rows)
        for count in (FEW_COALITIONS, COALITIONS):
            with table.attempt(f"{count}"):
                found = [_errors(problem, exact, count, seed) for seed in range(bench.size(SEEDS, 1))]
                own, stated, library, plain = np.mean(found, axis=0)
                spread = [one[0] / one[3] for one in found]
                note = f"last ratio {number(min(spread))} to {number(max(spread))} by seed"
                told = (own, stated, library, own / library, plain, own / plain)
                table.row(f"{count}", *map(number, told), note)
                bench.figure(f"kernel.error{count}.{case.key}", own / library)
                bench.figure(f"kernel.plain_error{count}.{case.key}", own / plain)


def _errors(problem: Problem, exact: np.ndarray, count: int, seed: int) -> tuple[float, float, float, float]:
    """Ours, what we state it to be, shap's as its documentation shows it, and shap's without its feature selection."""
    import shap

    own, stated = _values(replace(problem, seed=seed), estimator="kernel", coalitions=count)
    explainer = shap.KernelExplainer(lambda x: problem.predictor(np.asarray(x, np.float64)), problem.background)

    def library(**options: Any) -> float:
        np.random.seed(seed)
        with quiet():
            found = explainer.shap_values(problem.rows, nsamples=count, silent=True, **options)[..., -1]
        return float(np.abs(found - exact).mean())

    said = np.nan if stated is None else float(stated.mean())
    return float(np.abs(own - exact).mean()), said, library(), library(l1_reg=0)


def _values(problem: Problem, **settings: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """(n, d) attributions of the first output and their standard errors."""
    prepared = shapley.prepare(problem, ShapleySettings(**settings), Watch())
    assert isinstance(prepared, Prepared)
    found = prepared.explain(problem.rows, problem.explained)
    assert isinstance(found, Attribution)
    return found.values[:, 0], None if found.std_error is None else found.std_error[:, 0]


def gradient(bench: Bench, case: Case) -> None:
    """Expected gradients: one forward and one backward pass a point."""
    samples = bench.size(SAMPLES, 8)
    problem = case.first(bench.size(1000, 4))
    about = f"{samples} points a row between it and {BACKGROUND} background rows. {floor_line(case)}"
    with bench.speed(f"Gradient SHAP, {case.name}", about) as table:
        with table.attempt(OURS):
            found = local(case, problem, shapley.TECHNIQUE, estimator="gradient", samples=samples)
            over = case.overhead(found.taken, found.evaluations, found.rate)
            table.floor(len(problem.rows), found.evaluations, found.rate)
            table.line(OURS, len(problem.rows), found.taken, overhead=over, note=f"ready in {found.ready:.1f} s")
            bench.profiled(f"gradient.{case.key}", found.work)
        with table.attempt("shap.GradientExplainer"):
            rows = bench.size(64, 2)
            taken = _library_gradient(case, rows, samples)
            over = case.overhead(taken, 2 * rows * samples)
            note = f"{rows} rows, encoded before; as documented"
            ratio = table.line("shap.GradientExplainer", rows, taken, overhead=over, note=note)
            bench.figure(f"gradient.{case.key}", ratio)
    gradient_errors(bench, case)


def _library_gradient(case: Case, rows: int, samples: int) -> float:
    import shap

    explainer = shap.GradientExplainer(case.model, case.background)
    matrix = case.matrix[:rows]

    def work() -> None:
        explainer.shap_values(matrix, nsamples=samples, rseed=0)

    work()  # it compiles
    return seconds(work, 2)


def gradient_errors(bench: Bench, case: Case) -> None:
    """Expected gradients are Aumann–Shapley values: how far from the interventional ones, and from their own limit."""
    if bench.quick:
        return
    import shap

    rows = 12
    problem = case.first(rows)
    columns = ("points", OURS, "shap", "ours / shap", "note")
    about = f"Mean distance to 20,000 points, {rows} rows; expected gradients have a limit of their own"
    with bench.table(f"Error of gradient SHAP, {case.name}", columns, about) as table, table.attempt("20000"):
        limit, _ = _values(problem, estimator="gradient", samples=20_000)
        own, _ = _values(problem, estimator="gradient", samples=SAMPLES)
        explainer = shap.GradientExplainer(case.model, case.background)
        with quiet():
            encoded = explainer.shap_values(case.matrix[:rows], nsamples=SAMPLES, rseed=0)[..., -1]
        owners = case.problem.predictor.owners
        assert owners is not None
        library = np.stack([encoded[:, owners == j].sum(axis=1) for j in range(problem.rows.shape[1])], axis=1)
        gaps = [float(np.abs(found - limit).mean()) for found in (own, library)]
        table.row(f"{SAMPLES}", number(gaps[0]), number(gaps[1]), number(gaps[0] / gaps[1]))


if __name__ == "__main__":
    main(__file__, run, __doc__)
