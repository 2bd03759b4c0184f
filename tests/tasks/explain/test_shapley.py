"""SHAP of tables against closed forms, enumeration and the shap library, on small Keras models."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tasks.errors import ConfigError, Incomplete, OutputError, Stopped
from tasks.explain.base import OF_BATCH, Attribution, Problem
from tasks.explain.engine import masking
from tasks.explain.engine.masking import MaskedMeans
from tasks.explain.shapley import ShapleySettings, budget_of, estimator_of, prepare, unfit
from tasks.steady import steady_algebra
from tasks.watch import Watch

GENERATOR = np.random.default_rng(11)
START = GENERATOR.bit_generator.state


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    """Each test draws the same rows, whichever others run; on one thread, as every step of an audit runs."""
    GENERATOR.bit_generator.state = START
    with steady_algebra():
        yield


def attributions(problem: Problem, **settings: Any) -> Attribution:
    return prepare(problem, ShapleySettings(**settings), Watch()).explain(problem.rows, problem.explained)


def enumerated(problem: Problem) -> np.ndarray:
    """(n, m, d) by the definition, from the predictor: 2^d coalitions × background rows for each row."""
    n, d = problem.rows.shape
    masks = np.array(list(itertools.product((False, True), repeat=d)))
    mixed = np.where(masks[None, :, None], problem.rows[:, None, None], problem.background)
    outputs = problem.predictor(mixed.reshape(-1, d), problem.kind)
    worth = outputs.reshape(n, len(masks), len(problem.background), -1).mean(axis=2)
    worth = np.take_along_axis(worth, problem.explained[:, None, :], axis=2)
    values = np.zeros((n, problem.explained.shape[1], d))
    sizes = masks.sum(axis=1)
    for j in range(d):
        without = np.flatnonzero(~masks[:, j])
        share = [math.factorial(s) * math.factorial(d - s - 1) / math.factorial(d) for s in sizes[without]]
        gain = worth[:, without + 2 ** (d - 1 - j)] - worth[:, without]
        values[:, :, j] = np.einsum("c,ncm->nm", share, gain)
    return values


@pytest.mark.parametrize(("d", "settings"), [(5, {}), (14, {"coalitions": 200})])
def test_a_linear_margin_has_a_closed_form(
    table_problem: Callable[..., Problem], linear_model: Callable[..., Any], d: int, settings: dict[str, Any]
) -> None:
    weights = np.random.default_rng(d).normal(size=d)
    rows, background = GENERATOR.normal(size=(6, d)), GENERATOR.normal(size=(9, d))
    found = attributions(table_problem(linear_model(weights, 0.4), rows, background), **settings)
    np.testing.assert_allclose(found.values[:, 0], weights * (rows - background.mean(axis=0)), atol=2e-6)
    np.testing.assert_allclose(found.base[:, 0], background.mean(axis=0) @ weights + 0.4, atol=1e-6)
    if found.std_error is not None:
        assert found.std_error.max() < 1e-6


@pytest.mark.parametrize("kind", ["probability", "margin"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_eight_features_equal_enumeration(
    table_problem: Callable[..., Problem], network: Callable[..., Any], kind: str, outputs: int
) -> None:
    rows, background = GENERATOR.normal(size=(3, 8)), GENERATOR.normal(size=(7, 8))
    problem = table_problem(network(8, outputs), rows, background, kind=kind, explained=list(range(outputs)))
    found = attributions(problem)
    np.testing.assert_allclose(found.values, enumerated(problem), atol=2e-6)
    assert found.std_error is None


def test_the_shap_library_agrees(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    rows, background = GENERATOR.normal(size=(3, 8)), GENERATOR.normal(size=(10, 8))
    problem = table_problem(network(8, 3), rows, background, kind="probability", explained=[2, 0])
    ours = attributions(problem)
    exact = attributions(problem, estimator="shap.exact")
    np.testing.assert_allclose(exact.values, ours.values, atol=2e-6)
    np.testing.assert_allclose(exact.base, ours.base, atol=1e-6)
    kernel = attributions(problem, estimator="shap.kernel", coalitions=2**8)
    np.testing.assert_allclose(kernel.values, ours.values, atol=2e-6)
    permutation = attributions(problem, estimator="shap.permutation", coalitions=2000)
    np.testing.assert_allclose(permutation.values, ours.values, atol=0.02)
    for found in (exact, kernel, permutation):
        assert np.abs(found.quality["completeness_error"]).max() < 1e-5
        assert found.evaluations > 0


def test_the_shap_librarys_gradients_are_summed_to_features(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    """On a category of three and two numbers: five columns, three features."""
    from tasks.load.arrangement import Blocks, Lines, Table

    lines = Lines(np.array([3, 4]), np.array([1, 2]), np.ones(2), np.zeros(2), np.full(2, np.nan))
    onehot = Table(np.array([0, 1, 2]), 0, np.vstack([np.eye(3), np.zeros(3)]))
    rows = np.column_stack([GENERATOR.integers(0, 3, 4), GENERATOR.normal(size=(4, 2))])
    background = np.column_stack([GENERATOR.integers(0, 3, 12), GENERATOR.normal(size=(12, 2))])
    problem = table_problem(
        network(5, hidden=()), rows, background, categories={0: 3}, arrangement=Blocks(5, lines, (onehot,))
    )
    ours = attributions(problem)
    np.testing.assert_allclose(ours.values, enumerated(problem), atol=2e-6)
    deep = attributions(problem, estimator="shap.deep")
    np.testing.assert_allclose(deep.values, ours.values, atol=1e-5)  # on a straight line all of them are the same
    np.testing.assert_allclose(deep.quality["completeness_error"], 0, atol=1e-5)
    gradient = attributions(problem, estimator="shap.gradient", samples=2000)
    np.testing.assert_allclose(gradient.values, ours.values, atol=0.1 * np.abs(ours.values).max())


def test_an_operation_without_a_rule_is_told(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    problem = table_problem(network(3, 2), np.ones((1, 3)), np.zeros((2, 3)), kind="margin")
    with pytest.raises(Incomplete, match=r"shap.deep has no rule for the operation SelectV2"):
        attributions(problem, estimator="shap.deep")


def test_kernel_estimates_lie_within_their_standard_error(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    rows, background = GENERATOR.normal(size=(20, 11)), GENERATOR.normal(size=(5, 11))
    model = network(11)
    exact = attributions(table_problem(model, rows, background, kind="probability"), estimator="exact")
    scores, errors = [], []
    for seed in range(6):
        found = attributions(table_problem(model, rows, background, kind="probability", seed=seed), coalitions=300)
        assert found.std_error is not None
        scores.append((found.values - exact.values) / found.std_error)
        errors.append(np.abs(found.values - exact.values).mean())
    assert 0.7 < np.sqrt(np.mean(np.square(scores))) < 1.3
    more = attributions(table_problem(model, rows, background, kind="probability"), coalitions=1500)
    assert np.abs(more.values - exact.values).mean() < np.mean(errors) / 2


@pytest.mark.parametrize("settings", [{}, {"coalitions": 100}])
def test_efficiency(
    table_problem: Callable[..., Problem], network: Callable[..., Any], settings: dict[str, Any]
) -> None:
    rows, background = GENERATOR.normal(size=(10, 9)), GENERATOR.normal(size=(8, 9))
    problem = table_problem(network(9, 4), rows, background, kind="probability", explained=[0, 3])
    found = attributions(problem, **settings)
    scores = problem.predictor(rows)[:, [0, 3]]
    np.testing.assert_allclose(found.values.sum(axis=2), scores - found.base, atol=1e-9)
    np.testing.assert_allclose(found.base[0], problem.predictor(background)[:, [0, 3]].mean(axis=0), atol=1e-12)


def test_features_that_the_model_treats_alike_get_the_same(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    model = network(6)
    weights = model.get_weights()
    weights[0][4] = weights[0][1]
    model.set_weights(weights)
    rows, background = GENERATOR.normal(size=(5, 6)), GENERATOR.normal(size=(8, 6))
    rows[:, 4], background[:, 4] = rows[:, 1], background[:, 1]
    values = attributions(table_problem(model, rows, background)).values
    np.testing.assert_allclose(values[:, :, 4], values[:, :, 1], atol=1e-6)


def test_permuting_columns_permutes_attributions(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    model, order = network(7), np.random.default_rng(1).permutation(7)
    rows, background = GENERATOR.normal(size=(4, 7)), GENERATOR.normal(size=(6, 7))
    plain = attributions(table_problem(model, rows, background)).values
    weights = model.get_weights()
    weights[0] = weights[0][order]
    model.set_weights(weights)
    permuted = attributions(table_problem(model, rows[:, order], background[:, order])).values
    np.testing.assert_allclose(permuted, plain[..., order], atol=2e-6)


def test_each_row_may_have_its_own_outputs(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    rows, background = GENERATOR.normal(size=(6, 5)), GENERATOR.normal(size=(6, 5))
    model = network(5, 4)
    every = attributions(table_problem(model, rows, background, explained=[0, 1, 2, 3]))
    chosen = np.array([[3], [0], [2], [2], [1], [3]])
    own = attributions(table_problem(model, rows, background, explained=chosen))
    np.testing.assert_allclose(own.values, np.take_along_axis(every.values, chosen[..., None], axis=1), atol=1e-12)
    np.testing.assert_array_equal(own.base, np.take_along_axis(every.base, chosen, axis=1))


def test_batches_and_threads_change_nothing(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    rows, background = GENERATOR.normal(size=(130, 12)), GENERATOR.normal(size=(10, 12))
    problem = table_problem(network(12), rows, background)
    explain = prepare(problem, ShapleySettings(coalitions=100), Watch()).explain
    whole = explain(rows, problem.explained).values
    cuts = [0, 1, 9, 73, 130]
    parts = [explain(rows[a:b], problem.explained[a:b]).values for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    with ThreadPoolExecutor(4) as pool:
        for values in pool.map(lambda _: explain(rows, problem.explained).values, range(4)):
            np.testing.assert_array_equal(values, whole)


def test_few_means_at_a_time_change_nothing(
    table_problem: Callable[..., Problem], network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = table_problem(network(9), GENERATOR.normal(size=(12, 9)), GENERATOR.normal(size=(5, 9)))
    whole = attributions(problem, coalitions=80)
    monkeypatch.setattr("tasks.explain.shapley.MOST_VALUES", 300)
    parts = attributions(problem, coalitions=80)
    np.testing.assert_array_equal(parts.values, whole.values)
    np.testing.assert_array_equal(parts.std_error, whole.std_error)


def test_two_preparations_are_equal_and_the_seed_matters(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    rows, background = GENERATOR.normal(size=(3, 13)), GENERATOR.normal(size=(4, 13))
    model = network(13)
    found = [attributions(table_problem(model, rows, background, seed=s), coalitions=90).values for s in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


# ---------------------------------------------------------------- the odd ones


@pytest.mark.parametrize("d", [1, 2, 3])
def test_few_features(table_problem: Callable[..., Problem], network: Callable[..., Any], d: int) -> None:
    problem = table_problem(network(d), GENERATOR.normal(size=(4, d)), GENERATOR.normal(size=(5, d)))
    np.testing.assert_allclose(attributions(problem).values, enumerated(problem), atol=2e-6)


def test_one_row_one_background_row(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    problem = table_problem(network(4), GENERATOR.normal(size=(1, 4)), GENERATOR.normal(size=(1, 4)))
    np.testing.assert_allclose(attributions(problem).values, enumerated(problem), atol=2e-6)


def test_identical_rows_and_a_row_of_the_background(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    row = GENERATOR.normal(size=(1, 5))
    problem = table_problem(network(5), np.repeat(row, 3, axis=0), row)
    found = attributions(problem)
    np.testing.assert_allclose(found.values, 0, atol=1e-7)  # nothing differs from the background
    other = attributions(table_problem(network(5), np.repeat(row, 3, axis=0), GENERATOR.normal(size=(4, 5)))).values
    np.testing.assert_array_equal(other[0], other[1])
    np.testing.assert_array_equal(other[0], other[2])


def test_a_constant_feature_gets_nothing(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    rows, background = GENERATOR.normal(size=(4, 5)), GENERATOR.normal(size=(6, 5))
    rows[:, 3] = background[:, 3] = 2.5
    assert np.abs(attributions(table_problem(network(5), rows, background)).values[..., 3]).max() < 1e-6


def test_more_background_than_a_turn_of_the_loop_holds(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    background = GENERATOR.normal(size=(masking.EVALUATIONS // 4 + 3, 3))
    problem = table_problem(network(3), GENERATOR.normal(size=(2, 3)), background)
    np.testing.assert_allclose(attributions(problem).values, enumerated(problem), atol=5e-6)


def test_a_regression(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    problem = table_problem(
        network(6, final="linear"), GENERATOR.normal(size=(3, 6)), GENERATOR.normal(size=(5, 6)), task="regression"
    )
    np.testing.assert_allclose(attributions(problem).values, enumerated(problem), atol=1e-5)


def test_nan_between_row_and_background_is_told(table_problem: Callable[..., Problem]) -> None:
    """Row and background are fine; what lies between them is not."""
    import keras

    inputs = keras.Input((2,))
    total = keras.ops.log(keras.ops.sum(inputs, axis=1, keepdims=True))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(total))
    problem = table_problem(model, [[1.5, 1.5], [9.0, -5.0]], [[3.0, -1.0]])
    with pytest.raises(OutputError, match=r"model.path: the model returned NaN") as error:
        attributions(problem)
    assert error.value.values == (1,)


def test_nan_is_told_of_rows_in_their_batch_not_of_those_that_were_looked_at_before(
    table_problem: Callable[..., Problem],
) -> None:
    """Preparing looks at some rows: what fails there is left for the run to tell, which knows the rows' places."""
    import keras

    inputs = keras.Input((13,))
    root = keras.ops.sqrt(inputs[:, :1] * inputs[:, 1:2])
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(root))
    rows = np.abs(GENERATOR.normal(size=(60, 13)))
    rows[40:, :2] *= -1  # fine by itself; no number when one of the two comes from the background
    problem = table_problem(model, rows, np.abs(GENERATOR.normal(size=(3, 13))))
    explain = prepare(problem, ShapleySettings(coalitions=256, regression="smooth"), Watch()).explain
    assert np.isfinite(explain(rows[:40], problem.explained[:40]).values).all()
    with pytest.raises(OutputError, match=r"model.path: the model returned NaN") as error:
        explain(rows[38:43], problem.explained[38:43])
    assert (error.value.code, error.value.values) == (OF_BATCH, (2, 3, 4))


def test_a_stop_is_heard(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    problem = table_problem(network(10), GENERATOR.normal(size=(200, 10)), GENERATOR.normal(size=(20, 10)))
    stop = threading.Event()
    explain = prepare(problem, ShapleySettings(), Watch(stop=stop)).explain
    stop.set()
    with pytest.raises(Stopped):
        explain(problem.rows, problem.explained)


# ---------------------------------------------------------------- estimator and settings


@pytest.mark.parametrize(
    ("d", "settings", "expected"),
    [
        (11, {}, "exact"),
        (12, {}, "kernel"),
        (8, {"coalitions": 256}, "exact"),
        (8, {"coalitions": 255}, "kernel"),
        (20, {"estimator": "exact"}, "exact"),
        (3, {"estimator": "shap.kernel"}, "shap.kernel"),
    ],
)
def test_the_automatic_choice(d: int, settings: dict[str, Any], expected: str) -> None:
    assert estimator_of(d, ShapleySettings(**settings)) == expected


@pytest.mark.parametrize(
    ("settings", "regression"),
    [
        ({"coalitions": 100}, "smooth"),
        ({"coalitions": 100, "regression": "least_squares"}, "least_squares"),
        ({"coalitions": 34}, "least_squares"),  # too few to choose a smoothness on
        ({}, None),  # all coalitions: there is nothing to be smooth about
    ],
)
def test_the_regression_taken_is_told(
    table_problem: Callable[..., Problem], network: Callable[..., Any], settings: dict[str, Any], regression: str | None
) -> None:
    problem = table_problem(network(9), GENERATOR.normal(size=(3, 9)), GENERATOR.normal(size=(5, 9)))
    prepared = prepare(problem, ShapleySettings(**settings), Watch())
    assert prepared.facts.get("regression") == regression
    assert prepared.facts["coalitions"] <= (settings.get("coalitions") or 512)


def test_the_budget_grows_where_the_regression_needs_it() -> None:
    assert budget_of(10, ShapleySettings()) == budget_of(200, ShapleySettings()) == 2048
    assert budget_of(1000, ShapleySettings()) > 4000
    assert budget_of(1000, ShapleySettings(coalitions=3000)) == 3000


@pytest.mark.parametrize(
    ("d", "settings", "message"),
    [
        (9, {"estimator": "kernel", "coalitions": 20}, "explain.techniques.shap.coalitions: 20 coalitions are too few"),
        (9, {"estimator": "kernel", "coalitions": 34, "regression": "smooth"}, "explain.techniques.shap.regression: "),
        (17, {"estimator": "exact"}, "explain.techniques.shap.estimator: 17 features have"),
    ],
)
def test_settings_that_do_not_fit_the_data(
    table_problem: Callable[..., Problem], network: Callable[..., Any], d: int, settings: dict[str, Any], message: str
) -> None:
    problem = table_problem(network(d), np.zeros((1, d)), np.zeros((1, d)))
    with pytest.raises(ConfigError, match=message):
        attributions(problem, **settings)


def test_images_are_not_for_it(image_problem: Callable[..., Problem]) -> None:
    import keras

    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(inputs)))
    assert "images" in str(unfit(image_problem(model, np.zeros((1, 4, 4, 1))), ShapleySettings()))


# ---------------------------------------------------------------- ways through the graph


def test_text_inputs_go_the_plain_way(table_problem: Callable[..., Problem]) -> None:
    """Strings have no XLA form: the graph runs without it."""
    import keras

    from tasks.load.arrangement import Named

    colour = keras.Input((1,), dtype="string", name="colour")
    size = keras.Input((1,), name="size")
    lookup = keras.layers.StringLookup(vocabulary=["red", "green"], output_mode="one_hot")(colour)
    hidden = keras.layers.Dense(4, activation="tanh")(keras.layers.Concatenate()([lookup, size]))
    model = keras.Model([colour, size], keras.layers.Dense(1, activation="sigmoid")(hidden))
    named = Named(
        ("colour", "size"), ("string", "float32"), (2, 2), (np.array(["red", "green", ""], object), None), (None, None)
    )
    rows = np.column_stack([GENERATOR.integers(0, 2, 5), GENERATOR.normal(size=5)])
    background = np.column_stack([GENERATOR.integers(0, 2, 6), GENERATOR.normal(size=6)])
    problem = table_problem(model, rows, background, arrangement=named, categories={0: 2})
    np.testing.assert_allclose(attributions(problem).values, enumerated(problem), atol=2e-6)


@pytest.mark.parametrize(("shift", "told"), [(3e-4, "0.0003"), (np.nan, "inf")])
def test_where_no_way_agrees_with_the_predictor_nothing_is_explained(
    table_problem: Callable[..., Problem],
    network: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    shift: float,
    told: str,
) -> None:
    problem = table_problem(
        network(4), GENERATOR.normal(size=(3, 4)), GENERATOR.normal(size=(5, 4)), kind="probability"
    )
    right = MaskedMeans.unjudged
    monkeypatch.setattr(MaskedMeans, "unjudged", lambda means, rows: right(means, rows) + shift)
    with pytest.raises(Incomplete, match=rf"up to {told}\d* apart.*shap\.kernel") as error:
        attributions(problem)
    assert (error.value.code, error.value.exit_code) == ("masking_disagrees", 4)
