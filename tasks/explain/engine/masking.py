"""What the model says, on average over the background, where only the features of a coalition are known.

This is the inner loop of Shapley values: rows × coalitions × background rows go through the model. It all happens in
one compiled graph: a loop over rows, in which each masked row exists only as a temporary that fits the cache.

Two ways, of which the first that fits and agrees with the predictor is taken; where none does, nothing is explained:

- *factored*: the model's first operation is a Dense layer on a matrix whose columns belong to one feature each. Its
  result is then a sum over players: what a coalition's players add comes from the row, what the others add from the
  background; and the latter is computed once for all rows. Encoding and first layer leave the inner loop
  (`first_layer.py`).
- *plain*: rows are mixed as codes, encoded and put through the whole model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tasks.errors import Incomplete, OutputError
from tasks.explain.base import OF_BATCH, Problem
from tasks.explain.engine.first_layer import NotFactored, first_layer
from tasks.explain.engine.gradients import TRACING
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf

    OfRows = Callable[[tf.Tensor], tf.Tensor]
    OfCoalitions = Callable[[tf.Tensor], tf.Tensor]
    Means = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]

Way = Literal["factored", "plain"]

#: rows that one call of the compiled graph explains
ROWS = 64
#: model evaluations of one turn of its loop, and floats that a layer may hold in it
EVALUATIONS, FLOATS = 16_384, 2**20
#: floats that the coalitions' own part may hold for all calls (128 MiB); beyond that it is made anew for each
KEPT = 2**25
#: how far a way may be from the predictor, relative to values beyond 1
TOLERANCE = 1e-5


@dataclass(frozen=True)
class _Graph:
    """What a way computes, in three parts, so that none is done more often than it must be.

    Attributes:
        of_rows: (R, d) rows → what is needed of them.
        of_coalitions: (C, g) coalitions → what is needed of the background.
        means: of_rows, how many rows count, (C, g) coalitions, of_coalitions → (R, C, k).
        kept: floats that `of_coalitions` holds for each coalition.
        width: numbers a row in the widest thing that a turn of the loop makes of its own.
    """

    of_rows: OfRows
    of_coalitions: OfCoalitions
    means: Means
    kept: int
    width: int


@dataclass(frozen=True)
class _Compiled:
    of_rows: Any
    of_coalitions: Any
    means: Any
    kept: int


@dataclass(frozen=True)
class MaskedMeans:
    """Evaluates coalitions. Shared by all batches of rows.

    Attributes:
        way: how it is computed.
        evaluations: spent on comparing the way with the predictor.
        count: c coalitions.
        background: b rows.
        block: coalitions that one call of the compiled graph takes.
    """

    way: Way
    evaluations: int
    count: int
    background: int
    block: int
    _compiled: _Compiled
    _blocks: tuple[_Block, ...]
    _problem: Problem
    _watch: Watch

    def of(self, masks: np.ndarray) -> MaskedMeans:
        """The same for other coalitions, (c, g) bool, without compiling anew."""
        return replace(self, count=len(masks), _blocks=_blocks(masks, self.block, self._compiled))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Means over the background.

        Args:
            rows: (n, d) coded rows.

        Returns:
            (n, c, k) float64: E f(x_S, background outside S) for each row, coalition and output.

        Raises:
            OutputError: the model returned NaN or infinity for a masked row; `values` are positions in `rows`.
        """
        found = self.unjudged(rows)
        if not np.isfinite(found).all():
            bad = np.flatnonzero(~np.isfinite(found).all(axis=(1, 2)))
            raise OutputError(
                "the model returned NaN or infinity where features of these rows were taken from the background",
                where="model.path",
                values=bad[:5].tolist(),
                hint="look at the model's answer to rows that mix two people",
                code=OF_BATCH,
            )
        return found

    def unjudged(self, rows: np.ndarray) -> np.ndarray:
        """As a call; NaN stays NaN."""
        import tensorflow as tf

        n = len(rows)
        found = np.empty((n, self.count, len(self._problem.outputs)))
        for start in range(0, n, ROWS):
            part = rows[start : start + ROWS]
            full = np.zeros((ROWS, rows.shape[1]))
            full[: len(part)] = part
            of_rows, count = self._compiled.of_rows(tf.constant(full)), tf.constant(len(part), tf.int32)
            done = 0
            for block in self._blocks:
                fixed = self._compiled.of_coalitions(block.coalitions) if block.fixed is None else block.fixed
                means = self._compiled.means(of_rows, count, block.coalitions, fixed).numpy()
                found[start : start + len(part), done : done + block.count] = means[: len(part), : block.count]
                done += block.count
                self._watch.advance(0)
        return found


def masked_means(
    problem: Problem, masks: np.ndarray, watch: Watch, ways: tuple[Way, ...] = ("factored", "plain")
) -> MaskedMeans:
    """Prepares the evaluation of coalitions.

    Args:
        masks: (c, g) bool: which players are the row's own.
        ways: which ways to try, in order.

    Raises:
        Incomplete: no way gives what the predictor gives.
    """
    gap = np.inf
    for way in ways:
        graph = _factored(problem) if way == "factored" else _plain(problem)
        if graph is None:
            continue
        # Text and Python functions in the graph have no XLA form.
        for jit in (True, False) if may_compile(problem) else (False,):
            means = _built(problem, masks, graph, way, jit, watch)
            if means is None:
                continue
            gap = gap_of(problem, masks, means)
            if gap <= TOLERANCE:
                return means
    raise Incomplete(
        "the model in the compiled graph does not answer as it does by itself: mean outputs of masked rows are up to"
        f" {gap:.3g} apart, relative to values beyond 1, where {TOLERANCE:g} is accepted",
        where="model.path",
        hint="set explain.techniques.shap.estimator to shap.kernel, which asks the model itself",
        code="masking_disagrees",
    )


def gap_of(problem: Problem, masks: np.ndarray, means: MaskedMeans, rows: int = 3, coalitions: int = 8) -> float:
    """How far a way is from the predictor at most, on a few rows and coalitions spread over all; see TOLERANCE."""
    some = np.linspace(0, len(problem.rows) - 1, min(rows, len(problem.rows))).astype(int)
    few = np.linspace(0, len(masks) - 1, min(coalitions, len(masks))).astype(int)
    got = means.unjudged(problem.rows[some])[:, few]
    known = masks[few][:, _player_of_column(problem)]
    mixed = np.where(known[None, :, None], problem.rows[some][:, None, None], problem.background)
    try:
        truth = problem.predictor(mixed.reshape(-1, mixed.shape[-1]), problem.kind)
    except OutputError:
        # The run meets these rows again, and tells which they are.
        return np.inf if np.isfinite(got).all() else 0.0
    truth = truth.reshape(len(some), len(few), len(problem.background), -1).mean(axis=2)
    gaps = np.abs(got - truth) / np.maximum(1.0, np.abs(truth))
    return float(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf).max())


def may_compile(problem: Problem) -> bool:
    """Whether XLA could know every operation; compiling tells."""
    texts = any(str(tensor.dtype) == "string" for tensor in problem.predictor.keras_model.inputs)
    return bool(problem.predictor.arrangement.in_graph) and not texts


def _built(problem: Problem, masks: np.ndarray, graph: _Graph, way: Way, jit: bool, watch: Watch) -> MaskedMeans | None:
    """Traces and compiles; None where TensorFlow cannot."""
    import tensorflow as tf

    c, g = masks.shape
    b = len(problem.background)
    most = max(1, evaluations_of_a_turn(graph.width) // b)
    size = -(-c // -(-c // most))
    rows = tf.TensorSpec((ROWS, problem.rows.shape[1]), tf.float64)
    count, coalitions = tf.TensorSpec((), tf.int32), tf.TensorSpec((size, g), tf.bool)

    def traced(function: Any, *signature: Any) -> Any:
        options = {"autograph": False, "jit_compile": jit}
        return tf.function(function, input_signature=signature, **options).get_concrete_function()

    try:
        with TRACING:
            of_rows, of_coalitions = traced(graph.of_rows, rows), traced(graph.of_coalitions, coalitions)
            inputs = (tf.TensorSpec(part.output_shapes, part.output_dtypes) for part in (of_rows, of_coalitions))
            own, fixed = inputs
            means = traced(graph.means, own, count, coalitions, fixed)
        compiled = _Compiled(of_rows, of_coalitions, means, graph.kept)
        found = MaskedMeans(way, 3 * 8 * b, c, b, size, compiled, _blocks(masks, size, compiled), problem, watch)
        found.unjudged(problem.rows[:1])
    except (tf.errors.OpError, NotImplementedError, NotFactored):
        return None
    return found


def evaluations_of_a_turn(width: int) -> int:
    """Rows through the model at a time, where its widest layer has `width` numbers a row."""
    return min(EVALUATIONS, max(2048, FLOATS // width))


@dataclass(frozen=True)
class _Block:
    """Coalitions of one call.

    Attributes:
        count: how many count; the others fill up.
        coalitions: (C, g) bool tensor.
        fixed: what is needed of the background; None where it would take too much memory to keep.
    """

    count: int
    coalitions: tf.Tensor
    fixed: tf.Tensor | None


def _blocks(masks: np.ndarray, size: int, compiled: _Compiled) -> tuple[_Block, ...]:
    import tensorflow as tf

    blocks = []
    for start in range(0, len(masks), size):
        part = masks[start : start + size]
        full = np.ones((size, masks.shape[1]), bool)
        full[: len(part)] = part
        coalitions = tf.constant(full)
        keep = compiled.kept * len(masks) <= KEPT
        blocks.append(_Block(len(part), coalitions, compiled.of_coalitions(coalitions) if keep else None))
    return tuple(blocks)


def _player_of_column(problem: Problem) -> np.ndarray:
    """(d,) int64: each column's player."""
    return problem.membership.argmax(axis=0)


# ---------------------------------------------------------------- the graphs


def _loop(rows: int, shape: tuple[int, int], count: tf.Tensor, means: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """(R, C, k): `means(row)` for the first `count` rows, one after the other; nought for the others."""
    import tensorflow as tf

    array = tf.TensorArray(tf.float64, size=rows, element_shape=shape)
    _, array = tf.while_loop(
        lambda row, _: row < count,
        lambda row, array: (row + 1, array.write(row, means(row))),
        (tf.constant(0), array),
        parallel_iterations=1,
    )
    return array.stack()


def _averaged(outputs: tf.Tensor, coalitions: int, background: int) -> tf.Tensor:
    """(C·b, k) float32 → (C, k) float64."""
    import tensorflow as tf

    shaped = tf.reshape(tf.cast(outputs, tf.float64), (coalitions, background, -1))
    return tf.reduce_mean(shaped, axis=1)


def _plain(problem: Problem) -> _Graph:
    """Rows are mixed as codes."""
    import tensorflow as tf

    predictor, background = problem.predictor, problem.background
    b, d = background.shape
    k = len(predictor.outputs)
    model = predictor.graph(problem.kind)
    player = _player_of_column(problem)

    def means(rows: tf.Tensor, count: tf.Tensor, coalitions: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
        size = coalitions.shape[0]
        absent = tf.constant(background)[None]

        def of_row(row: tf.Tensor) -> tf.Tensor:
            mixed = tf.where(known[:, None, :], rows[row][None, None, :], absent)
            return tf.ensure_shape(_averaged(model(tf.reshape(mixed, (size * b, d))), size, b), (size, k))

        return _loop(ROWS, (size, k), count, of_row)

    owners = predictor.owners
    width = d if owners is None else len(owners)
    return _Graph(tf.identity, lambda coalitions: tf.gather(coalitions, player, axis=1), means, d, width)


def _factored(problem: Problem) -> _Graph | None:
    """The first layer's result is a sum of what row and background add; None where the model does not begin so."""
    import tensorflow as tf

    layer = first_layer(problem)
    if layer is None:
        return None
    background = problem.background
    b, g, units = len(background), len(problem.players), layer.units
    k = len(problem.outputs)

    def of_coalitions(coalitions: tf.Tensor) -> tf.Tensor:
        added = tf.reshape(tf.transpose(layer.added(layer.matrix(tf.constant(background))), (1, 0, 2)), (g, b * units))
        return tf.reshape(tf.matmul(1 - tf.cast(coalitions, tf.float32), added), (-1, b, units))

    def of_rows(rows: tf.Tensor) -> tf.Tensor:
        return layer.added(layer.matrix(rows))

    def means(rows: tf.Tensor, count: tf.Tensor, coalitions: tf.Tensor, of_background: tf.Tensor) -> tf.Tensor:
        size = coalitions.shape[0]
        known = tf.cast(coalitions, tf.float32)
        bias = layer.bias(layer.matrix(tf.constant(background[:1])))

        def of_row(row: tf.Tensor) -> tf.Tensor:
            own = tf.matmul(known, rows[row]) + bias
            outputs = layer.outputs(tf.reshape(own[:, None, :] + of_background, (size * b, units)))
            return tf.ensure_shape(_averaged(outputs, size, b), (size, k))

        return _loop(ROWS, (size, k), count, of_row)

    return _Graph(of_rows, of_coalitions, means, b * units, units)
