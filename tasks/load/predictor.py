"""Rows in, outputs out: one compiled function a kind of output, shared by every technique and thread."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from tasks.errors import OutputError
from tasks.load.arrangement import Arrangement
from tasks.load.backend import tensorflow
from tasks.load.outputs import OutputKind, Outputs
from tasks.watch import Watch

#: rows of a table a batch, where the compiled call is near its fastest (tests/bench/bench_predictor.py)
TABLE_BATCH = 16_384
#: products of rows and weights a batch: a huge model takes fewer rows, so that stopping takes no longer
MAX_PRODUCTS = 2**34
#: numbers in a batch of the model's inputs (64 MiB), of which several are under way
MAX_CELLS = 2**24
#: pixels of all images a batch: 64 of 64×64, 8 of 224×224
IMAGE_PIXELS = 2**18
LEAST_IMAGES = 8
#: batches of one call that are under way at a time
IN_FLIGHT = 4
_NAMED = 5
_ALIGNMENT = 64
#: a probability may leave [0, 1] by rounding, not by more
_ROUNDING = 1e-6


class Predictor:
    """Evaluates the model on coded rows, or on images of 0–255.

    Every call of the model has the same shape, the last batch being padded, so that a row's outputs are the same bits
    in whatever company it comes, and nothing is traced twice. Threads may share a predictor.

    Args:
        keras_model: the model; it is not changed.
        outputs: what its outputs mean.
        arrangement: from rows to its inputs.
        row_shape: of one row: (d,) codes or (height, width, channels).
        where: the model's path, for messages.
        batch: rows a call of the model.
    """

    def __init__(
        self,
        keras_model: Any,
        outputs: Outputs,
        arrangement: Arrangement,
        row_shape: tuple[int, ...],
        *,
        where: str = "model.path",
        batch: int | None = None,
    ) -> None:
        self.keras_model = keras_model
        self.arrangement = arrangement
        self.row_shape = row_shape
        self._outputs = outputs
        self._where = where
        self._dtype = np.dtype(np.float64 if len(row_shape) == 1 else np.float32)
        self.batch = _static_batch(keras_model) or batch or batch_size(keras_model, row_shape)
        self._graphs: dict[OutputKind, Callable[[Any], Any]] = {}
        self._compiled: dict[OutputKind, Callable[..., Any]] = {}
        self._free: list[np.ndarray] = []  # buffers for batches
        self._guard = threading.RLock()
        self.traces = 0  # how often a function of this predictor was traced

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the k outputs."""
        return self._outputs.names

    @property
    def audited(self) -> slice:
        """The outputs that the target belongs to; all but for a model with several heads."""
        return self._outputs.audited

    @property
    def limitations(self) -> tuple[str, ...]:
        """Sentences about how outputs and margin are read."""
        return self._outputs.limitations

    @property
    def owners(self) -> np.ndarray | None:
        """(width,) the feature of each column of the model's matrix, -1 for a constant; None where columns mix."""
        return self.arrangement.owners

    @property
    def differentiable(self) -> bool:
        """Whether gradients flow from the outputs to the model's inputs as `encode` makes them."""
        return self.arrangement.in_graph and all(
            not str(tensor.dtype).startswith(("string", "int", "uint", "bool")) for tensor in self.keras_model.inputs
        )

    # ------------------------------------------------------------ in a graph

    def encode(self, rows: Any) -> Any:
        """Tensor of coded rows (n, d) float64 or images (n, h, w, c) float32 → the model's input tensor(s)."""
        return self._shaped(self.arrangement(rows))

    def model_graph(self, kind: OutputKind = "probability") -> Callable[[Any], Any]:
        """A callable from the model's input tensor(s) to (n, k) float32, for use inside a tf.function."""
        with self._guard:
            if kind not in self._graphs:
                tensorflow()
                self._graphs[kind] = self._outputs.graph(self.keras_model, kind)
            return self._graphs[kind]

    def graph(self, kind: OutputKind = "probability") -> Callable[[Any], Any]:
        """A callable from coded rows or images to (n, k) float32, for use inside a tf.function."""
        model = self.model_graph(kind)
        return lambda rows: model(self.encode(rows))

    # ------------------------------------------------------------ from numpy

    def __call__(self, rows: np.ndarray, kind: OutputKind = "probability", watch: Watch | None = None) -> np.ndarray:
        """The outputs of n rows, (n, k) float64.

        Args:
            rows: (n, d) codes or (n, h, w, c) pixels of 0–255.
            kind: probability (a regression's value) or margin.
            watch: asked once a batch whether to go on; its units are left to the caller.

        Raises:
            OutputError: the model returned NaN or infinity, or a probability outside 0–1; `values` are positions.
            Stopped, DeadlinePassed: the watch says so.
        """
        if rows.shape[1:] != self.row_shape:
            raise ValueError(f"rows of shape {rows.shape[1:]}, not {self.row_shape}")
        return self._evaluated(rows, kind, watch)

    # ------------------------------------------------------------ inside

    def _evaluated(self, rows: np.ndarray, kind: OutputKind, watch: Watch | None) -> np.ndarray:
        """Evaluates batch after batch, the next one handed over while TensorFlow computes the one before."""
        found = np.empty((len(rows), len(self.outputs)))
        function = self._function(kind)

        def batch(start: int) -> np.ndarray:
            return self._batch(function, rows[start : start + self.batch])

        def keep(start: int, out: np.ndarray) -> None:
            if watch is not None:
                watch.advance(0)
            self._check(out, kind, start)
            found[start : start + len(out)] = out

        starts = range(0, len(rows), self.batch)
        if len(starts) <= 1:
            for start in starts:
                keep(start, batch(start))
            return found
        flying: deque[tuple[int, Future[np.ndarray]]] = deque()
        try:
            for start in starts:
                flying.append((start, _threads().submit(batch, start)))
                if len(flying) == IN_FLIGHT:
                    first, future = flying.popleft()
                    keep(first, future.result())
            while flying:
                first, future = flying.popleft()
                keep(first, future.result())
        finally:
            for _, future in flying:  # stopped on the way
                future.cancel()
        return found

    def _function(self, kind: OutputKind) -> Callable[..., Any]:
        """The compiled function, traced on first use."""
        with self._guard:
            if kind not in self._compiled:
                tf = tensorflow()
                graph = self.graph(kind)

                def traced(batch: Any) -> Any:
                    self.traces += 1
                    return graph(batch)

                signature = [tf.TensorSpec((self.batch, *self.row_shape), tf.as_dtype(self._dtype))]
                if _broken(self.keras_model):
                    # Fused into a matrix product, ReLU makes 0 of NaN and hides it; called as it is, it does not.
                    self._compiled[kind] = graph
                else:
                    compiled = tf.function(traced, input_signature=signature, autograph=False, jit_compile=False)
                    self._compiled[kind] = compiled.get_concrete_function()
            return self._compiled[kind]

    def _batch(self, function: Callable[..., Any], part: np.ndarray) -> np.ndarray:
        """One call of the model: the rows, filled up with the first of them to the batch, → (rows, k) float32."""
        try:
            buffer = self._free.pop()
        except IndexError:
            buffer = _aligned((self.batch, *self.row_shape), self._dtype)
        np.copyto(buffer[: len(part)], part, casting="unsafe")
        buffer[len(part) :] = part[0]
        # TensorFlow reads the buffer itself; `tf.constant` would copy it, which costs a fifth of a small model's time.
        tensor = tensorflow().experimental.dlpack.from_dlpack(buffer.__dlpack__())
        out = np.array(function(tensor).numpy()[: len(part)])  # copied: a model may hand its input through
        self._free.append(buffer)
        return out

    def _shaped(self, inputs: Any) -> Any:
        """The matrix in the dtype and the rank that the model's input has."""
        tf = tensorflow()
        if isinstance(inputs, list):
            return inputs
        wanted = self.keras_model.inputs[0]
        if str(wanted.dtype) != inputs.dtype.name:
            inputs = tf.cast(inputs, wanted.dtype)
        if len(wanted.shape) != len(inputs.shape):
            inputs = tf.reshape(inputs, [-1, *wanted.shape[1:]])
        return inputs

    def _check(self, out: np.ndarray, kind: OutputKind, start: int) -> None:
        if not np.isfinite(out).all():
            bad = ~np.isfinite(out).all(axis=1)
            what = "the model returned NaN or infinity for rows at position"
        elif (
            kind == "probability"
            and self._outputs.probabilities
            and (out.min() < -_ROUNDING or out.max() > 1 + _ROUNDING)
        ):
            bad = ((out < -_ROUNDING) | (out > 1 + _ROUNDING)).any(axis=1)
            what = "the model returned a probability outside 0–1 for rows at position"
        else:
            return
        raise OutputError(
            what,
            where=self._where,
            values=(np.flatnonzero(bad)[:_NAMED] + start).tolist(),
            hint="look at these rows, or at the model's last layer",
        )


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads that hand batches to TensorFlow, shared by all predictors: its own threads do the work."""
    return ThreadPoolExecutor(max(2, os.cpu_count() or 2), "predictor")


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that begins where TensorFlow's kernels want it to."""
    size = int(np.prod(shape)) * dtype.itemsize
    room = np.empty(size + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size].view(dtype).reshape(shape)


def _broken(model: Any) -> bool:
    """Whether a weight is NaN or infinite."""
    return not all(
        np.isfinite(weight).all() for weight in map(np.asarray, model.get_weights()) if weight.dtype.kind == "f"
    )


def batch_size(model: Any, row_shape: tuple[int, ...]) -> int:
    """Rows a batch: a power of two that depends on the model alone, never on a measurement."""
    if len(row_shape) == 1:
        width = sum(math.prod(side or 1 for side in tensor.shape[1:]) for tensor in model.inputs)
        fits = min(MAX_PRODUCTS // max(1, model.count_params()), MAX_CELLS // max(1, width))
        return min(TABLE_BATCH, 2 ** max(6, fits.bit_length() - 1))
    fits = IMAGE_PIXELS // (row_shape[0] * row_shape[1])
    return max(LEAST_IMAGES, 2 ** (fits.bit_length() - 1)) if fits else LEAST_IMAGES


def _static_batch(model: Any) -> int | None:
    """The batch size that the model was built for, or None where any will do."""
    return next((int(t.shape[0]) for t in model.inputs if len(t.shape) and t.shape[0] is not None), None)
