"""Shuffled tables: one order a repeat, strata kept, and rows found again in batches of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import OutputError
from tasks.explain.base import Problem
from tasks.explain.engine.shuffles import Table, evaluated, pieces, shuffles, within
from tasks.explain.engine.strata import Strata
from tasks.watch import Watch


def test_a_repeat_is_one_order_for_all_players() -> None:
    found = list(shuffles(50, 3, 2, np.random.RandomState(4)))
    assert [player for player, _ in found] == [0, 1, 2, 0, 1, 2]
    state, expected = np.random.RandomState(4), []
    for _ in range(2):
        order = np.arange(50)
        state.shuffle(order)
        expected += [order] * 3
    for (_, source), order in zip(found, expected, strict=True):
        np.testing.assert_array_equal(source, order)
    assert not np.array_equal(expected[0], expected[3])


def test_values_stay_in_their_stratum() -> None:
    place = np.random.default_rng(0).integers(0, 4, 60)
    own = Strata((), place, 4, 1, 60)
    for player, source in within([own, own], 3, np.random.default_rng(1)):
        assert player in (0, 1)
        assert sorted(source) == list(range(60))
        np.testing.assert_array_equal(place[source], place)


@given(st.integers(1, 9), st.integers(0, 30), st.integers(0, 30))
def test_pieces_are_the_rows_of_the_tables(n: int, start: int, count: int) -> None:
    found = []
    for which, first, at, stop in pieces(start, count, n):
        assert stop > at == len(found)
        found += [which * n + row for row in range(first, first + stop - at)]
    assert found == list(range(start, start + count))


@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("n", [5, 70, 300])
def test_outputs_are_those_of_the_shuffled_tables(
    table_problem: Callable[..., Problem], network: Callable[..., Any], n: int, by_columns: bool
) -> None:
    generator = np.random.default_rng(n)
    rows = generator.normal(size=(n, 4))
    problem = table_problem(network(4), rows, rows[:5], batch=64, groups={"pair": (1, 3)})
    draws = list(shuffles(n, len(problem.players), 2, np.random.RandomState(0)))
    found: list[tuple[int | None, np.ndarray]] = []
    evaluated(
        problem,
        Table(rows, np.ascontiguousarray(rows.T) if by_columns else None),
        [(None, np.empty(0, np.int64)), *draws],
        lambda player, outputs: found.append((player, outputs.copy())),
        Watch(),
    )
    assert [player for player, _ in found] == [None, *(player for player, _ in draws)]
    np.testing.assert_array_equal(found[0][1], problem.predictor(rows))
    for (player, outputs), (_, source) in zip(found[1:], draws, strict=True):
        assert player is not None
        columns = list(problem.players[player].columns)
        shuffled = rows.copy()
        shuffled[:, columns] = rows[source][:, columns]
        np.testing.assert_array_equal(outputs, problem.predictor(shuffled))


def test_rows_that_break_the_model_as_they_are_are_told_by_position(
    table_problem: Callable[..., Problem],
) -> None:
    import keras

    inputs = keras.Input((2,))
    total = keras.ops.log(keras.ops.sum(inputs, axis=1, keepdims=True))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(total))
    rows = np.array([[9.0, -8.0], [1.0, -2.0]])
    problem = table_problem(model, rows, rows)
    with pytest.raises(OutputError) as caught:
        evaluated(problem, Table(rows, None), [(None, np.empty(0, np.int64))], lambda *_: None, Watch())
    assert list(caught.value.values) == [1]
