"""Grad-CAM: where in the image the last convolution speaks for a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.explain.base import Prepared, Problem, Technique
from tasks.explain.engine.activation_maps import ROWS, LayerSettings, class_activation_maps, find_layer, unfit, weighted
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf


def grad_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """ReLU of the sum over channels of activation times mean gradient.

    Args:
        activations, gradients: (n, h, w, c) float32; gradients of one output's margin.

    Returns:
        (n, h, w) float32, ≥ 0, in units of the margin; as tf-keras-vis computes it before scaling.

    Source: Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks via gradient-based localization,
    equations 1 and 2.
    """
    import tensorflow as tf

    return tf.nn.relu(weighted(activations, tf.reduce_mean(gradients, axis=(1, 2))))


def prepare(problem: Problem, settings: LayerSettings, watch: Watch) -> Prepared:
    return class_activation_maps(problem, find_layer(problem, settings.layer), grad_cam, watch)


TECHNIQUE = Technique(
    name="gradcam",
    title="Grad-CAM",
    modality="image",
    scope="local",
    settings=LayerSettings,
    prepare=prepare,
    unfit=unfit,
    batch=ROWS,
    source="Selvaraju et al. 2017, https://doi.org/10.1109/ICCV.2017.74",
)
