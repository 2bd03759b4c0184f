"""The shared part of gradient techniques: batches that fit, sums over samples."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.explain.base import Problem
from tasks.explain.engine import gradients
from tasks.explain.engine.gradients import baseline_image, even_batch, fitting_batch, padded, path_rule, relative_error

keras = pytest.importorskip("keras")
layers = keras.layers
Maker = Callable[..., Problem]
Pictures = Callable[..., np.ndarray]


def small(**more: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)), layers.Conv2D(3, 3, name="conv", **more), layers.Flatten(),
            layers.Dense(2, "softmax", name="out"),
        ]
    )  # fmt: skip


def test_fitting_batch(image_problem: Maker, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = image_problem(small(), pictures(1, (8, 8, 1)))
    assert fitting_batch(problem, 1000, outputs=10) == gradients.LARGEST_BATCH
    assert fitting_batch(problem, 7, outputs=1) == 7
    assert fitting_batch(problem, 1000, largest=500) == 500
    monkeypatch.setattr(gradients, "MEMORY", 10_000)
    some = fitting_batch(problem, 1000, outputs=1)
    assert 1 <= some < 20
    assert fitting_batch(problem, 1000, outputs=50) <= some
    monkeypatch.setattr(gradients, "MEMORY", 1)
    assert fitting_batch(problem, 1000) == 1


@pytest.mark.parametrize(
    ("rows", "largest", "expected"), [(500, 256, 250), (100, 128, 100), (1, 5, 1), (257, 256, 129)]
)
def test_even_batch(rows: int, largest: int, expected: int) -> None:
    assert even_batch(rows, largest) == expected


def test_padded_repeats_the_last_row() -> None:
    np.testing.assert_array_equal(padded(np.array([[1], [2]]), 4)[:, 0], [1, 2, 2, 2])
    np.testing.assert_array_equal(padded(np.array([[1], [2]]), 2)[:, 0], [1, 2])


def test_path_rule_is_exact_for_polynomials() -> None:
    places, weights = path_rule(4)
    for power in range(8):
        np.testing.assert_allclose((weights * places**power).sum(), 1 / (power + 1), rtol=1e-12)


@pytest.mark.parametrize(("baseline", "level"), [("black", 0), ("gray", 127.5), ("white", 255), ("background", 60)])
def test_baseline_image(baseline: Any, level: float, image_problem: Maker) -> None:
    ground = np.stack([np.full((8, 8, 1), 50.0), np.full((8, 8, 1), 70.0)])
    found = baseline_image(image_problem(small(), np.zeros((1, 8, 8, 1)), background=ground), baseline)
    np.testing.assert_array_equal(found, np.full((8, 8, 1), level, np.float32))


def test_relative_error_by_hand() -> None:
    """Two samples, (3, 0) and (1, 0): mean (2, 0), standard error 1; a map of zeros has none."""
    found = relative_error(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([[9.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, [0.5, np.nan])


#: every gradient technique on small problems; prints a digest a technique
_ON_THREADS = """
import hashlib, sys
sys.path.insert(0, sys.argv[2])
import keras, numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
from conftest import make_image_problem, make_network, make_pictures, make_table_problem
from tasks.explain import TECHNIQUES
from tasks.watch import Watch
keras.utils.set_random_seed(0)
L = keras.layers
model = keras.Sequential([keras.Input((48, 48, 3)), L.Conv2D(12, 3, activation="relu"), L.MaxPooling2D(),
                          L.Conv2D(16, 3, activation="relu"), L.GlobalAveragePooling2D(), L.Dense(3, "softmax")])
images = make_image_problem(model, make_pictures(5, (48, 48, 3)))
rng = np.random.default_rng(0)
table = make_table_problem(make_network(20, 2, hidden=(64, 64)), rng.normal(size=(40, 20)), rng.normal(size=(30, 20)))
wanted = ("gradcam", "gradcam_plus_plus", "hirescam", "layercam", "integrated_gradients", "smooth_grad", "occlusion")
for technique in TECHNIQUES:
    if technique.name in wanted:
        problem = images if technique.modality == "image" else table
        found = technique.prepare(problem, technique.settings(), Watch()).explain(problem.rows, problem.explained)
        values = found.maps if technique.modality == "image" else found.values
        print(technique.name, technique.modality, hashlib.sha256(values.tobytes()).hexdigest())
"""


def test_number_of_threads_changes_nothing() -> None:
    here = str(Path(__file__).parents[1])  # where the makers are
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", _ON_THREADS, threads, here],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[4],
        )
        for threads in ("1", "3")
    ]
    one, three = (run.communicate()[0] for run in runs)
    assert all(run.returncode == 0 for run in runs)
    assert len(one.splitlines()) == 9
    assert one == three
