"""Image techniques: this project beside tf-keras-vis, shap and lime, all in one process.

A small CNN on 96×96 images with random weights, and the bundled digit model on its scenes. The unit is the forward
pass: rows per second of the bare compiled model at its best batch. `overhead` is time over what the same number of
forward passes would take; a backward pass costs about as much as a forward one.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tasks.explain import grad_cam, lime_image_superpixels, shapley_image
from tasks.explain.base import Problem, Technique
from tasks.load.arrangement import Pixels
from tasks.load.outputs import describe
from tasks.load.predictor import Predictor
from tasks.watch import Watch

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 50  # a map, for expected gradients
PERTURBED = 500  # an image, for LIME


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """The least of several runs, after one that does not count: compiling is not what is compared."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def line(name: str, rows: int, taken: float, floor: float | None = None, beside: str = "") -> None:
    over = f"{taken / floor:10.2f}" if floor else " " * 10
    print(f"  {name:<46}{rows / taken:>12,.1f} rows/s{over}  {beside}", flush=True)


def problem_of(model: Any, rows: np.ndarray, background: np.ndarray, classes: tuple[str, ...], scale: float) -> Problem:
    outputs = describe(model, "multiclass", classes, "label", "benchmark")
    predictor = Predictor(model, outputs, Pixels(scale), rows.shape[1:])
    return Problem(
        modality="image", task="multiclass", predictor=predictor, kind="probability", rows=rows, background=background,
        reference=background, explained=np.tile(np.arange(len(classes)), (len(rows), 1)),
        target=np.full(len(rows), -1),
    )  # fmt: skip


def small_network() -> Problem:
    """Convolutions of 16, 32 and 64 filters on 96×96×3, four classes, random weights."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    stack: list[Any] = [keras.Input((96, 96, 3))]
    for filters in (16, 32, 64):
        stack += [layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
    model = keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(4, "softmax")])
    generator = np.random.default_rng(0)
    coarse = generator.uniform(0, 255, (160, 12, 12, 3)).repeat(8, 1).repeat(8, 2)
    images = np.clip(coarse + generator.normal(0, 10, coarse.shape), 0, 255).astype(np.float32)
    return problem_of(model, images[:128], images[128:], ("a", "b", "c", "d"), 1 / 255)


def digits() -> Problem:
    """The bundled digit model on its scenes."""
    import keras
    import pyarrow.parquet as pq
    from PIL import Image

    model = keras.saving.load_model(ROOT / "data/models/digit_scenes/1/model.keras", compile=False)

    def pictures(name: str, count: int) -> np.ndarray:
        column = pq.read_table(ROOT / f"data/digit_scenes/{name}.parquet", columns=["image"])["image"]
        images = [np.asarray(Image.open(io.BytesIO(value))) for value in column.slice(0, count).to_pylist()]
        return np.stack(images)[..., None].astype(np.float32)

    classes = tuple(str(digit) for digit in range(10))
    return problem_of(model, pictures("test", 128), pictures("reference", SAMPLES), classes, 1 / 255)


def taken_by(technique: Technique, problem: Problem, repeats: int = 3, **settings: Any) -> float:
    explain = technique.prepare(problem, technique.settings(**settings), Watch()).explain  # type: ignore[union-attr]
    return seconds(lambda: explain(problem.rows, problem.explained), repeats)


def first(problem: Problem, rows: int, outputs: int | None = None) -> Problem:
    """The problem on its first rows and outputs."""
    return replace(problem, rows=problem.rows[:rows], explained=problem.explained[:rows, :outputs])


def forward(problem: Problem) -> float:
    """Seconds a row of the bare compiled model, at the best of several batches."""
    from tasks.load import tensorflow

    tf = tensorflow()

    best = np.inf
    model = problem.predictor.keras_model
    for batch in (32, 64, 128):
        images = tf.constant(problem.rows[:batch] / np.float32(255))
        bare = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec(images.shape)])
        best = min(best, seconds(lambda bare=bare, images=images: bare(images).numpy(), 10) / batch)
    return float(best)


def bench_grad_cam(problem: Problem, floor: float) -> None:
    rows = len(problem.rows)
    one, every = first(problem, rows, 1), problem
    taken = taken_by(grad_cam.TECHNIQUE, one, 10)
    line("Grad-CAM, one class", rows, taken, floor * rows)
    line(f"Grad-CAM, all {len(problem.outputs)} classes", rows, taken_by(grad_cam.TECHNIQUE, every, 10), floor * rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tf_keras_vis.gradcam import Gradcam
    import keras

    model = problem.predictor.keras_model
    plain = keras.layers.Dense(len(problem.outputs))
    logits = keras.Model(model.inputs, plain(model.layers[-1].input))
    plain.set_weights(model.layers[-1].get_weights())
    cam = Gradcam(logits, clone=False)
    images = problem.rows / np.float32(255)
    found = grad_cam.find_layer(problem)
    assert found is not None

    def theirs(some: np.ndarray) -> Any:
        return cam(
            lambda output: output[:, 0], some, penultimate_layer=found.name, seek_penultimate_conv_layer=False,
            expand_cam=False, normalize_cam=False,
        )  # fmt: skip

    batched = seconds(lambda: theirs(images))
    line("  tf-keras-vis, batched, one class", rows, batched, floor * rows, f"ours {batched / taken:.1f} × as fast")
    few = 8
    single = seconds(lambda: [theirs(image[None]) for image in images[:few]], 1) * rows / few
    line("  tf-keras-vis, one by one, one class", rows, single, floor * rows, f"ours {single / taken:.0f} × as fast")


def bench_shap(problem: Problem, floor: float) -> None:
    rows, outputs = 8, len(problem.outputs)
    some = first(problem, rows)
    unit = floor * rows * SAMPLES * (1 + outputs)
    taken = taken_by(shapley_image.TECHNIQUE, some, 2, samples=SAMPLES)
    line(f"SHAP, {SAMPLES} samples × {outputs} classes", rows, taken, unit)
    few = first(problem, 1)
    library = taken_by(shapley_image.TECHNIQUE, few, 1, samples=SAMPLES, estimator="shap.gradient") * rows
    line("  shap.GradientExplainer, equal samples", rows, library, unit, f"ours {library / taken:.1f} × as fast")


def bench_lime(problem: Problem, floor: float) -> None:
    from lime.lime_image import LimeImageExplainer

    rows = 8
    some = first(problem, rows)
    unit = floor * rows * PERTURBED
    taken = taken_by(lime_image_superpixels.TECHNIQUE, some, 2, samples=PERTURBED, fewest=1)
    line(f"LIME, {PERTURBED} samples, all classes", rows, taken, unit)
    channels = problem.rows.shape[-1]

    def theirs(predict: Callable[[np.ndarray], np.ndarray], batch: int) -> None:
        picture = problem.rows[0].astype(np.float64) / 255
        LimeImageExplainer(random_state=0).explain_instance(
            picture if channels == 3 else picture[..., 0], lambda images: predict(images[..., :channels]),
            top_labels=len(problem.outputs), num_samples=PERTURBED, batch_size=batch,
        )  # fmt: skip

    model = problem.predictor.keras_model
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        fast = seconds(lambda: theirs(lambda images: problem.predictor(images * 255), 64), 1) * rows
        documented = seconds(lambda: theirs(lambda images: model.predict(images, verbose=0), 10), 1) * rows
    line("  lime_image, our predictor", rows, fast, unit, f"ours {fast / taken:.1f} × as fast")
    line("  lime_image, model.predict", rows, documented, unit, f"ours {documented / taken:.1f} × as fast")


def main() -> None:
    from tasks.load import tensorflow

    tf = tensorflow()

    tf.get_logger().setLevel("ERROR")  # shap.GradientExplainer compiles anew for each class, and TensorFlow says so
    print(f"Image techniques, {len(os.sched_getaffinity(0))} cores. Overhead: time over that of equal forward passes.")
    for title, make in (("CNN 16-32-64 on 96×96×3", small_network), ("digit scenes, 64×64×1", digits)):
        problem = make()
        print(f"\n{title}")
        floor = forward(problem)
        line("forward pass, compiled", 1, floor, floor)
        bench_grad_cam(problem, floor)
        bench_shap(problem, floor)
        bench_lime(problem, floor)


if __name__ == "__main__":
    main()
