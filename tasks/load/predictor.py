"""Rows in, outputs out: one compiled function a kind of output, shared by every technique and thread."""

from __future__ import annotations

import math
import os
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np

from tasks.errors import OutputError
from tasks.load.aligned import aligned, aligned_row, around
from tasks.load.arrangement import Arrangement
from tasks.load.backend import tensorflow
from tasks.load.compiling import Compiled, compiled, is_ready, may_compile, probe_rows
from tasks.load.outputs import OutputKind, Outputs
from tasks.watch import Watch

#: rows of a table a batch, where the compiled call is near its fastest (tests/bench/bench_predictor.py)
TABLE_BATCH = 32_768
#: a call of few rows of a table takes a batch smaller by this, where a whole one has so many products (some 20 ms) that
#: compiling a second shape is soon worth it
FEW, FEW_PRODUCTS = 8, 2**31
#: products of rows and weights a batch: a huge model takes fewer rows, so that stopping takes no longer
MAX_PRODUCTS = 2**34
#: numbers in a batch of the model's inputs (64 MiB), of which several are under way
MAX_CELLS = 2**24
#: pixels of all images a batch: 64 of 64×64, 8 of 224×224
IMAGE_PIXELS = 2**18
LEAST_IMAGES = 8
#: batches of one call that are under way or waiting for a thread at a time
IN_FLIGHT = 6
_NAMED = 5
#: a probability may leave [0, 1] by rounding, not by more
_ROUNDING = 1e-6

#: the first row of a batch, and what finds its outputs
_Job = tuple[int, Callable[[], np.ndarray]]


class Predictor:
    """Evaluates the model on coded rows, or on images of 0–255.

    Calls of the model have a fixed shape, the last batch being padded, so that a row's outputs are the same bits in
    whatever company it comes, and nothing is traced twice. A heavy model of a table has a second, smaller shape for few
    rows, where it is seen to give the same bits. Threads may share a predictor. XLA compiles table models where it can;
    which form is taken, and so each bit, depends on the model alone (`tasks/load/compiling.py`).

    Args:
        keras_model: the model; it is not changed.
        outputs: what its outputs mean.
        arrangement: from rows to its inputs.
        row_shape: of one row: (d,) codes or (height, width, channels).
        where: the model's path, for messages.
        batch: rows a call of the model at most.
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
        # Rows that only need rounding are rounded as they are copied: half of what a batch moves.
        wide = len(row_shape) == 1 and not is_ready(arrangement, keras_model)
        self.dtype = np.dtype(np.float64 if wide else np.float32)
        self.batch = _static_batch(keras_model) or batch or batch_size(keras_model, row_shape)
        self._graphs: dict[OutputKind, Callable[[Any], Any]] = {}
        self._compiled: dict[OutputKind, Compiled] = {}
        self._free: dict[int, list[np.ndarray]] = defaultdict(list)  # buffers for batches, by size
        self._guard = threading.RLock()
        self.traces = 0  # how often a function of this predictor was traced for whole batches

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

    def by_xla(self, kind: OutputKind = "probability") -> bool:
        """Whether XLA compiles the function of this kind; compiles it if that is not done yet."""
        return self._function(kind).by_xla

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

        function = self._function(kind)
        first = aligned_row(rows, self.batch, self.dtype)
        # Whole batches from there on are read where they are; the rows before and after go together into others.
        stop = first + (len(rows) - first) // self.batch * self.batch
        found = np.empty((len(rows), len(self.outputs)))

        def fill(start: int, buffer: np.ndarray) -> None:
            with np.errstate(over="ignore", invalid="ignore"):  # beyond float32: the model is given infinity
                for own, at in around(start, len(buffer), first, stop):
                    np.copyto(buffer[own], rows[at : at + own.stop - own.start], casting="unsafe")

        def keep(start: int, out: np.ndarray) -> None:
            inside = start < stop - first
            parts = (
                [(slice(0, len(out)), first + start)] if inside else around(start - stop + first, len(out), first, stop)
            )
            for own, at in parts:
                self._check(out[own], kind, at)
                found[at : at + own.stop - own.start] = out[own]

        whole = function.shapes[self.batch]
        jobs: list[_Job] = [
            (at - first, partial(_answer, whole, rows[at : at + self.batch])) for at in range(first, stop, self.batch)
        ]
        others = self._jobs(function, len(rows) - (stop - first), fill)
        self._run(jobs + [(start + stop - first, work) for start, work in others], keep, watch)
        return found

    def filled(
        self,
        n: int,
        fill: Callable[[int, np.ndarray], None],
        kind: OutputKind = "probability",
        watch: Watch | None = None,
    ) -> np.ndarray:
        """As a call, of n rows that are written where the model reads them, and exist a batch at a time.

        Args:
            fill: (start, buffer (m, …)): writes rows start … start + m; called from several threads, in any order.

        Raises:
            OutputError, Stopped, DeadlinePassed: as a call.
        """
        found = np.empty((n, len(self.outputs)))

        def keep(start: int, out: np.ndarray) -> None:
            found[start : start + len(out)] = out

        self.streamed(n, fill, keep, kind, watch)
        return found

    def streamed(
        self,
        n: int,
        fill: Callable[[int, np.ndarray], None],
        keep: Callable[[int, np.ndarray], None],
        kind: OutputKind = "probability",
        watch: Watch | None = None,
    ) -> None:
        """As `filled`, of outputs that are handed over a batch at a time, while the model is at the next ones.

        Args:
            keep: (start, outputs (m, k) float32 of rows start … start + m): called in the calling thread, in order.

        Raises:
            OutputError, Stopped, DeadlinePassed: as a call.
        """

        def checked(start: int, out: np.ndarray) -> None:
            self._check(out, kind, start)
            keep(start, out)

        self._run(self._jobs(self._function(kind), n, fill), checked, watch)

    # ------------------------------------------------------------ inside

    def _jobs(self, function: Compiled, n: int, fill: Callable[[int, np.ndarray], None]) -> list[_Job]:
        """The batches of n rows that are written by `fill`."""
        return [
            (start, partial(self._batch, function.shapes[size], size, min(size, n - start), partial(fill, start)))
            for start, size in _batches(n, tuple(function.shapes))
        ]

    def _run(self, jobs: list[_Job], keep: Callable[[int, np.ndarray], None], watch: Watch | None) -> None:
        """Runs batches, several at a time, and hands over what they find, in order."""

        def heard(start: int, out: np.ndarray) -> None:
            if watch is not None:
                watch.advance(0)
            keep(start, out)

        if len(jobs) <= 1:
            for start, work in jobs:
                heard(start, work())
            return
        flying: deque[tuple[int, Future[np.ndarray]]] = deque()
        try:
            for start, work in jobs:
                flying.append((start, _threads().submit(work)))
                if len(flying) == IN_FLIGHT:
                    first, future = flying.popleft()
                    heard(first, future.result())
            while flying:
                first, future = flying.popleft()
                heard(first, future.result())
        finally:
            for _, future in flying:  # stopped on the way
                future.cancel()

    def _function(self, kind: OutputKind) -> Compiled:
        """The compiled function, traced on first use."""
        with self._guard:
            if kind not in self._compiled:
                self._compiled[kind] = self._new_function(kind)
            return self._compiled[kind]

    def _new_function(self, kind: OutputKind) -> Compiled:
        tf = tensorflow()
        graph = self.graph(kind)
        if _broken(self.keras_model):
            # Fused into a matrix product, ReLU makes 0 of NaN and hides it; called as it is, it does not.
            return Compiled({self.batch: graph}, by_xla=False)

        def traced(batch: Any) -> Any:
            self.traces += batch.shape[0] == self.batch and not tf.executing_eagerly()
            return graph(batch)

        def signature(size: int) -> Any:
            return tf.TensorSpec((size, *self.row_shape), tf.as_dtype(self.dtype))

        sizes: tuple[int, ...] = (self.batch,)
        probe = None
        if len(self.row_shape) == 1 and self.arrangement.in_graph:
            heavy = self.batch * self.keras_model.count_params() >= FEW_PRODUCTS
            if heavy and self.batch % FEW == 0 and _static_batch(self.keras_model) is None:
                sizes = (self.batch, self.batch // FEW)
            probe = probe_rows(self.arrangement, self.batch, self.row_shape[0]).astype(self.dtype)
        return compiled(traced, signature, sizes, probe, xla=may_compile(self.keras_model, self.arrangement))

    def _batch(
        self, function: Callable[..., Any], size: int, rows: int, fill: Callable[[np.ndarray], None]
    ) -> np.ndarray:
        """One call of the model: rows, filled up with the first of them to the size, → (rows, k) float32."""
        try:
            buffer = self._free[size].pop()
        except IndexError:
            buffer = aligned((size, *self.row_shape), self.dtype)
        fill(buffer[:rows])
        buffer[rows:] = buffer[0]
        out = _answer(function, buffer, rows)
        self._free[size].append(buffer)
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
        low, high = out.min(initial=np.inf), out.max(initial=-np.inf)  # NaN where one is
        if len(out) and not (np.isfinite(low) and np.isfinite(high)):
            bad = ~np.isfinite(out).all(axis=1)
            what = "the model returned NaN or infinity for rows at position"
        elif kind == "probability" and self._outputs.probabilities and (low < -_ROUNDING or high > 1 + _ROUNDING):
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


def _batches(n: int, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """(start, size) of the batches that n rows take: large ones, and small ones where half a large one is enough."""
    large, small = sizes[0], sizes[-1]
    found = []
    start = 0
    while start < n:
        size = large if 2 * (n - start) > large else small
        found.append((start, size))
        start += size
    return found


def _answer(function: Callable[..., Any], batch: np.ndarray, rows: int | None = None) -> np.ndarray:
    """What a compiled function says of the first so many rows of an aligned batch, (rows, k) float32."""
    # TensorFlow reads the array itself; `tf.constant` would copy it, which costs a fifth of a small model's time.
    tensor = tensorflow().experimental.dlpack.from_dlpack(batch.__dlpack__())
    return np.array(function(tensor).numpy()[:rows])  # copied: a model may hand its input through


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads that hand batches to TensorFlow, shared by all predictors: its own threads do the work."""
    return ThreadPoolExecutor(max(2, os.cpu_count() or 2), "predictor")


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
