"""LIME for images: superpixels switched off at random, and a weighted ridge of the output on what was left on.

Perturbed images of several rows share the calls of the model, each made inside the compiled graph from its row's image;
other rows are cut into superpixels meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from tasks.errors import OutputError
from tasks.explain.base import OF_BATCH, Prepared, Problem, Saliency, Settings, Technique
from tasks.explain.engine.gradients import even_batch, fitting_batch, map_quality, padded, static_batch
from tasks.explain.engine.lime_regression import fit, threads
from tasks.watch import Watch

if TYPE_CHECKING:
    import tensorflow as tf

#: perturbed images a call of the model
BATCH = 256
#: images that are explained together
TOGETHER = 16
#: squares on the longer side of the grid that stands in where an image has no segments
GRID = 8


class LimeImageSettings(Settings):
    samples: int = Field(500, ge=2, le=1_000_000, description="Perturbed images a row; lime's own default is 1000.")
    segmentation: Literal["quickshift", "slic", "grid"] = "quickshift"
    fewest: int = Field(
        16,
        ge=1,
        le=1000,
        description="Where quickshift as lime sets it finds fewer superpixels, a finer one is tried, then a grid.",
    )
    features: int | None = Field(None, ge=1, description="Superpixels that the local model may use; default: all.")
    kernel_width: float = Field(0.25, gt=0)


def unfit(problem: Problem, settings: LimeImageSettings) -> str | None:
    if problem.modality != "image":
        return "it switches off superpixels of an image; the model takes a table"
    height, width = problem.rows.shape[1:3]
    if height * width < 2:
        return "an image of one pixel has no superpixels"
    return None


# ---------------------------------------------------------------------------------------------------------------------
# superpixels


def superpixels(image: np.ndarray, settings: LimeImageSettings, seed: int) -> tuple[np.ndarray, str | None]:
    """The segments that LIME switches on and off.

    Args:
        image: (h, w, c) float32, 0–255. Three or four channels are red, green, blue (and opacity), fewer are grey.
        seed: for quickshift's tie-breaking.

    Returns:
        (h, w) int64 with values 0 … p − 1, and a sentence where the segmentation is not the one asked for.
    """
    height, width, channels = image.shape
    grey = image[..., :3] if channels >= 3 else np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    # scikit-image takes floats as they are: 0–1 is what it makes of 0–255 integers.
    picture = grey.astype(np.float64) / 255
    if settings.segmentation == "grid":
        return grid(height, width), None
    if settings.segmentation == "slic":
        found = _numbered(_segmented("slic", picture, n_segments=50, compactness=10, start_label=0))
        return (found, None) if found.max() + 1 >= settings.fewest else (grid(height, width), _REGULAR)
    for kernel in (4, 2, 1):
        # lime_image's own settings, but for the kernel when it is too coarse for the image
        found = _numbered(
            _segmented("quickshift", picture, kernel_size=kernel, max_dist=200, ratio=0.2, random_seed=seed)
        )
        if found.max() + 1 >= settings.fewest:
            return found, None if kernel == 4 else _FINER
    return grid(height, width), _REGULAR


_FINER = (
    "LIME's quickshift found too few superpixels at its default kernel size of 4 (the image is small or flat), so a"
    " smaller kernel was used"
)
_REGULAR = "LIME's segmentation found too few superpixels, so a regular grid was used"


def _segmented(kind: str, picture: np.ndarray, **settings: float) -> np.ndarray:
    from lime.wrappers.scikit_image import SegmentationAlgorithm

    return SegmentationAlgorithm(kind, **settings)(picture)


def _numbered(segments: np.ndarray) -> np.ndarray:
    """The same segments, numbered without gaps."""
    return np.unique(segments, return_inverse=True)[1].reshape(segments.shape)


def grid(height: int, width: int) -> np.ndarray:
    """(h, w) int64: squares, GRID of them on the longer side, or one a pixel where there are fewer pixels."""
    side = -(-max(height, width) // GRID)
    rows, columns = np.arange(height) // side, np.arange(width) // side
    return rows[:, None] * (columns[-1] + 1) + columns[None, :]


def hidden(image: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """(h, w, c) float32: the image with every superpixel in its own mean colour."""
    flat, count = segments.ravel(), np.bincount(segments.ravel())
    means = [np.bincount(flat, channel.ravel().astype(np.float64)) / count for channel in np.moveaxis(image, -1, 0)]
    return np.stack([mean[segments] for mean in means], axis=-1).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# local model


def on_off(samples: int, count: int, state: np.random.RandomState) -> np.ndarray:
    """(samples, count) int64: 1 where a superpixel is shown. The first row is the image itself."""
    data = state.randint(0, 2, samples * count).reshape(samples, count)
    data[0] = 1
    return data


def sample_weights(data: np.ndarray, kernel_width: float) -> np.ndarray:
    """(samples,) the exponential kernel of the cosine distance to the first row, under the root, as lime has it."""
    norms = np.sqrt((data**2).sum(axis=1))
    cosine = np.divide(data @ data[0], norms * norms[0], out=np.zeros(len(data)), where=norms > 0)
    distance = np.clip(1 - cosine, 0, 2)
    return np.sqrt(np.exp(-(distance**2) / kernel_width**2))


def local_model(data: np.ndarray, outputs: np.ndarray, settings: LimeImageSettings) -> tuple[np.ndarray, np.ndarray]:
    """The regression of lime_base: outputs on which superpixels are shown.

    Args:
        data: (s, p) of 0 and 1. outputs: (s, m).

    Returns:
        (m, p) weights of the superpixels, 0 for those not chosen, and (m,) weighted R², NaN where an output does not
        vary.
    """
    columns = np.concatenate([np.ones((len(data), 1)), data, outputs], axis=1)
    moments = columns.T @ (columns * sample_weights(data, settings.kernel_width)[:, None])
    fits = fit(moments[None], outputs.shape[1], np.ones((1, data.shape[1])), settings.features)
    # What is left where nothing varies is rounding, and a map of it would look like any other.
    return np.where(np.isnan(fits.r2[0])[:, None], 0.0, fits.coefficients[0]), fits.r2[0]


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cut:
    """An image, (h, w, c), its superpixels, (h, w), which are shown, (samples, p), and what is to be said of them."""

    image: np.ndarray
    segments: np.ndarray
    data: np.ndarray
    note: str | None


def prepare(problem: Problem, settings: LimeImageSettings, watch: Watch) -> Prepared:
    """Every row is explained from the same seed, as by a `LimeImageExplainer(random_state=seed)` made for it alone."""
    seed = int(problem.generator("lime").integers(2**31))
    outputs_of = perturbed_outputs(problem, settings.samples, watch)

    def cut(image: np.ndarray) -> _Cut:
        state = np.random.RandomState(seed)  # lime's own generator
        segments, note = superpixels(image, settings, int(state.randint(0, high=1000)))
        return _Cut(image, segments, on_off(settings.samples, segments.max() + 1, state), note)

    def explain(rows: np.ndarray, explained: np.ndarray) -> Saliency:
        maps = np.empty((*explained.shape, *rows.shape[1:3]), np.float32)
        segments = np.empty((len(rows), *rows.shape[1:3]), np.int64)
        score, count = np.empty(explained.shape), np.empty(explained.shape)
        notes: dict[str, np.ndarray] = {}
        found: list[_Cut] = []
        with ThreadPoolExecutor(threads()) as pool:
            outputs = outputs_of(kept(pool.map(cut, rows), found))
        for row, one in enumerate(found):
            weights, score[row] = local_model(one.data, outputs[row][:, explained[row]], settings)
            maps[row], segments[row] = weights[:, one.segments], one.segments
            count[row] = one.segments.max() + 1
            if one.note:
                notes.setdefault(one.note, np.zeros(len(rows), bool))[row] = True
        quality = {"local_r2": score, "superpixels": count, **map_quality(maps)}
        evaluations = settings.samples * len(rows)
        return Saliency(maps, signed=True, quality=quality, notes=notes, evaluations=evaluations, segments=segments)

    facts = {
        "samples": settings.samples,
        "segmentation": settings.segmentation,
        "features": settings.features,
        "kernel_width": settings.kernel_width,
        "random_state": seed,
        "output": problem.kind,
    }
    return Prepared(explain, facts)


def perturbed_outputs(problem: Problem, samples: int, watch: Watch) -> Callable[[Iterable[_Cut]], np.ndarray]:
    """A compiled function: images cut into superpixels → (images, samples, k) float64, outputs of what `data` shows."""
    import tensorflow as tf

    graph = problem.predictor.graph(problem.kind)
    batch = static_batch(problem) or even_batch(TOGETHER * samples, fitting_batch(problem, BATCH, largest=BATCH))
    shape = problem.rows.shape[1:]

    def outputs(
        images: tf.Tensor, behind: tf.Tensor, segments: tf.Tensor, row: tf.Tensor, data: tf.Tensor
    ) -> tf.Tensor:
        flat = tf.reshape(tf.gather(segments, row), [batch, -1])
        shown = tf.reshape(tf.gather(data, flat, batch_dims=1), [batch, *shape[:2], 1])
        return graph(tf.where(shown, tf.gather(images, row), tf.gather(behind, row)))

    signature = [
        tf.TensorSpec([None, *shape], tf.float32),
        tf.TensorSpec([None, *shape], tf.float32),
        tf.TensorSpec([None, *shape[:2]], tf.int32),
        tf.TensorSpec([batch], tf.int32),
        tf.TensorSpec([batch, None], tf.bool),
    ]
    compiled = tf.function(outputs, input_signature=signature, autograph=False).get_concrete_function()

    def call(waiting: list[tuple[_Cut, np.ndarray]]) -> np.ndarray:
        """The outputs of some samples of some images; at most a batch together."""
        cuts, sizes = [one for one, _ in waiting], [len(data) for _, data in waiting]
        shown = np.zeros((sum(sizes), max(data.shape[1] for _, data in waiting)), bool)
        for place, (_, data) in zip(np.cumsum([0, *sizes]), waiting, strict=False):
            shown[place : place + len(data), : data.shape[1]] = data
        found = compiled(
            tf.constant(np.stack([one.image for one in cuts]), tf.float32),
            tf.constant(np.stack([hidden(one.image, one.segments) for one in cuts]), tf.float32),
            tf.constant(np.stack([one.segments for one in cuts]), tf.int32),
            tf.constant(padded(np.repeat(np.arange(len(cuts)), sizes), batch), tf.int32),
            tf.constant(padded(shown, batch), tf.bool),
        )
        watch.advance(0)
        return found.numpy()[: len(shown)]

    def evaluate(cuts: Iterable[_Cut]) -> np.ndarray:
        parts: list[np.ndarray] = []
        waiting: list[tuple[_Cut, np.ndarray]] = []
        room = batch
        for one in cuts:
            data = one.data
            while len(data):
                waiting.append((one, data[:room]))
                data, room = data[room:], room - len(waiting[-1][1])
                if room == 0:
                    parts.append(call(waiting))
                    waiting, room = [], batch
        if waiting:
            parts.append(call(waiting))
        result = np.concatenate(parts).astype(np.float64)
        result = result.reshape(-1, samples, result.shape[1])
        bad = np.flatnonzero(~np.isfinite(result).all(axis=(1, 2)))
        if len(bad):
            raise OutputError(
                "the model returned NaN or infinity where LIME had hidden superpixels of images",
                where="model.path",
                values=bad[:5].tolist(),
                hint="look at the model's answer to such images, or leave lime out",
                code=OF_BATCH,
            )
        return result

    return evaluate


def kept(cuts: Iterable[_Cut], found: list[_Cut]) -> Iterable[_Cut]:
    """The same, each put into `found` as it comes by."""
    for one in cuts:
        found.append(one)
        yield one


TECHNIQUE = Technique(
    name="lime",
    title="LIME",
    modality="image",
    scope="local",
    settings=LimeImageSettings,
    prepare=prepare,
    unfit=unfit,
    batch=TOGETHER,
    source="Ribeiro, Singh and Guestrin 2016, https://doi.org/10.1145/2939672.2939778; lime 0.2.0.1, lime_image",
)
