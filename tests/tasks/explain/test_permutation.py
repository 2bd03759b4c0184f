"""Permutation importance against eli5 (exactly) and scikit-learn (within its spread); scores against scikit-learn's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tasks.errors import Incomplete, OutputError, Stopped
from tasks.explain.base import Importance, Problem
from tasks.explain.engine.scores import SCORES, decided
from tasks.explain.engine.shuffles import shuffles
from tasks.explain.permutation import PermutationSettings, Scored, misfit, prepare, score_falls
from tasks.watch import Watch


def importance(problem: Problem, watch: Watch | None = None, **settings: Any) -> Importance:
    found = prepare(problem, PermutationSettings(**settings), watch or Watch())
    assert isinstance(found, Importance)
    return found


def falls(problem: Problem, score: str, repeats: int, state: np.random.RandomState) -> tuple[float, np.ndarray]:
    scored = Scored(problem.rows, problem.target, np.ones(len(problem.rows)))
    draws = shuffles(len(scored), len(problem.players), repeats, state)
    found = score_falls(problem, scored, score, repeats, draws, Watch())
    return found.base, found.falls


@pytest.fixture(scope="module")
def binary(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> Problem:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(300, 5))
    problem = table_problem(network(5), rows, rows[:10])
    scores = problem.predictor(rows)[:, 0]
    return replace(problem, target=(generator.random(300) < scores).astype(np.int64))


@pytest.fixture(scope="module")
def several(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> Problem:
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(200, 4))
    problem = table_problem(network(4, 3), rows, rows[:10])
    return replace(problem, target=problem.predictor(rows).argmax(axis=1))


@pytest.fixture(scope="module")
def regression(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> Problem:
    generator = np.random.default_rng(2)
    rows = generator.normal(size=(200, 4))
    problem = table_problem(network(4, final="linear"), rows, rows[:10], task="regression")
    return replace(problem, target=problem.predictor(rows)[:, 0] + generator.normal(0, 0.3, 200))


@pytest.mark.parametrize("score", ["accuracy", "balanced_accuracy", "log_loss", "roc_auc"])
def test_equal_to_eli5_with_the_same_random_state(binary: Problem, score: str) -> None:
    from eli5.permutation_importance import get_score_importances

    weight = np.ones(len(binary.rows))

    def score_of(rows: np.ndarray, target: np.ndarray) -> float:
        return float(SCORES[score](binary.predictor(rows)[None], binary, target, weight)[0])

    ours = falls(binary, score, 7, np.random.RandomState(5))
    for feature in range(5):
        base, theirs = get_score_importances(
            score_of, binary.rows, binary.target, n_iter=7, columns_to_shuffle=[feature],
            random_state=np.random.RandomState(5),
        )  # fmt: skip
        assert ours[0] == base
        np.testing.assert_array_equal(ours[1][:, feature], np.array(theirs)[:, 0])


@pytest.mark.parametrize("name", ["binary", "several", "regression"])
def test_scikit_learn_agrees_within_its_spread(name: str, request: pytest.FixtureRequest) -> None:
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import accuracy_score, make_scorer, r2_score

    problem: Problem = request.getfixturevalue(name)

    from sklearn.base import BaseEstimator

    class Model(BaseEstimator):
        def fit(self, rows: Any, target: Any) -> Model:
            return self

        def predict(self, rows: np.ndarray) -> np.ndarray:
            outputs = problem.predictor(rows)
            return outputs[:, 0] if problem.task == "regression" else decided(outputs, problem)

    theirs = permutation_importance(
        Model(), problem.rows, problem.target, n_repeats=300, random_state=1,
        scoring=make_scorer(r2_score if problem.task == "regression" else accuracy_score),
    )  # fmt: skip
    ours = importance(problem, repeats=300)
    spread = np.hypot(theirs.importances_std / np.sqrt(300), ours.std_error[0])
    assert np.abs((ours.values[0] - theirs.importances_mean) / spread).max() < 4
    np.testing.assert_allclose(ours.std_error[0] * np.sqrt(300), theirs.importances_std, rtol=0.25)


def test_mean_error_and_interval_are_those_of_the_repeats(binary: Problem) -> None:
    from scipy.stats import t

    found = importance(binary, repeats=8)
    state = np.random.RandomState(binary.generator("permutation").integers(2**32, dtype=np.uint64))
    _, own = falls(binary, "accuracy", 8, state)
    np.testing.assert_allclose(found.values[0], own.mean(axis=0))
    np.testing.assert_allclose(found.std_error[0], own.std(axis=0, ddof=1) / np.sqrt(8))
    np.testing.assert_allclose(found.ci_high - found.values, t.ppf(0.975, 7) * found.std_error)
    np.testing.assert_allclose(found.ci_low + found.ci_high, 2 * found.values)
    assert found.outputs == (None,)
    assert found.n_rows.tolist() == [300]
    assert found.evaluations == (1 + 8 * 5) * 300
    assert found.facts["score"] == "accuracy"


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("score", list(SCORES))
def test_scores_are_scikit_learns(score: str, weighted: bool, request: pytest.FixtureRequest) -> None:
    from sklearn import metrics

    name = "regression" if score in ("r2", "mean_squared_error", "mean_absolute_error") else "binary"
    problem: Problem = request.getfixturevalue(name)
    outputs = problem.predictor(problem.rows).round(2)  # some ties
    truth, values = problem.target, outputs[:, 0]
    weight = np.random.default_rng(3).uniform(0.1, 3, len(truth)) if weighted else np.ones(len(truth))
    labels = decided(outputs, problem)
    expected = {
        "accuracy": lambda: metrics.accuracy_score(truth, labels, sample_weight=weight),
        "balanced_accuracy": lambda: metrics.balanced_accuracy_score(truth, labels, sample_weight=weight),
        "log_loss": lambda: -metrics.log_loss(truth, np.clip(values, 1.2e-7, 1 - 1.2e-7), sample_weight=weight),
        "roc_auc": lambda: metrics.roc_auc_score(truth, values, sample_weight=weight),
        "r2": lambda: metrics.r2_score(truth, values, sample_weight=weight),
        "mean_squared_error": lambda: -metrics.mean_squared_error(truth, values, sample_weight=weight),
        "mean_absolute_error": lambda: -metrics.mean_absolute_error(truth, values, sample_weight=weight),
    }[score]()
    found = SCORES[score](np.stack([outputs, outputs[::-1]]), problem, truth, weight)
    assert found.shape == (2,)
    assert found[0] == pytest.approx(expected, rel=1e-6)


def test_scores_of_several_classes(several: Problem) -> None:
    from sklearn import metrics

    outputs, truth = several.predictor(several.rows), np.roll(several.target, 3)
    outputs /= outputs.sum(axis=1, keepdims=True)
    weight = np.ones(len(truth))
    assert SCORES["log_loss"](outputs[None], several, truth, weight)[0] == pytest.approx(
        -metrics.log_loss(truth, outputs, labels=[0, 1, 2]), rel=1e-4
    )
    assert SCORES["balanced_accuracy"](outputs[None], several, truth, weight)[0] == pytest.approx(
        metrics.balanced_accuracy_score(truth, outputs.argmax(axis=1))
    )


@pytest.mark.parametrize(
    ("outputs", "task", "threshold", "expected"),
    [
        ([[0.5], [0.49]], "binary", 0.5, [1, 0]),
        ([[0.3], [0.1]], "binary", 0.2, [1, 0]),
        ([[0.7, 0.3], [0.9, 0.1]], "binary", 0.2, [1, 0]),
        ([[0.4, 0.4, 0.2], [0.1, 0.2, 0.7]], "multiclass", 0.5, [0, 2]),
    ],
)
def test_decisions(
    binary: Problem, outputs: list[list[float]], task: str, threshold: float, expected: list[int]
) -> None:
    problem = replace(binary, task=task, threshold=threshold)
    assert decided(np.array(outputs), problem).tolist() == expected


def test_a_feature_that_the_model_ignores_has_none(
    table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    model = network(4)
    weights = model.get_weights()
    weights[0][1] = 0
    model.set_weights(weights)
    rows = np.random.default_rng(4).normal(size=(50, 4))
    rows[:, 3] = 1.0  # and one that is constant
    found = importance(table_problem(model, rows, rows[:5], target=np.arange(50) % 2), repeats=5, score="log_loss")
    assert found.values[0, 1] == pytest.approx(0, abs=1e-7)
    assert found.values[0, 3] == 0
    assert found.values[0, 0] != 0


def test_rows_without_label_or_weight_are_left_out_and_told(binary: Problem) -> None:
    target, weight = binary.target.copy(), np.ones(300)
    target[:7] = -1
    weight[7:9] = [0, np.nan]
    found = importance(replace(binary, target=target, weight=weight), repeats=2)
    assert found.n_rows.tolist() == [291]
    assert found.limitations == (
        "Permutation importance: 9 sampled rows are left out, without a known target or weight.",
    )
    kept = replace(binary, rows=binary.rows[9:], target=target[9:], explained=binary.explained[9:], weight=None)
    np.testing.assert_array_equal(found.values, importance(kept, repeats=2).values)


def test_a_regression_leaves_out_rows_without_a_value(regression: Problem) -> None:
    target = regression.target.copy()
    target[3] = np.nan
    found = importance(replace(regression, target=target), repeats=2)
    assert found.n_rows.tolist() == [199]
    assert np.isfinite(found.values).all()


def test_scaling_the_weights_changes_nothing(binary: Problem) -> None:
    weight = np.random.default_rng(6).uniform(1, 3, 300)
    one, other = (importance(replace(binary, weight=w), repeats=3) for w in (weight, weight * 7))
    np.testing.assert_allclose(one.values, other.values, atol=1e-12)
    assert not np.allclose(one.values, importance(binary, repeats=3).values)


def test_one_repeat_has_no_error(binary: Problem) -> None:
    found = importance(binary, repeats=1)
    assert np.isfinite(found.values).all()
    for nothing in (found.std_error, found.ci_low, found.ci_high):
        assert np.isnan(nothing).all()


def test_one_row_and_one_feature(table_problem: Callable[..., Problem], network: Callable[..., Any]) -> None:
    problem = table_problem(network(1), np.ones((1, 1)), np.ones((1, 1)), target=np.array([1]))
    assert importance(problem, repeats=3).values.tolist() == [[0.0]]


def test_two_runs_are_equal_and_the_seed_matters(binary: Problem) -> None:
    np.testing.assert_array_equal(importance(binary).values, importance(binary).values)
    assert not np.array_equal(importance(binary).values, importance(replace(binary, seed=1)).values)


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"target": np.full(300, -1)}, {}, "none of the sample"),
        ({"target": np.ones(300, np.int64)}, {"score": "roc_auc"}, "both classes"),
    ],
)
def test_samples_that_cannot_be_scored(
    binary: Problem, changes: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(Incomplete, match=message):
        importance(replace(binary, **changes), **settings)


def test_a_regression_of_one_target_has_no_r2(regression: Problem) -> None:
    with pytest.raises(Incomplete, match="different targets"):
        importance(replace(regression, target=np.ones(200)))


@pytest.mark.parametrize(
    ("task", "score", "reason"),
    [
        ("binary", "r2", "not one of a binary model"),
        ("regression", "accuracy", "not one of a regression model"),
        ("multiclass", "roc_auc", "for binary models"),
        ("binary", "auto", None),
        ("regression", "auto", None),
        ("multiclass", "log_loss", None),
    ],
)
def test_fit(task: Any, score: Any, reason: str | None) -> None:
    found = misfit(task, PermutationSettings(score=score))
    assert found is None if reason is None else reason in str(found)


@pytest.mark.parametrize(
    ("decided_by", "score", "taken", "said"),
    [
        ("score", "auto", "accuracy", None),
        ("rank", "auto", "log_loss", "of the log loss, not of accuracy: the audit decides by rank"),
        ("record", "auto", "log_loss", "of the log loss, not of accuracy: the audit's decisions are recorded"),
        ("rank", "log_loss", "log_loss", None),
        ("rank", "accuracy", "accuracy", "of the accuracy of decisions by the threshold 0.5, which are not taken"),
        ("record", "balanced_accuracy", "balanced_accuracy", "of the balanced accuracy of decisions by the threshold"),
    ],
)
def test_decisions_that_are_not_made_row_by_row_are_not_scored_unsaid(
    binary: Problem, decided_by: Any, score: str, taken: str, said: str | None
) -> None:
    found = importance(replace(binary, decided_by=decided_by), repeats=2, score=score)
    assert found.facts["score"] == taken
    np.testing.assert_array_equal(found.values, importance(binary, repeats=2, score=taken).values)
    if said is None:
        assert found.limitations == ()
    else:
        (sentence,) = found.limitations
        assert said in sentence


def test_a_regression_has_its_r2_whatever_decides(regression: Problem) -> None:
    found = importance(replace(regression, decided_by="record"), repeats=2)
    assert (found.facts["score"], found.limitations) == ("r2", ())


def test_a_stop_is_heard(binary: Problem) -> None:
    stop = threading.Event()
    seen: list[int] = []

    def report(task: str, done: int, total: int | None) -> None:
        seen.append(done)
        if done:
            stop.set()

    with pytest.raises(Stopped):
        importance(binary, Watch(stop=stop, report=report), repeats=200)
    assert 0 < seen[-1] < 201 * 5 * 300


def test_shuffles_that_break_the_model_name_the_feature(table_problem: Callable[..., Problem]) -> None:
    import keras

    inputs = keras.Input((2,))
    total = keras.ops.log(keras.ops.sum(inputs, axis=1, keepdims=True))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(total))
    rows = np.array([[9.0, -8.0], [1.0, 0.0], [-8.0, 9.0]])
    with pytest.raises(OutputError, match="one feature was shuffled: x"):
        importance(table_problem(model, rows, rows, target=np.array([0, 1, 0])))


# ---------------------------------------------------------------- stacks, groups, memory


def test_batches_and_stacks_change_nothing(
    binary: Problem, table_problem: Callable[..., Problem], network: Callable[..., Any]
) -> None:
    whole = importance(binary, repeats=4, score="log_loss")
    for batch in (64, 256):
        parts = table_problem(network(5), binary.rows, binary.background, batch=batch, target=binary.target)
        found = importance(parts, repeats=4, score="log_loss")
        np.testing.assert_allclose(found.values, whole.values, atol=1e-9)


def test_permuting_columns_permutes_importances(
    network: Callable[..., Any], binary: Problem, table_problem: Callable[..., Problem]
) -> None:
    """Under the same shuffles: those of one column are taken for another."""
    order = np.array([3, 0, 4, 1, 2])
    model = network(5)
    weights = model.get_weights()
    weights[0] = weights[0][order]
    model.set_weights(weights)
    turned = table_problem(model, binary.rows[:, order], binary.background[:, order], target=binary.target)
    scored = [Scored(p.rows, p.target, np.ones(300)) for p in (binary, turned)]
    source = list(shuffles(300, 5, 2, np.random.RandomState(1)))
    place = {int(column): new for new, column in enumerate(order)}
    one = score_falls(binary, scored[0], "log_loss", 2, iter(source), Watch()).falls
    moved = sorted(((at // 5, place[p], rows) for at, (p, rows) in enumerate(source)), key=lambda draw: draw[:2])
    other = score_falls(turned, scored[1], "log_loss", 2, iter([draw[1:] for draw in moved]), Watch()).falls
    np.testing.assert_allclose(other, one[:, order], atol=1e-6)


def test_columns_of_a_group_change_places_together(binary: Problem, table_problem: Callable[..., Problem]) -> None:
    """Shuffled apart, two copies of one column that cancel in the model would matter; together they do not."""
    model = _straight(np.array([3.0, -3.0, 1.0]))
    rows = np.random.default_rng(0).normal(size=(400, 3))
    rows[:, 1] = rows[:, 0]
    problem = table_problem(model, rows, rows[:5], target=(rows[:, 2] > 0).astype(np.int64))
    apart = importance(problem, repeats=3)
    bound = importance(replace(problem, groups={"pair": (0, 1)}), repeats=3)
    assert apart.values.shape == (1, 3)
    assert bound.values.shape == (1, 2)
    assert apart.values[0, :2].min() > 0.1
    assert bound.values[0, 0] == pytest.approx(0, abs=1e-3)  # rounding may turn a score that is near the threshold
    assert list(bound.facts["p_values"]) == ["pair", "x2"]
    alone = importance(replace(problem, groups={"x2": (2,)}), repeats=3)
    np.testing.assert_array_equal(alone.values, apart.values)


def _straight(weights: np.ndarray) -> Any:
    import keras

    model = keras.Sequential([keras.Input((len(weights),)), keras.layers.Dense(1, activation="sigmoid")])
    model.set_weights([weights.astype(np.float32)[:, None], np.zeros(1, np.float32)])
    return model


def test_rows_in_a_file_give_what_rows_in_memory_give(binary: Problem, tmp_path: Any) -> None:
    path = tmp_path / "rows"
    binary.rows.tofile(path)
    mapped = np.memmap(path, np.float64, "r", shape=binary.rows.shape)
    for settings in ({}, {"conditional": True}):
        found = importance(replace(binary, rows=mapped), repeats=2, **settings)
        np.testing.assert_array_equal(found.values, importance(binary, repeats=2, **settings).values)


def test_a_table_too_large_to_copy_by_columns(binary: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = importance(binary, repeats=2, score="log_loss")
    monkeypatch.setattr("tasks.explain.permutation.STACK", 1000)
    monkeypatch.setattr("tasks.explain.permutation.TESTED", 500)
    found = importance(binary, repeats=2, score="log_loss")
    np.testing.assert_array_equal(found.values, whole.values)
    assert {own["n"] for own in found.facts["p_values"].values()} == {100}
    assert {own["n"] for own in whole.facts["p_values"].values()} == {300}


# ---------------------------------------------------------------- p-values


def test_p_values_tell_a_feature_that_matters_from_one_that_does_not(table_problem: Callable[..., Problem]) -> None:
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(500, 3))
    target = (generator.random(500) < 1 / (1 + np.exp(-2 * rows[:, 0]))).astype(np.int64)
    problem = table_problem(_straight(np.array([2.0, 0.0, 0.3])), rows, rows[:5], target=target)
    for score in ("accuracy", "balanced_accuracy", "log_loss", "roc_auc"):
        found = importance(problem, score=score)
        p = {name: own["p_value"] for name, own in found.facts["p_values"].items()}
        assert p["x0"] < 1e-10
        assert p["x1"] == 1.0  # not one row changed
        assert found.facts["p_values"]["x1"]["changed"] == 0
        assert p["x2"] > 0.01  # noise that the model took for a signal
        assert all(own["p_adjusted"] >= own["p_value"] for own in found.facts["p_values"].values())


def test_p_values_of_a_regression_are_those_of_its_squared_errors(regression: Problem) -> None:
    one, other = (importance(regression, score=name).facts["p_values"] for name in ("r2", "mean_squared_error"))
    assert one == other
    assert min(own["p_value"] for own in one.values()) < 1e-6


def test_the_area_under_the_curve_has_no_test_with_weights(binary: Problem) -> None:
    found = importance(replace(binary, weight=np.full(300, 2.0)), score="roc_auc", repeats=2)
    assert found.facts["p_values"] is None
    assert "not available" in found.facts["p_value_test"]


def test_p_values_are_seldom_small_where_nothing_matters(table_problem: Callable[..., Problem]) -> None:
    """Targets that have nothing to do with the rows: 40 audits, 4 features each."""
    small = []
    model = _straight(np.array([1.0, -0.5, 0.8, 0.3]))
    base = table_problem(model, np.zeros((1, 4)), np.zeros((1, 4)), batch=4096)
    for seed in range(40):
        generator = np.random.default_rng(seed)
        rows = generator.normal(size=(120, 4))
        problem = replace(base, rows=rows, target=generator.integers(0, 2, 120), seed=seed)
        found = importance(problem, repeats=5, score="log_loss")
        small += [own["p_value"] <= 0.05 for own in found.facts["p_values"].values()]
    assert np.mean(small) <= 0.1  # 0.05 and three standard errors


# ---------------------------------------------------------------- within strata


def test_a_redundant_feature_has_less_within_strata(table_problem: Callable[..., Problem]) -> None:
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(2000, 4))
    rows[:, 1] = rows[:, 0] + generator.normal(0, 0.1, 2000)
    target = (rows[:, 0] + rows[:, 2] > 0).astype(np.int64)
    model = _straight(np.array([2.0, 0.0, 2.0, 0.0]))
    problem = table_problem(model, rows, rows[:5], target=target)
    plain, within = importance(problem, repeats=5), importance(problem, repeats=5, conditional=True)
    assert within.values[0, 0] < plain.values[0, 0] / 4  # its copy tells nearly all of it
    assert within.values[0, 2] == pytest.approx(plain.values[0, 2], abs=0.02)  # nothing tells anything of it
    assert within.values[0, [1, 3]].tolist() == [0, 0]  # the model does not look
    told = within.facts["conditional"]
    assert [told[name]["given"] for name in ("x0", "x1", "x2", "x3")] == [["x1"], ["x0"], [], []]
    assert told["x0"]["strata"] > 20
    assert told["x0"]["smallest"] >= 30
    assert (told["x0"]["movable"], told["x0"]["rows"]) == (2000, 2000)
    assert (told["x2"]["strata"], told["x2"]["smallest"]) == (1, 2000)
    assert within.score == "accuracy within strata"
    assert "conditional" not in plain.facts


def test_a_copy_of_a_category_leaves_no_row_to_move(table_problem: Callable[..., Problem]) -> None:
    generator = np.random.default_rng(5)
    codes = generator.integers(0, 3, 600)
    rows = np.stack([codes, codes, generator.normal(size=600)], axis=1).astype(float)
    model = _straight(np.array([1.0, 1.0, 0.1]))
    problem = table_problem(model, rows, rows[:5], target=(codes > 1).astype(np.int64), categories={0: 3, 1: 3})
    found = importance(problem, repeats=3, conditional=True)
    assert found.values[0, :2].tolist() == [0, 0]
    assert found.facts["conditional"]["x0"]["movable"] == 0
    assert "fewer than half of the rows have another value to take" in found.limitations[0]
    assert "x0, x1" in found.limitations[0]


def test_too_few_rows_for_strata_are_told(table_problem: Callable[..., Problem]) -> None:
    rows = np.random.default_rng(6).normal(size=(40, 2))
    rows[:, 1] = rows[:, 0]
    problem = table_problem(_straight(np.ones(2)), rows, rows[:5], target=np.arange(40) % 2)
    found = importance(problem, repeats=2, conditional=True)
    assert "not conditional" in found.limitations[0]
    assert "x0, x1" in found.limitations[0]
    assert importance(problem, repeats=2, conditional=True, stratum=5).limitations == ()


def test_a_group_is_conditioned_on_what_goes_with_any_of_its_columns(table_problem: Callable[..., Problem]) -> None:
    generator = np.random.default_rng(7)
    rows = generator.normal(size=(500, 4))
    rows[:, 3] = rows[:, 1] + generator.normal(0, 0.2, 500)
    problem = table_problem(_straight(np.ones(4)), rows, rows[:5], target=(rows.sum(axis=1) > 0).astype(int))
    found = importance(replace(problem, groups={"pair": (0, 1)}), repeats=2, conditional=True)
    told = found.facts["conditional"]
    assert list(told) == ["pair", "x2", "x3"]
    assert told["pair"]["given"] == ["x3"]
    assert told["x3"]["given"] == ["x1"]


def test_constants_nulls_and_one_row_within_strata(table_problem: Callable[..., Problem]) -> None:
    rows = np.random.default_rng(8).normal(size=(200, 3))
    rows[:, 1] = 4.0
    rows[:, 2] = np.where(np.arange(200) % 2, 1e300, rows[:, 0])
    model = _straight(np.array([1.0, 1.0, 0.0]))
    problem = table_problem(model, np.where(rows > 1e200, 7.0, rows), rows[:5], target=np.arange(200) % 2)
    assert importance(problem, repeats=2, conditional=True).values[0, 1] == 0
    one = replace(problem, rows=problem.rows[:1], target=np.array([1]))
    assert importance(one, repeats=2, conditional=True).values.tolist() == [[0, 0, 0]]


def test_some_rows_of_a_table_too_large_to_copy(binary: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    target = binary.target.copy()
    target[::7] = -1
    some = replace(binary, target=target, groups={"pair": (1, 3)})
    expected = [importance(some, repeats=2, conditional=conditional) for conditional in (False, True)]
    monkeypatch.setattr("tasks.explain.permutation.STACK", 400)
    for conditional, own in zip((False, True), expected, strict=True):
        found = importance(some, repeats=2, conditional=conditional)
        np.testing.assert_array_equal(found.values, own.values)
        assert found.facts == own.facts
        assert found.n_rows == 300 - 43
