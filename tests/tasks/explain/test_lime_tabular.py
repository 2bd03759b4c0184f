"""LIME of tables against the lime package: on its own sample to 1e-6, on our sample within its spread over seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks.errors import OutputError
from tasks.explain.base import Attribution, Problem
from tasks.explain.lime_tabular import (
    LimeTabularSettings,
    Neighbourhood,
    draw_neighbourhood,
    local_regressions,
    prepare,
    unfit,
)
from tasks.watch import Watch

CATEGORIES = {1: 3, 4: 2}


def training_rows(n: int, seed: int = 0) -> np.ndarray:
    """Five columns: a skewed number, three categories, a normal, a count with many noughts, two categories."""
    generator = np.random.default_rng(seed)
    return np.column_stack(
        [
            generator.gamma(2, 1, n),
            generator.choice(3, n, p=[0.6, 0.3, 0.1]),
            generator.normal(size=n),
            generator.poisson(0.6, n),
            generator.integers(0, 2, n),
        ]
    )


@pytest.fixture(scope="module")
def problem(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> Problem:
    """A network on one-hot categories, and eight rows."""
    from tasks.load.arrangement import Blocks, Lines, Table

    lines = Lines(np.array([0, 4, 5]), np.array([0, 2, 3]), np.ones(3), np.zeros(3), np.full(3, -1.0))
    tables = (
        Table(np.array([1, 2, 3]), 1, np.vstack([np.eye(3), np.zeros(3)])),
        Table(np.array([6, 7]), 4, np.vstack([np.eye(2), np.zeros(2)])),
    )
    reference = training_rows(600)
    return table_problem(
        network(8, 2), training_rows(8, 1), reference[:20], reference=reference, categories=CATEGORIES,
        arrangement=Blocks(8, lines, tables), kind="probability", explained=[1],
    )  # fmt: skip


def package(problem: Problem, discretize: str, seed: int = 0) -> Any:
    from lime.lime_tabular import LimeTabularExplainer

    return LimeTabularExplainer(
        problem.reference,
        categorical_features=list(CATEGORIES),
        discretize_continuous=discretize != "none",
        discretizer=discretize if discretize != "none" else "quartile",
        random_state=seed,
    )


def explained_by_package(explainer: Any, problem: Problem, row: np.ndarray, features: int) -> tuple[Any, ...]:
    found = explainer.explain_instance(
        row, lambda rows: problem.predictor(rows, problem.kind), labels=(1,), num_features=features, num_samples=500
    )
    values = np.zeros(len(row))
    for feature, coefficient in found.as_map()[1]:
        values[feature] = coefficient
    return values, found.intercept[1], found.score


@pytest.mark.parametrize("features", [5, 2])
@pytest.mark.parametrize("discretize", ["quartile", "decile", "none"])
def test_equal_on_the_packages_own_sample(
    problem: Problem, monkeypatch: pytest.MonkeyPatch, discretize: str, features: int
) -> None:
    from lime.lime_tabular import LimeTabularExplainer

    explainer = package(problem, discretize)
    settings = LimeTabularSettings(discretize=discretize, samples=500, features=features)
    categories = np.array([j in CATEGORIES for j in range(5)])
    ours = draw_neighbourhood(problem.reference, categories, settings, np.random.RandomState(1))
    drawn: dict[str, np.ndarray] = {}
    original = LimeTabularExplainer._LimeTabularExplainer__data_inverse

    def kept(self: Any, row: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        drawn["data"], drawn["inverse"] = original(self, row, count)
        return drawn["data"].copy(), drawn["inverse"].copy()

    monkeypatch.setattr(LimeTabularExplainer, "_LimeTabularExplainer__data_inverse", kept)
    for i, row in enumerate(problem.rows):
        values, intercept, r2 = explained_by_package(explainer, problem, row, features)
        data, inverse = drawn["data"][1:], drawn["inverse"][1:]
        own, _ = ours.compared_with(row[None])
        # What the package calls the same bin, in our form: the row's own bin, or one that does not exist.
        same = np.where(data[:, ours.compared] == 1, own, -9).T.astype(np.int32)
        numbers = ((data[:, ours.numeric] - ours.mean) / ours.scale).T
        around = Neighbourhood(
            inverse, np.ascontiguousarray(same), np.ascontiguousarray(numbers), ours.compared, ours.numeric,
            ours.columns, ours.mean, ours.scale,
        )  # fmt: skip
        explain = local_regressions(problem, around, problem.predictor(inverse, problem.kind), settings)
        found = explain(row[None], problem.explained[i : i + 1])
        np.testing.assert_allclose(found.values[0, 0], values, atol=1e-6)
        np.testing.assert_allclose(found.base[0, 0], intercept, atol=1e-6)
        np.testing.assert_allclose(found.quality["local_r2"][0, 0], r2, atol=1e-6)


def attributions(problem: Problem, **settings: Any) -> Attribution:
    return prepare(problem, LimeTabularSettings(**settings), Watch()).explain(problem.rows, problem.explained)


@pytest.mark.parametrize("discretize", ["quartile", "none"])
def test_our_own_samples_lie_within_the_packages_spread_over_seeds(problem: Problem, discretize: str) -> None:
    from dataclasses import replace

    theirs = np.array(
        [
            [explained_by_package(explainer, problem, row, 5)[0] for row in problem.rows]
            for explainer in (package(problem, discretize, seed) for seed in range(12))
        ]
    )
    ours = np.array(
        [
            attributions(replace(problem, seed=seed), samples=500, discretize=discretize).values[:, 0]
            for seed in range(12)
        ]
    )
    spread = theirs.std(axis=0, ddof=1)
    # Each of ours is a draw like theirs, and so is their mean.
    assert np.mean(np.abs(ours - theirs.mean(axis=0)) / spread < 3) > 0.97
    error = np.sqrt((theirs.var(axis=0, ddof=1) + ours.var(axis=0, ddof=1)) / 12)
    assert np.abs((ours.mean(axis=0) - theirs.mean(axis=0)) / error).max() < 4.5
    assert 0.7 < ours.std(axis=0, ddof=1).mean() / spread.mean() < 1.4


@pytest.mark.parametrize("discretize", ["quartile", "decile"])
def test_neighbours_are_drawn_as_the_package_draws_them(problem: Problem, discretize: str) -> None:
    """Column by column: the same shares of bins, the same distribution of values (two-sample tests)."""
    from scipy.stats import ks_2samp

    settings = LimeTabularSettings(discretize=discretize, samples=4001)
    categories = np.array([j in CATEGORIES for j in range(5)])
    ours = draw_neighbourhood(problem.reference, categories, settings, np.random.RandomState(3)).codes
    explainer = package(problem, discretize)
    _, theirs = explainer._LimeTabularExplainer__data_inverse(problem.rows[0], 4001)
    for j in range(5):
        assert ks_2samp(ours[:, j], theirs[1:, j]).pvalue > 1e-3


def test_a_row_is_explained_the_same_alone_and_in_company(problem: Problem) -> None:
    explain = prepare(problem, LimeTabularSettings(samples=300), Watch()).explain
    whole = explain(problem.rows, problem.explained)
    for i in range(len(problem.rows)):
        alone = explain(problem.rows[i : i + 1], problem.explained[i : i + 1])
        np.testing.assert_array_equal(alone.values[0], whole.values[i])
        np.testing.assert_array_equal(alone.base[0], whole.base[i])


def test_two_runs_are_equal_and_the_seed_matters(problem: Problem) -> None:
    from dataclasses import replace

    first, second = attributions(problem, samples=300), attributions(problem, samples=300)
    np.testing.assert_array_equal(first.values, second.values)
    assert not np.array_equal(attributions(replace(problem, seed=5), samples=300).values, first.values)


def test_several_outputs(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    rows = np.random.default_rng(2).normal(size=(5, 4))
    model = network(4, 3)
    reference = np.random.default_rng(3).normal(size=(200, 4))
    every = table_problem(model, rows, reference, kind="probability", explained=[0, 1, 2])
    found = attributions(every, samples=400)
    np.testing.assert_allclose(found.values.sum(axis=1), 0, atol=1e-6)  # probabilities add up to one, fits are linear
    chosen = np.array([[2], [1], [0], [0], [2]])
    own = attributions(table_problem(model, rows, reference, kind="probability", explained=chosen), samples=400)
    np.testing.assert_allclose(own.values, np.take_along_axis(found.values, chosen[..., None], axis=1), atol=1e-12)


def test_settings_reach_the_fit(problem: Problem) -> None:
    default = prepare(problem, LimeTabularSettings(), Watch())
    assert default.facts["kernel_width"] == pytest.approx(0.75 * np.sqrt(5))
    assert default.evaluations == 4999
    few = attributions(problem, samples=300, features=2)
    assert (np.count_nonzero(few.values, axis=2) == 2).all()
    narrow, wide = (attributions(problem, samples=300, kernel_width=width) for width in (0.3, 100.0))
    assert not np.allclose(narrow.values, wide.values, atol=1e-3)


# ---------------------------------------------------------------- the odd ones


def test_nulls_are_a_bin_of_their_own(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    from tasks.load.arrangement import Blocks, Lines

    generator = np.random.default_rng(4)
    reference = generator.normal(size=(400, 3))
    reference[:120, 1] = np.nan
    rows = np.array([[0.0, np.nan, 1.0], [0.5, 0.5, -1.0]])
    lines = Lines(np.arange(3), np.arange(3), np.ones(3), np.zeros(3), np.array([0.0, 5.0, 0.0]))
    problem = table_problem(network(3), rows, reference[100:130], reference=reference, arrangement=Blocks(3, lines, ()))
    settings = LimeTabularSettings(samples=2000)
    around = draw_neighbourhood(reference, np.zeros(3, bool), settings, np.random.RandomState(0))
    assert np.isnan(around.codes[:, 1]).mean() == pytest.approx(0.3, abs=0.04)
    assert not np.isnan(around.codes[:, [0, 2]]).any()
    found = attributions(problem, samples=2000)
    weights = problem.predictor.keras_model
    at_null = (
        weights(np.array([[0.0, 5.0, 1.0]], np.float32)).numpy()
        - weights(np.array([[0.0, 0.0, 1.0]], np.float32)).numpy()
    )
    assert np.sign(found.values[0, 0, 1]) == np.sign(at_null[0, 0])
    assert np.isfinite(attributions(problem, samples=500, discretize="none").values).all()
    said = prepare(problem, LimeTabularSettings(samples=50, discretize="none"), Watch()).limitations
    assert said == ("LIME: a null in x1 counts as the mean when distances are measured.",)


def test_a_bin_of_one_value(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    """The package puts 0 where half of the rows are 3; the setting puts 3."""
    generator = np.random.default_rng(5)
    reference = generator.normal(size=(200, 2))
    reference[:, 1] = np.where(generator.random(200) < 0.5, 3, generator.integers(4, 9, 200))
    problem = table_problem(network(2), reference[:3], reference[:20], reference=reference)
    as_lime, value = (LimeTabularSettings(samples=500, single_value_bins=s) for s in ("as_lime", "value"))
    drawn = [
        draw_neighbourhood(reference, np.zeros(2, bool), settings, np.random.RandomState(0)).codes[:, 1]
        for settings in (as_lime, value)
    ]
    assert (drawn[0] == 0).mean() == pytest.approx(0.5, abs=0.1)
    assert (drawn[1] == 3).sum() == (drawn[0] == 0).sum()
    assert "x1 has a bin that holds one single value" in prepare(problem, as_lime, Watch()).limitations[0]
    assert prepare(problem, value, Watch()).limitations == ()
    _, theirs = package_of(reference)._LimeTabularExplainer__data_inverse(reference[0], 500)
    assert (theirs[1:, 1] == 0).mean() == pytest.approx(0.5, abs=0.1)


def package_of(reference: np.ndarray) -> Any:
    from lime.lime_tabular import LimeTabularExplainer

    return LimeTabularExplainer(reference, random_state=0)


@pytest.mark.parametrize("discretize", ["quartile", "none"])
def test_constant_features_identical_rows_one_feature(
    table_problem: Callable[..., Problem], network: Callable[..., Any], discretize: str
) -> None:
    reference = np.random.default_rng(6).normal(size=(100, 3))
    reference[:, 1] = 2.0
    rows = np.repeat(reference[:1], 3, axis=0)
    found = attributions(table_problem(network(3), rows, reference), samples=200, discretize=discretize)
    np.testing.assert_array_equal(found.values[0], found.values[2])
    if discretize == "quartile":  # every neighbour is in its one bin; undiscretised, the package gives it a spread of 1
        assert abs(found.values[0, 0, 1]) < 1e-9
    alone = attributions(table_problem(network(1), rows[:, :1], reference[:, :1]), samples=200, discretize=discretize)
    assert alone.values.shape == (3, 1, 1)
    assert np.isfinite(alone.values).all()


def test_a_number_that_the_reference_never_has(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    from tasks.load.arrangement import Blocks, Lines

    reference = np.random.default_rng(7).normal(size=(50, 2))
    reference[:, 0] = np.nan
    lines = Lines(np.arange(2), np.arange(2), np.ones(2), np.zeros(2), np.zeros(2))
    rows = np.array([[1.0, 0.3], [np.nan, 0.3]])
    problem = table_problem(network(2), rows, reference, arrangement=Blocks(2, lines, ()))
    for discretize in ("quartile", "none"):
        assert np.isfinite(attributions(problem, samples=100, discretize=discretize).values).all()


def test_neighbours_that_break_the_model_are_told(table_problem: Callable[..., Problem]) -> None:
    import keras

    inputs = keras.Input((2,))
    total = keras.ops.log(keras.ops.sum(inputs, axis=1, keepdims=True))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(total))
    reference = np.array([[9.0, -8.0], [1.0, 0.0], [0.0, 1.0], [-8.0, 9.0]])
    with pytest.raises(OutputError, match="neighbours that LIME drew"):
        attributions(table_problem(model, reference, reference), samples=100)


def test_images_are_not_for_it(image_problem: Callable[..., Problem]) -> None:
    import keras

    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(inputs)))
    assert "images" in str(unfit(image_problem(model, np.zeros((1, 4, 4, 1))), LimeTabularSettings()))
