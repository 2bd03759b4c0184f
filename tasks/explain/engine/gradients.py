"""What gradient techniques share: batches that fit, gradients in the pixels, and their sums over samples.

A new pixel technique (integrated gradients, SmoothGrad, …) is a file with two functions, handed to `gradient_sums`:
where gradients are taken, and what a gradient contributes. Class activation maps are in `activation_maps.py`,
gradients in a table's encoded columns in `encoded_gradients.py`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tasks.errors import Incomplete, OutputError
from tasks.explain.base import OF_BATCH, Problem
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf

    #: image (h, w, c), draws (batch, …) each → (batch, h, w, c) where gradients are taken
    Points = Callable[..., tf.Tensor]
    #: image, gradients (batch, h, w, c), draws → (batch, …) what is summed up
    Contribution = Callable[..., tf.Tensor]

#: Held while a gradient is traced. The model is shared between the techniques' threads, and shap's deep explainer
#: swaps TensorFlow's gradient registry while it works; neither may happen in the middle of another's tracing.
TRACING = threading.RLock()

#: outputs differentiated in one call of a compiled function: more of them cost memory and tracing time, not speed
WIDTH = 10
#: bytes of activations that a compiled batch may hold
MEMORY = 2**30
LARGEST_BATCH = 128


#: what stands for "nothing to see"
Baseline = Literal["background", "black", "gray", "white"]
_LEVELS = {"black": 0.0, "gray": 127.5, "white": 255.0}


def baseline_image(problem: Problem, baseline: Baseline) -> np.ndarray:
    """(h, w, c) float32, 0–255: the mean of the background images, or one level everywhere."""
    if baseline == "background":
        return problem.background.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.full(problem.rows.shape[1:], _LEVELS[baseline], np.float32)


def without_gradients(problem: Problem) -> str | None:
    """Why nothing can be differentiated in an image's pixels, or None."""
    if problem.modality != "image":
        return "it explains the pixels of an image; the model takes a table"
    if not problem.predictor.differentiable:
        return "it needs gradients, and the model gives none in its inputs; occlusion and lime do without"
    return None


def images_spec(problem: Problem, batch: int) -> tf.TensorSpec:
    import tensorflow as tf

    return tf.TensorSpec([batch, *problem.rows.shape[1:]], tf.float32, name="images")


def static_batch(problem: Problem) -> int | None:
    """The batch size that the model was built for, or None where any will do."""
    size = problem.predictor.keras_model.inputs[0].shape[0]
    return None if size is None else int(size)


def fitting_batch(problem: Problem, rows: int, *, outputs: int = 0, largest: int = LARGEST_BATCH) -> int:
    """Images that a compiled function is given at a time, so that what it holds fits into memory.

    Args:
        rows: no more than this many will ever be given.
        outputs: how many are differentiated; 0: none, and activations are dropped on the way.
        largest: the batch where memory is no matter.

    Returns:
        What the model was built for, if it was; else at least 1, at most `largest`. It does not depend on the machine,
        since the batch shape decides the last bits.
    """
    import tensorflow as tf

    fixed = static_batch(problem)
    if fixed:
        return fixed
    with TRACING:
        graph = tf.function(problem.predictor.graph("margin"), autograph=False)
        operations = graph.get_concrete_function(images_spec(problem, 1)).graph.get_operations()
    sizes = [math.prod(t.shape) for op in operations for t in op.outputs if t.shape.is_fully_defined()]
    held = sum(sizes) + 2 * outputs * max(sizes) if outputs else 3 * max(sizes)
    return max(1, min(largest, rows, MEMORY // (4 * held)))


def path_rule(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(S,) places in (0, 1), rising, and (S,) weights that add up to one: Gauss and Legendre's rule for a mean."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    return (places + 1) / 2, weights / 2


def even_batch(rows: int, largest: int) -> int:
    """The batch that spreads rows evenly over the fewest batches of at most `largest`."""
    return -(-rows // -(-rows // largest))


def input_gradients(
    graph: Callable[[tf.Tensor], tf.Tensor], points: tf.Tensor, explained: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Outputs and their gradients in the inputs; for use inside a compiled function, traced under TRACING.

    Args:
        graph: (n, …) → (n, k), from `predictor.graph`.
        points: (n, …) where to differentiate.
        explained: (n, m) int32, which outputs.

    Returns:
        (n, m) outputs and m gradients of points' shape. One forward pass, m backward passes.

    Raises:
        Incomplete: the outputs do not depend on the inputs, or by an operation that has no gradient.
    """
    import tensorflow as tf

    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(points)
        chosen = tf.gather(graph(points), explained, axis=1, batch_dims=1)
        columns = tf.unstack(chosen, axis=1)
    return chosen, [gradient_of(tape, column, points, "its inputs") for column in columns]


def gradient_of(tape: tf.GradientTape, output: tf.Tensor, at: tf.Tensor, what: str) -> tf.Tensor:
    """One output's gradient at a tensor that the tape watched.

    Raises:
        Incomplete: there is none.
    """
    try:
        gradient = tape.gradient(output, at)
    except LookupError as error:  # TensorFlow knows no gradient of an operation on the way
        raise _no_gradient(what, str(error)) from error
    if gradient is None:
        raise _no_gradient(what, "nothing connects them")
    return gradient


def _no_gradient(what: str, why: str) -> Incomplete:
    return Incomplete(
        f"the model's outputs have no gradient in {what} ({why})",
        where="model.path",
        hint="name a layer from which the output is differentiable, or leave the technique out",
        code="no_gradient",
    )


#: image, (m,) outputs → (m, …) sums over samples; (m, S) each sample's total and its sum of squares; float64
GradientSums = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def gradient_sums(
    problem: Problem, points: Points, contribution: Contribution, draws: Sequence[np.ndarray], watch: Watch
) -> GradientSums:
    """Gradients at S points about an image, weighed and summed: the compiled part of pixel techniques.

    All samples of one image go through in batches of one shape, so that an image's map is its own affair.

    Args:
        points, contribution: traced once; given a batch of each of the draws.
        draws: arrays of S float or integer entries, the same for every image.
        watch: looked at after each compiled batch.

    Raises:
        Incomplete: the outputs have no gradient in the pixels.
    """
    import tensorflow as tf

    graph = problem.predictor.graph(problem.kind)
    samples, shape = len(draws[0]), problem.rows.shape[1:]
    width = min(WIDTH, problem.explained.shape[1])
    batch = static_batch(problem) or even_batch(samples, fitting_batch(problem, samples, outputs=width))
    kinds = [tf.int32 if draw.dtype.kind == "i" else tf.float32 for draw in draws]

    def sums(image: tf.Tensor, wanted: tf.Tensor, weight: tf.Tensor, *drawn: tf.Tensor) -> tuple[tf.Tensor, ...]:
        at = points(image, *drawn)
        _, gradients = input_gradients(graph, at, tf.tile(wanted[tf.newaxis], [batch, 1]))
        found = [contribution(image, gradient, *drawn) for gradient in gradients]
        axes = list(range(1, len(found[0].shape)))
        found = [each * tf.reshape(weight, [-1, *(1 for _ in axes)]) for each in found]
        return (
            tf.stack([tf.reduce_sum(each, axis=0) for each in found]),
            tf.stack([tf.reduce_sum(each, axis=axes) for each in found]),
            tf.stack([tf.reduce_sum(each**2, axis=axes) for each in found]),
        )

    signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec([width], tf.int32), tf.TensorSpec([batch], tf.float32)]
    signature += [tf.TensorSpec([batch, *draw.shape[1:]], kind) for draw, kind in zip(draws, kinds, strict=True)]
    with TRACING:
        compiled = tf.function(sums, input_signature=signature, autograph=False).get_concrete_function()
    batches = []
    for first in range(0, samples, batch):
        part = slice(first, min(first + batch, samples))
        weight = tf.constant(np.arange(batch) < part.stop - part.start, tf.float32)  # what fills up weighs nothing
        drawn = [tf.constant(padded(draw[part], batch), kind) for draw, kind in zip(draws, kinds, strict=True)]
        batches.append((part, weight, drawn))

    def evaluate(image: np.ndarray, explained: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        m = len(explained)
        totals, squares = np.empty((m, samples)), np.empty((m, samples))
        maps: list[np.ndarray] = []
        pixels = tf.constant(image, tf.float32)
        for left in range(0, m, width):
            outputs = slice(left, min(left + width, m))
            count = outputs.stop - left
            wanted = tf.constant(padded(explained[outputs], width), tf.int32)
            total: Any = 0.0
            for part, weight, drawn in batches:
                found = [tensor.numpy()[:count] for tensor in compiled(pixels, wanted, weight, *drawn)]
                total = total + found[0].astype(np.float64)
                totals[outputs, part] = found[1][:, : part.stop - part.start]
                squares[outputs, part] = found[2][:, : part.stop - part.start]
                watch.advance(0)
            maps.append(total)
        return np.concatenate(maps), totals, squares

    return evaluate


def relative_error(mean: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Standard error of each map over its size, both as Euclidean norms; NaN where a map is zero everywhere.

    Args:
        mean: (m, …) over samples.
        squares: (m, S) each sample's sum of squares.
    """
    samples = squares.shape[1]
    size = (mean**2).reshape(len(mean), -1).sum(axis=1)
    spread = np.maximum(squares.sum(axis=1) / samples - size, 0) / (samples - 1)
    return np.sqrt(np.divide(spread, size, out=np.full_like(size, np.nan), where=size > 0))


def padded(rows: np.ndarray, length: int) -> np.ndarray:
    """Rows, the last one repeated until there are `length`."""
    missing = length - len(rows)
    return rows if missing <= 0 else np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])


def widened(explained: np.ndarray, batch: int, width: int) -> np.ndarray:
    """(n, m) indices of outputs, the last row and the last column repeated until they are (batch, width)."""
    missing = width - explained.shape[1]
    if missing:
        explained = np.concatenate([explained, np.repeat(explained[:, -1:], missing, axis=1)], axis=1)
    return padded(explained, batch)


def finite(maps: np.ndarray, what: str) -> np.ndarray:
    """The maps as they are.

    Args:
        what: whose maps they are, for the message.

    Raises:
        OutputError: a map holds NaN or infinity: the model's output has no finite gradient there; `values` are the
            images' positions in the batch.
    """
    bad = np.flatnonzero(~np.isfinite(maps).all(axis=tuple(range(1, maps.ndim))))
    if len(bad):
        raise OutputError(
            f"the map of {what} is not a finite number for images",
            where="model.path",
            values=bad[:5].tolist(),
            hint="the model's output or its gradient overflows there; leave the technique out",
            code=OF_BATCH,
        )
    return maps


def map_quality(maps: np.ndarray) -> dict[str, np.ndarray]:
    """empty_map: 1 where a map, (n, m, h, w), is zero everywhere and so says nothing; else 0."""
    return {"empty_map": np.where(maps.any(axis=(2, 3)), 0.0, 1.0)}
