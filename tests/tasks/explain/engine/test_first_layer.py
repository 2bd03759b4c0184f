"""A model's first layer taken apart: its result is what the players add, and the rest goes on from there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks.explain.base import Problem
from tasks.explain.engine.first_layer import FirstLayer, NotFactored, answering, columns_of_players, first_layer
from tasks.load.arrangement import Blocks, Lines, Table


@pytest.fixture
def problem(table_problem: Callable[..., Problem]) -> Problem:
    """A category of three and two numbers, of which the second and the category are explained as one."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Normalization(mean=[0.0, 0.1, 0.2, 1, 2], variance=[1.0, 1, 1, 4, 9]),
            layers.Dropout(0.5),
            layers.Dense(7, activation="relu", bias_initializer="random_normal"),
            layers.Dense(2, activation="softmax"),
        ]
    )
    lines = Lines(np.array([3, 4]), np.array([1, 2]), np.ones(2), np.zeros(2), np.full(2, np.nan))
    onehot = Table(np.array([0, 1, 2]), 0, np.vstack([np.eye(3), np.zeros(3)]))
    generator = np.random.default_rng(0)
    rows = np.column_stack([generator.integers(0, 3, 6), generator.normal(size=(6, 2))])
    arrangement = Blocks(5, lines, (onehot,))
    return table_problem(
        model, rows, rows[:2], categories={0: 3}, arrangement=arrangement, groups={"pair": (0, 2)}, kind="probability"
    )


def apart(problem: Problem) -> FirstLayer:
    layer = first_layer(problem)
    assert layer is not None
    return layer


def test_players_have_their_columns(problem: Problem) -> None:
    np.testing.assert_array_equal(columns_of_players(problem), [[1, 1, 1, 0, 1], [0, 0, 0, 1, 0]])


def test_what_players_add_is_the_layers_result(problem: Problem) -> None:
    import tensorflow as tf

    layer = apart(problem)
    matrix = layer.matrix(tf.constant(problem.rows))
    normalization, _, dense, _ = problem.predictor.keras_model.layers
    encoded = problem.predictor.encode(tf.constant(problem.rows))
    np.testing.assert_allclose(matrix, normalization(encoded), atol=1e-6)
    summed = tf.reduce_sum(layer.added(matrix), axis=1) + layer.bias(matrix)
    truth = np.asarray(matrix) @ np.asarray(dense.kernel) + np.asarray(dense.bias)
    np.testing.assert_allclose(summed, truth, atol=1e-5)
    assert layer.added(matrix).shape == (6, 2, 7)


def test_the_rest_goes_on_from_the_pre_activation(problem: Problem) -> None:
    import tensorflow as tf

    layer = apart(problem)
    matrix = layer.matrix(tf.constant(problem.rows))
    outputs = layer.outputs(tf.reduce_sum(layer.added(matrix), axis=1) + layer.bias(matrix))
    np.testing.assert_allclose(outputs, problem.predictor(problem.rows), atol=1e-6)


def test_a_layer_answers_as_told_to_its_own_thread_and_only_while_told(problem: Problem) -> None:
    import tensorflow as tf

    dense = problem.predictor.keras_model.layers[2]
    given, told = tf.ones((1, 5)), tf.fill((1, 7), 4.0)
    before = dense(given).numpy()
    with answering(dense, told):
        heard: list[Any] = []
        other = threading.Thread(target=lambda: heard.append(dense(given).numpy()))
        other.start()
        other.join()
        np.testing.assert_array_equal(dense(given), told)
        np.testing.assert_array_equal(heard[0], before)
    np.testing.assert_array_equal(dense(given), before)


@pytest.mark.parametrize("asked", [0, 2])
def test_a_layer_that_is_not_asked_once_is_told(problem: Problem, asked: int) -> None:
    import tensorflow as tf

    dense = problem.predictor.keras_model.layers[2]

    def ask() -> None:
        with answering(dense, tf.ones((1, 7))):
            for _ in range(asked):
                dense(tf.ones((1, 5)))

    with pytest.raises(NotFactored):
        ask()
    assert "call" not in vars(dense)
