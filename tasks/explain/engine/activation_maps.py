"""Class activation maps: finding a layer, and maps made of its activations and gradients.

Keras has no hooks on layers, and a layer inside a nested or subclassed model is out of reach of a sub-model built from
`layer.output`. So the layer's `call` is wrapped while one function is traced: what it returns is watched by the tape
and kept. Nothing is wrapped once the graph is built.

A new class activation map is a file with one function of activations and gradients, handed to `class_activation_maps`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from tasks.errors import ConfigError, nearest
from tasks.explain.base import Prepared, Problem, Saliency, Settings
from tasks.explain.engine.gradients import (
    TRACING,
    WIDTH,
    even_batch,
    finite,
    fitting_batch,
    gradient_of,
    images_spec,
    map_quality,
    static_batch,
    widened,
)
from tasks.watch import Watch

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    #: (n, h, w, c) activations, (n, h, w, c) gradients of one output → (n, h, w) maps
    Combine = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

#: images a call of the explainer is given
ROWS = 256
#: images a compiled batch: with two of them under way, copying one costs nothing while the other is computed
BATCH = 64
IN_FLIGHT = 2
_ALIGNMENT = 64


class LayerSettings(Settings):
    layer: str = Field("auto", min_length=1, description="auto: the last convolution; or the name of a layer.")


@dataclass(frozen=True)
class FoundLayer:
    """A layer whose output is a stack of maps.

    Attributes:
        name: as the config and the tables say it: its own name, or its path where several bear that name.
        layer: the Keras layer.
        height, width: resolution of its output for this model's images.
        channels_first: whether its output is (n, c, h, w).
    """

    name: str
    layer: keras.Layer
    height: int
    width: int
    channels_first: bool


def layers_by_name(model: keras.Model) -> dict[str, keras.Layer]:
    """Every layer of a model, those of nested models included, in the order they were added.

    A name that occurs several times is told apart by the path to it: `encoder/conv_1`.
    """
    found: list[tuple[str, keras.Layer]] = []
    seen: set[int] = set()

    def walk(layer: Any, path: str) -> None:
        # Models list their layers publicly; composite layers keep theirs in `_layers`.
        for child in getattr(layer, "layers", None) or getattr(layer, "_layers", None) or ():
            if id(child) in seen:
                continue
            seen.add(id(child))
            found.append((f"{path}{child.name}", child))
            walk(child, f"{path}{child.name}/")

    walk(model, "")
    names = [layer.name for _, layer in found]
    return {layer.name if names.count(layer.name) == 1 else path: layer for path, layer in found}


def convolutions(model: keras.Model) -> dict[str, keras.Layer]:
    """The two-dimensional convolutions of a model, in the order they were added."""
    import keras

    kinds = (
        keras.layers.Conv2D,
        keras.layers.SeparableConv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.Conv2DTranspose,
    )
    return {name: layer for name, layer in layers_by_name(model).items() if isinstance(layer, kinds)}


@contextmanager
def tapped(layers: Sequence[keras.Layer], tap: Callable[[keras.Layer, Any], None]) -> Iterator[None]:
    """While it lasts, `tap(layer, output)` is told what these layers return to the calling thread."""
    thread = threading.get_ident()

    def wrapped(layer: keras.Layer) -> Callable[..., Any]:
        call = layer.call

        def told(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            if threading.get_ident() == thread:
                tap(layer, output)
            return output

        return told

    with TRACING:
        kept = [(layer, vars(layer).get("call")) for layer in layers]
        try:
            for layer in layers:
                # Straight into the instance: Keras tracks what is set as an attribute.
                vars(layer)["call"] = wrapped(layer)
            yield
        finally:
            for layer, call in kept:
                vars(layer).pop("call", None)
                if call is not None:
                    vars(layer)["call"] = call


def _shapes_of(problem: Problem, layers: dict[str, keras.Layer]) -> dict[str, tuple[int | None, ...]]:
    """Output shape of each layer that the model calls, in the order of its last call. Traced, not evaluated."""
    import tensorflow as tf

    names = {id(layer): name for name, layer in layers.items()}
    shapes: dict[str, tuple[int | None, ...]] = {}

    def tap(layer: keras.Layer, output: Any) -> None:
        name = names[id(layer)]
        shapes.pop(name, None)
        shapes[name] = tuple(output.shape) if hasattr(output, "shape") else ()

    with tapped(list(layers.values()), tap):
        graph = tf.function(problem.predictor.graph("margin"), autograph=False)
        graph.get_concrete_function(images_spec(problem, static_batch(problem) or 1))
    return shapes


def _found(name: str, layer: keras.Layer, shape: tuple[int | None, ...]) -> FoundLayer:
    first = getattr(layer, "data_format", None) == "channels_first"
    height, width = shape[2:] if first else shape[1:3]
    return FoundLayer(name, layer, int(height or 0), int(width or 0), first)


def find_layer(problem: Problem, name: str = "auto") -> FoundLayer | None:
    """The layer whose maps are read.

    Args:
        name: of a layer with a 4-D output, at any depth; or `auto`: the last convolution that is called and whose
            output is larger than one place. Where a layer is called several times, its last call counts.

    Returns:
        The layer, or None where `auto` finds no convolution.

    Raises:
        ConfigError: no layer has that name, or its output is not 4-D.
    """
    where = "explain.techniques"
    if name == "auto":
        candidates = convolutions(problem.predictor.keras_model)
        found = [_found(key, candidates[key], shape) for key, shape in _shapes_of(problem, candidates).items()]
        return next((layer for layer in reversed(found) if layer.height * layer.width > 1), None)
    layers = layers_by_name(problem.predictor.keras_model)
    if name not in layers:
        raise ConfigError(
            f"the model has no layer named {name}",
            where=where,
            available=convolutions(problem.predictor.keras_model) or layers,
            hint=nearest(name, layers) or "write layer: auto",
            code="unknown_layer",
        )
    shape = _shapes_of(problem, {name: layers[name]}).get(name)
    if shape is None or len(shape) != 4:
        is_now = "is not called by the model" if shape is None else f"has an output of {len(shape)} dimensions, not 4"
        raise ConfigError(
            f"the layer {name} {is_now}",
            where=where,
            available=convolutions(problem.predictor.keras_model),
            hint="name a convolution, or write layer: auto",
            code="layer_not_spatial",
        )
    return _found(name, layers[name], shape)


def unfit(problem: Problem, settings: LayerSettings) -> str | None:
    """Why no map can be read, or None."""
    if problem.modality != "image":
        return "it reads maps of an image; the model takes a table"
    if settings.layer == "auto":
        if not convolutions(problem.predictor.keras_model):
            return "the model has no two-dimensional convolution"
        if find_layer(problem) is None:
            return "every convolution of the model ends in one single place, so that there is no map to read"
    return None


def class_activation_maps(
    problem: Problem, found: FoundLayer | None, combine: Combine, watch: Watch, *, signed: bool = False
) -> Prepared:
    """A technique of the form: a layer's activations, weighted by the gradients of each explained margin.

    Compiled once for a fixed batch: one forward pass, and from the layer on one backward pass an output.

    Args:
        found: where activations and gradients are taken.
        combine: activations and gradients (channels last, float32) to maps.
        watch: looked at after each compiled batch; the caller counts rows.
        signed: whether negative values of the maps mean evidence against.

    Raises:
        Incomplete: no gradient leads from the outputs to the layer.
        OutputError: while explaining, where a map is not finite.
        ValueError: there is no layer; `unfit` says so before.
    """
    import tensorflow as tf

    if found is None:
        raise ValueError("there is no layer to read maps from")
    outputs = min(WIDTH, problem.explained.shape[1])
    rows = min(ROWS, len(problem.rows))
    batch = static_batch(problem) or even_batch(rows, fitting_batch(problem, rows, outputs=outputs, largest=BATCH))
    feed = _Feed(problem, batch)

    def maps(images: tf.Tensor, explained: tf.Tensor) -> tf.Tensor:
        kept: list[tf.Tensor] = []
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:

            def keep(_: keras.Layer, output: tf.Tensor) -> None:
                tape.watch(output)
                kept.append(output)

            with tapped([found.layer], keep):
                chosen = tf.gather(feed.graph(images), explained, axis=1, batch_dims=1)
            columns = tf.unstack(chosen, axis=1)
        activations = kept[-1]

        def channels_last(tensor: tf.Tensor) -> tf.Tensor:
            tensor = tf.cast(tensor, tf.float32)
            return tf.transpose(tensor, [0, 2, 3, 1]) if found.channels_first else tensor

        last = channels_last(activations)
        gradients = (gradient_of(tape, column, activations, f"the layer {found.name}") for column in columns)
        return tf.stack([combine(last, channels_last(gradient)) for gradient in gradients], axis=1)

    signature = [images_spec(problem, batch), tf.TensorSpec([batch, outputs], tf.int32)]
    with TRACING:
        compiled = tf.function(maps, input_signature=signature, autograph=False).get_concrete_function()

    def explain(rows: np.ndarray, explained: np.ndarray) -> Saliency:
        n, m = explained.shape
        result = np.empty((n, m, found.height, found.width), np.float32)

        def work(first: int) -> None:
            place = slice(first, first + batch)
            with feed(rows[place]) as images:
                for left in range(0, m, outputs):
                    wanted = explained[place, left : left + outputs]
                    some = compiled(images, tf.constant(widened(wanted, batch, outputs), tf.int32)).numpy()
                    result[place, left : left + outputs] = some[: len(wanted), : wanted.shape[1]]

        _in_flight(work, range(0, n, batch), watch)
        quality = map_quality(finite(result, f"the layer {found.name}"))
        return Saliency(result, layer=found.name, signed=signed, quality=quality, evaluations=n * -(-m // outputs))

    facts = {"layer": found.name, "height": found.height, "width": found.width, "output": "margin"}
    return Prepared(explain, facts)


def weighted(activations: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """(n, h, w) sums over channels of activations (n, h, w, c) times weights (n, c)."""
    import tensorflow as tf

    n, height, width, channels = activations.shape
    flat = tf.reshape(activations, [n, height * width, channels])
    # As a product of matrices nothing is held twice; the row from the left is read faster than a column from the right.
    return tf.reshape(tf.matmul(weights[:, tf.newaxis], flat, transpose_b=True), [n, height, width])


class _Feed:
    """Images as tensors of one shape, in buffers that TensorFlow reads without copying them once more.

    Where the model takes the pixels times a scale, they are scaled while they are copied, and the graph begins behind.

    Attributes:
        graph: from these tensors to the margins.
    """

    def __init__(self, problem: Problem, batch: int) -> None:
        predictor = problem.predictor
        scale = getattr(predictor.arrangement, "scale", None)
        inputs = predictor.keras_model.inputs[0]
        plain = scale is not None and str(inputs.dtype) == "float32" and len(inputs.shape) == 4
        self.graph = predictor.model_graph("margin") if plain else predictor.graph("margin")
        self._scale = np.float32(scale if plain else 1)
        self._shape = (batch, *problem.rows.shape[1:])
        self._free: list[np.ndarray] = []

    @contextmanager
    def __call__(self, rows: np.ndarray) -> Iterator[tf.Tensor]:
        """The tensor of some rows, the last one repeated until there are enough; valid until the block ends."""
        import tensorflow as tf

        try:
            buffer = self._free.pop()
        except IndexError:
            room = np.empty(int(np.prod(self._shape)) * 4 + _ALIGNMENT, np.uint8)
            start = -room.ctypes.data % _ALIGNMENT
            buffer = room[start : start + room.size - _ALIGNMENT].view(np.float32).reshape(self._shape)
        np.multiply(rows, self._scale, out=buffer[: len(rows)], dtype=np.float32)
        buffer[len(rows) :] = buffer[len(rows) - 1]
        yield tf.experimental.dlpack.from_dlpack(buffer.__dlpack__())
        self._free.append(buffer)


def _in_flight(work: Callable[[int], None], starts: Sequence[int], watch: Watch) -> None:
    """Does the work of every batch, the next one begun while the one before is computed."""
    if len(starts) == 1:
        work(starts[0])
        watch.advance(0)
        return
    flying: deque[Future[None]] = deque()
    try:
        for start in starts:
            flying.append(_threads().submit(work, start))
            if len(flying) == IN_FLIGHT:
                flying.popleft().result()
                watch.advance(0)
        while flying:
            flying.popleft().result()
            watch.advance(0)
    finally:
        for future in flying:  # stopped on the way: what has begun still writes into the arrays of the call
            if not future.cancel():
                future.exception()


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads that hand batches to TensorFlow: its own threads do the work."""
    return ThreadPoolExecutor(2 * IN_FLIGHT, "activation-maps")
