"""Integrated gradients of a table: closed forms, numeric integration, and the axioms they are known by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.errors import Incomplete, OutputError, Stopped
from tasks.explain.base import Attribution, Problem
from tasks.explain.integrated_gradients import TECHNIQUE, IntegratedGradientsSettings
from tasks.load.arrangement import Blocks, Lines, Named, Sums, Table
from tasks.watch import Watch

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
layers = keras.layers
Maker = Callable[..., Problem]
ROWS, GROUND = np.random.default_rng(7).normal(size=(5, 4)), np.random.default_rng(8).normal(1, 1, size=(6, 4))


def explained(problem: Problem, **options: Any) -> Attribution:
    return TECHNIQUE.prepare(problem, IntegratedGradientsSettings(**options), Watch()).explain(
        problem.rows, problem.explained
    )


def one_hot() -> Blocks:
    """Number, category of three, number: five columns, the category's in the middle, the last number halved."""
    lines = Lines(np.array([0, 4]), np.array([0, 2]), np.array([1.0, 0.5]), np.zeros(2), np.full(2, np.nan))
    return Blocks(5, lines, (Table(np.array([1, 2, 3]), 1, np.vstack([np.eye(3), np.full((1, 3), np.nan)])),))


def quadratic(matrix: np.ndarray) -> Any:
    """x → xᵀ A x, a regression."""
    inputs = keras.Input((len(matrix),))
    product = keras.ops.matmul(inputs, keras.ops.convert_to_tensor(matrix.astype(np.float32)))
    return keras.Model(inputs, keras.ops.sum(product * inputs, axis=1, keepdims=True))


# ---------------------------------------------------------------- oracles


@pytest.mark.parametrize("steps", [1, 7])
def test_linear_margin_has_a_closed_form(steps: int, table_problem: Maker, linear_model: Any) -> None:
    """βⱼ(xⱼ − bⱼ), exact with a single step; the base is f(b)."""
    beta = np.array([2.0, -1.0, 0.0, 0.5])
    found = explained(table_problem(linear_model(beta, 0.3), ROWS, GROUND), steps=steps)
    mean = GROUND.mean(axis=0)
    np.testing.assert_allclose(found.values[:, 0], beta * (ROWS - mean), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.base, beta @ mean + 0.3, rtol=1e-5)
    assert np.abs(found.quality["completeness_error"]).max() < 1e-5
    assert (found.values[:, 0, 2] == 0).all()
    assert found.std_error is None


def test_quadratic_has_a_closed_form(table_problem: Maker) -> None:
    """xᵀAx: (x − b)ⱼ times the gradient half way, (A + Aᵀ)(x + b)/2."""
    matrix = np.random.default_rng(1).normal(size=(4, 4))
    problem = table_problem(quadratic(matrix), ROWS, GROUND, task="regression")
    base = GROUND.mean(axis=0)
    expected = (ROWS - base) * ((ROWS + base) / 2 @ (matrix + matrix.T))
    found = explained(problem, steps=2)
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.base, base @ matrix @ base, rtol=1e-4)


@pytest.mark.parametrize("kind", ["probability", "margin"])
def test_equals_numeric_integration(kind: str, table_problem: Maker, network: Any) -> None:
    """A thousand small steps, eager, in the encoded columns, then summed to the features."""
    keras.utils.set_random_seed(5)
    smooth = [layers.Dense(8, "tanh", kernel_initializer="glorot_normal") for _ in range(2)]
    model = keras.Sequential([keras.Input((5,)), *smooth, layers.Dense(3, "softmax")])
    generator = np.random.default_rng(3)
    codes = np.column_stack([generator.normal(size=15), generator.integers(0, 3, 15), generator.normal(size=15)])
    rows, ground = codes[:6], codes[6:]
    problem = table_problem(model, rows, ground, arrangement=one_hot(), categories={1: 3}, explained=[0, 2], kind=kind)
    matrix, base = one_hot().matrix(rows), one_hot().matrix(ground).mean(axis=0)
    graph = problem.predictor.model_graph(kind)
    expected = np.zeros((6, 2, 3))
    for row, x in enumerate(matrix):
        points = tf.constant(base + (np.arange(1000)[:, None] + 0.5) / 1000 * (x - base), tf.float32)
        for place, output in enumerate((0, 2)):
            with tf.GradientTape() as tape:
                tape.watch(points)
                score = graph(points)[:, output]
            columns = (x - base) * tape.gradient(score, points).numpy().mean(axis=0)
            expected[row, place] = columns[0], columns[1:4].sum(), columns[4]
    found = explained(problem, steps=20)
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    rise = np.take_along_axis(problem.predictor(rows, kind), problem.explained, 1) - found.base
    gap = np.abs(found.values.sum(axis=2) - rise)  # a size: those of several rows must not cancel in a mean
    np.testing.assert_allclose(found.quality["completeness_error"], gap, rtol=0, atol=1e-12)
    assert found.quality["completeness_error"].max() < 1e-5


def test_more_steps_bring_completeness(table_problem: Maker, network: Any) -> None:
    problem = table_problem(network(4), ROWS, GROUND, kind="probability")
    gaps = [np.abs(explained(problem, steps=s).quality["completeness_error"]).mean() for s in (2, 20, 200)]
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2]


def test_baseline_zero(table_problem: Maker, linear_model: Any) -> None:
    beta = np.array([2.0, -1.0, 0.0, 0.5])
    found = explained(table_problem(linear_model(beta, 0.3), ROWS, GROUND), baseline="zero")
    np.testing.assert_allclose(found.values[:, 0], beta * ROWS, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.base, 0.3, rtol=1e-5)


# ---------------------------------------------------------------- properties


@settings(max_examples=4, deadline=None)
@given(order=st.permutations(range(4)))
def test_permuted_columns_permute_attributions(order: list[int], table_problem: Maker, network: Any) -> None:
    model = network(4, hidden=(6,))
    turned = network(4, hidden=(6,))
    weights = model.get_weights()
    turned.set_weights([weights[0][order], *weights[1:]])
    expected = explained(table_problem(model, ROWS, GROUND, batch=64), steps=8).values[..., order]
    found = explained(table_problem(turned, ROWS[:, order], GROUND[:, order], batch=64), steps=8).values
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def test_linearity(table_problem: Maker, network: Any) -> None:
    """The attributions of 2f − 3g are twice those of f less three times those of g."""
    f, g = network(4, seed=1, final="linear"), network(4, seed=2, final="linear")
    inputs = keras.Input((4,))
    both = keras.Model(inputs, 2 * f(inputs) - 3 * g(inputs))
    a, b, c = (explained(table_problem(m, ROWS, GROUND, task="regression"), steps=9).values for m in (f, g, both))
    np.testing.assert_allclose(c, 2 * a - 3 * b, rtol=0, atol=1e-5 * np.abs(c).max())


def test_symmetric_features_get_the_same(table_problem: Maker, network: Any) -> None:
    model = network(4)
    weights = model.get_weights()
    weights[0][1] = weights[0][0]
    model.set_weights(weights)
    rows, ground = ROWS.copy(), GROUND.copy()
    rows[:, 1], ground[:, 1] = rows[:, 0], ground[:, 0]
    values = explained(table_problem(model, rows, ground)).values
    np.testing.assert_allclose(values[..., 0], values[..., 1], rtol=0, atol=1e-5)


def test_a_group_is_the_sum_of_its_columns(table_problem: Maker, network: Any) -> None:
    problem = table_problem(network(4), ROWS, GROUND)
    alone = explained(problem).values
    bound = explained(replace(problem, groups={"both": (1, 3)})).values
    np.testing.assert_allclose(bound, np.stack([alone[..., 0], alone[..., 1] + alone[..., 3], alone[..., 2]], -1))
    assert [p.name for p in replace(problem, groups={"both": (1, 3)}).players] == ["x0", "both", "x2"]


def test_company_batch_size_and_repetition(table_problem: Maker, network: Any) -> None:
    rows = np.random.default_rng(2).normal(size=(23, 4))
    problem = table_problem(network(4), rows, GROUND, batch=512)
    explain = TECHNIQUE.prepare(problem, IntegratedGradientsSettings(), Watch()).explain
    whole = explain(problem.rows, problem.explained).values
    assert whole.tobytes() == explain(problem.rows, problem.explained).values.tobytes()
    apart = np.concatenate([explain(rows[i : i + 5], problem.explained[i : i + 5]).values for i in range(0, 23, 5)])
    assert apart.tobytes() == whole.tobytes()
    other = explained(table_problem(network(4), rows, GROUND, batch=4096)).values
    np.testing.assert_allclose(other, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("columns", [11, 13, 20])
def test_a_rows_place_in_its_batch_changes_no_bit(columns: int, table_problem: Maker, network: Any) -> None:
    """More columns than a register of the processor holds, and no multiple of it."""
    generator = np.random.default_rng(columns)
    rows = generator.normal(size=(40, columns))
    problem = table_problem(network(columns), rows, generator.normal(size=(6, columns)), kind="probability")
    explain = TECHNIQUE.prepare(problem, IntegratedGradientsSettings(), Watch()).explain
    whole = explain(rows, problem.explained)
    apart = [explain(rows[i : i + 9], problem.explained[i : i + 9]) for i in range(0, 40, 9)]
    assert np.concatenate([part.values for part in apart]).tobytes() == whole.values.tobytes()


def test_more_outputs_than_one_call_differentiates(table_problem: Maker, network: Any) -> None:
    problem = table_problem(network(4, 13), ROWS, GROUND, explained=range(13))
    found = explained(problem, steps=5).values
    assert found.shape == (5, 13, 4)
    alone = explained(replace(problem, explained=problem.explained[:, 12:]), steps=5).values
    np.testing.assert_allclose(found[:, 12:], alone, rtol=0, atol=1e-6)


def test_rows_with_outputs_of_their_own(table_problem: Maker, network: Any) -> None:
    problem = table_problem(network(4, 3), ROWS, GROUND, explained=[0, 1, 2])
    whole = explained(problem, steps=5).values
    chosen = np.array([[2], [0], [1], [1], [0]])
    found = explained(replace(problem, explained=chosen), steps=5).values
    np.testing.assert_allclose(found, np.take_along_axis(whole, chosen[..., None], axis=1), rtol=0, atol=1e-6)


# ---------------------------------------------------------------- forms of model


def test_named_inputs_of_numbers(table_problem: Maker, network: Any) -> None:
    """A column an input, of rank one or two."""
    inputs = [keras.Input((1,), name="a"), keras.Input((), name="b")]
    matrix = layers.Concatenate()([inputs[0], layers.Reshape((1,))(inputs[1])])
    inner = network(2)
    model = keras.Model(inputs, inner(matrix))
    named = Named(("a", "b"), ("float32", "float32"), (2, 1), (None, None), (None, None))
    found = explained(table_problem(model, ROWS[:, :2], GROUND[:, :2], arrangement=named))
    expected = explained(table_problem(inner, ROWS[:, :2], GROUND[:, :2]))
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-5)


def test_model_built_for_one_batch_size(table_problem: Maker, network: Any) -> None:
    inner = network(4)
    inputs = keras.Input(batch_shape=(8, 4))
    found = explained(table_problem(keras.Model(inputs, inner(inputs)), ROWS, GROUND), steps=10)
    expected = explained(table_problem(inner, ROWS, GROUND), steps=10)
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.base, expected.base, rtol=1e-5)


def test_several_heads(table_problem: Maker) -> None:
    """Either head's output, as a model of its own."""
    inputs = keras.Input((4,))
    shared = layers.Dense(8, "tanh")(inputs)
    first = layers.Dense(1, "sigmoid", name="label")(shared)
    second = layers.Dense(1, "sigmoid", name="other")(shared)
    both = table_problem(keras.Model(inputs, [first, second]), ROWS, GROUND, explained=[0, 1])
    found = explained(both).values
    for place, head in enumerate((first, second)):
        alone = explained(table_problem(keras.Model(inputs, head), ROWS, GROUND)).values
        np.testing.assert_allclose(found[:, place], alone[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("d", [1, 2])
def test_columns_that_mix_features(d: int, table_problem: Maker, network: Any) -> None:
    """A rotation of two features has no owner; of a single feature, everything is that feature's."""
    sums = Sums(3, np.arange(d), np.random.default_rng(4).normal(size=(d, 3)), np.full((d, 3), np.nan), (), np.zeros(3))
    problem = table_problem(network(3), ROWS[:, :d], GROUND[:, :d], arrangement=sums)
    reason = TECHNIQUE.unfit(problem, IntegratedGradientsSettings())
    if d == 2:
        assert reason is not None
        assert "mixes features" in reason
    else:
        assert reason is None
        found = explained(problem, steps=200)
        assert np.abs(found.quality["completeness_error"]).max() < 0.05


def test_integer_inputs_do_not_fit(table_problem: Maker) -> None:
    inputs = keras.Input((3,), dtype="int32")
    model = keras.Model(inputs, layers.Dense(1, "sigmoid")(layers.Flatten()(layers.Embedding(9, 2)(inputs))))
    reason = TECHNIQUE.unfit(table_problem(model, np.ones((2, 3)), np.zeros((2, 3))), IntegratedGradientsSettings())
    assert reason is not None
    assert "shap and lime do without" in reason


def test_images_do_not_fit(image_problem: Maker) -> None:
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2, "softmax")])
    reason = TECHNIQUE.unfit(image_problem(model, np.zeros((1, 4, 4, 1))), IntegratedGradientsSettings())
    assert reason is not None
    assert "images" in reason


def test_output_without_gradient_is_said(table_problem: Maker) -> None:
    inputs = keras.Input((4,))
    steps = keras.ops.cast(inputs > 0, "float32")
    problem = table_problem(keras.Model(inputs, layers.Dense(1, "sigmoid")(steps)), ROWS, GROUND)
    with pytest.raises(Incomplete, match="no gradient in its inputs"):
        explained(problem)


def test_background_without_a_mean_is_said(table_problem: Maker, network: Any) -> None:
    ground = GROUND.copy()
    ground[2, 1] = np.inf
    problem = table_problem(network(4), ROWS, GROUND)
    with pytest.raises(OutputError, match="mean of the encoded background") as error:
        explained(replace(problem, background=ground))
    assert list(error.value.values) == ["x1"]


@pytest.mark.parametrize(("rows", "features"), [(1, 1), (1, 4), (5, 1)])
def test_smallest_tables(rows: int, features: int, table_problem: Maker, network: Any) -> None:
    problem = table_problem(network(features), ROWS[:rows, :features], GROUND[:1, :features])
    found = explained(problem)
    assert found.values.shape == (rows, 1, features)
    assert np.isfinite(found.values).all()


def test_a_row_that_is_the_baseline_gets_nothing(table_problem: Maker, network: Any) -> None:
    found = explained(table_problem(network(4), GROUND[:1], GROUND[:1]))
    assert not found.values.any()


def test_evaluations_and_facts(table_problem: Maker, network: Any) -> None:
    problem = table_problem(network(4, 3), ROWS, GROUND, explained=[0, 1])
    prepared = TECHNIQUE.prepare(problem, IntegratedGradientsSettings(steps=10), Watch())
    assert prepared.explain(problem.rows, problem.explained).evaluations == 5 * (1 + 10 * 3)
    assert prepared.facts == {"steps": 10, "baseline": "background", "background": 6}
    assert "one baseline" in prepared.limitations[0]


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": "many"}, {"baseline": "black"}, {"step": 3}])
def test_wrong_settings(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IntegratedGradientsSettings(**options)


def test_stops_when_asked(table_problem: Maker, network: Any) -> None:
    problem, watch = table_problem(network(4), ROWS, GROUND), Watch()
    explain = TECHNIQUE.prepare(problem, IntegratedGradientsSettings(), watch).explain
    watch.stop.set()
    with pytest.raises(Stopped):
        explain(problem.rows, problem.explained)


def test_codes_that_are_looked_up_have_no_gradient(looked_up: Problem) -> None:
    assert "the layer colours looks codes up" in str(TECHNIQUE.unfit(looked_up, IntegratedGradientsSettings()))
