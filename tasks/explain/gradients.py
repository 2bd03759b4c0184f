"""What gradient techniques share: finding a layer, its activations and gradients, and gradients in the pixels.

Keras has no hooks on layers, and a layer inside a nested or subclassed model is out of reach of a sub-model built from
`layer.output`. So the layer's `call` is wrapped while one function is traced: what it returns is watched by the tape
and kept. Nothing is wrapped once the graph is built.

A new class activation map (Grad-CAM++, HiResCAM, LayerCAM, …) is one function of activations and gradients, handed to
`class_activation_maps`; a new pixel technique (integrated gradients, SmoothGrad, …) uses `input_gradients` in a
compiled function of its own.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.errors import ConfigError, Incomplete, OutputError, nearest
from tasks.explain.base import Prepared, Problem, Saliency
from tasks.watch import Watch

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    #: (n, h, w, c) activations, (n, h, w, c) gradients of one output → (n, h, w) maps
    Combine = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

#: Held while a gradient is traced. The model is shared between the techniques' threads, and shap's deep explainer
#: swaps TensorFlow's gradient registry while it works; neither may happen in the middle of another's tracing.
TRACING = threading.RLock()

#: outputs differentiated in one call of a compiled function: more of them cost memory and tracing time, not speed
WIDTH = 10
#: bytes of activations that a compiled batch may hold
MEMORY = 2**30
LARGEST_BATCH = 128


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
        graph.get_concrete_function(_images_spec(problem, static_batch(problem) or 1))
    return shapes


def _images_spec(problem: Problem, batch: int) -> tf.TensorSpec:
    import tensorflow as tf

    return tf.TensorSpec([batch, *problem.rows.shape[1:]], tf.float32, name="images")


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
        operations = graph.get_concrete_function(_images_spec(problem, 1)).graph.get_operations()
    sizes = [math.prod(t.shape) for op in operations for t in op.outputs if t.shape.is_fully_defined()]
    held = sum(sizes) + 2 * outputs * max(sizes) if outputs else 3 * max(sizes)
    return max(1, min(largest, rows, MEMORY // (4 * held)))


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
    return chosen, [_gradient(tape, column, points, "its inputs") for column in columns]


def _gradient(tape: tf.GradientTape, output: tf.Tensor, at: tf.Tensor, what: str) -> tf.Tensor:
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


def class_activation_maps(problem: Problem, found: FoundLayer, combine: Combine, watch: Watch) -> Prepared:
    """A technique of the form: a layer's activations, weighted by the gradients of each explained margin.

    Compiled once for a fixed batch: one forward pass, and from the layer on one backward pass an output.

    Args:
        found: where activations and gradients are taken.
        combine: activations and gradients (channels last, float32) to maps.
        watch: looked at after each compiled batch; the caller counts rows.

    Raises:
        Incomplete: no gradient leads from the outputs to the layer.
        OutputError: while explaining, where a map is not finite.
    """
    import tensorflow as tf

    predictor = problem.predictor
    graph = predictor.graph("margin")
    outputs = min(WIDTH, problem.explained.shape[1])
    batch = fitting_batch(problem, len(problem.rows), outputs=outputs)

    def maps(images: tf.Tensor, explained: tf.Tensor) -> tf.Tensor:
        kept: list[tf.Tensor] = []
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:

            def keep(_: keras.Layer, output: tf.Tensor) -> None:
                tape.watch(output)
                kept.append(output)

            with tapped([found.layer], keep):
                chosen = tf.gather(graph(images), explained, axis=1, batch_dims=1)
            columns = tf.unstack(chosen, axis=1)
        activations = kept[-1]

        def channels_last(tensor: tf.Tensor) -> tf.Tensor:
            tensor = tf.cast(tensor, tf.float32)
            return tf.transpose(tensor, [0, 2, 3, 1]) if found.channels_first else tensor

        last = channels_last(activations)
        gradients = (_gradient(tape, column, activations, f"the layer {found.name}") for column in columns)
        return tf.stack([combine(last, channels_last(gradient)) for gradient in gradients], axis=1)

    signature = [_images_spec(problem, batch), tf.TensorSpec([batch, outputs], tf.int32)]
    with TRACING:
        compiled = tf.function(maps, input_signature=signature, autograph=False).get_concrete_function()

    def explain(rows: np.ndarray, explained: np.ndarray) -> Saliency:
        n, m = explained.shape
        result = np.empty((n, m, found.height, found.width), np.float32)
        for first in range(0, n, batch):
            images = padded(rows[first : first + batch], batch)
            for left in range(0, m, outputs):
                wanted = explained[first : first + batch, left : left + outputs]
                some = compiled(
                    tf.constant(images, tf.float32), tf.constant(_widened(wanted, batch, outputs), tf.int32)
                )
                result[first : first + batch, left : left + outputs] = some.numpy()[: len(wanted), : wanted.shape[1]]
            watch.advance(0)
        quality = map_quality(finite(result, found.name))
        return Saliency(result, layer=found.name, quality=quality, evaluations=n * -(-m // outputs))

    facts = {"layer": found.name, "height": found.height, "width": found.width, "output": "margin"}
    return Prepared(explain, facts)


def padded(rows: np.ndarray, length: int) -> np.ndarray:
    """Rows, the last one repeated until there are `length`."""
    missing = length - len(rows)
    return rows if missing <= 0 else np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])


def _widened(explained: np.ndarray, batch: int, width: int) -> np.ndarray:
    """(n, m) indices, padded to (batch, width)."""
    missing = width - explained.shape[1]
    if missing:
        explained = np.concatenate([explained, np.repeat(explained[:, -1:], missing, axis=1)], axis=1)
    return padded(explained, batch)


def finite(maps: np.ndarray, what: str) -> np.ndarray:
    """The maps as they are.

    Raises:
        OutputError: a map holds NaN or infinity: the model's output has no finite gradient there.
    """
    bad = np.flatnonzero(~np.isfinite(maps).all(axis=tuple(range(1, maps.ndim))))
    if len(bad):
        raise OutputError(
            f"the explanation of {len(bad)} of {len(maps)} images is not a finite number",
            where=what,
            values=(f"image {row} of its batch" for row in bad),
            hint="the model's output or its gradient overflows there",
        )
    return maps


def map_quality(maps: np.ndarray) -> dict[str, np.ndarray]:
    """empty_map: 1 where a map, (n, m, h, w), is zero everywhere and so says nothing; else 0."""
    return {"empty_map": np.where(maps.any(axis=(2, 3)), 0.0, 1.0)}
