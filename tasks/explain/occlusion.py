"""Occlusion: how far the output falls when a patch of the image is hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from tasks.errors import ConfigError
from tasks.explain.base import Prepared, Problem, Saliency, Settings, Technique
from tasks.explain.engine.gradients import (
    TRACING,
    Baseline,
    baseline_image,
    even_batch,
    finite,
    fitting_batch,
    map_quality,
    padded,
    static_batch,
)
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf

#: patches that fit side by side along the image's shorter side, where the config does not say how large one is
ALONG = 8
#: patches of one image that a setting may ask for
MOST_PATCHES = 100_000
_WHERE = "explain.techniques.occlusion"


class OcclusionSettings(Settings):
    patch: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Side of the patch in pixels; default: an eighth of the image's shorter side.",
    )
    stride: int | None = Field(None, ge=1, le=10_000, description="Pixels from patch to patch; default: half a patch.")
    baseline: Baseline = Field(
        "background", description="What a patch shows: the mean of the background images, or one level."
    )


def unfit(problem: Problem, settings: OcclusionSettings) -> str | None:
    return None if problem.modality == "image" else "it hides parts of an image; the model takes a table"


def sizes(problem: Problem, settings: OcclusionSettings) -> tuple[int, int]:
    """Side of the patch and stride, in pixels.

    Raises:
        ConfigError: the image has no room for the patch, or patches leave gaps, or are too many.
    """
    height, width = problem.rows.shape[1:3]
    patch = settings.patch or max(1, round(min(height, width) / ALONG))
    if patch > min(height, width):
        raise ConfigError(
            f"{patch} pixels are more than the model's images of {width} × {height} have",
            where=f"{_WHERE}.patch",
            hint=f"at most {min(height, width)}",
        )
    stride = settings.stride or -(-patch // 2)
    if stride > patch:
        raise ConfigError(
            f"patches of {patch} pixels every {stride} leave gaps", where=f"{_WHERE}.stride", hint=f"at most {patch}"
        )
    count = len(edges(height, patch, stride)) * len(edges(width, patch, stride))
    if count > MOST_PATCHES:
        raise ConfigError(
            f"{count:,} patches an image are more than {MOST_PATCHES:,}",
            where=f"{_WHERE}.stride",
            hint="make it larger",
        )
    return patch, stride


def edges(side: int, patch: int, stride: int) -> np.ndarray:
    """(p,) int64 where patches begin, rising; the last one ends where the image ends."""
    last = side - patch
    return np.append(np.arange(0, last, stride), last)


def prepare(problem: Problem, settings: OcclusionSettings, watch: Watch) -> Prepared:
    """For each pixel the mean, over the patches that hide it, of the output's fall when they do.

    In units of the explained output: positive where the image speaks for it. The images behind one another are masked
    in the compiled graph; all outputs come from the same evaluations.

    Source: Zeiler and Fergus 2014, Visualizing and understanding convolutional networks, section 4.2, where a map has
    one value a position of the patch; spread over the pixels as captum does, but that patches at the right and lower
    edge are moved inwards where captum cuts them off.
    """
    height, width = problem.rows.shape[1:3]
    patch, stride = sizes(problem, settings)
    top, left = (
        grid.ravel() for grid in np.meshgrid(edges(height, patch, stride), edges(width, patch, stride), indexing="ij")
    )
    covers = _covered(np.ones((1, len(top))), top, left, patch, (height, width))[0]
    scores_hidden = _hidden_scores(problem, baseline_image(problem, settings.baseline), patch, top, left, watch)

    def explain(rows: np.ndarray, explained: np.ndarray) -> Saliency:
        scores = np.take_along_axis(problem.predictor(rows, problem.kind, watch), explained, axis=1)
        maps = np.empty((*explained.shape, height, width), np.float32)
        for row, (image, wanted) in enumerate(zip(rows, explained, strict=True)):
            falls = scores[row][:, np.newaxis] - scores_hidden(image).astype(np.float64)[:, wanted].T
            maps[row] = _covered(falls, top, left, patch, (height, width)) / covers
        return Saliency(
            finite(maps, "occlusion"), signed=True, quality=map_quality(maps), evaluations=len(rows) * (len(top) + 1)
        )

    facts = {
        "patch": patch, "stride": stride, "patches": len(top), "baseline": settings.baseline, "output": problem.kind,
    }  # fmt: skip
    return Prepared(explain, facts)


def _covered(values: np.ndarray, top: np.ndarray, left: np.ndarray, patch: int, shape: tuple[int, int]) -> np.ndarray:
    """(m, p) a value a patch → (m, h, w): for each pixel the sum over the patches that hide it."""
    found = np.zeros((len(values), *shape))
    for place, (y, x) in enumerate(zip(top, left, strict=True)):
        found[:, y : y + patch, x : x + patch] += values[:, place, np.newaxis, np.newaxis]
    return found


def _hidden_scores(
    problem: Problem, base: np.ndarray, patch: int, top: np.ndarray, left: np.ndarray, watch: Watch
) -> Callable[[np.ndarray], np.ndarray]:
    """image (h, w, c) → (p, k) float32: the outputs with each of the patches hidden, in batches of one shape."""
    import tensorflow as tf

    graph = problem.predictor.graph(problem.kind)
    height, width = problem.rows.shape[1:3]
    count = len(top)
    batch = static_batch(problem) or even_batch(count, fitting_batch(problem, count))
    hidden = tf.constant(base)

    def inside(first: tf.Tensor, side: int) -> tf.Tensor:
        place = tf.range(side)[tf.newaxis]
        return (place >= first[:, tf.newaxis]) & (place < first[:, tf.newaxis] + patch)

    def outputs(image: tf.Tensor, top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        mask = inside(top, height)[:, :, tf.newaxis] & inside(left, width)[:, tf.newaxis, :]
        return graph(tf.where(mask[..., tf.newaxis], hidden, image))

    edge = tf.TensorSpec([batch], tf.int32)
    signature = [tf.TensorSpec(problem.rows.shape[1:], tf.float32), edge, edge]
    with TRACING:
        compiled = tf.function(outputs, input_signature=signature, autograph=False).get_concrete_function()
    batches = [
        [tf.constant(padded(edge[first : first + batch], batch), tf.int32) for edge in (top, left)]
        for first in range(0, count, batch)
    ]

    def scores(image: np.ndarray) -> np.ndarray:
        pixels = tf.constant(image, tf.float32)
        found = []
        for places in batches:
            found.append(compiled(pixels, *places).numpy())
            watch.advance(0)
        return np.concatenate(found)[:count]

    return scores


TECHNIQUE = Technique(
    name="occlusion",
    title="Occlusion",
    modality="image",
    scope="local",
    settings=OcclusionSettings,
    prepare=prepare,
    unfit=unfit,
    batch=16,
    source="Zeiler and Fergus 2014, https://doi.org/10.1007/978-3-319-10590-1_53",
)
