"""A model's first Dense layer: what each player adds to it, and how the rest of the model is run from there.

Where a model's first operation on its matrix is a Dense layer, the layer's result before the activation is a sum over
columns, hence over features, hence over players. So a row and a background row can be mixed after the layer rather than
before it, and encoding and first matrix product need not be repeated for each mixture.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.explain.base import Problem
from tasks.explain.engine.gradients import TRACING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

#: layers that treat each column of a matrix by itself when a model is applied
COLUMNWISE = ("Normalization", "Rescaling", "BatchNormalization")
#: layers that do nothing then
IDLE = ("Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization", "Identity")


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """A model that begins with a Dense layer, in two parts. The tensors are for use inside a compiled function.

    Attributes:
        units: of the layer, u.
        width: columns of the model's matrix, w.
        owned: (g, w) float32: which columns a player has.
        constant: (w,) float32: columns that no feature owns.
    """

    units: int
    width: int
    owned: np.ndarray
    constant: np.ndarray
    _encode: Callable[[tf.Tensor], tf.Tensor]
    _before: tuple[keras.layers.Layer, ...]
    _dense: keras.layers.Layer
    _rest: Callable[[tf.Tensor], tf.Tensor]

    def matrix(self, codes: tf.Tensor) -> tf.Tensor:
        """(n, d) coded rows → (n, w) float32, as the layer is given them."""
        value = self._encode(codes)
        for layer in self._before:
            value = layer(value, training=False) if type(layer).__name__ == "BatchNormalization" else layer(value)
        return value

    def added(self, matrix: tf.Tensor) -> tf.Tensor:
        """(n, w) → (n, g, u): what each player adds to the pre-activation."""
        import tensorflow as tf

        parts = matrix[:, None, :] * self.owned
        summed = tf.matmul(tf.reshape(parts, (-1, self.width)), tf.convert_to_tensor(self._dense.kernel))
        return tf.reshape(summed, (-1, len(self.owned), self.units))

    def bias(self, matrix: tf.Tensor) -> tf.Tensor:
        """(u,): what is added whatever the players do; `matrix` (n, w) is any rows'."""
        import tensorflow as tf

        kernel = tf.convert_to_tensor(self._dense.kernel)
        bias = tf.zeros(self.units) if self._dense.bias is None else tf.convert_to_tensor(self._dense.bias)
        return bias + tf.matmul(matrix[:1] * self.constant, kernel)[0]

    def outputs(self, summed: tf.Tensor) -> tf.Tensor:
        """(n, u) pre-activations, n known while tracing → (n, k) outputs.

        Raises:
            NotFactored: the model did not ask the layer for its result exactly once.
        """
        import tensorflow as tf

        with answering(self._dense, self._dense.activation(summed)):
            return self._rest(tf.zeros((summed.shape[0], self.width)))


def first_layer(problem: Problem) -> FirstLayer | None:
    """The first layer of a problem's model; None where the model does not begin so, or a column mixes features."""
    predictor = problem.predictor
    owners = predictor.owners
    start = first_dense(predictor.keras_model)
    if owners is None or start is None:
        return None
    before, dense = start
    return FirstLayer(
        units=int(dense.units),
        width=len(owners),
        owned=columns_of_players(problem),
        constant=(owners < 0).astype(np.float32),
        _encode=predictor.encode,
        _before=tuple(before),
        _dense=dense,
        _rest=predictor.model_graph(problem.kind),
    )


def columns_of_players(problem: Problem) -> np.ndarray:
    """(g, w) float32: which encoded columns a player has; those of no feature have no player."""
    owners = problem.predictor.owners
    assert owners is not None
    of_features = owners[None] == np.arange(problem.membership.shape[1])[:, None]
    return (problem.membership.astype(np.float32) @ of_features).astype(np.float32)


class NotFactored(Exception):
    """The model did not ask the layer that was to answer for its inputs."""


@contextmanager
def answering(layer: keras.layers.Layer, answer: Any) -> Iterator[None]:
    """While it lasts, the layer answers the calling thread with this tensor, whatever it is given.

    Raises:
        NotFactored: it was not asked exactly once.
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
        raise NotFactored


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
