"""Pairwise interactions against the definition written out, closed forms, and models that have none."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.errors import OutputError, Stopped
from tasks.explain.base import Effects, Problem
from tasks.explain.interactions import TECHNIQUE, InteractionsSettings, friedman_popescu
from tasks.watch import Watch

DRAW = np.random.default_rng(2)


def found(problem: Problem, **settings: Any) -> Effects:
    assert TECHNIQUE.unfit(problem, InteractionsSettings()) is None
    effects = TECHNIQUE.prepare(problem, InteractionsSettings(**settings), Watch())
    assert isinstance(effects, Effects)
    return effects


def measured(effects: Effects, measure: str = "strength", output: str | None = None) -> dict[tuple[str, str], dict]:
    rows = [r for r in effects.table.to_pylist() if r["point"] is None and r["measure"] == measure]
    return {(r["feature"], r["with_feature"]): r for r in rows if output in (None, r["output"])}


def made_of(formula: Any, width: int) -> Any:
    """A regression from a formula on a list of columns."""
    import keras

    inputs = keras.Input((width,))
    columns = [inputs[:, j : j + 1] for j in range(width)]
    return keras.Model(inputs, keras.layers.Activation("linear")(formula(columns)))


def problem_of(table_problem: Any, formula: Any, rows: np.ndarray, **options: Any) -> Problem:
    model = made_of(formula, rows.shape[1])
    return table_problem(model, rows, rows[:5], task="regression", kind="probability", **options)


def by_definition(problem: Problem, j: int, k: int) -> tuple[float, float]:
    """Strength and H² with loops, as the paper writes them."""
    rows = problem.rows

    def dependence(columns: list[int], row: np.ndarray) -> float:
        changed = rows.copy()
        changed[:, columns] = row[columns]
        return float(problem.predictor(changed, problem.kind)[:, 0].mean())

    centred = []
    for columns in ([j, k], [j], [k]):
        values = np.array([dependence(columns, row) for row in rows])
        centred.append(values - values.mean())
    both, one, other = centred
    over = ((both - one - other) ** 2).mean()
    return float(np.sqrt(over)), float(over / (both**2).mean())


def test_the_numbers_are_those_of_the_definition(table_problem: Any, network: Any) -> None:
    rows = DRAW.normal(size=(25, 3))
    problem = table_problem(network(3), rows, rows[:5])
    effects = found(problem)
    strengths, ratios = measured(effects), measured(effects, "h_squared")
    for j, k in ((0, 1), (0, 2), (1, 2)):
        strength, ratio = by_definition(problem, j, k)
        assert strengths[f"x{j}", f"x{k}"]["effect"] == pytest.approx(strength, rel=1e-4)
        assert ratios[f"x{j}", f"x{k}"]["effect"] == pytest.approx(ratio, rel=1e-3)
        assert strengths[f"x{j}", f"x{k}"]["n_rows"] == 25


def test_a_product_of_two_columns(table_problem: Any) -> None:
    # y = x0·x1 + x2: on centred PDs the interaction is (x0 − mean)(x1 − mean), whatever x2 does.
    rows = DRAW.normal(size=(60, 3)) + np.array([1.0, 2.0, 0.0])
    effects = found(problem_of(table_problem, lambda x: x[0] * x[1] + x[2], rows))
    strengths = measured(effects)
    product = (rows[:, 0] - rows[:, 0].mean()) * (rows[:, 1] - rows[:, 1].mean())
    assert strengths["x0", "x1"]["effect"] == pytest.approx(product.std(), rel=1e-4)
    assert strengths["x0", "x1"]["ci_low"] < product.std() < strengths["x0", "x1"]["ci_high"]
    for other in (("x0", "x2"), ("x1", "x2")):
        assert strengths[other]["effect"] < 1e-5
    assert next(iter(strengths)) == ("x0", "x1")  # the strongest first


def test_an_additive_model_has_none(table_problem: Any) -> None:
    import keras

    rows = DRAW.normal(size=(40, 4))
    effects = found(problem_of(table_problem, lambda x: 3 * x[0] + keras.ops.exp(x[1]) - x[2] ** 2, rows))
    assert len(measured(effects)) == 6
    assert all(r["effect"] < 1e-5 for r in measured(effects).values())
    ratios = measured(effects, "h_squared")
    assert all(r["effect"] is None or r["effect"] < 1e-8 for r in ratios.values())


def test_a_pair_without_any_effect_has_no_h_squared(table_problem: Any) -> None:
    rows = DRAW.normal(size=(30, 3))
    ratios = measured(found(problem_of(table_problem, lambda x: x[0] * 5, rows)), "h_squared")
    assert ratios["x1", "x2"]["effect"] is None
    assert ratios["x1", "x2"]["std_error"] is None
    assert ratios["x0", "x1"]["effect"] == pytest.approx(0, abs=1e-10)


@given(arrays(np.float64, (3, 6, 6), elements=st.floats(-3, 3)))
def test_the_jackknife_is_that_of_the_rows_left_out(values: np.ndarray) -> None:
    pair, one, other = values
    _, error, _, _ = friedman_popescu(pair, one, other)

    def without(r: int) -> float:
        kept = np.delete(np.delete(pair - one - other, r, 0), r, 1)
        return float(kept.mean(axis=1).std())

    each = np.array([without(r) for r in range(6)])
    assert error == pytest.approx(np.sqrt(5 / 6 * ((each - each.mean()) ** 2).sum()), abs=1e-7)


def test_the_screen_keeps_the_pairs_that_interact(table_problem: Any) -> None:
    # 30 columns, 435 pairs: two products among weak single effects.
    rows = DRAW.normal(size=(80, 30))
    problem = problem_of(table_problem, lambda x: x[3] * x[17] + 0.5 * x[8] * x[9] + 0.1 * x[0] + 0.1 * x[29], rows)
    effects = found(problem, pairs=2, rows=30)
    assert effects.facts["pairs_measured"] == [["x3", "x17"], ["x8", "x9"]]
    assert effects.facts["pairs"] == 435
    assert effects.facts["pairs_screened"] == 24 * 23 // 2
    assert list(measured(effects)) == [("x3", "x17"), ("x8", "x9")]


def test_the_joint_curves_of_the_strongest(table_problem: Any) -> None:
    rows = np.column_stack([DRAW.normal(size=50), DRAW.integers(0, 3, 50), DRAW.normal(size=50)]).astype(float)
    problem = problem_of(table_problem, lambda x: x[0] * x[1] + x[2], rows, categories={1: 3})
    effects = found(problem, points=5)
    table = effects.table.filter(pc.is_valid(effects.table["point"])).to_pylist()
    points = [r for r in table if (r["feature"], r["with_feature"]) == ("x0", "x1")]
    assert [r["point"] for r in points] == list(range(15))
    for point in points:
        truth = point["position"] * point["with_position"] + rows[:, 2].mean()
        assert point["effect"] == pytest.approx(truth, abs=1e-5)
        assert point["with_value"] == f"c{int(point['with_position'])}"
        assert (point["measure"], point["n_rows"]) == ("effect", 50)


def test_a_group_of_columns_is_one_feature(table_problem: Any) -> None:
    # x0·x1 lies inside the group: between the players nothing interacts but with x2.
    rows = DRAW.normal(size=(40, 4))
    problem = problem_of(table_problem, lambda x: x[0] * x[1] + x[1] * x[2] + x[3], rows, groups={"ab": (0, 1)})
    strengths = measured(found(problem))
    assert set(strengths) == {("ab", "x2"), ("ab", "x3"), ("x2", "x3")}
    assert strengths["ab", "x2"]["effect"] > 0.3
    assert strengths["ab", "x3"]["effect"] < 1e-5


def test_outputs_have_numbers_of_their_own(table_problem: Any, network: Any) -> None:
    rows = DRAW.normal(size=(20, 3))
    problem = table_problem(network(3, 3), rows, rows[:5], explained=[0, 2])
    effects = found(problem)
    alone = found(table_problem(network(3, 3), rows, rows[:5], explained=[2]))
    theirs = measured(alone)
    for pair, row in measured(effects, output="class 2").items():
        assert row["effect"] == pytest.approx(theirs[pair]["effect"], rel=1e-6)


def test_the_batch_changes_nothing_and_a_rerun_no_bit(table_problem: Any, network: Any) -> None:
    rows, model = DRAW.normal(size=(20, 3)), network(3)
    one, two, again = (found(table_problem(model, rows, rows[:5], batch=b)).table for b in (64, 4096, 64))
    np.testing.assert_allclose(one["effect"].to_numpy(), two["effect"].to_numpy(), atol=1e-6)
    assert one.equals(again)


def test_it_counts_what_it_spends(table_problem: Any, network: Any) -> None:
    rows = DRAW.normal(size=(20, 3))
    effects = found(table_problem(network(3), rows, rows[:5]), points=4)
    assert effects.evaluations == (1 + 3 + 3) * 20 + (3 + 3) * 20 * 20 + 3 * 16 * 20


def test_where_there_is_no_pair(table_problem: Any, network: Any) -> None:
    one = table_problem(network(1), np.ones((5, 1)), np.ones((1, 1)))
    assert "one" in (TECHNIQUE.unfit(one, InteractionsSettings()) or "")
    few = table_problem(network(2), np.ones((2, 2)), np.ones((1, 2)))
    assert "rows" in (TECHNIQUE.unfit(few, InteractionsSettings()) or "")
    constant = table_problem(network(2), np.ones((5, 2)), np.ones((1, 2)))
    assert measured(found(constant), "h_squared")["x0", "x1"]["effect"] is None


def test_trouble(table_problem: Any, network: Any) -> None:
    import keras

    rows = np.array([[0.0, 0.0], [4.0, 9.0], [-1.0, 2.0], [-2.0, 5.0]])
    with pytest.raises(OutputError, match="changed") as error:
        found(problem_of(table_problem, lambda x: keras.ops.sqrt(x[0] + x[1]), rows))
    assert set(error.value.values) <= {"x0", "x1", "x0 and x1"}
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        TECHNIQUE.prepare(table_problem(network(2), rows, rows[:1]), InteractionsSettings(), Watch(stop=stop))
