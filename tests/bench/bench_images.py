"""Image techniques beside tf-keras-vis, shap and lime: a small CNN on 96×96, and the bundled digit model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import DOCUMENTED, FAST, OURS, Bench, Speed, in_turn, main, seconds
from subjects import Case, digits, floor_line, small_cnn
from techniques import local, others

from tasks.explain import TECHNIQUES, grad_cam, lime_image_superpixels, shapley_image

#: points a map, for expected gradients
SAMPLES = 50
#: perturbed images a row, for LIME
PERTURBED = 500
#: rows of what costs many passes a row
FEW = 8
#: techniques that have a table of their own
COMPARED = ("gradcam", "shap", "lime")


def run(bench: Bench) -> None:
    for make in (small_cnn, digits):
        case = make(bench)
        cams(bench, case)
        others(
            bench, case, [t for t in TECHNIQUES if t.modality == "image" and t.name not in COMPARED], "Other techniques"
        )
        shap_of_images(bench, case)
        lime_of_images(bench, case)


# ---------------------------------------------------------------- Grad-CAM


def cams(bench: Bench, case: Case) -> None:
    n = len(case.problem.rows)
    about = f"{n} images in a batch; overhead is in forward passes of the same batch. {floor_line(case)}"
    with bench.speed(f"Grad-CAM, {case.name}", about) as table:
        with table.attempt(OURS):
            _own_cams(bench, case, table)
        with table.attempt("tf-keras-vis"):
            _library_cams(bench, case, table)


def _own_cams(bench: Bench, case: Case, table: Speed) -> None:
    n, classes = len(case.problem.rows), len(case.problem.outputs)
    for outputs, who in ((1, f"{OURS}, one class"), (None, f"{OURS}, all {classes} classes")):
        found = local(case, case.first(n, outputs), grad_cam.TECHNIQUE, most=bench.size(15, 1))
        over = case.overhead(found.taken, n, found.rate)
        if outputs == 1:
            table.floor(n, n, found.rate)
        table.line(who, n, found.taken, overhead=over)
        if outputs == 1:
            bench.figure(f"gradcam.overhead.{case.key}", over)
            bench.profiled(f"gradcam.{case.key}", found.work)


def _library_cams(bench: Bench, case: Case, table: Speed) -> None:
    """tf-keras-vis with the settings that make it Grad-CAM as published, on the model's logits as it asks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tf_keras_vis.gradcam import Gradcam
    import keras

    model, n = case.model, len(case.matrix)
    plain = keras.layers.Dense(len(case.problem.outputs))
    logits = keras.Model(model.inputs, plain(model.layers[-1].input))
    plain.set_weights(model.layers[-1].get_weights())
    cam = Gradcam(logits, clone=False)
    found = grad_cam.find_layer(case.problem)
    assert found is not None

    def theirs(images: np.ndarray) -> Any:
        return cam(
            lambda output: output[:, 0], images, penultimate_layer=found.name, seek_penultimate_conv_layer=False,
            expand_cam=False, normalize_cam=False,
        )  # fmt: skip

    theirs(case.matrix)
    taken = seconds(lambda: theirs(case.matrix), bench.size(5, 1))
    over = case.overhead(taken, n)
    bench.figure(f"gradcam.batched.{case.key}", table.line("tf-keras-vis, batched, one class", n, taken, overhead=over))
    few = min(FEW, n)
    taken = seconds(lambda: [theirs(image[None]) for image in case.matrix[:few]])
    over, who = case.overhead(taken, few), "tf-keras-vis, one by one, as documented"
    table.line(who, few, taken, overhead=over, note=f"{few} images")


# ---------------------------------------------------------------- SHAP and LIME


def shap_of_images(bench: Bench, case: Case) -> None:
    rows, outputs, samples = bench.size(FEW, 1), len(case.problem.outputs), bench.size(SAMPLES, 4)
    some = case.first(rows)
    passes = samples * (1 + outputs)
    about = f"Expected gradients, {samples} points × {outputs} classes: {passes} passes an image. {floor_line(case)}"
    with bench.speed(f"SHAP of images, {case.name}", about) as table:
        with table.attempt(OURS):
            found = local(case, some, shapley_image.TECHNIQUE, most=2, samples=samples)
            over = case.overhead(found.taken, rows * passes, found.rate)
            table.floor(rows, rows * passes, found.rate)
            table.line(OURS, rows, found.taken, overhead=over)
            bench.profiled(f"shap.{case.key}", found.work)
        with table.attempt("shap.GradientExplainer"):
            few = case.first(1)
            library = local(case, few, shapley_image.TECHNIQUE, most=1, samples=samples, estimator="shap.gradient")
            over = case.overhead(library.taken, passes)
            table.line("shap.GradientExplainer, equal points", 1, library.taken, overhead=over, note="1 image")


def lime_of_images(bench: Bench, case: Case) -> None:
    rows, perturbed = bench.size(FEW, 1), bench.size(PERTURBED, 20)
    about = f"{perturbed} perturbed images a row, all classes. {floor_line(case)}"
    with bench.speed(f"LIME of images, {case.name}", about) as table:
        with table.attempt(OURS):
            # fewest: as the package segments, whatever it finds
            found = local(case, case.first(rows), lime_image_superpixels.TECHNIQUE, most=2, samples=perturbed, fewest=1)
            over = case.overhead(found.taken, rows * perturbed, found.rate)
            table.floor(rows, rows * perturbed, found.rate)
            table.line(OURS, rows, found.taken, overhead=over)
            bench.profiled(f"lime.{case.key}", found.work)
        with table.attempt("lime_image"):
            predictor = case.problem.predictor
            for who, predict, batch in (
                (FAST, lambda images: predictor(images * 255), 64),
                (DOCUMENTED, lambda images: case.model.predict(images, verbose=0), 10),
            ):
                taken = _library_lime(case, predict, batch, perturbed)
                over = case.overhead(taken, perturbed)
                table.line(f"lime_image {who}", 1, taken, overhead=over, note="1 image")


def _library_lime(case: Case, predict: Callable[[np.ndarray], np.ndarray], batch: int, perturbed: int) -> float:
    from lime.lime_image import LimeImageExplainer

    channels = case.problem.rows.shape[-1]
    picture = case.problem.rows[0].astype(np.float64) / 255

    def work(samples: int) -> None:
        LimeImageExplainer(random_state=0).explain_instance(
            picture if channels == 3 else picture[..., 0], lambda images: predict(images[..., :channels]),
            top_labels=len(case.problem.outputs), num_samples=samples, batch_size=batch,
        )  # fmt: skip

    in_turn({"warm": lambda: work(batch)}, 1)
    return seconds(lambda: work(perturbed))


if __name__ == "__main__":
    main(__file__, run, __doc__)
