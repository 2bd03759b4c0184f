"""Convolutional models to explain, and oracles of their maps: tf-keras-vis, and eager gradients for sums by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tasks.explain.base import Problem

layers = keras.layers


def sequential(*stack: Any, shape: tuple[int, int, int] = (16, 16, 1), seed: int = 1) -> Any:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input(shape), *stack])


def conv(filters: int = 4, **more: Any) -> Any:
    return layers.Conv2D(filters, 3, activation="relu", padding="same", **more)


def branched() -> Any:
    """Two paths that join: the last convolution is on one of them."""
    inputs = keras.Input((16, 16, 3))
    left = conv(6, name="left")(inputs)
    right = layers.MaxPooling2D()(conv(6, name="right")(left))
    both = layers.Add()([layers.AveragePooling2D(2)(left), conv(6, name="last")(right)])
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(both)))


MODELS: dict[str, Callable[[], Any]] = {
    "softmax": lambda: sequential(conv(), layers.MaxPooling2D(), conv(8), layers.Flatten(), layers.Dense(5, "softmax")),
    "sigmoid": lambda: sequential(conv(), conv(6), layers.GlobalAveragePooling2D(), layers.Dense(1, "sigmoid")),
    "two outputs": lambda: sequential(conv(), layers.GlobalMaxPooling2D(), layers.Dense(2, "softmax")),
    "separable last": lambda: sequential(
        conv(), layers.SeparableConv2D(6, 3, activation="relu"), layers.Flatten(), layers.Dense(3, "softmax")
    ),
    "depthwise last": lambda: sequential(
        conv(), layers.DepthwiseConv2D(3), layers.GlobalMaxPooling2D(), layers.Dense(3, "softmax")
    ),
    "normalised": lambda: sequential(
        conv(), layers.BatchNormalization(), layers.ReLU(), conv(8, strides=2), layers.BatchNormalization(),
        layers.Dropout(0.5), layers.Flatten(), layers.Dense(8, "tanh"), layers.Dense(4), layers.Softmax(),
    ),
    "branched, colour": branched,
}  # fmt: skip


def last_convolution(model: Any) -> Any:
    kinds = (layers.Conv2D, layers.SeparableConv2D, layers.DepthwiseConv2D)
    return [layer for layer in model.layers if isinstance(layer, kinds)][-1]


def logits_of(model: Any) -> Any:
    """The same model without its last activation."""
    last = model.layers[-1]
    if isinstance(last, layers.Softmax):
        return keras.Model(model.inputs, last.input)
    plain = layers.Dense(last.units)
    logits = keras.Model(model.inputs, plain(last.input))
    plain.set_weights(last.get_weights())
    return logits


def margin(index: int) -> Callable[[Any], Any]:
    """Logits → the margin that the contract names."""

    def score(z: Any) -> Any:
        others = [z[:, j] for j in range(z.shape[1]) if j != index]
        return z[:, index] - (tf.reduce_logsumexp(tf.stack(others, 1), 1) if others else 0.0)

    return score


def keras_vis(method: str, model: Any, problem: Problem) -> np.ndarray:
    """(n, m, h, w): a class of tf-keras-vis on the pre-activation, scored by the margin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tf_keras_vis import gradcam, layercam
    visible = {"Gradcam": gradcam.Gradcam, "GradcamPlusPlus": gradcam.GradcamPlusPlus, "Layercam": layercam.Layercam}
    cam = visible[method](logits_of(model), clone=False)
    inputs = (problem.rows * np.float32(1 / 255)).astype(np.float32)
    maps = [
        cam(margin(i), inputs, penultimate_layer=last_convolution(model).name, seek_penultimate_conv_layer=False,
            expand_cam=False, normalize_cam=False)
        for i in range(len(problem.outputs))
    ]  # fmt: skip
    return np.stack([np.asarray(m) for m in maps], axis=1)


def activations_and_gradients(model: Any, problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, h, w, c) activations of the last convolution, (n, m, h, w, c) gradients and (n, m) margins."""
    logits = logits_of(model)
    both = keras.Model(logits.inputs, [last_convolution(logits).output, logits.output])
    with tf.GradientTape(persistent=True) as tape:
        activations, z = both(tf.constant(problem.rows * np.float32(1 / 255)))
        margins = [margin(i)(z) for i in range(len(problem.outputs))]
    gradients = np.stack([tape.gradient(each, activations).numpy() for each in margins], axis=1)
    return activations.numpy().astype(float), gradients.astype(float), np.stack([m.numpy() for m in margins], axis=1)
