"""Expected gradients of a table: Shapley-like values at the price of gradients, all rows batched in a compiled graph.

For background rows b and places a on the way from b to the row x, in the model's encoded columns,

    φ = E over b and a of (x − b) · ∂f/∂x at b + a (x − b),

summed over the columns of a feature and the features of a player. On average over the background it is integrated
gradients (Aumann and Shapley's values of the way); where the output is additive in the players, or a straight line, it
is the Shapley value, else it is not the same number. A row's values add up to f(x) − mean f(background) but for the
error of sampling; `completeness_error` says how far they do.

*Where gradients are taken.* The points are the same for all rows. With s ≥ 2b points a row, every one of the b
background rows is used equally often, its ways are cut into strata with one point in each, and within a stratum the
background rows' points are spread evenly: one in each of s strata of the whole way. With fewer points, each comes from
another background row, as long as there are any.

*Standard error.* Points come in units of two from neighbouring strata of one background row, and half the square of a
unit's difference stands for the variance in a stratum (collapsed strata, Cochran 1977, Sampling techniques, 5A.12),
once what all units have in common is taken off. It counts as chance what the strata have taken away from it, so it is
an upper bound on average; with s < 2b more so, since a unit's two points then have different background rows. A feature
that few background rows differ in needs s ≥ 2b: a sample of the background may not have met them, and not know it.

*Two ways*, chosen by counting products: where the model begins with a Dense layer (`first_layer.py`) the layer's result
is a straight line along the way, known from its two ends; and what a player's columns have of a gradient is the
gradient there times what the player adds at the two ends. Neither the layer nor its transpose is run for a point.

Sources: Sundararajan, Taly and Yan 2017, Axiomatic attribution for deep networks, https://arxiv.org/abs/1703.01365;
Erion et al. 2021, Improving performance of deep learning models with axiomatic attribution priors and expected
gradients, https://doi.org/10.1038/s42256-021-00343-w. Equal in expectation to shap.GradientExplainer; ours are the
strata, the standard error and the two ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tasks.explain.base import Attribution, Prepared, Problem
from tasks.explain.engine.encoded_gradients import lookup
from tasks.explain.engine.first_layer import FirstLayer, NotFactored, columns_of_players, first_layer
from tasks.explain.engine.gradients import TRACING, WIDTH, input_gradients, padded, static_batch
from tasks.explain.engine.masking import evaluations_of_a_turn, may_compile
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf

    #: (R, d) rows, (R, m) outputs, (P,) background rows, (P,) places → (P, R, m, g) contributions
    Contributions = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]

Way = Literal["factored", "plain"]

#: points a row at least, and at most, where nothing is said
SAMPLES, MOST_SAMPLES = 200, 1000
#: rows that one call of the compiled graph explains at most
ROWS = 64
#: rows that the ways are compared on
COMPARED = 2
#: how far a way may be from differentiating by the encoded columns, relative to values beyond 1
TOLERANCE = 1e-5


def default_samples(background: int) -> int:
    """Points a row: at least SAMPLES, with two for each background row where that is not more than MOST_SAMPLES."""
    even = 2 * background * -(-SAMPLES // (2 * background))
    return even if even <= MOST_SAMPLES else MOST_SAMPLES


def samples_taken(asked: int, background: int) -> int:
    """Points of a row: as asked, or the next number below it with which all background rows are used equally often."""
    if asked < 2 * background:
        return asked - asked % 2
    return asked - asked % (2 * background)


@dataclass(frozen=True)
class Path:
    """Where gradients are taken: groups of units of two points; equal for all rows.

    Attributes:
        background: (groups, units, 2) int64 rows of the background.
        place: (groups, units, 2) float64 in [0, 1], 0 at the background row.
        counts: (groups, units) bool; False where a unit only fills up.
    """

    background: np.ndarray
    place: np.ndarray
    counts: np.ndarray

    @property
    def samples(self) -> int:
        return 2 * int(self.counts.sum())


def draw_path(background: int, samples: int, most: int, generator: np.random.Generator) -> Path:
    """The points of a row; see the module's words.

    Args:
        background: b rows.
        samples: s, even; a multiple of 2b where it is not less than that.
        most: units that a group may have.
    """
    if samples >= 2 * background:
        strata = samples // background
        order = np.stack([generator.permutation(background) for _ in range(strata)]).reshape(-1, 2, background)
        within = (order + generator.random(order.shape)) / background
        place = (np.arange(strata).reshape(-1, 2, 1) + within) / strata
        rows = np.broadcast_to(np.arange(background), order.shape)
        # In the order of the way, so that the units of a group have what depends on the place in common.
        by_place = np.argsort(order[:, 0], axis=1)[:, None, :]
        rows, place = np.take_along_axis(rows, by_place, axis=2), np.take_along_axis(place, by_place, axis=2)
    else:
        rounds = [generator.permutation(background) for _ in range(-(-samples // background))]
        rows = np.concatenate(rounds)[:samples].reshape(1, -1, 2).transpose(0, 2, 1)
        place = (np.arange(samples) + generator.random(samples)) / samples
        place = place.reshape(1, -1, 2).transpose(0, 2, 1)
    runs, _, n = rows.shape
    parts = -(-n // most)
    units = -(-n // parts)
    shape = (runs * parts, units)

    def grouped(values: np.ndarray, fill: float) -> np.ndarray:
        full = np.full((runs, parts * units), fill, values.dtype)
        full[:, :n] = values
        return full.reshape(shape)

    two = [np.stack([grouped(v[:, half], v[0, half, 0]) for half in (0, 1)], axis=2) for v in (rows, place)]
    return Path(two[0].astype(np.int64), two[1], grouped(np.ones((runs, n), bool), False))


def prepare_gradient(problem: Problem, samples: int | None, watch: Watch) -> Prepared:
    """Expected gradients with the background's rows as starts.

    Args:
        samples: points a row; None: `default_samples`.

    Raises:
        Incomplete: the outputs have no gradient in the encoded columns.
    """
    b = len(problem.background)
    count = samples_taken(samples or default_samples(b), b)
    widest = max([1, *(w.shape[-1] for w in problem.predictor.keras_model.get_weights() if w.ndim)])
    most = evaluations_of_a_turn(max(widest, len(problem.predictor.owners)))  # type: ignore[arg-type]
    path = draw_path(b, count, max(1, most // 2), problem.generator("shap.gradient"))
    base = problem.predictor(problem.background, problem.kind, watch).mean(axis=0)
    sums, way = _chosen(problem, path, most, watch)

    def explain(rows: np.ndarray, explained: np.ndarray) -> Attribution:
        values, variance = sums(rows, explained)
        own = np.take_along_axis(problem.predictor(rows, problem.kind, watch), explained, axis=1)
        nothing = base[explained]
        gap = np.abs(values.sum(axis=2) - (own - nothing))
        # Forwards once for all outputs, backwards once for each.
        spent = len(rows) * (1 + count * (1 + explained.shape[1]))
        return Attribution(values, nothing, np.sqrt(variance), {"completeness_error": gap}, evaluations=spent)

    facts = {
        "estimator": "gradient",
        "samples": count,
        "background_rows": b,
        "way": way,
        "std_error_method": "differences of neighbouring strata of the way, an upper bound on average",
    }
    return Prepared(explain, facts, evaluations=b)


#: (n, d) rows, (n, m) outputs → (n, m, g) values and the variance of each
Sums = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _chosen(problem: Problem, path: Path, most: int, watch: Watch) -> tuple[Sums, Way]:
    """The way with fewer products that compiles and agrees with differentiating by the encoded columns."""
    import tensorflow as tf

    some = np.unique(np.linspace(0, len(problem.rows) - 1, COMPARED).astype(np.int64))
    rows, explained = problem.rows[some], problem.explained[some]
    truth = _compiled(problem, path, _plain(problem), most, COMPARED, False, watch)(rows, explained)[0]
    layer = first_layer(problem)
    ways: list[tuple[Way, Contributions]] = [("plain", _plain(problem))]
    if layer is not None and 2 * len(problem.players) <= layer.width:
        ways.insert(0, ("factored", _factored(problem, layer)))
    for way, contributions in ways:
        for jit in (True, False) if may_compile(problem) else (False,):
            try:
                sums = _compiled(problem, path, contributions, most, ROWS, jit, watch)
                values = sums(rows, explained)[0]
            except (tf.errors.OpError, NotImplementedError, NotFactored):
                continue
            if (np.abs(values - truth) <= TOLERANCE * np.maximum(1.0, np.abs(truth))).all() or (way, jit) == _LAST:
                return sums, way
    raise AssertionError("the last way is the one that the others are compared with")


#: the way that is not compared: values that are not finite are left to the caller to tell
_LAST: tuple[Way, bool] = ("plain", False)


def _compiled(
    problem: Problem, path: Path, contributions: Contributions, most: int, rows: int, jit: bool, watch: Watch
) -> Sums:
    """Traces one function for blocks of groups of points, and at most `rows` rows at a time."""
    import tensorflow as tf

    groups, units = path.counts.shape
    together = -(-groups // -(-groups // max(1, most // (2 * units))))
    points = 2 * together * units
    rows = min(rows, 2 ** max(0, (most // points).bit_length() - 1))
    width = min(WIDTH, problem.explained.shape[1])
    g = len(problem.players)

    def traced(
        codes: tf.Tensor, wanted: tf.Tensor, background: tf.Tensor, place: tf.Tensor, counts: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        each = tf.cast(contributions(codes, wanted, background, place), tf.float64)
        each = tf.reshape(each, (together, units, 2, rows, width, g))
        weight = tf.reshape(counts, (together, units, 1, 1, 1))
        number = tf.reduce_sum(counts, axis=1)[:, None, None, None]
        apart = (each[:, :, 1] - each[:, :, 0]) * weight
        left = apart - tf.reduce_sum(apart, axis=1, keepdims=True) / tf.maximum(number, 1.0)[:, None]
        # A group of one has nothing in common with others that could be taken off.
        left = tf.where(number[:, None] > 1, left * weight, apart)
        squares = tf.reduce_sum(left**2, axis=1) * tf.where(number > 1, number / tf.maximum(number - 1, 1.0), 1.0)
        total = tf.reduce_sum((each[:, :, 0] + each[:, :, 1]) * weight, axis=(0, 1))
        return total, tf.reduce_sum(squares, axis=0)

    signature = [
        tf.TensorSpec((rows, problem.rows.shape[1]), tf.float64),
        tf.TensorSpec((rows, width), tf.int32),
        tf.TensorSpec((points,), tf.int32),
        tf.TensorSpec((points,), tf.float32),
        tf.TensorSpec((together, units), tf.float64),
    ]
    with TRACING:
        function = tf.function(traced, input_signature=signature, autograph=False, jit_compile=jit)
        compiled = function.get_concrete_function()
    blocks = []
    for start in range(0, groups, together):
        part = slice(start, start + together)
        counts = np.zeros((together, units))
        counts[: len(path.counts[part])] = path.counts[part]
        background, place = (padded(values[part], together).ravel() for values in (path.background, path.place))
        blocks.append((tf.constant(background, tf.int32), tf.constant(place, tf.float32), tf.constant(counts)))
    s = path.samples

    def sums(codes: np.ndarray, explained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, m = explained.shape
        values, variance = np.zeros((n, m, g)), np.zeros((n, m, g))
        for first in range(0, n, rows):
            some = slice(first, min(first + rows, n))
            tensor = tf.constant(padded(codes[some], rows))
            for left in range(0, m, width):
                outputs = slice(left, min(left + width, m))
                wanted = padded(padded(explained[some, outputs], rows).T, width).T
                for block in blocks:
                    found = compiled(tensor, tf.constant(wanted, tf.int32), *block)
                    total, squares = (t.numpy()[: some.stop - first, : outputs.stop - left] for t in found)
                    values[some, outputs] += total
                    variance[some, outputs] += squares
                    watch.advance(0)
        return values / s, variance / s**2

    return sums


def _plain(problem: Problem) -> Contributions:
    """Gradients in the model's encoded columns."""
    predictor = problem.predictor
    model = predictor.model_graph(problem.kind)
    shape = tuple(predictor.keras_model.inputs[0].shape[1:])
    of_players = columns_of_players(problem).T
    width = len(of_players)

    def contributions(codes: tf.Tensor, wanted: tf.Tensor, background: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        points, rows = background.shape[0], codes.shape[0]

        def encoded(values: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.reshape(predictor.encode(values), (-1, width)), tf.float32)

        start = tf.gather(encoded(tf.constant(problem.background)), background)[:, None]
        way = encoded(codes)[None] - start
        at = tf.reshape(start + place[:, None, None] * way, (points * rows, width))
        gradients = _gradients(lambda matrix: model(tf.reshape(matrix, (-1, *shape))), at, wanted, points)
        way = tf.reshape(way, (points * rows, width))
        each = [tf.reshape(tf.matmul(way * gradient, of_players), (points, rows, -1)) for gradient in gradients]
        return tf.stack(each, axis=2)

    return contributions


def _factored(problem: Problem, layer: FirstLayer) -> Contributions:
    """Gradients in the first layer's pre-activation."""

    def contributions(codes: tf.Tensor, wanted: tf.Tensor, background: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        points, rows, units = background.shape[0], codes.shape[0], layer.units
        of_rows, absent = layer.matrix(codes), layer.matrix(tf.constant(problem.background))
        row, ground = layer.added(of_rows), layer.added(absent)
        start = tf.gather(layer.bias(absent) + tf.reduce_sum(ground, axis=1), background)[:, None]
        end = layer.bias(absent) + tf.reduce_sum(row, axis=1)
        at = tf.reshape(start + place[:, None, None] * (end[None] - start), (points * rows, units))
        ground = tf.gather(ground, background)
        each = []
        for gradient in _gradients(layer.outputs, at, wanted, points):
            gradient = tf.reshape(gradient, (points, rows, units))
            there = tf.einsum("pru,rgu->prg", gradient, row)
            each.append(there - tf.matmul(gradient, ground, transpose_b=True))
        return tf.stack(each, axis=2)

    return contributions


def _gradients(graph: Any, at: tf.Tensor, wanted: tf.Tensor, points: int) -> list[tf.Tensor]:
    """m gradients of `at`'s shape, (P·R, …), of each row's wanted outputs."""
    import tensorflow as tf

    return input_gradients(graph, at, tf.tile(wanted, (points, 1)))[1]


def unfit_gradient(problem: Problem, estimator: str) -> str | None:
    """Why an estimator that rests on gradients, ours or the shap library's, does not fit the model, or None."""
    predictor = problem.predictor
    if not predictor.differentiable:
        return f"{estimator} needs gradients, and the model gives none in its inputs"
    if (layer := lookup(problem)) is not None:
        return f"{estimator} needs gradients, and the layer {layer} looks codes up, which has none"
    if predictor.owners is None:
        return f"{estimator} explains encoded columns, and they cannot be told apart by feature"
    if estimator == "gradient" and static_batch(problem):
        return f"gradient chooses its own batches, and the model takes {static_batch(problem)} rows at a time"
    return None
