"""Mean outputs of masked rows: the two ways against the predictor itself, with and without groups of columns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tasks.explain.base import Problem
from tasks.explain.engine import masking
from tasks.explain.engine.first_layer import first_dense
from tasks.explain.engine.masking import masked_means
from tasks.watch import Watch

GENERATOR = np.random.default_rng(11)
START = GENERATOR.bit_generator.state


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Each test draws the same rows, whichever others run."""
    GENERATOR.bit_generator.state = START


def begin(name: str) -> Any:
    """A model of four columns that begins in the way named."""
    import keras

    layers = keras.layers
    inputs = keras.Input((4,))
    shared = layers.Dense(4)
    value = {
        "dense": lambda: layers.Dense(5, activation="relu")(inputs),
        "no bias": lambda: layers.Dense(5, use_bias=False, activation="tanh")(inputs),
        "logistic": lambda: inputs,
        "scaled": lambda: layers.Dense(5)(layers.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 4, 9, 16])(inputs)),
        "batch": lambda: layers.Dense(5)(layers.Dropout(0.5)(layers.BatchNormalization()(inputs))),
        "rescaled": lambda: layers.Dense(5)(layers.Rescaling(0.5, 1.0)(inputs)),
        "mixed columns": lambda: layers.Dense(5)(layers.LayerNormalization()(inputs)),
        "skip": lambda: layers.Concatenate()([layers.Dense(3)(inputs), inputs]),
        "twice": lambda: layers.Add()([layers.Dense(3)(inputs), layers.Dense(3)(inputs)]),
        "used again": lambda: shared(shared(inputs)),
        "nested": lambda: keras.Sequential([keras.Input((4,)), layers.Dense(5)])(inputs),
        "half precision": lambda: layers.Dense(5, dtype="float16")(inputs),
    }[name]()
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(value))


@pytest.mark.parametrize(
    ("name", "kind", "before", "way"),
    [
        ("dense", "probability", [], "factored"),
        ("dense", "margin", [], "factored"),
        ("no bias", "probability", [], "factored"),
        ("logistic", "probability", [], "factored"),
        ("logistic", "margin", [], "plain"),  # a lone Dense has nothing behind it to start the margin from
        ("scaled", "margin", ["Normalization"], "factored"),
        ("batch", "probability", ["BatchNormalization"], "factored"),
        ("rescaled", "probability", ["Rescaling"], "factored"),
        ("mixed columns", "probability", None, "plain"),
        ("skip", "probability", None, "plain"),
        ("twice", "probability", None, "plain"),
        ("used again", "probability", [], "plain"),  # it would answer twice
        ("nested", "probability", None, "plain"),
        ("half precision", "probability", None, "plain"),
    ],
)
def test_both_ways_give_what_the_predictor_gives(
    table_problem: Callable[..., Problem], name: str, kind: str, before: list[str] | None, way: str
) -> None:
    model = begin(name)
    start = first_dense(model)
    assert (None if start is None else [type(layer).__name__ for layer in start[0]]) == before
    rows, background = GENERATOR.normal(size=(4, 4)), GENERATOR.normal(size=(6, 4))
    problem = table_problem(model, rows, background, kind=kind)
    masks = np.array(list(itertools.product((False, True), repeat=4)))
    mixed = np.where(masks[None, :, None], rows[:, None, None], background)
    truth = problem.predictor(mixed.reshape(-1, 4), kind).reshape(4, 16, 6, 1).mean(axis=2)
    means = masked_means(problem, masks, Watch())
    assert means.way == way
    np.testing.assert_allclose(means(rows), truth, atol=2e-3 if name == "half precision" else 1e-5)


def test_the_two_ways_are_equal(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    problem = table_problem(network(10, 3), GENERATOR.normal(size=(70, 10)), GENERATOR.normal(size=(12, 10)))
    masks = GENERATOR.random((90, 10)) < 0.5
    factored, plain = (masked_means(problem, masks, Watch(), ways) for ways in (("factored",), ("plain",)))
    assert (factored.way, plain.way) == ("factored", "plain")
    np.testing.assert_allclose(factored(problem.rows), plain(problem.rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", ["factored", "plain"])
def test_the_columns_of_a_group_are_known_together(
    table_problem: Callable[..., Problem], network: Callable[..., Any], way: Any
) -> None:
    rows, background = GENERATOR.normal(size=(3, 5)), GENERATOR.normal(size=(4, 5))
    problem = table_problem(network(5, 2), rows, background, groups={"pair": (1, 4), "other": (0, 2)})
    masks = np.array(list(itertools.product((False, True), repeat=3)))
    means = masked_means(problem, masks, Watch(), (way,))
    assert means.way == way
    columns = np.stack([masks[:, 0], masks[:, 1], masks[:, 0], masks[:, 2], masks[:, 1]], axis=1)
    mixed = np.where(columns[None, :, None], rows[:, None, None], background)
    truth = problem.predictor(mixed.reshape(-1, 5), problem.kind).reshape(3, 8, 4, -1).mean(axis=2)
    np.testing.assert_allclose(means(rows), truth, atol=1e-5)


def test_other_coalitions_need_no_other_graph(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    problem = table_problem(network(6), GENERATOR.normal(size=(3, 6)), GENERATOR.normal(size=(4, 6)))
    masks = GENERATOR.random((40, 6)) < 0.5
    means = masked_means(problem, masks[:16], Watch())
    others = means.of(masks)
    assert others.count == 40
    np.testing.assert_array_equal(others(problem.rows)[:, :16], means(problem.rows))
    np.testing.assert_array_equal(others(problem.rows), masked_means(problem, masks, Watch())(problem.rows))


@pytest.mark.parametrize("way", ["factored", "plain"])
def test_what_is_kept_of_the_background_changes_nothing(
    table_problem: Callable[..., Problem], network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, way: Any
) -> None:
    problem = table_problem(network(6), GENERATOR.normal(size=(3, 6)), GENERATOR.normal(size=(4, 6)))
    masks = GENERATOR.random((40, 6)) < 0.5
    kept = masked_means(problem, masks, Watch(), (way,))(problem.rows)
    monkeypatch.setattr(masking, "KEPT", 0)
    np.testing.assert_array_equal(masked_means(problem, masks, Watch(), (way,))(problem.rows), kept)


def test_rows_may_be_mapped_from_a_file(
    table_problem: Callable[..., Problem], network: Callable[..., Any], tmp_path: Any
) -> None:
    rows = GENERATOR.normal(size=(70, 6))
    np.save(tmp_path / "rows.npy", rows)
    problem = table_problem(network(6), rows, GENERATOR.normal(size=(4, 6)))
    mapped = replace(problem, rows=np.load(tmp_path / "rows.npy", mmap_mode="r"))
    masks = GENERATOR.random((10, 6)) < 0.5
    np.testing.assert_array_equal(
        masked_means(mapped, masks, Watch())(mapped.rows), masked_means(problem, masks, Watch())(rows)
    )
