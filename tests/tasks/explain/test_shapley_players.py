"""What Shapley values must satisfy, with groups of columns and without; the same bits however computed; a tolerance."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.explain.base import Attribution, Problem
from tasks.explain.engine import expected_gradients, masking
from tasks.explain.shapley import ShapleySettings, estimator_of, misfit, prepare
from tasks.steady import steady_algebra
from tasks.watch import Watch

#: three players of six columns, out of order
GROUPS = {"first and last": (5, 0), "middle": (2, 3)}
SLOW = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ESTIMATORS = [
    {"estimator": "exact"},
    {"estimator": "kernel", "coalitions": 64},
    {"estimator": "gradient", "samples": 48},
]


@pytest.fixture(autouse=True)
def _without_xla(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same graphs as TensorFlow runs them by itself: compiling takes longer than all that is tested here."""
    if "compiled" not in request.fixturenames:
        monkeypatch.setattr(expected_gradients, "may_compile", lambda problem: False)
        monkeypatch.setattr(masking, "may_compile", lambda problem: False)


@pytest.fixture(autouse=True)
def _on_one_thread() -> Iterator[None]:
    """As every step of an audit runs."""
    with steady_algebra():
        yield


@pytest.fixture
def compiled() -> None:
    """Asked for by tests of what XLA makes of the graphs."""


def attributions(problem: Problem, **settings: Any) -> Attribution:
    return prepare(problem, ShapleySettings(**settings), Watch()).explain(problem.rows, problem.explained)


def enumerated(problem: Problem) -> np.ndarray:
    """(n, m, g) by the definition, over all orders in which the players may come, from the predictor."""
    n, d = problem.rows.shape
    players = [list(player.columns) for player in problem.players]
    orders = list(itertools.permutations(range(len(players))))
    values = np.zeros((*problem.explained.shape, len(players)))

    def worth(known: list[int]) -> np.ndarray:
        mixed = np.repeat(problem.background[None], n, axis=0)
        mixed[:, :, known] = problem.rows[:, None, known]
        outputs = problem.predictor(mixed.reshape(-1, d), problem.kind).reshape(n, len(problem.background), -1)
        return np.take_along_axis(outputs.mean(axis=1), problem.explained, axis=1)

    for order in orders:
        known: list[int] = []
        before = worth(known)
        for player in order:
            known = known + players[player]
            after = worth(known)
            values[:, :, player] += (after - before) / len(orders)
            before = after
    return values


@pytest.fixture
def drawn(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> Callable[..., Problem]:
    def make(d: int = 6, n: int = 4, b: int = 5, seed: int = 0, outputs: int = 2, **options: Any) -> Problem:
        generator = np.random.default_rng(seed)
        rows, background = generator.normal(size=(n, d)), generator.normal(size=(b, d))
        model = options.pop("model", None) or network(d, outputs, seed=seed)
        return table_problem(model, rows, background, explained=list(range(outputs)), **options)

    return make


# ---------------------------------------------------------------- groups of columns


@pytest.mark.parametrize("estimator", ["exact", "kernel", "shap.exact", "shap.kernel", "shap.permutation"])
def test_groups_equal_enumeration_over_players(drawn: Callable[..., Problem], estimator: str) -> None:
    problem = drawn(groups=GROUPS, kind="probability" if estimator == "exact" else "margin")
    assert [player.name for player in problem.players] == ["first and last", "x1", "middle", "x4"]
    found = attributions(problem, estimator=estimator, coalitions=400)
    truth = enumerated(problem)
    atol = 0.15 * np.abs(truth).max() if estimator == "shap.permutation" else 3e-6  # it draws orders
    np.testing.assert_allclose(found.values, truth, atol=atol)
    assert found.values.shape == (4, 2, 4)


@pytest.mark.parametrize("estimator", ["gradient", "shap.gradient", "shap.deep"])
def test_what_explains_columns_adds_them_up(drawn: Callable[..., Problem], estimator: str) -> None:
    alone = drawn(kind="probability")
    bound = replace(alone, groups=GROUPS)
    single, joint = (attributions(problem, estimator=estimator, samples=20) for problem in (alone, bound))
    np.testing.assert_allclose(joint.values, bound.by_player(single.values), atol=1e-6)


def test_a_sample_of_the_players_coalitions(drawn: Callable[..., Problem]) -> None:
    """Ten columns, eight players: too many coalitions for the budget."""
    problem = drawn(d=10, n=12, groups={"a": (0, 7), "b": (3, 4)}, kind="probability")
    exact = attributions(problem, estimator="exact").values
    found = attributions(problem, coalitions=120)
    assert found.std_error is not None
    assert found.std_error.shape == (12, 2, 8)
    assert 0.5 < np.sqrt(np.mean(((found.values - exact) / found.std_error) ** 2)) < 1.6


@pytest.mark.parametrize("estimator", ["auto", "shap.exact"])
def test_one_group_of_all_columns_gets_all_there_is(drawn: Callable[..., Problem], estimator: str) -> None:
    problem = drawn(groups={"all": tuple(range(6))})
    found = attributions(problem, estimator=estimator)
    own = problem.predictor(problem.rows, problem.kind)
    np.testing.assert_allclose(found.values[..., 0], own - found.base, atol=2e-6)
    assert found.values.shape == (4, 2, 1)


def test_players_decide_whether_all_coalitions_fit(drawn: Callable[..., Problem]) -> None:
    problem = drawn(d=14, groups={"a": (0, 1, 2), "b": (3, 4, 5, 6)})
    assert estimator_of(len(problem.players), ShapleySettings()) == "exact"
    assert prepare(problem, ShapleySettings(), Watch()).facts["coalitions"] == 2**9


def test_groups_of_one_change_nothing(drawn: Callable[..., Problem]) -> None:
    alone = drawn()
    named = replace(alone, groups={"x": (3,), "y": (1,)})
    for chosen in ESTIMATORS[1:]:
        np.testing.assert_array_equal(attributions(named, **chosen).values, attributions(alone, **chosen).values)


# ---------------------------------------------------------------- what every estimator must satisfy


@SLOW
@given(seed=st.integers(0, 10_000), b=st.integers(1, 7), bound=st.booleans())
def test_efficiency(drawn: Callable[..., Problem], seed: int, b: int, bound: bool) -> None:
    problem = drawn(d=7, seed=seed, b=b, groups=GROUPS if bound else {}, kind="probability")
    own, nothing = problem.predictor(problem.rows), problem.predictor(problem.background).mean(axis=0)
    for chosen in ({"estimator": "exact"}, {"estimator": "kernel", "coalitions": 40}):
        found = attributions(problem, **chosen)
        np.testing.assert_allclose(found.values.sum(axis=2), own - nothing, atol=1e-9)
    found = attributions(problem, estimator="gradient", samples=40)
    gap = np.abs(found.values.sum(axis=2) - (own - nothing))
    np.testing.assert_allclose(found.quality["completeness_error"], gap, atol=1e-12)


@pytest.mark.parametrize("chosen", ESTIMATORS, ids=lambda chosen: chosen["estimator"])
def test_a_null_player_gets_nothing(
    drawn: Callable[..., Problem], network: Callable[..., Any], chosen: dict[str, Any]
) -> None:
    model = network(6, 2)
    weights = model.get_weights()
    weights[0][[2, 3, 5]] = 0
    model.set_weights(weights)
    problem = drawn(model=model, groups={"pair": (2, 5)})
    found = attributions(problem, **chosen)
    null = [j for j, player in enumerate(problem.players) if set(player.columns) <= {2, 3, 5}]
    assert len(null) == 2
    assert np.abs(found.values[..., null]).max() < 1e-6


@pytest.mark.parametrize("chosen", ESTIMATORS[1:], ids=lambda chosen: chosen["estimator"])
def test_symmetric_players_get_the_same(
    drawn: Callable[..., Problem], network: Callable[..., Any], chosen: dict[str, Any]
) -> None:
    """Two pairs of columns that the model and the data treat alike."""
    model = network(6, 2)
    weights = model.get_weights()
    weights[0][[4, 5]] = weights[0][[1, 2]]
    model.set_weights(weights)
    problem = drawn(model=model, groups={"a": (1, 2), "b": (4, 5)})
    rows, background = problem.rows.copy(), problem.background.copy()
    for table in (rows, background):
        table[:, [4, 5]] = table[:, [1, 2]]
    found = attributions(replace(problem, rows=rows, background=background), **chosen)
    np.testing.assert_allclose(found.values[..., 1], found.values[..., 3], atol=2e-6)


@pytest.mark.parametrize("chosen", ESTIMATORS[1:], ids=lambda chosen: chosen["estimator"])
def test_values_of_a_sum_are_sums_of_values(
    table_problem: Callable[..., Problem], network: Callable[..., Any], chosen: dict[str, Any]
) -> None:
    """Linearity: of two regressions and of three times the first less the second."""
    import keras

    first, second = network(5, final="linear", seed=1), network(5, final="linear", seed=2)
    inputs = keras.Input((5,))
    both = keras.Model(inputs, 3 * first(inputs) - second(inputs))
    generator = np.random.default_rng(3)
    rows, background = generator.normal(size=(4, 5)), generator.normal(size=(6, 5))
    one, two, sum_ = (
        attributions(table_problem(model, rows, background, task="regression", groups={"g": (0, 4)}), **chosen).values
        for model in (first, second, both)
    )
    np.testing.assert_allclose(sum_, 3 * one - two, atol=2e-5)


@pytest.mark.parametrize("chosen", [ESTIMATORS[0], ESTIMATORS[2]], ids=lambda chosen: chosen["estimator"])
def test_permuting_columns_permutes_values(
    drawn: Callable[..., Problem], network: Callable[..., Any], chosen: dict[str, Any]
) -> None:
    order = np.random.default_rng(1).permutation(6)
    model = network(6, 2)
    plain = drawn(model=model)
    values = attributions(replace(plain, groups={"pair": (1, 2)}), **chosen).values
    weights = model.get_weights()
    weights[0] = weights[0][order]
    model.set_weights(weights)
    where = np.argsort(order)
    moved = replace(plain, rows=plain.rows[:, order], background=plain.background[:, order])
    bound = replace(moved, groups={"pair": (int(where[1]), int(where[2]))})
    before, after = ([{order[j] for j in p.columns} for p in bound.players], attributions(bound, **chosen).values)
    columns = [set(player.columns) for player in replace(plain, groups={"pair": (1, 2)}).players]
    np.testing.assert_allclose(after, values[..., [columns.index(b) for b in before]], atol=3e-6)


# ---------------------------------------------------------------- the same bits


PROGRAM = """
import hashlib, os, sys
threads = int(sys.argv[1])
os.environ.update(TF_NUM_INTRAOP_THREADS=sys.argv[1], TF_NUM_INTEROP_THREADS=sys.argv[1], OMP_NUM_THREADS=sys.argv[1])
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(threads)
sys.path.insert(0, "tests/tasks/explain")
from conftest import make_network, make_table_problem
from tasks.explain.shapley import ShapleySettings, prepare
from tasks.steady import steady_algebra
from tasks.watch import Watch
generator = np.random.default_rng(0)
rows, background = generator.normal(size=(90, 40)), generator.normal(size=(50, 40))
problem = make_table_problem(make_network(40, 2, hidden=(64, 64)), rows, background, explained=[0, 1],
                             groups={"a": tuple(range(12)), "b": tuple(range(12, 30))})
for chosen in ({"coalitions": 1200, "tolerance": 1e-3}, {"estimator": "gradient"}):
    with steady_algebra():
        found = prepare(problem, ShapleySettings(**chosen), Watch()).explain(rows, problem.explained)
    print(hashlib.sha256(found.values.tobytes() + found.std_error.tobytes()).hexdigest())
"""


def test_threads_change_no_bit() -> None:
    said = []
    for threads in (1, 3):
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(threads)], capture_output=True, text=True, check=False, timeout=300
        )
        assert run.returncode == 0, run.stderr[-2000:]
        said.append(run.stdout.split())
    assert len(said[0]) == 2
    assert said[0] == said[1]


# ---------------------------------------------------------------- a tolerance


@pytest.fixture
def many(drawn: Callable[..., Problem]) -> Problem:
    """Twelve columns, rows from hardly to far off the background."""
    problem = drawn(d=12, n=40, b=6, outputs=1, kind="probability")
    return replace(problem, rows=problem.rows * np.linspace(0.05, 2.5, 40)[:, None])


def test_rows_get_coalitions_until_the_tolerance_is_reached(many: Problem) -> None:
    prepared = prepare(many, ShapleySettings(coalitions=1500, tolerance=2e-3), Watch())
    found = prepared.explain(many.rows, many.explained)
    assert prepared.facts["tolerance"] == 2e-3
    assert prepared.facts["stages"] == [376, 750, 1500]
    assert found.std_error is not None
    looked, reached = found.quality["coalitions"][:, 0], found.quality["tolerance_reached"][:, 0]
    assert set(looked) == {376, 750, 1500}  # some rows are easy, some are not
    np.testing.assert_array_equal(reached, (found.std_error[:, 0] <= 2e-3).all(axis=1))
    assert (reached[looked < 1500] == 1).all()
    assert found.evaluations == len(many.rows) + 6 * int((looked - 2).sum())
    assert bool(found.notes) == (not reached.all())
    exact = attributions(many, estimator="exact").values
    assert np.abs(found.values - exact)[reached == 1].max() < 5 * 2e-3
    np.testing.assert_allclose(found.values.sum(axis=2), exact.sum(axis=2), atol=1e-6)


def test_a_row_does_not_know_its_batch(many: Problem, compiled: None) -> None:
    explain = prepare(many, ShapleySettings(coalitions=1000, tolerance=3e-3), Watch()).explain
    whole = explain(many.rows, many.explained)
    for part in (slice(0, 1), slice(39, 40), slice(7, 30)):
        some = explain(many.rows[part], many.explained[part])
        np.testing.assert_array_equal(some.values, whole.values[part])
        np.testing.assert_array_equal(some.std_error, whole.std_error[part])


@pytest.mark.parametrize(("tolerance", "looked"), [(10.0, 256), (1e-9, 1024)])
def test_the_ends_of_a_tolerance(many: Problem, tolerance: float, looked: int) -> None:
    found = attributions(many, estimator="kernel", coalitions=1024, tolerance=tolerance)
    assert set(found.quality["coalitions"].ravel()) == {looked}
    if tolerance > 1:
        assert not found.notes
        return
    (sentence, rows), *none = found.notes.items()
    assert not none
    assert "above the tolerance of 1e-09 after all 1024 coalitions" in sentence
    assert rows.shape == (40,)
    assert rows.any()
    np.testing.assert_array_equal(rows, found.quality["tolerance_reached"][:, 0] == 0)


def test_the_whole_budget_gives_what_it_gives_without_a_tolerance(many: Problem) -> None:
    fixed = attributions(many, coalitions=1024)
    staged = attributions(many, coalitions=1024, tolerance=1e-12)
    np.testing.assert_allclose(staged.values, fixed.values, atol=1e-9)
    np.testing.assert_allclose(staged.std_error, fixed.std_error, rtol=1e-4, atol=1e-9)


def test_all_coalitions_leave_no_error(many: Problem) -> None:
    found = attributions(many, estimator="kernel", coalitions=2**12, tolerance=1e-12)
    assert not found.std_error.any()
    assert not found.notes
    np.testing.assert_allclose(found.values, attributions(many, estimator="exact").values, atol=1e-9)
    assert math.isclose(found.quality["tolerance_reached"].mean(), 1.0)


def test_a_tolerance_is_for_kernel_alone() -> None:
    assert misfit("binary", ShapleySettings(tolerance=0.1)) is None
    assert misfit("binary", ShapleySettings(tolerance=0.1, estimator="kernel")) is None
    assert "tolerance is for the estimator kernel, not gradient" in str(
        misfit("binary", ShapleySettings(tolerance=0.1, estimator="gradient"))
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"samples": 50}, "samples is for the estimator gradient or shap.gradient, not auto"),
        ({"samples": 50, "estimator": "kernel"}, "samples is for the estimator gradient or shap.gradient, not kernel"),
        ({"coalitions": 64, "estimator": "gradient"}, "coalitions is for the estimator kernel or shap.kernel or"),
        ({"coalitions": 64, "estimator": "exact"}, "shap.permutation, not exact"),
        ({"regression": "smooth", "estimator": "shap.kernel"}, "regression is for the estimator kernel, not"),
    ],
)
def test_a_setting_of_another_estimator_is_refused(settings: dict[str, Any], said: str) -> None:
    assert said in str(misfit("binary", ShapleySettings(**settings)))


@pytest.mark.parametrize(
    "settings",
    [{}, {"coalitions": 64}, {"coalitions": 64, "estimator": "shap.kernel"}, {"samples": 9, "estimator": "gradient"}],
)
def test_settings_that_belong_together_are_not(settings: dict[str, Any]) -> None:
    assert misfit("regression", ShapleySettings(**settings)) is None
