"""Gradients in a table's encoded columns, summed back to the features that a person knows, batched over rows.

Encoding (scaling, one-hot columns) is not differentiated: a gradient technique works in the model's own columns, where
a category's columns are numbers between which one can walk, and adds up what the columns of a player get. A new
technique is a file with two functions, handed to `encoded_gradients`: where gradients are taken, and what is made of
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.errors import OutputError
from tasks.explain.base import Problem
from tasks.explain.engine.gradients import TRACING, WIDTH, input_gradients, padded, static_batch, widened
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf

    #: (R, 1, w) encoded rows → (R, S, w) where gradients are taken
    Points = Callable[[tf.Tensor], tf.Tensor]
    #: (R, w) encoded rows, (R, S, w) gradients of one output → tensors (R, …)
    Reduce = Callable[[tf.Tensor, tf.Tensor], Sequence[tf.Tensor]]

#: rows and outputs → what `reduce` made, each (n, m, …) float64
EncodedGradients = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]

#: rows a call of the compiled function at most
ROWS = 256
#: layers that take whole numbers, or make them
LOOKUPS = (
    "Embedding",
    "Discretization",
    "Hashing",
    "HashedCrossing",
    "IntegerLookup",
    "StringLookup",
    "CategoryEncoding",
)


def column_owners(problem: Problem) -> np.ndarray | None:
    """(w,) the feature that each encoded column belongs to, -1 for a constant; None where columns mix features.

    A model with one number an input a feature has a column a feature.
    """
    owners = problem.predictor.owners
    if owners is not None:
        return owners
    sizes = [math.prod(side or 1 for side in tensor.shape[1:]) for tensor in problem.predictor.keras_model.inputs]
    d = len(problem.features or ())
    if len(sizes) == d and all(size == 1 for size in sizes):
        return np.arange(d)
    return np.zeros(sizes[0], np.int64) if d == len(sizes) == 1 else None


def lookup(problem: Problem) -> str | None:
    """The layer by which the model looks up codes, if it has one: their columns are steps, which have no slope.

    TensorFlow says nothing of it where they come in a matrix of floats: the slope would be 0 whatever the code does,
    and a place between two codes, or beyond them, may be no code at all.
    """
    layers = problem.predictor.keras_model._flatten_layers()
    return next((layer.name for layer in layers if type(layer).__name__ in LOOKUPS), None)


def without_gradients(problem: Problem) -> str | None:
    """Why nothing can be differentiated in the encoded columns of a table, or None."""
    if problem.modality != "table":
        return "it explains the columns of a table; the model takes images"
    if not problem.predictor.differentiable:
        return (
            "it needs gradients, and the model gives none in its inputs (whole numbers or text, or a preprocessor that"
            " runs outside the graph); shap and lime do without"
        )
    if (layer := lookup(problem)) is not None:
        return f"it needs gradients, and the layer {layer} looks codes up, which has none; shap and lime do without"
    if column_owners(problem) is None:
        return "the preprocessor mixes features in one encoded column, so that its gradient belongs to none of them"
    return None


def players_of_columns(problem: Problem) -> np.ndarray:
    """(w, g) float64, 1 where a player owns an encoded column."""
    owners = column_owners(problem)
    assert owners is not None
    members = np.concatenate([problem.membership, np.zeros((len(problem.players), 1), bool)], axis=1)
    return members[:, owners].T.astype(np.float64)  # a constant, -1, is the column that nobody has


def encoded(problem: Problem, rows: np.ndarray) -> np.ndarray:
    """(n, w) float64 of coded rows."""
    import tensorflow as tf

    return _flat(problem.predictor.encode(tf.constant(rows))).numpy().astype(np.float64)


def mean_of_background(problem: Problem) -> np.ndarray:
    """(w,) float64 mean of the encoded background rows.

    Raises:
        OutputError: it is not a number.
    """
    mean = encoded(problem, problem.background).mean(axis=0)
    if not np.isfinite(mean).all():
        owners = column_owners(problem)
        assert owners is not None
        of = sorted({(problem.features or ())[j].name for j in owners[~np.isfinite(mean)] if j >= 0})
        raise OutputError(
            "the mean of the encoded background rows is not a finite number in the columns of",
            where="data.reference",
            values=of,
            hint="background rows with nulls or infinities there; leave this technique out",
        )
    return mean


def outputs_at(problem: Problem, matrix: np.ndarray) -> np.ndarray:
    """(n, k) float64 outputs of a few encoded rows (n, w), in the explained kind."""
    import tensorflow as tf

    batch = static_batch(problem) or len(matrix)
    signature = [tf.TensorSpec([batch, matrix.shape[1]], tf.float32)]
    with TRACING:
        model = tf.function(_model(problem), input_signature=signature, autograph=False).get_concrete_function()
    parts = [
        model(tf.constant(padded(matrix[first : first + batch], batch), tf.float32)).numpy()
        for first in range(0, len(matrix), batch)
    ]
    return np.concatenate(parts)[: len(matrix)].astype(np.float64)


def encoded_gradients(problem: Problem, samples: int, points: Points, reduce: Reduce, watch: Watch) -> EncodedGradients:
    """Gradients at S points about each row in one compiled call for many rows, and what is made of them.

    Args:
        points, reduce: traced once.
        watch: looked at after each compiled batch; the caller counts rows.

    Raises:
        Incomplete: the outputs have no gradient in the encoded columns.
    """
    import tensorflow as tf

    model, shape = _model(problem), problem.predictor.row_shape
    width = min(WIDTH, problem.explained.shape[1])
    fixed = static_batch(problem)
    room = 1 if fixed else max(1, problem.predictor.batch // samples)
    batch = min(ROWS, 2 ** (room.bit_length() - 1))

    def found(codes: tf.Tensor, wanted: tf.Tensor) -> list[tf.Tensor]:
        rows = _flat(problem.predictor.encode(codes))
        columns = rows.shape[1]
        at = tf.reshape(points(rows[:, tf.newaxis]), [batch * samples, columns])
        which = tf.repeat(wanted, samples, axis=0)
        step = fixed or batch * samples
        missing = -batch * samples % step
        if missing:  # a model of one batch size: the last points once more
            at, which = (tf.concat([part, tf.repeat(part[-1:], missing, axis=0)], axis=0) for part in (at, which))
        pieces = [
            input_gradients(model, at[first : first + step], which[first : first + step])[1]
            for first in range(0, batch * samples, step)
        ]
        made = []
        for output in range(width):
            gradients = [piece[output] for piece in pieces]
            whole = gradients[0] if len(gradients) == 1 else tf.concat(gradients, axis=0)[: batch * samples]
            made.append(reduce(rows, tf.reshape(whole, [batch, samples, columns])))
        return [tf.stack(each, axis=1) for each in zip(*made, strict=True)]

    signature = [tf.TensorSpec([batch, *shape], tf.float64), tf.TensorSpec([batch, width], tf.int32)]
    with TRACING:
        compiled = tf.function(found, input_signature=signature, autograph=False).get_concrete_function()

    def evaluate(rows: np.ndarray, explained: np.ndarray) -> list[np.ndarray]:
        n, m = explained.shape
        results: list[np.ndarray] = []
        for first in range(0, n, batch):
            part = slice(first, min(first + batch, n))
            codes = tf.constant(padded(rows[part], batch), tf.float64)
            for left in range(0, m, width):
                wanted = explained[part, left : left + width]
                some = compiled(codes, tf.constant(widened(wanted, batch, width), tf.int32))
                results = results or [np.empty((n, m, *each.shape[2:])) for each in some]
                for result, each in zip(results, some, strict=True):
                    result[part, left : left + width] = each.numpy()[: len(wanted), : wanted.shape[1]]
            watch.advance(0)
        return results

    return evaluate


def _flat(inputs: Any) -> tf.Tensor:
    """The model's inputs as one matrix (n, w) float32."""
    import tensorflow as tf

    parts = [
        tf.reshape(tf.cast(part, tf.float32), [part.shape[0], -1])
        for part in (inputs if isinstance(inputs, list) else [inputs])
    ]
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)


def _model(problem: Problem) -> Callable[[tf.Tensor], tf.Tensor]:
    """(n, w) float32 encoded rows → (n, k) outputs, for use in a graph."""
    import tensorflow as tf

    graph, inputs = problem.predictor.model_graph(problem.kind), problem.predictor.keras_model.inputs
    sizes = [math.prod(side or 1 for side in tensor.shape[1:]) for tensor in inputs]

    def outputs(matrix: tf.Tensor) -> tf.Tensor:
        n = matrix.shape[0]
        parts = tf.split(matrix, sizes, axis=1) if len(sizes) > 1 else [matrix]
        shaped = [
            tf.cast(tf.reshape(part, [n, *tensor.shape[1:]]), tensor.dtype)
            for part, tensor in zip(parts, inputs, strict=True)
        ]
        return graph(shaped if len(shaped) > 1 else shaped[0])

    return outputs
