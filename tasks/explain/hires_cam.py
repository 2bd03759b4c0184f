"""HiResCAM: what each place of the last convolution adds to the margin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.explain.base import Prepared, Problem, Technique
from tasks.explain.engine.activation_maps import ROWS, LayerSettings, class_activation_maps, find_layer, unfit
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf


def hires_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Sum over channels of activation times gradient, place by place.

    Where the layers behind are linear (pooling by the mean or flattening, then one Dense layer without activation), a
    map's sum is the margin less the bias. Negative places speak against the output; no ReLU takes them away.

    Args:
        activations, gradients: (n, h, w, c) float32; gradients of one output's margin.

    Returns:
        (n, h, w) float32, in units of the margin.

    Source: Draelos and Carin 2020, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks, section 3.
    """
    import tensorflow as tf

    return tf.reduce_sum(activations * gradients, axis=-1)


def prepare(problem: Problem, settings: LayerSettings, watch: Watch) -> Prepared:
    return class_activation_maps(problem, find_layer(problem, settings.layer), hires_cam, watch, signed=True)


TECHNIQUE = Technique(
    name="hirescam",
    title="HiResCAM",
    modality="image",
    scope="local",
    settings=LayerSettings,
    prepare=prepare,
    unfit=unfit,
    batch=ROWS,
    source="Draelos and Carin 2020, https://arxiv.org/abs/2011.08891",
)
