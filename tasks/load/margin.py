"""The margin (logit): what the model computes before its last sigmoid or softmax, read by taking that off.

    sigmoid              the pre-activation z
    softmax of two       z₁ − z₀ for the second output, its negative for the first
    softmax of k         ln p/(1 − p) = z − log Σ exp of the others, from log-softmax
    linear               a classifier's output is then the margin itself; a regression's margin is its value
    anything else        the logit of the clipped probability, said as a limitation

Two softmax outputs are the case k = 2 of the formula for k.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Activation = Literal["sigmoid", "softmax", "linear", "hidden"]

#: probabilities are clipped to this far from 0 and 1 where the margin has to be computed back from them
CLIP = 1e-7


@dataclass(frozen=True, eq=False)
class Trunk:
    """A model's output without its last activation.

    Attributes:
        activation: what was taken off; `linear` where there was none, `hidden` where it cannot be found.
        tensor: the Keras tensor that `finish` starts from; the output itself where nothing is taken off.
        finish: that tensor's value → pre-activation.
    """

    activation: Activation
    tensor: Any
    finish: Callable[[Any], Any]


def trunks(model: Any) -> list[Trunk]:
    """A trunk for each of the model's outputs. The layers are the model's own: nothing is copied."""
    return [_trunk(model, tensor) for tensor in model.outputs]


def softmax_margin(z: Any) -> Any:
    """(n, k) pre-activations → (n, k) ln p/(1 − p), without loss where p is near 0 or 1.

    Only a row's largest p can be near 1: there the others are summed without it; elsewhere log1p(−p) is exact.
    """
    import tensorflow as tf

    log_p = tf.nn.log_softmax(z, axis=-1)
    top = tf.one_hot(tf.argmax(z, axis=-1), z.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
    others = tf.where(top, tf.constant(float("-inf"), z.dtype), z)
    against_top = tf.reduce_logsumexp(others, axis=-1, keepdims=True)
    # The branch not taken must stay finite too, or its gradient is NaN.
    small = tf.where(top, tf.zeros_like(z), tf.exp(log_p))
    return tf.where(top, z - against_top, log_p - tf.math.log1p(-small))


def logit(p: Any) -> Any:
    """The logit of probabilities, clipped."""
    import tensorflow as tf

    p = tf.clip_by_value(p, CLIP, 1 - CLIP)
    return tf.math.log(p) - tf.math.log1p(-p)


def _hidden(tensor: Any) -> Trunk:
    return Trunk("hidden", tensor, lambda value: value)


def _trunk(model: Any, tensor: Any) -> Trunk:
    import keras

    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return _hidden(tensor)
    operation, node = history.operation, history.operation._inbound_nodes[history.node_index]
    before = node.input_tensors
    kind = type(operation).__name__
    if isinstance(operation, keras.Model):
        return _nested(operation, history.tensor_index, before, tensor)
    if len(before) != 1 or not type(operation).__module__.startswith("keras."):
        return _hidden(tensor)
    if kind in ("Sigmoid", "Softmax"):  # keras.ops.sigmoid and softmax, keras.layers.Softmax
        axis = getattr(operation, "axis", -1)
        if kind == "Softmax" and axis not in (-1, len(tensor.shape) - 1):
            return _hidden(tensor)
        return Trunk("sigmoid" if kind == "Sigmoid" else "softmax", before[0], lambda value: value)
    name = _name(getattr(operation, "activation", None))
    if kind == "Activation" and name in ("sigmoid", "softmax"):
        return Trunk(name, before[0], lambda value: value)
    if kind == "Activation" and name == "linear":
        return _trunk(model, before[0])
    if kind in ("Dropout", "Identity", "ActivityRegularization"):  # do nothing when a model is applied
        return _trunk(model, before[0])
    if kind == "Dense" and name in ("sigmoid", "softmax") and _plain(operation):
        return Trunk(name, before[0], lambda value: _affine(operation, value))
    if kind == "Dense" and name == "linear":
        return Trunk("linear", tensor, lambda value: value)
    return _hidden(tensor)


def _nested(inner: Any, index: int, before: list[Any], tensor: Any) -> Trunk:
    """The last operation is a model of its own: its trunk, applied to what comes before."""
    import keras

    if not getattr(inner, "outputs", None) or len(before) != len(inner.inputs):
        return _hidden(tensor)
    found = _trunk(inner, inner.outputs[index])
    if found.activation in ("hidden", "linear"):
        return Trunk(found.activation, tensor, lambda value: value)
    body = keras.Model(inner.inputs, found.tensor)
    return Trunk(found.activation, body(before if len(before) > 1 else before[0]), found.finish)


def _plain(layer: Any) -> bool:
    """Whether a Dense layer is a plain matrix product in float32."""
    quantized = getattr(layer, "quantization_mode", None) is not None
    return not quantized and not getattr(layer, "lora_enabled", False) and layer.compute_dtype == "float32"


def _affine(layer: Any, value: Any) -> Any:
    import keras

    value = keras.ops.matmul(value, layer.kernel)
    return value if layer.bias is None else keras.ops.add(value, layer.bias)


def _name(activation: Any) -> Literal["sigmoid", "softmax", "linear"] | None:
    """The name of one of Keras's own activations; None for anything else."""
    import keras

    if activation is None:
        return "linear"
    known: tuple[Literal["sigmoid", "softmax", "linear"], ...] = ("sigmoid", "softmax", "linear")
    for name in known:
        if activation is getattr(keras.activations, name):
            return name
    return None
