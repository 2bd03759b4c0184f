"""Grad-CAM: where in the image the last convolution speaks for a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tasks.explain.base import Prepared, Problem, Settings, Technique
from tasks.explain.gradients import class_activation_maps, convolutions, find_layer
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf


class GradCamSettings(Settings):
    layer: str = Field("auto", min_length=1, description="auto: the last convolution; or the name of a layer.")


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

    n, height, width, channels = activations.shape
    weights = tf.reduce_mean(gradients, axis=(1, 2))
    flat = tf.reshape(activations, [n, height * width, channels])  # as a product of matrices: nothing is held twice
    return tf.nn.relu(tf.reshape(tf.matmul(flat, weights[:, :, tf.newaxis]), [n, height, width]))


def unfit(problem: Problem, settings: GradCamSettings) -> str | None:
    if problem.modality != "image":
        return "Grad-CAM reads maps of an image; the model takes a table"
    if settings.layer == "auto":
        if not convolutions(problem.predictor.keras_model):
            return "the model has no two-dimensional convolution"
        if find_layer(problem) is None:
            return "every convolution of the model ends in one single place, so that there is no map to read"
    return None


def prepare(problem: Problem, settings: GradCamSettings, watch: Watch) -> Prepared:
    found = find_layer(problem, settings.layer)
    if found is None:
        raise ValueError(unfit(problem, settings) or "no layer")
    return class_activation_maps(problem, found, grad_cam, watch)


TECHNIQUE = Technique(
    name="gradcam",
    title="Grad-CAM",
    modality="image",
    scope="local",
    settings=GradCamSettings,
    prepare=prepare,
    unfit=unfit,
    batch=128,
    source="Selvaraju et al. 2017, https://doi.org/10.1109/ICCV.2017.74",
)
