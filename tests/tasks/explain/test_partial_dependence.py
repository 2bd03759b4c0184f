"""Partial dependence against scikit-learn, a closed form, and what must not change it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tasks.errors import OutputError, Stopped
from tasks.explain.base import Effects, Problem
from tasks.explain.partial_dependence import TECHNIQUE, PartialDependenceSettings
from tasks.watch import Watch

DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(size=(60, 3))
#: one number of few values, one of many, one category with a null
MIXED = np.column_stack([DRAW.integers(0, 5, 60), DRAW.normal(size=60), DRAW.integers(0, 4, 60)]).astype(float)


def found(problem: Problem, **settings: Any) -> Effects:
    assert TECHNIQUE.unfit(problem, PartialDependenceSettings()) is None
    effects = TECHNIQUE.prepare(problem, PartialDependenceSettings(**settings), Watch())
    assert isinstance(effects, Effects)
    return effects


def average(effects: Effects, feature: str, output: str | None = None) -> dict[str, np.ndarray]:
    """Columns of one curve of the mean."""
    table = effects.table
    chosen = pc.and_(pc.equal(table["feature"], feature), pc.is_null(table["row_id"]))
    if output is not None:
        chosen = pc.and_(chosen, pc.equal(table["output"], output))
    curve = table.filter(chosen)
    return {name: np.array(curve[name].to_pylist()) for name in curve.column_names}


def brute(problem: Problem, column: int, position: float) -> np.ndarray:
    """The outputs of all rows with one column set."""
    rows = problem.rows.copy()
    rows[:, column] = position
    return problem.predictor(rows, problem.kind)[:, problem.explained[0]]


@pytest.mark.parametrize("kind", ["probability", "margin"])
def test_the_averages_are_those_of_scikit_learn(table_problem: Any, network: Any, kind: str) -> None:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.inspection import partial_dependence

    rows = np.column_stack([ROWS[:, 0], np.round(ROWS[:, 1]), ROWS[:, 2]])
    problem = table_problem(network(3), rows, rows[:5], kind=kind)

    class Model(RegressorMixin, BaseEstimator):
        def fit(self, X: np.ndarray, y: np.ndarray) -> Model:
            self.fitted_ = True
            return self

        def predict(self, X: np.ndarray) -> np.ndarray:
            return problem.predictor(X, kind)[:, 0]

    model = Model().fit(rows, rows[:, 0])
    effects = found(problem, points=8, curves=60)
    for column in range(3):
        own = average(effects, f"x{column}")
        theirs = partial_dependence(
            model, rows, [column], method="brute", kind="both", custom_values={column: own["position"]}
        )
        np.testing.assert_allclose(own["effect"], theirs["average"][0], atol=1e-6)
        single = effects.table.filter(
            pc.and_(pc.equal(effects.table["feature"], f"x{column}"), pc.is_valid(effects.table["row_id"]))
        )
        curves = single["effect"].to_numpy().reshape(60, -1)
        np.testing.assert_allclose(curves, theirs["individual"][0], atol=1e-6)
        assert single["row_id"].to_pylist() == np.repeat(np.arange(60), len(own["effect"])).tolist()


def test_a_linear_model_gives_straight_lines(table_problem: Any, linear_model: Any) -> None:
    weights = np.array([2.0, -1.0, 0.0])
    problem = table_problem(linear_model(weights, 0.5), ROWS, ROWS[:5])
    effects = found(problem, points=7)
    for j, weight in enumerate(weights):
        own = average(effects, f"x{j}")
        rest = (np.delete(ROWS, j, 1) @ np.delete(weights, j)) + 0.5
        np.testing.assert_allclose(own["effect"], weight * own["position"] + rest.mean(), atol=1e-5)
        np.testing.assert_allclose(own["std_error"], rest.std(ddof=1) / np.sqrt(60), atol=1e-5)
        np.testing.assert_allclose(own["ci_high"] - own["effect"], 1.959964 * own["std_error"], rtol=1e-5)
        assert own["point"].tolist() == list(range(7))
        assert set(own["n_rows"]) == {60}


def test_points_are_values_that_occur(table_problem: Any, network: Any) -> None:
    mostly_nought = np.where(np.arange(60) < 50, 0.0, np.arange(60.0))
    rows = np.column_stack([np.full(60, 3.0), mostly_nought, ROWS[:, 0]])
    effects = found(table_problem(network(3), rows, rows[:5]), points=6)
    assert average(effects, "x0")["position"].tolist() == [3.0]  # a constant
    own = average(effects, "x1")["position"]
    assert len(own) == 6
    assert own[0] == 0.0
    assert set(own) <= set(mostly_nought)
    assert len(set(own[1:])) == 5  # ties at 0 leave room for the others
    assert set(average(effects, "x2")["position"]) <= set(ROWS[:, 0])


def test_categories_and_nulls(table_problem: Any, network: Any) -> None:
    rows = MIXED.copy()
    rows[:7, 2] = 3  # the code of null, where there are three categories
    rows[:4, 1] = np.nan
    problem = table_problem(network(3), rows, rows[:5], categories={2: 3})
    problem = replace(problem, rows=np.nan_to_num(rows))  # the network itself knows no NaN
    own = average(found(problem), "x2")
    assert own["position"].tolist() == [0, 1, 2, 3]
    assert own["value"].tolist() == ["c0", "c1", "c2", "(missing)"]
    np.testing.assert_allclose(own["effect"], [brute(problem, 2, code).mean() for code in range(4)], atol=1e-6)


def test_nulls_are_no_points_of_a_number(table_problem: Any) -> None:
    import keras

    inputs = keras.Input((2,))
    value = keras.layers.Dense(1, activation="sigmoid")(keras.ops.where(keras.ops.isnan(inputs), 0.0, inputs))
    rows = np.array([[1.0, np.nan], [2.0, 5.0], [np.nan, 5.0]])
    effects = found(table_problem(keras.Model(inputs, value), rows, rows[:1]))
    assert average(effects, "x0")["position"].tolist() == [1.0, 2.0]
    assert average(effects, "x1")["position"].tolist() == [5.0]


def test_rare_categories_are_left_out_and_counted(table_problem: Any, network: Any) -> None:
    codes = np.concatenate([np.arange(45), np.arange(45), np.arange(10)]).astype(float)
    rows = np.column_stack([codes, DRAW.normal(size=100)])
    effects = found(table_problem(network(2), rows, rows[:3], categories={0: 45}))
    own = average(effects, "x0")["position"]
    assert own.tolist() == list(range(30))  # ten of three rows, then by code
    assert effects.facts["rare_categories"] == {"x0": {"categories": 15, "named": [f"c{c}" for c in range(30, 40)]}}


def test_each_output_that_is_explained_has_its_curves(table_problem: Any, network: Any) -> None:
    problem = table_problem(network(3, 3), ROWS, ROWS[:5], explained=[0, 2], kind="probability")
    effects = found(problem, points=5, curves=2)
    assert effects.facts["outputs"] == ["class 0", "class 2"]
    for k, output in enumerate(("class 0", "class 2")):
        own = average(effects, "x1", output)
        truth = [brute(problem, 1, position)[:, k].mean() for position in own["position"]]
        np.testing.assert_allclose(own["effect"], truth, atol=1e-6)
    means = problem.predictor(ROWS, "probability").mean(axis=0)
    assert list(effects.facts["mean_output"].values()) == pytest.approx([means[0], means[2]])
    outputs = effects.table["output"].to_pylist()
    assert outputs == sorted(outputs)


def test_permuting_columns_permutes_curves(table_problem: Any, network: Any) -> None:
    model = network(3)
    order = [2, 0, 1]
    kernel, *rest = model.get_weights()
    moved = network(3)
    moved.set_weights([kernel[order], *rest])
    plain = found(table_problem(model, ROWS, ROWS[:5]), curves=0)
    turned = found(table_problem(moved, ROWS[:, order], ROWS[:5][:, order]), curves=0)
    for place, column in enumerate(order):
        own, other = average(plain, f"x{column}"), average(turned, f"x{place}")
        assert own["position"].tolist() == other["position"].tolist()
        np.testing.assert_allclose(own["effect"], other["effect"], atol=1e-6)


def test_the_batch_changes_nothing(table_problem: Callable[..., Problem], network: Any) -> None:
    model = network(3)
    tables = [found(table_problem(model, MIXED, MIXED[:5], categories={2: 4}, batch=b)).table for b in (64, 4096)]
    np.testing.assert_allclose(tables[0]["effect"].to_numpy(), tables[1]["effect"].to_numpy(), atol=1e-6)
    assert (
        tables[0]
        .drop_columns(["effect", "std_error", "ci_low", "ci_high"])
        .equals(tables[1].drop_columns(["effect", "std_error", "ci_low", "ci_high"]))
    )
    again = found(table_problem(model, MIXED, MIXED[:5], categories={2: 4}, batch=64)).table
    assert again.equals(tables[0])


def test_a_sample_of_the_rows_is_averaged(table_problem: Any, network: Any) -> None:
    effects = found(table_problem(network(3), ROWS, ROWS[:5]), rows=20, curves=5)
    assert set(average(effects, "x0")["n_rows"]) == {20}
    assert len(set(effects.table["row_id"].to_pylist())) == 1 + 5
    assert effects.evaluations == (1 + 3 * 20) * 20


def test_columns_bound_in_a_group_have_no_axis(table_problem: Any, network: Any) -> None:
    model = network(3)
    bound = found(table_problem(model, ROWS, ROWS[:5], groups={"both": (0, 2)}), curves=0)
    assert set(bound.table["feature"].to_pylist()) == {"x1"}
    assert "both" in bound.limitations[0]
    plain = found(table_problem(model, ROWS, ROWS[:5]), curves=0)
    np.testing.assert_allclose(average(bound, "x1")["effect"], average(plain, "x1")["effect"], atol=1e-6)
    assert plain.limitations == ()
    all_bound = table_problem(model, ROWS, ROWS[:5], groups={"all": (0, 1, 2)})
    assert "no axis" in (TECHNIQUE.unfit(all_bound, PartialDependenceSettings()) or "")


def test_one_row_has_no_standard_error(table_problem: Any, network: Any) -> None:
    effects = found(table_problem(network(1), np.array([[2.0]]), np.array([[1.0]])))
    assert effects.table.filter(pc.is_null(effects.table["row_id"]))["std_error"].to_pylist() == [None]


def test_a_model_that_returns_nan_is_told_with_the_feature(table_problem: Any) -> None:
    import keras

    inputs = keras.Input((2,))
    first, second = inputs[:, :1], inputs[:, 1:]
    value = keras.layers.Activation("linear")(first + keras.ops.sqrt(second + first))
    rows = np.array([[0.0, 0.0], [4.0, 9.0], [-1.0, 2.0]])  # the root of 0 − 1, once they are mixed
    problem = table_problem(keras.Model(inputs, value), rows, rows[:1], task="regression", kind="probability")
    with pytest.raises(OutputError, match="one feature was changed") as error:
        found(problem)
    assert set(error.value.values) <= {"x0", "x1"}
    assert error.value.values


def test_a_stop_is_heard(table_problem: Any, network: Any) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        TECHNIQUE.prepare(table_problem(network(3), ROWS, ROWS[:5]), PartialDependenceSettings(), Watch(stop=stop))


def test_weights_are_said_not_to_count(table_problem: Any, network: Any) -> None:
    effects = found(table_problem(network(3), ROWS, ROWS[:5], weight=np.ones(60)))
    assert "data.weight" in effects.limitations[0]


def test_the_table_has_the_columns_of_the_contract(table_problem: Any, network: Any) -> None:
    from tasks.contracts import schema_of

    table = found(table_problem(network(3), ROWS, ROWS[:5])).table
    assert table.schema.equals(schema_of("effects", pa.int64()))
