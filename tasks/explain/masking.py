"""What the model says, on average over the background, where only the features of a coalition are known.

This is the inner loop of Shapley values: rows × coalitions × background rows go through the model. It all happens in
one compiled graph: a loop over rows, in which each masked row exists only as a temporary that fits the cache.

Two ways, of which the first that fits and agrees with the predictor is taken; where none does, nothing is explained:

- *factored*: the model's first operation is a Dense layer on a matrix whose columns belong to one feature each. Its
  result is then a sum over features: what a coalition's features add comes from the row, what the others add from the
  background; and the latter is computed once for all rows. Encoding and first layer leave the inner loop.
- *plain*: rows are mixed as codes, encoded and put through the whole model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tasks.errors import Incomplete, OutputError
from tasks.explain.base import OF_BATCH, Problem
from tasks.explain.gradients import TRACING
from tasks.watch import Watch

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    #: (R, d) rows, how many of them count, (C, d) coalitions → (R, C, k)
    Graph = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]

Way = Literal["factored", "plain"]

#: rows that one call of the compiled graph explains
ROWS = 64
#: model evaluations of one turn of its loop, and floats that a layer may hold in it
EVALUATIONS, FLOATS = 16_384, 2**20
#: layers that treat each column of a matrix by itself when a model is applied
COLUMNWISE = ("Normalization", "Rescaling", "BatchNormalization")
#: layers that do nothing then
IDLE = ("Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Identity")
#: how far a way may be from the predictor, relative to values beyond 1
TOLERANCE = 1e-5


@dataclass(frozen=True)
class MaskedMeans:
    """Evaluates coalitions. Shared by all batches of rows.

    Attributes:
        way: how it is computed.
        evaluations: spent on comparing the way with the predictor.
        count: c coalitions.
        background: b rows.
    """

    way: Way
    evaluations: int
    count: int
    background: int
    _compiled: Any
    _blocks: tuple[Any, ...]
    _problem: Problem
    _watch: Watch

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
        found = np.empty((n, sum(size for size, _ in self._blocks), len(self._problem.outputs)))
        for start in range(0, n, ROWS):
            part = rows[start : start + ROWS]
            full = np.zeros((ROWS, rows.shape[1]))
            full[: len(part)] = part
            tensor, count = tf.constant(full), tf.constant(len(part), tf.int32)
            done = 0
            for size, coalitions in self._blocks:
                means = self._compiled(tensor, count, coalitions).numpy()
                found[start : start + len(part), done : done + size] = means[: len(part), :size]
                done += size
                self._watch.advance(0)
        return found


def masked_means(
    problem: Problem, masks: np.ndarray, watch: Watch, ways: tuple[Way, ...] = ("factored", "plain")
) -> MaskedMeans:
    """Prepares the evaluation of coalitions.

    Args:
        masks: (c, d) bool: which features are the row's own.
        ways: which ways to try, in order.

    Raises:
        Incomplete: no way gives what the predictor gives.
    """
    gap = np.inf
    for way in ways:
        graph, width = _factored(problem) if way == "factored" else _plain(problem)
        if graph is None:
            continue
        # Text and Python functions in the graph have no XLA form.
        for jit in (True, False) if _may_compile(problem) else (False,):
            means = _built(problem, masks, graph, width, way, jit, watch)
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
    mixed = np.where(masks[few][None, :, None], problem.rows[some][:, None, None], problem.background)
    try:
        truth = problem.predictor(mixed.reshape(-1, mixed.shape[-1]), problem.kind)
    except OutputError:
        # The run meets these rows again, and tells which they are.
        return np.inf if np.isfinite(got).all() else 0.0
    truth = truth.reshape(len(some), len(few), len(problem.background), -1).mean(axis=2)
    gaps = np.abs(got - truth) / np.maximum(1.0, np.abs(truth))
    return float(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf).max())


def _may_compile(problem: Problem) -> bool:
    texts = any(str(tensor.dtype) == "string" for tensor in problem.predictor.keras_model.inputs)
    return bool(problem.predictor.arrangement.in_graph) and not texts


def _built(
    problem: Problem, masks: np.ndarray, graph: Callable[[int], Graph], width: int, way: Way, jit: bool, watch: Watch
) -> MaskedMeans | None:
    """Traces and compiles; None where TensorFlow cannot."""
    import tensorflow as tf

    c, d = masks.shape
    b = len(problem.background)
    most = max(1, min(EVALUATIONS, max(2048, FLOATS // width)) // b)
    blocks = -(-c // most)
    size = -(-c // blocks)
    signature = [
        tf.TensorSpec((ROWS, d), tf.float64),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((size, d), tf.bool),
    ]
    parts = []
    for start in range(0, c, size):
        part = masks[start : start + size]
        full = np.ones((size, d), bool)
        full[: len(part)] = part
        parts.append((len(part), tf.constant(full)))
    try:
        with TRACING:
            function = tf.function(graph(size), input_signature=signature, autograph=False, jit_compile=jit)
            compiled = function.get_concrete_function()
        means = MaskedMeans(way, 3 * 8 * b, c, b, compiled, tuple(parts), problem, watch)
        means.unjudged(problem.rows[:1])
    except (tf.errors.OpError, NotImplementedError, _NotFactored):
        return None
    return means


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


def _plain(problem: Problem) -> tuple[Callable[[int], Graph], int]:
    """Rows are mixed as codes."""
    predictor, background = problem.predictor, problem.background
    b, d = background.shape
    k = len(predictor.outputs)
    model = predictor.graph(problem.kind)

    def graph(size: int) -> Graph:
        def means(rows: tf.Tensor, count: tf.Tensor, coalitions: tf.Tensor) -> tf.Tensor:
            import tensorflow as tf

            absent = tf.constant(background)[None]

            def of_row(row: tf.Tensor) -> tf.Tensor:
                mixed = tf.where(coalitions[:, None, :], rows[row][None, None, :], absent)
                return tf.ensure_shape(_averaged(model(tf.reshape(mixed, (size * b, d))), size, b), (size, k))

            return _loop(ROWS, (size, k), count, of_row)

        return means

    owners = predictor.owners
    return graph, d if owners is None else len(owners)


def _factored(problem: Problem) -> tuple[Callable[[int], Graph] | None, int]:
    """The first layer's result is a sum of what row and background add; None where the model does not begin so."""
    predictor, background = problem.predictor, problem.background
    owners = predictor.owners
    start = first_dense(predictor.keras_model)
    if owners is None or start is None:
        return None, 0
    before, dense = start
    b, d = background.shape
    k = len(predictor.outputs)
    units, width = int(dense.units), len(owners)
    rest = predictor.model_graph(problem.kind)
    #: (d, width): which columns a feature owns
    owned = (owners[None] == np.arange(d)[:, None]).astype(np.float32)
    constant = (owners < 0).astype(np.float32)

    def graph(size: int) -> Graph:
        def means(rows: tf.Tensor, count: tf.Tensor, coalitions: tf.Tensor) -> tf.Tensor:
            import tensorflow as tf

            kernel = tf.convert_to_tensor(dense.kernel)
            bias = tf.zeros(units) if dense.bias is None else tf.convert_to_tensor(dense.bias)

            def matrix(codes: tf.Tensor) -> tf.Tensor:
                value = predictor.encode(codes)
                for layer in before:
                    value = (
                        layer(value, training=False) if type(layer).__name__ == "BatchNormalization" else layer(value)
                    )
                return value

            def added(encoded: tf.Tensor) -> tf.Tensor:
                """(n, width) → (n, d, units): what each feature adds."""
                parts = encoded[:, None, :] * owned
                return tf.reshape(tf.matmul(tf.reshape(parts, (-1, width)), kernel), (-1, d, units))

            absent = matrix(tf.constant(background))
            bias += tf.matmul(absent[:1] * constant, kernel)[0]
            known = tf.cast(coalitions, tf.float32)
            of_background = tf.reshape(tf.transpose(added(absent), (1, 0, 2)), (d, b * units))
            of_background = tf.reshape(tf.matmul(1 - known, of_background), (size, b, units))
            of_rows = added(matrix(rows))

            def of_row(row: tf.Tensor) -> tf.Tensor:
                own = tf.matmul(known, of_rows[row]) + bias
                summed = tf.reshape(own[:, None, :] + of_background, (size * b, units))
                with answering(dense, dense.activation(summed)):
                    outputs = rest(tf.zeros((size * b, width)))
                return tf.ensure_shape(_averaged(outputs, size, b), (size, k))

            return _loop(ROWS, (size, k), count, of_row)

        return means

    return graph, units


class _NotFactored(Exception):
    """The model did not ask the layer that was to answer for its inputs."""


@contextmanager
def answering(layer: keras.layers.Layer, answer: Any) -> Iterator[None]:
    """While it lasts, the layer answers the calling thread with this tensor, whatever it is given.

    Raises:
        _NotFactored: it was not asked exactly once.
    """
    thread = threading.get_ident()
    asked = 0
    with TRACING:
        call, kept = layer.call, vars(layer).get("call")

        def told(*args: Any, **kwargs: Any) -> Any:
            nonlocal asked
            if threading.get_ident() != thread:
                return call(*args, **kwargs)
            asked += 1
            return answer

        # Straight into the instance: Keras tracks what is set as an attribute.
        vars(layer)["call"] = told
        try:
            yield
        finally:
            if kept is None:
                del vars(layer)["call"]
            else:
                vars(layer)["call"] = kept
    if asked != 1:
        raise _NotFactored


def first_dense(model: keras.Model) -> tuple[list[keras.layers.Layer], keras.layers.Layer] | None:
    """The Dense layer that alone takes the model's one matrix, and the layers before it, which treat columns singly.

    None where the model begins in another way, or where it cannot be told.
    """
    function = getattr(model, "_functional", None) or model
    by_depth = getattr(function, "_nodes_by_depth", None)
    if by_depth is None or len(model.inputs) != 1 or len(model.inputs[0].shape) != 2:
        return None
    nodes = [node for depth in by_depth.values() for node in depth]
    tensor = function.inputs[0]
    before: list[keras.layers.Layer] = []
    while True:
        users = [node for node in nodes if any(value is tensor for value in node.input_tensors)]
        if len(users) != 1 or any(value is tensor for value in function.outputs):
            return None
        layer = users[0].operation
        kind = type(layer).__name__
        if not type(layer).__module__.startswith("keras.") or len(users[0].output_tensors) != 1:
            return None
        if kind == "Dense":
            return (before, layer) if _plain_dense(layer) else None
        if kind not in COLUMNWISE + IDLE:
            return None
        if kind in COLUMNWISE:
            before.append(layer)
        tensor = users[0].output_tensors[0]


def _plain_dense(layer: keras.layers.Layer) -> bool:
    """Whether it is a matrix product in float32 and nothing else."""
    quantized = getattr(layer, "quantization_mode", None) is not None
    return not quantized and not getattr(layer, "lora_enabled", False) and layer.compute_dtype == "float32"
