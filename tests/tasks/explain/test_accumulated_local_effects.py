"""Accumulated local effects against hand computation, closed forms, and partial dependence where the two differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.explain import partial_dependence
from tasks.explain.accumulated_local_effects import TECHNIQUE, AleSettings, accumulated, category_order
from tasks.explain.base import Effects, Problem
from tasks.watch import Watch
from tests.tasks.explain.test_partial_dependence import average

DRAW = np.random.default_rng(1)


def found(problem: Problem, **settings: Any) -> Effects:
    effects = TECHNIQUE.prepare(problem, AleSettings(**settings), Watch())
    assert isinstance(effects, Effects)
    return effects


def product_model() -> Any:
    """x0 · x1, as a regression."""
    import keras

    inputs = keras.Input((2,))
    return keras.Model(inputs, keras.layers.Activation("linear")(inputs[:, :1] * inputs[:, 1:]))


# ---------------------------------------------------------------- adding up


def test_changes_are_added_up_and_centred_by_hand() -> None:
    changes, step = np.array([1.0, 3.0, -2.0, -2.0, 4.0]), np.array([1, 1, 2, 2, 3])
    shares = np.array([0.2, 0.3, 0.3, 0.2])
    effect, error = accumulated(changes, step, shares)
    raw = np.array([0.0, 2.0, 0.0, 4.0])  # means 2, −2, 4
    np.testing.assert_allclose(effect, raw - shares @ raw)
    # variances 2, 0 and, of a single change, the pooled (2 + 0)/2 = 1, each over its number
    variance = np.array([1.0, 0.0, 1.0])
    adds = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]) - np.array([0.8, 0.5, 0.2])
    np.testing.assert_allclose(error, np.sqrt(adds**2 @ variance))


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=30), st.integers(2, 5))
def test_the_mean_is_nought(changes: list[float], p: int) -> None:
    values = np.array(changes)
    step = 1 + np.arange(len(values)) % (p - 1)
    shares = np.full(p, 1 / p)
    effect, error = accumulated(values, step, shares)
    assert abs(shares @ effect) < 1e-9
    assert not (error < 0).any()
    np.testing.assert_allclose(accumulated(3 * values, step, shares)[0], 3 * effect, atol=1e-9)


# ---------------------------------------------------------------- numbers


def test_a_linear_model_gives_straight_lines(table_problem: Any, linear_model: Any) -> None:
    weights = np.array([2.0, -1.0, 0.0])
    first = DRAW.normal(size=200)
    rows = np.column_stack([first, first + 0.3 * DRAW.normal(size=200), DRAW.exponential(size=200)])
    effects = found(table_problem(linear_model(weights, 0.5), rows, rows[:5]), intervals=10)
    for j, weight in enumerate(weights):
        own = average(effects, f"x{j}")
        assert len(own["position"]) == 11
        assert (own["position"][0], own["position"][-1]) == (rows[:, j].min(), rows[:, j].max())
        np.testing.assert_allclose(np.diff(own["effect"]), weight * np.diff(own["position"]), atol=2e-5)
        # centred: the intervals' middles, by their rows, have the mean 0
        middles, n = (own["effect"][1:] + own["effect"][:-1]) / 2, own["n_rows"][1:]
        assert abs((middles * n).sum() / n.sum()) < 1e-6
        assert n.sum() == 200


def test_intervals_and_their_rows_by_hand(table_problem: Any) -> None:
    # y = x0·x1; x0 has the values 0 1 2, so the intervals are (0, 1] with the rows at 0 and 1, and (1, 2]
    rows = np.array([[0.0, 1.0], [1.0, 3.0], [1.0, 5.0], [2.0, 7.0], [2.0, 1.0]])
    problem = table_problem(product_model(), rows, rows[:1], task="regression", kind="probability")
    own = average(found(problem, intervals=5), "x0")
    assert own["position"].tolist() == [0.0, 1.0, 2.0]
    raw = np.array([0.0, (1 + 3 + 5) / 3, (1 + 3 + 5) / 3 + (7 + 1) / 2])
    centre = (3 * (raw[0] + raw[1]) / 2 + 2 * (raw[1] + raw[2]) / 2) / 5
    np.testing.assert_allclose(own["effect"], raw - centre, atol=1e-6)
    assert own["n_rows"].tolist() == [3, 3, 2]


def test_it_stays_where_rows_are_and_partial_dependence_does_not(table_problem: Any) -> None:
    # y = x0·x1 with x1 ≈ x0: along the rows the slope in x0 is x1 ≈ x0, so ALE is x0²/2; PD is x0 · mean(x1).
    x0 = np.linspace(-1, 3, 400)
    rows = np.column_stack([x0, x0])
    problem = table_problem(product_model(), rows, rows[:1], task="regression", kind="probability")
    own = average(found(problem, intervals=40), "x0")
    parabola = own["position"] ** 2 / 2
    middles = (parabola[1:] + parabola[:-1]) / 2
    np.testing.assert_allclose(own["effect"], parabola - np.average(middles, weights=own["n_rows"][1:]), atol=0.02)
    settings = partial_dependence.PartialDependenceSettings()
    line = average(partial_dependence.TECHNIQUE.prepare(problem, settings, Watch()), "x0")
    np.testing.assert_allclose(line["effect"], line["position"] * x0.mean(), atol=1e-5)


def test_a_constant_and_a_single_row(table_problem: Any, network: Any) -> None:
    rows = np.column_stack([np.full(20, 7.0), DRAW.normal(size=20)])
    own = average(found(table_problem(network(2), rows, rows[:2])), "x0")
    assert (own["position"].tolist(), own["effect"].tolist(), own["std_error"].tolist()) == ([7.0], [0.0], [0.0])
    effects = found(table_problem(network(2), rows[:1], rows[:1]))
    assert effects.table["effect"].to_pylist() == [0.0, 0.0]


def test_nulls_take_no_part(table_problem: Any) -> None:
    import keras

    inputs = keras.Input((1,))
    value = keras.layers.Activation("linear")(keras.ops.where(keras.ops.isnan(inputs), 100.0, 2 * inputs))
    rows = np.array([[1.0], [2.0], [4.0], [np.nan], [np.nan]])
    problem = table_problem(keras.Model(inputs, value), rows, rows[:1], task="regression", kind="probability")
    own = average(found(problem), "x0")
    assert own["position"].tolist() == [1.0, 2.0, 4.0]
    np.testing.assert_allclose(np.diff(own["effect"]), [2.0, 4.0])
    only_nulls = table_problem(keras.Model(inputs, value), rows[3:], rows[:1], task="regression", kind="probability")
    assert found(only_nulls).table.num_rows == 0


# ---------------------------------------------------------------- categories


def test_categories_are_ordered_by_what_goes_with_them() -> None:
    codes = np.repeat([0.0, 1.0, 2.0, 3.0], 25)
    beside = np.where(codes == 0, 0.0, np.where(codes == 2, 1.0, np.where(codes == 3, 2.0, 3.0)))
    rows = np.column_stack([codes, beside + np.tile(np.linspace(0, 1.5, 25), 4)])
    from tasks.load.encoding import Feature

    class Two:
        features = (Feature("c", "category", tuple("abcd")), Feature("n", "number"))

    order = category_order(Two, rows, 0, np.arange(4.0))  # type: ignore[arg-type]
    assert order.tolist() == [0, 2, 3, 1]


def test_categories_by_hand(table_problem: Any, linear_model: Any) -> None:
    # Alone, a category's order is its codes'; the margin is 1.5 · code, so neighbours differ by 1.5.
    rows = np.repeat([0.0, 1.0, 2.0], [5, 3, 2])[:, None]
    own = average(found(table_problem(linear_model(np.array([1.5])), rows, rows[:1], categories={0: 3})), "x0")
    raw = np.array([0.0, 1.5, 3.0])
    np.testing.assert_allclose(own["effect"], raw - (5 * 0 + 3 * 1.5 + 2 * 3.0) / 10, atol=1e-5)
    assert own["n_rows"].tolist() == [5, 3, 2]
    assert own["value"].tolist() == ["c0", "c1", "c2"]


def test_null_is_a_category_of_its_own(table_problem: Any, network: Any) -> None:
    rows = np.column_stack([np.tile([0.0, 1.0, 2.0], 10), DRAW.normal(size=30)])  # 2: null of two categories
    own = average(found(table_problem(network(2), rows, rows[:1], categories={0: 2})), "x0")
    assert sorted(own["value"]) == ["(missing)", "c0", "c1"]
    assert own["effect"].sum() == pytest.approx(0, abs=1e-6)


# ---------------------------------------------------------------- whatever the shape


def test_the_batch_changes_nothing_and_the_order_of_columns_either(table_problem: Any, network: Any) -> None:
    rows = np.column_stack([DRAW.normal(size=80), DRAW.integers(0, 4, 80), DRAW.integers(0, 3, 80)]).astype(float)
    model = network(3)
    one, two = (found(table_problem(model, rows, rows[:5], categories={2: 3}, batch=b)).table for b in (32, 4096))
    np.testing.assert_allclose(one["effect"].to_numpy(), two["effect"].to_numpy(), atol=1e-6)
    kernel, *rest = model.get_weights()
    moved = network(3)
    moved.set_weights([kernel[::-1], *rest])
    turned = found(table_problem(moved, rows[:, ::-1], rows[:5, ::-1], categories={0: 3}))
    for own, other in (("x0", "x2"), ("x1", "x1"), ("x2", "x0")):
        theirs = turned.table.filter(pc.equal(turned.table["feature"], other))["effect"].to_numpy()
        ours = one.filter(pc.equal(one["feature"], own))["effect"].to_numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_groups_outputs_and_evaluations(table_problem: Any, network: Any) -> None:
    rows = DRAW.normal(size=(50, 3))
    problem = table_problem(network(3, 3), rows, rows[:5], explained=[0, 2], groups={"both": (0, 1)})
    effects = found(problem, intervals=5)
    assert list(dict.fromkeys(effects.table["output"].to_pylist())) == ["class 0", "class 2"]
    assert set(effects.table["feature"].to_pylist()) == {"x2"}
    assert "both" in effects.limitations[0]
    assert effects.evaluations == 50 + 2 * 50
    assert effects.facts["rows"] == 50
