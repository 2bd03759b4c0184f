"""How the predictor's function is compiled: by XLA where it can be and says the same, else by TensorFlow alone.

XLA joins a table model's encoding, matrix products and activations into a few loops over the batch, which is up to
1.7 times as fast; compiling costs a tenth of a second for a small network and grows with its layers. TensorFlow's own
convolutions are faster than XLA's on a CPU, so images and models with convolutions are left to it.

What is taken depends on the model alone, never on a measurement of time: the same model gives the same bits in every
run, and on any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.load.arrangement import Arrangement, Blocks, Named, Sums
from tasks.load.backend import tensorflow

#: how far XLA's answer may be from TensorFlow's, relative to values beyond 1
TOLERANCE = 1e-5
_SEED = 20_010_613


@dataclass(frozen=True)
class Compiled:
    """One function of the predictor.

    Attributes:
        shapes: rows a call → the concrete function of that many, the largest first. All give a row the same bits.
        by_xla: whether XLA compiled it.
    """

    shapes: dict[int, Callable[[Any], Any]]
    by_xla: bool


def compiled(
    graph: Callable[[Any], Any],
    signature: Callable[[int], Any],
    sizes: tuple[int, ...],
    probe: np.ndarray | None,
    *,
    xla: bool,
) -> Compiled:
    """Compiles a graph for batches of fixed sizes.

    XLA's form is kept where it answers the probe as the graph does when it is called as it is, to TOLERANCE and with
    NaN in the same places, and where a row's answer has the same bits at another place in the batch. A size beside
    the first is kept where it gives every row of the probe the bits that the first gives it.

    Args:
        graph: (batch, …) rows → (batch, k).
        signature: a size → the TensorSpec of a batch.
        sizes: rows a batch, falling; each divides the first.
        probe: a batch of the first size; None for one size and no XLA.
        xla: whether XLA is tried.
    """
    tf = tensorflow()

    def concrete(size: int, jit: bool) -> Callable[[Any], Any]:
        function = tf.function(graph, input_signature=[signature(size)], autograph=False, jit_compile=jit)
        return function.get_concrete_function()

    def answers(function: Callable[[Any], Any], rows: np.ndarray) -> np.ndarray:
        return np.array(function(tf.constant(rows)).numpy())

    first, *others = sizes
    function: Callable[[Any], Any] | None = None
    if xla and probe is not None:
        try:
            function = concrete(first, True)
            found = answers(function, probe)
            turned = answers(function, probe[::-1].copy())[::-1]
        except (tf.errors.OpError, NotImplementedError, TypeError, ValueError):
            function = None  # an operation that XLA does not have, or a shape that it cannot tell
        else:
            if not (np.array_equal(found, turned, equal_nan=True) and _near(found, answers(graph, probe))):
                function = None
    by_xla = function is not None
    if function is None:
        function = concrete(first, False)
        if others and probe is not None:
            found = answers(function, probe)
    shapes = {first: function}
    if probe is not None:
        for size in others:
            function = concrete(size, by_xla)
            parts = [answers(function, probe[start : start + size]) for start in range(0, first, size)]
            if np.array_equal(np.concatenate(parts), found, equal_nan=True):
                shapes[size] = function
    return Compiled(shapes, by_xla)


def _near(found: np.ndarray, truth: np.ndarray) -> bool:
    bound = TOLERANCE * np.maximum(1.0, np.abs(truth))
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return bool(np.all((np.abs(found - truth) <= bound) | (found == truth) | (np.isnan(found) & np.isnan(truth))))


def may_compile(model: Any, arrangement: Arrangement) -> bool:
    """Whether XLA is tried on a table's model: where there is no text, no call into Python, and no convolution."""
    texts = any(str(tensor.dtype) == "string" for tensor in model.inputs)
    return arrangement.in_graph and not texts and not any(map(_slower, _layers(model)))


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers()) if hasattr(model, "_flatten_layers") else list(getattr(model, "layers", []))


def _slower(layer: Any) -> bool:
    return any("Conv" in kind.__name__ for kind in type(layer).__mro__)


def probe_rows(arrangement: Arrangement, count: int, width: int) -> np.ndarray:
    """(count, width) float64 codes to compare two forms of a model on: the same whenever they are drawn.

    Categories are drawn from those that the arrangement knows. Numbers are drawn so that what they become, where the
    arrangement says, is standard normal; others are standard normal themselves.
    """
    generator = np.random.default_rng(_SEED)
    rows = generator.standard_normal((count, width))
    for source, size in _categories(arrangement).items():
        rows[:, source] = generator.integers(0, max(1, size), count)
    if isinstance(arrangement, Blocks):
        lines = arrangement.lines
        for source, slope, offset in zip(lines.sources, lines.slope, lines.offset, strict=True):
            if slope != 0 and np.isfinite([slope, offset]).all():
                rows[:, source] = (generator.standard_normal(count) - offset) / slope
    if isinstance(arrangement, Named):
        for j, dtype in enumerate(arrangement.dtypes):
            if dtype.startswith(("int", "uint", "bool")):
                rows[:, j] = np.abs(np.round(rows[:, j]))
    return rows


def _categories(arrangement: Arrangement) -> dict[int, int]:
    """Feature → how many codes may be drawn, without null's."""
    if isinstance(arrangement, Blocks | Sums):
        return {table.source: len(table.rows) - 1 for table in arrangement.tables}
    if isinstance(arrangement, Named):
        tables = [
            texts if numbers is None else numbers
            for texts, numbers in zip(arrangement.texts, arrangement.numbers, strict=True)
        ]
        return {j: len(table) for j, table in enumerate(tables) if table is not None}
    return {}


def is_ready(arrangement: Arrangement, model: Any) -> bool:
    """Whether rows are the model's matrix already, and all that is done to them is to round them to float32."""
    if not isinstance(arrangement, Blocks) or arrangement.tables or str(model.inputs[0].dtype) != "float32":
        return False
    lines, places = arrangement.lines, np.arange(arrangement.width)
    same = np.array_equal(lines.columns, places) and np.array_equal(lines.sources, places)
    return bool(same and np.all(lines.slope == 1) and np.all(lines.offset == 0) and np.all(np.isnan(lines.null)))
