"""The shap library's own explainers on our predictor: a choice (`estimator: shap.kernel`, …), and the oracle of tests.

They draw from NumPy's global generator, so each row is explained under a lock with the generator set to the same
state; what they do not say about their error, `std_error` leaves null.

Features that are bound together come and go together. The library has no groups of columns, or not for all explainers:
it is then given the game of the players itself, whose rows are zeros and ones, against the row of zeros.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.errors import Incomplete
from tasks.explain.base import Attribution, Prepared, Problem
from tasks.explain.engine.first_layer import columns_of_players
from tasks.explain.engine.shap_guard import shap_at_work
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf

SAMPLES = 200

#: (d,) row, (m,) outputs → (m, d) values, (m,) what they start from
Row = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class _Counted:
    """The predictor as a function that counts its rows."""

    def __init__(self, problem: Problem, watch: Watch) -> None:
        self._problem, self._watch = problem, watch
        self.rows = 0

    def __call__(self, rows: Any) -> np.ndarray:
        rows = np.asarray(rows, np.float64)
        self.rows += len(rows)
        return self._problem.predictor(rows, self._problem.kind, watch=self._watch)


def prepare_library(problem: Problem, estimator: str, coalitions: int, samples: int | None, watch: Watch) -> Prepared:
    """One of shap's explainers for tables.

    Args:
        estimator: shap.exact, shap.kernel, shap.permutation, shap.gradient, shap.deep.
        coalitions: masked evaluations a row may cost, for the first three.
        samples: points a row, for shap.gradient.
    """
    model = _Counted(problem, watch)
    facts: dict[str, Any] = {"estimator": estimator, "background_rows": len(problem.background)}
    if estimator in ("shap.gradient", "shap.deep"):
        points = samples or SAMPLES
        row = _gradient(problem, points, model) if estimator == "shap.gradient" else _deep(problem, model)
        facts |= {"samples": points} if estimator == "shap.gradient" else {}
    else:
        of = {"shap.kernel": _kernel, "shap.permutation": _permutation, "shap.exact": _exact}[estimator]
        row = of(problem, coalitions, model)
        facts["coalitions"] = 2 ** len(problem.players) if estimator == "shap.exact" else coalitions
    seed = int(problem.generator(estimator).integers(2**31))
    spent = model.rows

    def explain(rows: np.ndarray, explained: np.ndarray) -> Attribution:
        before = model.rows
        values = np.empty((*explained.shape, len(problem.players)))
        base = np.empty(explained.shape)
        for i, (one, wanted) in enumerate(zip(rows, explained, strict=True)):
            with _seeded(seed):
                values[i], base[i] = row(one, wanted)
            watch.advance(0)
        own = np.take_along_axis(model(rows), explained, axis=1)
        quality = {"completeness_error": np.abs(values.sum(axis=-1) - (own - base))}
        return Attribution(values, base, quality=quality, evaluations=model.rows - before)

    return Prepared(explain, facts, evaluations=spent)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator in a known state; whatever shap does to the process is undone afterwards."""
    with shap_at_work("the shap library"):
        np.random.seed(seed)
        yield


def _shap() -> Any:
    with _seeded(0):
        import shap
    return shap


def _game(problem: Problem, model: _Counted) -> Callable[[np.ndarray], tuple[Any, np.ndarray, np.ndarray]]:
    """A row → what shap is to explain: a function of rows, the row, the background.

    Without groups these are the model, the row and the background; else the game of the players.
    """
    if not problem.groups:
        return lambda one: (model, one, problem.background)
    g, d = problem.membership.shape

    def game(one: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
        def worth(coalitions: Any) -> np.ndarray:
            known = np.asarray(coalitions) @ problem.membership > 0.5
            mixed = np.where(known[:, None], one, problem.background).reshape(-1, d)
            return model(mixed).reshape(len(known), len(problem.background), -1).mean(axis=1)

        return worth, np.ones(g), np.zeros((1, g))

    return game


def _kernel(problem: Problem, coalitions: int, model: _Counted) -> Row:
    """shap.KernelExplainer without its choice of features, which would set all but ten to nought."""
    shap = _shap()
    game = _game(problem, model)

    def made(one: np.ndarray) -> tuple[Any, np.ndarray]:
        function, row, background = game(one)
        with _seeded(0):
            return shap.KernelExplainer(function, background), row

    always = made(problem.rows[0])  # without groups it is the same for all rows

    def row(one: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        explainer, one = made(one) if problem.groups else (always[0], one)
        values = explainer.shap_values(one[None], nsamples=coalitions, l1_reg=0, silent=True)[0]
        return values.T[wanted], np.asarray(explainer.expected_value)[wanted]

    return row


def _permutation(problem: Problem, coalitions: int, model: _Counted) -> Row:
    """shap's permutation explainer: marginal contributions along random orders and their reverses."""
    evaluations = max(coalitions, 2 * len(problem.players) + 1)

    def made(function: Any, masker: Any) -> Any:
        return _shap().explainers.Permutation(function, masker, seed=0)

    return _by_masker(problem, made, evaluations, model)


def _exact(problem: Problem, coalitions: int, model: _Counted) -> Row:
    """shap's exact explainer: every coalition of the players in which the row differs from the background."""
    return _by_masker(problem, _shap().explainers.Exact, 2 ** len(problem.players), model)


def _by_masker(problem: Problem, made: Callable[[Any, Any], Any], evaluations: int, model: _Counted) -> Row:
    shap = _shap()
    game = _game(problem, model)

    def explainer(one: np.ndarray) -> tuple[Any, np.ndarray]:
        function, row, background = game(one)
        return made(function, shap.maskers.Independent(background, max_samples=len(background))), row

    always = explainer(problem.rows[0])  # without groups it is the same for all rows

    def row(one: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        explain, one = explainer(one) if problem.groups else (always[0], one)
        found = explain(one[None], max_evals=evaluations, silent=True)
        return found.values[0].T[wanted], np.atleast_1d(found.base_values[0])[wanted]

    return row


# ---------------------------------------------------------------- on encoded columns


def _keras_model(problem: Problem) -> Any:
    """A Keras model from the encoded matrix to the explained kind of output: what shap's explainers ask for."""
    import keras

    graph = problem.predictor.model_graph(problem.kind)
    wanted = problem.predictor.keras_model.inputs[0]

    class Explained(keras.layers.Layer):
        def call(self, matrix: tf.Tensor) -> tf.Tensor:
            return graph(matrix)

        def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return shape[0], len(problem.outputs)

    matrix = keras.Input(tuple(wanted.shape[1:]), dtype="float32")
    return keras.Model(matrix, Explained(name="explained", dtype="float32")(matrix))


def _encoded(problem: Problem, rows: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    return np.asarray(problem.predictor.encode(tf.constant(rows)), np.float32)


def _by_player(problem: Problem, values: np.ndarray) -> np.ndarray:
    """(m, width) attributions of encoded columns, summed to those of players, (m, g)."""
    return values.reshape(*values.shape[:1], -1).astype(np.float64) @ columns_of_players(problem).T.astype(np.float64)


def _gradient(problem: Problem, samples: int, model: _Counted) -> Row:
    """shap.GradientExplainer: expected gradients at random points between row and background."""
    shap = _shap()
    with _seeded(0):
        explainer = shap.GradientExplainer(_keras_model(problem), _encoded(problem, problem.background))
    base = model(problem.background).mean(axis=0)
    seed = int(problem.generator("shap.gradient").integers(2**31))

    def row(one: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, _ = explainer.shap_values(
            _encoded(problem, one[None]), nsamples=samples, ranked_outputs=wanted[None],
            output_rank_order="custom", rseed=seed,
        )  # fmt: skip
        model.rows += samples * len(wanted)
        return _by_player(problem, np.moveaxis(values[0], -1, 0)), base[wanted]

    return row


def _deep(problem: Problem, model: _Counted) -> Row:
    """shap.DeepExplainer: DeepLIFT's rules against every background row."""
    shap = _shap()
    with _seeded(0):
        explainer = shap.DeepExplainer(_keras_model(problem), _encoded(problem, problem.background))
    base = model(problem.background).mean(axis=0)

    def row(one: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            values = explainer.shap_values(_encoded(problem, one[None]), check_additivity=False)
        except Exception as error:
            missing = re.search(r"no entry for: shap_(\w+)", str(error))
            if missing is None:
                raise
            raise Incomplete(
                f"shap.deep has no rule for the operation {missing[1]} of this model",
                where="explain.techniques.shap.estimator",
                hint="choose another estimator",
            ) from error
        model.rows += 2 * len(problem.background) * len(problem.outputs)
        return _by_player(problem, np.moveaxis(values[0], -1, 0)[wanted]), base[wanted]

    return row
