"""SmoothGrad of a table: closed forms, the spread that its standard error tells, and forms of input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.errors import Stopped
from tasks.explain.base import Attribution, Problem
from tasks.explain.smooth_grad import TECHNIQUE, SmoothGradSettings
from tasks.load.arrangement import Sums
from tasks.watch import Watch

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
Maker = Callable[..., Problem]
ROWS, GROUND = np.random.default_rng(7).normal(size=(5, 4)), np.random.default_rng(8).normal(1, 1, size=(6, 4))


def explained(problem: Problem, **options: Any) -> Attribution:
    return TECHNIQUE.prepare(problem, SmoothGradSettings(**options), Watch()).explain(problem.rows, problem.explained)


def test_linear_margin_has_a_closed_form(table_problem: Maker, linear_model: Any) -> None:
    """A slope that is the same everywhere: βⱼ(xⱼ − bⱼ), without error; and only then values add up."""
    beta = np.array([2.0, -1.0, 0.0, 0.5])
    found = explained(table_problem(linear_model(beta, 0.3), ROWS, GROUND))
    np.testing.assert_allclose(found.values[:, 0], beta * (ROWS - GROUND.mean(axis=0)), rtol=0, atol=1e-5)
    assert found.std_error is not None
    assert np.abs(found.std_error).max() < 1e-6
    assert np.abs(found.quality["completeness_error"]).max() < 1e-5


def test_cubic_has_a_closed_form(table_problem: Maker) -> None:
    """The slope of Σx³ under noise of variance s² is 3(x² + s²) on average; pairs leave no odd term of the noise."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.ops.sum(inputs**3, axis=1, keepdims=True))
    problem = table_problem(model, ROWS, GROUND, task="regression")
    s = 0.5 * GROUND.std(axis=0)
    expected = (ROWS - GROUND.mean(axis=0)) * 3 * (ROWS**2 + s**2)
    found = explained(problem, samples=4000)
    assert found.std_error is not None
    assert (np.abs(found.values[:, 0] - expected) < 4.5 * found.std_error[:, 0]).all()
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=0, atol=0.03 * np.abs(expected).max())
    rise = problem.predictor(ROWS) - found.base
    gap = np.abs(found.values.sum(axis=2) - rise)  # a size: those of several rows must not cancel in a mean
    np.testing.assert_allclose(found.quality["completeness_error"], gap, atol=1e-9)
    assert found.quality["completeness_error"].max() > 0.1  # it does not add up, and says so


def test_standard_error_is_the_spread_over_seeds(table_problem: Maker, network: Any) -> None:
    problem = table_problem(network(4), ROWS, GROUND, kind="probability")
    runs = [explained(replace(problem, seed=seed), samples=40) for seed in range(16)]
    spread = np.stack([run.values for run in runs]).std(axis=0, ddof=1)
    told = np.sqrt(np.mean([run.std_error**2 for run in runs if run.std_error is not None], axis=0))
    assert 0.75 < np.sqrt((spread**2).mean() / (told**2).mean()) < 1.3


def test_without_noise_it_is_the_gradient(table_problem: Maker, network: Any) -> None:
    """A background of one row has no spread, so there is no noise either."""
    problem = table_problem(network(4), ROWS, GROUND[:1])
    points = tf.constant(ROWS, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(points)
        margin = problem.predictor.model_graph("margin")(points)[:, 0]
    expected = (ROWS - GROUND[0]) * tape.gradient(margin, points).numpy()
    found = explained(problem)
    np.testing.assert_allclose(found.values[:, 0], expected, rtol=0, atol=1e-5)
    assert found.std_error is not None
    assert np.abs(found.std_error).max() < 1e-6


def test_a_group_is_the_sum_of_its_columns(table_problem: Maker, network: Any) -> None:
    problem = table_problem(network(4), ROWS, GROUND)
    alone, bound = explained(problem), explained(replace(problem, groups={"both": (1, 3)}))
    expected = np.stack([alone.values[..., 0], alone.values[..., 1] + alone.values[..., 3], alone.values[..., 2]], -1)
    np.testing.assert_allclose(bound.values, expected, rtol=0, atol=1e-5)
    assert bound.std_error is not None
    assert bound.std_error.shape == (5, 1, 3)


def test_permuted_columns_permute_attributions(table_problem: Maker, network: Any) -> None:
    """The noise is drawn column by column, so equal only within what it spreads."""
    order = [2, 0, 3, 1]
    model, turned = network(4), network(4)
    weights = model.get_weights()
    turned.set_weights([weights[0][order], *weights[1:]])
    expected = explained(table_problem(model, ROWS, GROUND), samples=2000)
    found = explained(table_problem(turned, ROWS[:, order], GROUND[:, order]), samples=2000)
    assert found.std_error is not None
    assert expected.std_error is not None
    error = np.sqrt(found.std_error**2 + expected.std_error[..., order] ** 2) + 1e-6
    assert (np.abs(found.values - expected.values[..., order]) < 5 * error).all()


def test_company_batch_size_and_seed(table_problem: Maker, network: Any) -> None:
    rows = np.random.default_rng(2).normal(size=(23, 4))
    problem = table_problem(network(4), rows, GROUND, batch=512)
    explain = TECHNIQUE.prepare(problem, SmoothGradSettings(), Watch()).explain
    whole = explain(problem.rows, problem.explained).values
    apart = np.concatenate([explain(rows[i : i + 5], problem.explained[i : i + 5]).values for i in range(0, 23, 5)])
    assert apart.tobytes() == whole.tobytes() == explained(problem).values.tobytes()
    other = explained(table_problem(network(4), rows, GROUND, batch=4096)).values
    np.testing.assert_allclose(other, whole, rtol=0, atol=1e-5 * np.abs(whole).max())
    assert explained(replace(problem, seed=1)).values.tobytes() != whole.tobytes()


@pytest.mark.parametrize("columns", [11, 13, 20])
def test_a_rows_place_in_its_batch_changes_no_bit(columns: int, table_problem: Maker, network: Any) -> None:
    """More columns than a register of the processor holds, and no multiple of it."""
    generator = np.random.default_rng(columns)
    rows = generator.normal(size=(40, columns))
    problem = table_problem(network(columns), rows, generator.normal(size=(6, columns)), kind="probability")
    explain = TECHNIQUE.prepare(problem, SmoothGradSettings(), Watch()).explain
    whole = explain(rows, problem.explained)
    apart = [explain(rows[i : i + 9], problem.explained[i : i + 9]) for i in range(0, 40, 9)]
    assert np.concatenate([part.values for part in apart]).tobytes() == whole.values.tobytes()
    assert whole.std_error is not None
    assert np.concatenate([part.std_error for part in apart]).tobytes() == whole.std_error.tobytes()


@pytest.mark.parametrize(("rows", "features"), [(1, 1), (1, 4), (5, 1)])
def test_smallest_tables(rows: int, features: int, table_problem: Maker, network: Any) -> None:
    found = explained(table_problem(network(features), ROWS[:rows, :features], GROUND[:1, :features]), samples=4)
    assert found.values.shape == (rows, 1, features)
    assert np.isfinite(found.values).all()


def test_columns_that_mix_features_do_not_fit(table_problem: Maker, network: Any) -> None:
    sums = Sums(3, np.arange(2), np.ones((2, 3)), np.full((2, 3), np.nan), (), np.zeros(3))
    problem = table_problem(network(3), ROWS[:, :2], GROUND[:, :2], arrangement=sums)
    reason = TECHNIQUE.unfit(problem, SmoothGradSettings())
    assert reason is not None
    assert "mixes features" in reason


def test_what_is_said(table_problem: Maker, network: Any) -> None:
    problem = table_problem(network(4, 3), ROWS, GROUND, explained=[0, 1])
    prepared = TECHNIQUE.prepare(problem, SmoothGradSettings(samples=10), Watch())
    assert prepared.explain(problem.rows, problem.explained).evaluations == 5 * (1 + 10 * 3)
    assert prepared.facts == {"samples": 10, "noise": 0.5, "background": 6}
    assert "do not add up to the prediction" in prepared.limitations[0]


@pytest.mark.parametrize("options", [{"samples": 3}, {"samples": 2}, {"noise": 0}, {"noise": float("nan")}, {"n": 3}])
def test_wrong_settings(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SmoothGradSettings(**options)


def test_stops_when_asked(table_problem: Maker, network: Any) -> None:
    problem, watch = table_problem(network(4), ROWS, GROUND), Watch()
    explain = TECHNIQUE.prepare(problem, SmoothGradSettings(), watch).explain
    watch.stop.set()
    with pytest.raises(Stopped):
        explain(problem.rows, problem.explained)


def test_codes_that_are_looked_up_have_no_gradient(looked_up: Problem) -> None:
    assert "the layer colours looks codes up" in str(TECHNIQUE.unfit(looked_up, SmoothGradSettings()))
