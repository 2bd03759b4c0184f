"""Grad-CAM++: Grad-CAM with gradients weighed place by place, for several objects of one class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.explain.base import Prepared, Problem, Technique
from tasks.explain.engine.activation_maps import ROWS, LayerSettings, class_activation_maps, find_layer, unfit, weighted
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf


def grad_cam_plus_plus(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """ReLU of the sum over channels of activation A times Σ α relu(g), with α = 1 / (2 + g ΣA) scaled to Σα = 1.

    Sums go over the places of a channel; α is the paper's g² / (2g² + g³ ΣA). The paper differentiates exp(margin),
    whose second and third derivatives are exp(margin) g² and exp(margin) g³: in α that factor cancels. In the weights
    it only scales a map, and is left out, so that maps stay in units of the margin. Scaling α to one is not in the
    paper but in its authors' program, over the places where g > 0, as here. tf-keras-vis keeps exp(margin), and scales
    α over all places: the same map but for exp(margin) where the gradients of a channel have one sign, as behind
    global pooling; elsewhere α of negative g, which may be negative or near its pole, turn its weights over.

    Args:
        activations, gradients: (n, h, w, c) float32; gradients of one output's margin. Meant for activations ≥ 0.

    Returns:
        (n, h, w) float32, ≥ 0.

    Source: Chattopadhay et al. 2018, Grad-CAM++: generalized gradient-based visual explanations for deep convolutional
    networks, equations 5, 10 and 19.
    """
    import tensorflow as tf

    total = tf.reduce_sum(activations, axis=(1, 2), keepdims=True)
    positive = tf.nn.relu(gradients)
    alpha = tf.where(positive > 0, tf.math.divide_no_nan(1.0, 2.0 + positive * total), 0.0)
    scale = tf.reduce_sum(alpha, axis=(1, 2))
    weights = tf.math.divide_no_nan(tf.reduce_sum(alpha * positive, axis=(1, 2)), scale)
    return tf.nn.relu(weighted(activations, weights))


def prepare(problem: Problem, settings: LayerSettings, watch: Watch) -> Prepared:
    return class_activation_maps(problem, find_layer(problem, settings.layer), grad_cam_plus_plus, watch)


TECHNIQUE = Technique(
    name="gradcam_plus_plus",
    title="Grad-CAM++",
    modality="image",
    scope="local",
    settings=LayerSettings,
    prepare=prepare,
    unfit=unfit,
    batch=ROWS,
    source="Chattopadhay et al. 2018, https://doi.org/10.1109/WACV.2018.00097",
)
