"""LayerCAM: Grad-CAM with a weight for every place, for sharper maps and for earlier layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.explain.base import Prepared, Problem, Technique
from tasks.explain.engine.activation_maps import ROWS, LayerSettings, class_activation_maps, find_layer, unfit
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf


def layer_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """ReLU of the sum over channels of activation times the positive part of its gradient.

    Args:
        activations, gradients: (n, h, w, c) float32; gradients of one output's margin.

    Returns:
        (n, h, w) float32, ≥ 0, in units of the margin; as tf-keras-vis computes it before scaling.

    Source: Jiang et al. 2021, LayerCAM: exploring hierarchical class activation maps for localization, equations 4–6,
    for one layer; the paper's fusion of several is left to the reader.
    """
    import tensorflow as tf

    return tf.nn.relu(tf.reduce_sum(activations * tf.nn.relu(gradients), axis=-1))


def prepare(problem: Problem, settings: LayerSettings, watch: Watch) -> Prepared:
    return class_activation_maps(problem, find_layer(problem, settings.layer), layer_cam, watch)


TECHNIQUE = Technique(
    name="layercam",
    title="LayerCAM",
    modality="image",
    scope="local",
    settings=LayerSettings,
    prepare=prepare,
    unfit=unfit,
    batch=ROWS,
    source="Jiang et al. 2021, https://doi.org/10.1109/TIP.2021.3089943",
)
