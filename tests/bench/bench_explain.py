"""Techniques on tables: this project beside eli5, shap and lime, all in one process.

The bundled Adult model with its preprocessing, and a 20-64-64-1 network on a plain matrix. The unit is the model
evaluation: rows per second of the bare compiled model on its own matrix, at the best batch size, with or without XLA.
`overhead` is time over what the same number of evaluations would take; `ratio` is rows per second over the library as
its documentation shows it.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tasks.explain import lime_tabular, permutation, shapley
from tasks.explain.base import Prepared, Problem, Technique
from tasks.explain.shapley import ShapleySettings
from tasks.watch import Watch

ROOT = Path(__file__).resolve().parents[2]
BACKGROUND = 100
COALITIONS = 2048
FEW_COALITIONS = 512
NEIGHBOURS = 5000
REPEATS = 10


@dataclass(frozen=True)
class Subject:
    """A problem, the model as its libraries would be given it, and the floor."""

    name: str
    problem: Problem
    documented: Callable[[np.ndarray], np.ndarray]
    floor: float  # evaluations per second


def seconds(work: Callable[[], Any], repeats: int = 1) -> float:
    """The least of several runs."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def bare_rate(model: Any) -> float:
    """Rows per second of nothing but the compiled model, at its best."""
    from tasks.load import tensorflow

    tf = tensorflow()

    best = 0.0
    for batch in (4096, 8192, 16384, 32768, 65536):
        matrix = tf.random.normal((batch, model.inputs[0].shape[1]))
        for jit in (False, True):
            call = tf.function(lambda x: model(x, training=False), jit_compile=jit, reduce_retracing=False)
            call(matrix)
            best = max(best, batch / seconds(lambda call=call, matrix=matrix: call(matrix).numpy(), 10))
    return best


def adult() -> Subject:
    """Version 1 of the bundled model: 13 raw columns, 107 encoded."""
    import yaml

    from configs.schema import AuditConfig
    from tasks.explain import problem_of
    from tasks.load import open_subject

    os.chdir(ROOT)
    values = yaml.safe_load((ROOT / "configs/adult_income.yaml").read_text("utf-8"))
    values["model"]["version"] = 1
    values["explain"] |= {"rows": 2000, "background": BACKGROUND}
    subject = open_subject(AuditConfig.model_validate(values))
    model, encoder, preprocessor = subject.model.keras_model, subject.encoder, subject.model.preprocessor
    assert encoder is not None
    assert preprocessor is not None

    def documented(rows: np.ndarray) -> np.ndarray:
        return model.predict(preprocessor.transform(encoder.frame(rows)), verbose=0)

    name = f"Adult, {len(encoder.features)} columns, {model.inputs[0].shape[1]} encoded, 64-64-1"
    return Subject(name, problem_of(subject), documented, bare_rate(model))


def small_network() -> Subject:
    """20-64-64-1, random weights."""
    import keras

    from tasks.load.arrangement import identity
    from tasks.load.encoding import Feature
    from tasks.load.outputs import describe
    from tasks.load.predictor import Predictor

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((20,)), layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(1, "sigmoid")]
    )
    generator = np.random.default_rng(0)
    rows, reference = generator.normal(size=(2000, 20)), generator.normal(size=(5000, 20))
    predictor = Predictor(model, describe(model, "binary", ("no", "yes"), "y", "m"), identity(20), (20,))
    problem = Problem(
        modality="table", task="binary", predictor=predictor, kind="probability", rows=rows,
        background=reference[:BACKGROUND], reference=reference, explained=np.zeros((2000, 1), np.int64),
        target=(generator.random(2000) < predictor(rows)[:, 0]).astype(np.int64),
        features=tuple(Feature(f"x{j}", "number") for j in range(20)),
    )  # fmt: skip
    return Subject("20-64-64-1 on a matrix", problem, lambda x: model.predict(x, verbose=0), bare_rate(model))


def line(name: str, rows: int, taken: float, beside: str = "") -> float:
    rate = rows / taken
    print(f"  {name:<44}{rate:>12,.1f} rows/s{taken / rows * 1e3:>12,.3f} ms a row  {beside}", flush=True)
    return rate


def explained(technique: Technique, problem: Problem, settings: Any) -> tuple[float, float, int, Prepared]:
    """Seconds to prepare, seconds for all rows, evaluations of both; compiled before."""
    start = time.perf_counter()
    prepared = technique.prepare(problem, settings, Watch())
    assert isinstance(prepared, Prepared)
    prepared.explain(problem.rows[:1], problem.explained[:1])
    ready = time.perf_counter() - start
    spent = prepared.evaluations
    start = time.perf_counter()
    for first in range(0, len(problem.rows), technique.batch):
        part = slice(first, first + technique.batch)
        spent += prepared.explain(problem.rows[part], problem.explained[part]).evaluations
    return ready, time.perf_counter() - start, spent, prepared


def over(taken: float, evaluations: int, subject: Subject) -> str:
    return f"overhead {taken / (evaluations / subject.floor):.2f}"


def bench_permutation(subject: Subject) -> None:
    from eli5.permutation_importance import get_score_importances

    problem = subject.problem
    n, d = problem.rows.shape
    print(f"\n Permutation importance, {n} rows × {d} columns × {REPEATS} repeats")
    settings = permutation.PermutationSettings(repeats=REPEATS)
    found = permutation.prepare(problem, settings, Watch())
    taken = seconds(lambda: permutation.prepare(problem, settings, Watch()), 3)
    ours = line("this project", n, taken, over(taken, found.evaluations, subject))

    def accuracy(predict: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], float]:
        return lambda rows, target: float(((predict(rows)[:, -1] >= 0.5) == target).mean())

    fast = accuracy(lambda rows: problem.predictor(rows))
    taken = seconds(lambda: get_score_importances(fast, problem.rows, problem.target, n_iter=REPEATS, random_state=0))
    line("eli5 with our predictor", n, taken, over(taken, found.evaluations, subject))
    slow = accuracy(subject.documented)
    taken = seconds(lambda: get_score_importances(slow, problem.rows, problem.target, n_iter=1, random_state=0))
    theirs = line("eli5 with model.predict (one repeat, times 10)", n, taken * REPEATS)
    print(f"  ratio {ours / theirs:,.0f}")


def bench_shap(subject: Subject) -> None:
    import shap

    problem = replace(subject.problem, rows=subject.problem.rows[:400], explained=subject.problem.explained[:400])
    n = len(problem.rows)
    print(f"\n Kernel SHAP, {COALITIONS} coalitions × {BACKGROUND} background rows")
    technique, settings = shapley.TECHNIQUE, ShapleySettings(estimator="kernel", coalitions=COALITIONS)
    ready, taken, evaluations, _ = explained(technique, problem, settings)
    way = (
        f"{over(taken, evaluations, subject)}, {evaluations / taken / 1e6:.1f} M evaluations/s, ready in {ready:.1f} s"
    )
    ours = line("this project", n, taken, way)
    plain_way = replace_way(("plain",))
    with plain_way:
        _, taken, evaluations, _ = explained(technique, problem, settings)
    line("this project, rows mixed as codes", n, taken, over(taken, evaluations, subject))

    def kernel(predict: Callable[[np.ndarray], np.ndarray], rows: int) -> float:
        explainer = shap.KernelExplainer(predict, problem.background)
        return seconds(lambda: explainer.shap_values(problem.rows[:rows], nsamples=COALITIONS, l1_reg=0, silent=True))

    taken = kernel(lambda rows: problem.predictor(np.asarray(rows)), 4)
    line("shap.KernelExplainer with our predictor", 4, taken, over(taken, 4 * COALITIONS * BACKGROUND, subject))
    theirs = line("shap.KernelExplainer with model.predict", 1, kernel(subject.documented, 1))
    print(f"  ratio {ours / theirs:,.0f}")
    if problem.rows.shape[1] <= shapley.MOST_EXACT:
        errors(problem)


def errors(problem: Problem) -> None:
    """Mean distance to the exact values, at equal evaluations."""
    import shap

    rows, explained_ = problem.rows[:12], problem.explained[:12]

    def values(**settings: Any) -> Any:
        prepared = shapley.prepare(problem, ShapleySettings(**settings), Watch())
        assert isinstance(prepared, Prepared)
        return prepared.explain(rows, explained_)

    exact = values(estimator="exact").values[:, 0]
    explainer = shap.KernelExplainer(lambda x: problem.predictor(np.asarray(x)), problem.background)
    heads = f"{'this project':>14}{'stated':>10}{'least squares':>15}{'shap':>10}{'ratio':>7}"
    print(f"  {'mean error at coalitions':<36}{heads}")
    for count in (FEW_COALITIONS, COALITIONS):
        ours = values(estimator="kernel", coalitions=count)
        plain = values(estimator="kernel", coalitions=count, regression="least_squares")
        with contextlib.redirect_stdout(io.StringIO()):
            np.random.seed(0)
            theirs = explainer.shap_values(rows, nsamples=count, l1_reg=0, silent=True)[..., -1]
        own, other, library = (
            np.abs(found - exact).mean() for found in (ours.values[:, 0], plain.values[:, 0], theirs)
        )
        stated = ours.std_error.mean()
        print(f"  {count:<36}{own:>14.2e}{stated:>10.1e}{other:>15.2e}{library:>10.2e}{own / library:>7.2f}")


@contextlib.contextmanager
def replace_way(ways: tuple[Any, ...]) -> Any:
    original = shapley.masked_means
    shapley.masked_means = lambda problem, masks, watch: original(problem, masks, watch, ways)  # type: ignore[assignment]
    try:
        yield
    finally:
        shapley.masked_means = original


def bench_lime(subject: Subject) -> None:
    from lime.lime_tabular import LimeTabularExplainer

    problem = subject.problem
    n, d = problem.rows.shape
    print(f"\n LIME, {NEIGHBOURS} neighbours, {d} columns")
    settings = lime_tabular.LimeTabularSettings(samples=NEIGHBOURS)
    explained(
        lime_tabular.TECHNIQUE, replace(problem, rows=problem.rows[:8], explained=problem.explained[:8]), settings
    )
    ready, taken, evaluations, _ = explained(lime_tabular.TECHNIQUE, problem, settings)
    ours = line("this project", n, taken, f"ready in {ready:.2f} s, {evaluations:,} evaluations")
    assert problem.features is not None
    explainer = LimeTabularExplainer(
        problem.reference,
        mode="regression",
        categorical_features=[j for j, feature in enumerate(problem.features) if feature.kind == "category"],
        random_state=0,
    )

    def package(predict: Callable[[np.ndarray], np.ndarray], rows: int) -> float:
        def work() -> None:
            for row in problem.rows[:rows]:
                explainer.explain_instance(
                    row, lambda x: predict(x)[:, -1], num_features=d, num_samples=NEIGHBOURS
                )  # fmt: skip

        return seconds(work)

    fast = line("lime with our predictor", 20, package(lambda rows: problem.predictor(rows), 20))
    theirs = line("lime with model.predict", 3, package(subject.documented, 3))
    print(f"  ratio {ours / fast:,.0f} with our predictor, {ours / theirs:,.0f} as documented")


def main() -> None:
    """Prints the tables."""
    warnings.simplefilter("ignore")
    import logging

    logging.getLogger("shap").setLevel(logging.ERROR)
    for make in (adult, small_network):
        subject = make()
        predictor = subject.problem.predictor
        rows = np.tile(subject.problem.rows, (16, 1))
        predictor(rows)
        taken = seconds(lambda predictor=predictor, rows=rows: predictor(rows), 5)
        share = len(rows) / taken / subject.floor
        print(f"\n{subject.name}: bare compiled {subject.floor / 1e6:.2f} M rows/s, predictor {share:.2f} of it")
        bench_permutation(subject)
        bench_shap(subject)
        bench_lime(subject)


if __name__ == "__main__":
    main()
