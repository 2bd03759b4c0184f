"""Expected gradients against closed forms, a plain loop over points, and shap's own explainer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import Incomplete
from tasks.explain.base import Attribution, Prepared, Problem
from tasks.explain.engine import expected_gradients
from tasks.explain.engine.expected_gradients import default_samples, draw_path, prepare_gradient, samples_taken
from tasks.explain.shapley import ShapleySettings, prepare, unfit
from tasks.load.arrangement import Blocks, Lines, Table
from tasks.watch import Watch

#: a category of four, and two numbers of which the second fills its nulls: six columns
LINES = Lines(np.array([4, 5]), np.array([1, 2]), np.array([1.0, 0.5]), np.array([0.0, 1.0]), np.array([np.nan, 7.0]))
ARRANGEMENT = Blocks(6, LINES, (Table(np.arange(4), 0, np.vstack([np.eye(4), np.zeros(4)])),))


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def mixed(
    table_problem: Callable[..., Problem], network: Callable[..., Any], generator: np.random.Generator
) -> Callable[..., Problem]:
    """A category and two numbers, on the network of six columns."""

    def make(n: int = 5, b: int = 6, outputs: int = 3, **options: Any) -> Problem:
        def drawn(count: int) -> np.ndarray:
            return np.column_stack([generator.integers(0, 4, count), generator.normal(size=(count, 2))])

        explained = options.pop("explained", list(range(outputs)))
        return table_problem(
            network(6, outputs, final=options.pop("final", None)),
            drawn(n),
            drawn(b),
            categories={0: 4},
            arrangement=ARRANGEMENT,
            explained=explained,
            kind=options.pop("kind", "probability"),
            **options,
        )

    return make


@pytest.fixture(autouse=True)
def _without_xla(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same graphs as TensorFlow runs them by itself: compiling takes longer than all that is tested here."""
    if "compiled" not in request.fixturenames:
        monkeypatch.setattr(expected_gradients, "may_compile", lambda problem: False)


@pytest.fixture
def compiled() -> None:
    """Asked for by tests of what XLA makes of the graphs."""


def gradients(problem: Problem, samples: int | None = None) -> Attribution:
    return prepare_gradient(problem, samples, Watch()).explain(problem.rows, problem.explained)


def by_hand(problem: Problem, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, m, g) values and standard errors, point by point and unit by unit, in float64 but for the gradient."""
    import tensorflow as tf

    b = len(problem.background)
    path = draw_path(b, samples, 10_000, problem.generator("shap.gradient"))
    rows, ground = (np.asarray(problem.predictor.encode(tf.constant(x))) for x in (problem.rows, problem.background))
    owners = problem.predictor.owners
    assert owners is not None
    summing = (owners[:, None] == np.arange(problem.rows.shape[1])).astype(np.float64)
    model = problem.predictor.model_graph(problem.kind)

    def contribution(row: int, output: int, start: int, place: float) -> np.ndarray:
        way = rows[row].astype(np.float64) - ground[start]
        at = tf.constant((ground[start] + place * way)[None], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(at)
            value = model(at)[0, output]
        return problem.by_player((way * tape.gradient(value, at).numpy()[0]) @ summing)

    n, m = problem.explained.shape
    values, variance = np.zeros((n, m, len(problem.players))), np.zeros((n, m, len(problem.players)))
    for i in range(n):
        for j, output in enumerate(problem.explained[i]):
            for starts, places in zip(path.background, path.place, strict=True):
                units = np.array(
                    [
                        [contribution(i, output, s, a) for s, a in zip(*unit, strict=True)]
                        for unit in zip(starts, places, strict=True)
                    ]
                )
                values[i, j] += units.sum(axis=(0, 1)) / samples
                apart = units[:, 1] - units[:, 0]
                variance[i, j] += apart.var(axis=0, ddof=1) * len(apart) / samples**2
    return values, np.sqrt(variance)


# ---------------------------------------------------------------- where gradients are taken


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(2, 300), st.integers(1, 30))
def test_points_are_spread_evenly_over_the_way_and_the_background(background: int, asked: int, most: int) -> None:
    samples = samples_taken(asked, background)
    path = draw_path(background, samples, most, np.random.default_rng(0))
    assert asked >= samples > asked - 2 * background - 1
    assert path.samples == samples >= 2
    assert path.counts.shape[1] <= most
    places, rows = path.place[path.counts], path.background[path.counts]
    np.testing.assert_array_equal(np.sort(np.floor(places.ravel() * samples)), np.arange(samples))  # a point a stratum
    often = np.bincount(rows.ravel(), minlength=background)
    assert often.max() - often.min() <= (0 if samples >= 2 * background else 1)
    if samples >= 2 * background:
        strata = samples // background
        assert (rows[:, 0] == rows[:, 1]).all()
        for row in range(background):  # each background row has a point in each of its strata
            own = np.sort(places[rows[:, 0] == row].ravel() * strata).astype(int)
            np.testing.assert_array_equal(own, np.arange(strata))


@pytest.mark.parametrize(
    ("asked", "background", "taken"), [(200, 100, 200), (250, 100, 200), (399, 100, 200), (199, 100, 198), (7, 1, 6)]
)
def test_samples_are_never_more_than_asked(asked: int, background: int, taken: int) -> None:
    assert samples_taken(asked, background) == taken


@pytest.mark.parametrize(
    ("background", "samples"), [(100, 200), (1, 200), (30, 240), (101, 202), (400, 800), (600, 1000)]
)
def test_the_default_takes_two_points_of_each_background_row_or_more(background: int, samples: int) -> None:
    assert default_samples(background) == samples
    assert samples_taken(samples, background) == samples


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("groups", [{}, {"both": (0, 2)}])
@pytest.mark.parametrize("kind", ["probability", "margin"])
def test_both_ways_equal_a_loop_over_points(
    mixed: Callable[..., Problem],
    monkeypatch: pytest.MonkeyPatch,
    compiled: None,
    kind: str,
    groups: dict[str, tuple[int, ...]],
) -> None:
    problem = mixed(n=2, b=3, kind=kind, groups=groups, explained=[2, 0])
    values, error = by_hand(problem, 12)
    for way in ("plain", "factored"):
        monkeypatch.setattr(expected_gradients, "first_layer", FIRST_LAYER if way == "factored" else lambda _: None)
        prepared = prepare_gradient(problem, 12, Watch())
        found = prepared.explain(problem.rows, problem.explained)
        assert prepared.facts["way"] == way
        np.testing.assert_allclose(found.values, values, atol=2e-6)
        assert found.std_error is not None
        np.testing.assert_allclose(found.std_error, error, atol=2e-6)


FIRST_LAYER = expected_gradients.first_layer


@pytest.mark.parametrize("samples", [14, 40])
def test_a_straight_line_is_exact_with_every_background_row(
    table_problem: Callable[..., Problem],
    linear_model: Callable[..., Any],
    generator: np.random.Generator,
    samples: int,
) -> None:
    weights = generator.normal(size=4)
    rows, background = generator.normal(size=(6, 4)), generator.normal(size=(10, 4))
    found = gradients(table_problem(linear_model(weights, 0.3), rows, background), samples)
    assert found.std_error is not None
    assert found.evaluations == 6 * (1 + 2 * samples)
    if samples == 40:  # every row equally often: nothing is left to chance
        np.testing.assert_allclose(found.values[:, 0], weights * (rows - background.mean(axis=0)), atol=2e-6)
        assert found.std_error.max() < 1e-6
    assert np.abs(found.quality["completeness_error"]).max() < (2e-6 if samples == 40 else 5)
    np.testing.assert_allclose(found.base[:, 0], background.mean(axis=0) @ weights + 0.3, atol=1e-6)


def test_one_background_row_and_many_points_are_integrated_gradients(mixed: Callable[..., Problem]) -> None:
    """Sundararajan's completeness: along one way the gradients add up to the difference of its ends."""
    problem = mixed(b=1)
    found = gradients(problem, 1000)
    own = problem.predictor(problem.rows)
    start = problem.predictor(problem.background)
    np.testing.assert_allclose(found.values.sum(axis=2), own - start, atol=1e-3)
    np.testing.assert_allclose(found.quality["completeness_error"], 0, atol=1e-3)


def test_equal_in_expectation_to_the_shap_library(mixed: Callable[..., Problem]) -> None:
    problem = mixed(n=3, b=5, outputs=1)
    ours = gradients(problem, 4000)
    theirs = prepare(problem, ShapleySettings(estimator="shap.gradient", samples=4000), Watch())
    values = theirs.explain(problem.rows, problem.explained).values
    np.testing.assert_allclose(ours.values, values, atol=0.04 * np.abs(values).max())


@pytest.mark.parametrize(("samples", "least"), [(40, 0.35), (20, 0.3)])
def test_estimates_lie_within_their_standard_error(
    table_problem: Callable[..., Problem],
    network: Callable[..., Any],
    generator: np.random.Generator,
    samples: int,
    least: float,
) -> None:
    """Twenty background rows: each once, twice, four times. An upper bound, but of the right size."""
    rows, background = generator.normal(size=(60, 6)), generator.normal(size=(20, 6))
    problem = table_problem(network(6), rows, background, kind="probability")
    truth = gradients(problem, 20_000).values
    squares, stated = [], []
    for seed in range(3):
        found = gradients(replace(problem, seed=seed + 1), samples)
        assert found.std_error is not None
        squares.append((found.values - truth) ** 2)
        stated.append(found.std_error**2)
    assert least < np.sqrt(np.mean(squares) / np.mean(stated)) < 1.15


def test_more_points_are_nearer(mixed: Callable[..., Problem]) -> None:
    problem = mixed(n=8, b=10, outputs=1)
    truth = gradients(problem, 10_000).values
    far, near = (np.abs(gradients(problem, samples).values - truth).mean() for samples in (20, 640))
    assert near < far / 4


def test_groups_are_the_sums_of_their_columns(mixed: Callable[..., Problem]) -> None:
    alone = mixed(n=4)
    bound = replace(alone, groups={"both": (0, 2)})
    single, joint = gradients(alone, 48), gradients(bound, 48)
    assert joint.values.shape == (4, 3, 2)
    np.testing.assert_allclose(joint.values, bound.by_player(single.values), atol=1e-6)
    assert not np.allclose(joint.std_error[..., 0], np.hypot(single.std_error[..., 0], single.std_error[..., 2]))


def test_one_group_of_all_columns_gets_all_there_is(mixed: Callable[..., Problem]) -> None:
    problem = replace(mixed(b=2), groups={"all": (0, 1, 2)})
    found = gradients(problem, 4000)
    assert found.values.shape == (5, 3, 1)
    np.testing.assert_allclose(found.values[..., 0], problem.predictor(problem.rows) - found.base, atol=1e-3)


def test_each_row_may_have_its_own_outputs(mixed: Callable[..., Problem]) -> None:
    every = mixed()
    chosen = np.array([[2], [0], [1], [2], [0]])
    own = gradients(replace(every, explained=chosen), 24)
    whole = gradients(every, 24)
    np.testing.assert_allclose(own.values, np.take_along_axis(whole.values, chosen[..., None], axis=1), atol=1e-6)


def test_more_outputs_than_one_call_differentiates(mixed: Callable[..., Problem], monkeypatch: Any) -> None:
    problem = mixed()
    whole = gradients(problem, 24)
    monkeypatch.setattr(expected_gradients, "WIDTH", 2)
    np.testing.assert_allclose(gradients(problem, 24).values, whole.values, atol=1e-6)


@pytest.mark.parametrize("most", [2, 16])
def test_points_in_several_calls_change_nothing(
    mixed: Callable[..., Problem], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Groups are smaller then, but each is a part of the same sample: the values are the same numbers."""
    problem = mixed(b=7)
    whole = gradients(problem, 42)
    monkeypatch.setattr(expected_gradients, "evaluations_of_a_turn", lambda width: most)
    parts = gradients(problem, 42)
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-6)
    assert np.isfinite(parts.std_error).all()


def test_batches_change_nothing_and_runs_are_equal(mixed: Callable[..., Problem], compiled: None) -> None:
    problem = mixed(n=150)
    explain = prepare_gradient(problem, None, Watch()).explain
    whole = explain(problem.rows, problem.explained)
    cuts = [0, 1, 9, 73, 150]
    parts = [explain(problem.rows[a:b], problem.explained[a:b]) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), whole.values)
    np.testing.assert_array_equal(np.concatenate([part.std_error for part in parts]), whole.std_error)
    np.testing.assert_array_equal(gradients(problem).values, whole.values)
    other = gradients(replace(problem, seed=1)).values
    assert not np.array_equal(other, whole.values)


# ---------------------------------------------------------------- the odd ones


def test_a_feature_that_nothing_depends_on_gets_nothing(mixed: Callable[..., Problem]) -> None:
    problem = mixed()
    model = problem.predictor.keras_model
    weights = model.get_weights()
    weights[0][4] = 0
    model.set_weights(weights)
    found = gradients(problem, 24)
    assert not found.values[..., 1].any()
    assert not found.std_error[..., 1].any()


def test_a_null_that_the_encoder_fills_is_explained_as_what_it_fills(mixed: Callable[..., Problem]) -> None:
    problem = mixed()
    filled, null = problem.rows.copy(), problem.rows.copy()
    filled[:, 2], null[:, 2] = 12.0, np.nan  # 0.5 · 12 + 1 = 7
    np.testing.assert_array_equal(
        gradients(replace(problem, rows=null), 24).values, gradients(replace(problem, rows=filled), 24).values
    )


def test_a_row_equal_to_the_only_background_row(mixed: Callable[..., Problem]) -> None:
    problem = mixed(b=1)
    found = gradients(replace(problem, rows=np.repeat(problem.background, 5, axis=0)), 6)
    assert not found.values.any()
    assert not found.std_error.any()


def test_rows_may_be_mapped_from_a_file(mixed: Callable[..., Problem], tmp_path: Any) -> None:
    problem = mixed()
    path = tmp_path / "rows.npy"
    np.save(path, problem.rows)
    mapped = np.load(path, mmap_mode="r")
    found = gradients(replace(problem, rows=mapped), 24)
    np.testing.assert_array_equal(found.values, gradients(problem, 24).values)


def test_it_is_a_choice_and_says_what_it_took(mixed: Callable[..., Problem]) -> None:
    problem = mixed()
    prepared = prepare(problem, ShapleySettings(estimator="gradient", samples=37), Watch())
    assert isinstance(prepared, Prepared)
    assert prepared.facts["estimator"] == "gradient"
    assert prepared.facts["samples"] == 36
    assert prepared.facts["background_rows"] == 6
    assert unfit(problem, ShapleySettings(estimator="gradient")) is None


def test_text_inputs_have_no_gradient(table_problem: Callable[..., Problem]) -> None:
    import keras

    from tasks.load.arrangement import Named

    colour = keras.Input((1,), dtype="string", name="colour")
    lookup = keras.layers.StringLookup(vocabulary=["red", "green"], output_mode="one_hot")(colour)
    model = keras.Model([colour], keras.layers.Dense(1, activation="sigmoid")(lookup))
    named = Named(("colour",), ("string",), (2,), (np.array(["red", "green", ""], object),), (None,))
    problem = table_problem(model, [[0.0], [1.0]], [[1.0]], arrangement=named, categories={0: 2})
    reason = unfit(problem, ShapleySettings(estimator="gradient"))
    assert reason == "gradient needs gradients, and the model gives none in its inputs"


def test_columns_that_mix_features_are_told(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    from tasks.load.arrangement import Sums

    sums = Sums(2, np.array([0, 1]), np.array([[1.0, 1], [1, -1]]), np.zeros((2, 2)), (), np.zeros(2))
    problem = table_problem(network(2), np.ones((2, 2)), np.zeros((1, 2)), arrangement=sums)
    assert "cannot be told apart" in str(unfit(problem, ShapleySettings(estimator="gradient")))


def test_a_model_without_a_gradient_is_told(table_problem: Callable[..., Problem]) -> None:
    import keras

    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.ops.cast(inputs > 0, "float32")))
    with pytest.raises(Incomplete, match="no gradient in its inputs") as error:
        gradients(table_problem(model, np.ones((1, 2)), np.zeros((2, 2))))
    assert error.value.code == "no_gradient"


@pytest.mark.parametrize("estimator", ["gradient", "shap.gradient", "shap.deep"])
def test_codes_that_are_looked_up_have_no_gradient(looked_up: Problem, estimator: Any) -> None:
    assert "the layer colours looks codes up" in str(unfit(looked_up, ShapleySettings(estimator=estimator)))
