"""The four models that everything is measured on, each with its floor.

The unit is the model evaluation: a row through the bare compiled model, at the batch size, with or without XLA, that
gives the most rows a second. *Floor* is that rate; *overhead* is time over what the same number of evaluations takes
at the floor, both measured in turn, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from harness import ROOT, Bench, in_turn, number, repeats_for, seconds

from configs.schema import AuditConfig
from tasks.explain.base import Problem
from tasks.load import Subject, open_subject, tensorflow
from tasks.load.arrangement import Pixels, identity
from tasks.load.encoding import Feature
from tasks.load.outputs import describe
from tasks.load.predictor import Predictor

BACKGROUND = 100
REFERENCE = 5000
#: rows the floor is measured on, all of them other rows: a table's come from memory too
FLOOR_ROWS = 131_072
TABLE_BATCHES = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
IMAGE_BATCHES = (16, 32, 64, 128)
#: images are tried with XLA at this batch only: convolutions compile for long and win little
IMAGE_XLA_BATCH = 32


@dataclass(frozen=True)
class Floor:
    """The bare compiled model at its best.

    Attributes:
        rate: rows a second.
        batch, xla: where the best was found.
        work: one pass over `rows` rows.
    """

    rate: float
    batch: int
    xla: bool
    rows: int
    work: Callable[[], Any]

    @property
    def way(self) -> str:
        return f"batches of {self.batch:,}, {'with' if self.xla else 'without'} XLA"


@dataclass(frozen=True)
class Case:
    """A model under measurement.

    Attributes:
        key: `adult`, `mlp`, `cnn`, `digits`: part of the names of figures.
        name: for people.
        problem: what a technique is given.
        model: the Keras model as the libraries would be given it.
        matrix: (n, width) what the model itself takes for the problem's rows, float32; images scaled.
        background: the same of the problem's background.
        documented: raw rows → outputs by `model.predict`, as the libraries' documentation does it.
        floor: of the model.
    """

    key: str
    name: str
    problem: Problem
    model: Any
    matrix: np.ndarray
    background: np.ndarray
    documented: Callable[[np.ndarray], np.ndarray]
    floor: Floor

    def first(self, rows: int, outputs: int | None = None) -> Problem:
        """The problem on its first rows and outputs."""
        cut = {"target": self.problem.target[:rows]} if len(self.problem.target) else {}
        some = self.problem.explained[:rows, :outputs]
        return replace(self.problem, rows=self.problem.rows[:rows], explained=some, **cut)

    def longer(self, times: int) -> Case:
        """The same with the problem's rows so many times, one after the other."""
        own = self.problem
        rows, target = np.tile(own.rows, (times, 1)), np.tile(own.target, times)
        explained = np.tile(own.explained, (times, 1))
        problem = replace(own, rows=rows, target=target, explained=explained, positions=np.arange(len(rows)))
        return replace(self, problem=problem)

    def beside_floor(self, work: Callable[[], Any], *, budget: float = 6.0, most: int = 7) -> tuple[float, float]:
        """Seconds of the work and rows a second of the floor, both the best of runs in turn."""
        once = seconds(work)
        often = range(repeats_for(self.floor.rows / self.floor.rate, once, 10))  # a pass is short beside the work
        works = {"work": work} | {f"floor {again}": self.floor.work for again in often}
        found = in_turn(works, repeats_for(2 * once, budget, most))
        return min(once, found.pop("work")), self.floor.rows / min(found.values())

    def overhead(self, taken: float, evaluations: int, rate: float | None = None) -> float:
        """Time over what the evaluations take at the floor."""
        return taken / (evaluations / (rate or self.floor.rate))


# ---------------------------------------------------------------- the floor


def import_tensorflow() -> Any:
    """TensorFlow without its warnings: what is prepared again and again is compiled anew, and it would say so."""
    tf = tensorflow()
    tf.get_logger().setLevel("ERROR")
    return tf


def bare(model: Any, batch: int, *, xla: bool) -> Callable[[Any], Any]:
    """The model compiled for one batch size, nothing around it."""
    tf = tensorflow()
    signature = [tf.TensorSpec((batch, *model.inputs[0].shape[1:]), tf.float32)]
    function = tf.function(
        lambda x: model(x, training=False), input_signature=signature, autograph=False, jit_compile=xla
    )
    return function.get_concrete_function()


def passes(model: Any, inputs: np.ndarray, batch: int, *, xla: bool) -> Callable[[], Any]:
    """One pass over all whole batches of the inputs, which are tensors already."""
    tf = tensorflow()
    function = bare(model, batch, xla=xla)
    tensors = [tf.constant(inputs[at : at + batch]) for at in range(0, len(inputs) - batch + 1, batch)]
    return lambda: [function(tensor) for tensor in tensors][-1].numpy()


def floor_of(model: Any, inputs: np.ndarray, batches: tuple[int, ...], xla_batches: tuple[int, ...]) -> Floor:
    """Looks for the best: every way once or twice, then the three fastest in turn."""
    ways = [(b, False) for b in batches if b <= len(inputs)] + [(b, True) for b in xla_batches if b <= len(inputs)]
    rows = {way: len(inputs) // way[0] * way[0] for way in ways}
    works = {way: passes(model, inputs, way[0], xla=way[1]) for way in ways}
    each = {way: seconds(work, 3) / rows[way] for way, work in works.items()}
    near = sorted(ways, key=each.__getitem__)[:3]
    again = in_turn({str(way): works[way] for way in near}, repeats_for(each[near[0]] * rows[near[0]], 1.5, 15, 3))
    best = min(near, key=lambda way: again[str(way)] / rows[way])
    return Floor(rows[best] / again[str(best)], best[0], best[1], rows[best], works[best])


# ---------------------------------------------------------------- tables


def adult_config(**explain: Any) -> AuditConfig:
    """The bundled audit of version 1 of the model: 13 raw columns, 107 encoded."""
    import yaml

    os.chdir(ROOT)
    values = yaml.safe_load((ROOT / "configs/adult_income.yaml").read_text("utf-8"))
    values["model"]["version"] = 1
    values["explain"] |= {"background": BACKGROUND, **explain}
    return AuditConfig.model_validate(values)


def adult(bench: Bench, rows: int = 2000) -> Case:
    """The bundled Adult model with its preprocessing."""
    from tasks.explain import problem_of

    import_tensorflow()
    subject: Subject = open_subject(adult_config(rows=bench.size(rows, 24)))
    model, encoder, preprocessor = subject.model.keras_model, subject.encoder, subject.model.preprocessor
    assert encoder is not None
    assert preprocessor is not None

    def documented(coded: np.ndarray) -> np.ndarray:
        return model.predict(preprocessor.transform(encoder.frame(coded)), verbose=0)

    def encoded(coded: np.ndarray) -> np.ndarray:
        return np.concatenate([subject.predictor.encode(part).numpy() for part in np.array_split(coded, 8)])

    problem = problem_of(subject)
    matrix = encoded(np.resize(subject.rows, (bench.size(FLOOR_ROWS, 4096), subject.rows.shape[1])))
    name = f"Adult ({len(encoder.features)} raw columns, {matrix.shape[1]} encoded, 64-64-1)"
    floor = _table_floor(bench, model, matrix)
    return Case("adult", name, problem, model, encoded(problem.rows), encoded(problem.background), documented, floor)


def small_network(bench: Bench, rows: int = 2000) -> Case:
    """20-64-64-1 with random weights, on a plain matrix."""
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((20,)), layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(1, "sigmoid")]
    )
    generator = np.random.default_rng(0)
    n = bench.size(rows, 24)
    some, reference = generator.normal(size=(n, 20)), generator.normal(size=(REFERENCE, 20))
    predictor = Predictor(model, describe(model, "binary", ("no", "yes"), "y", "m"), identity(20), (20,))
    problem = Problem(
        modality="table", task="binary", predictor=predictor, kind="probability", rows=some,
        background=reference[:BACKGROUND], reference=reference, explained=np.zeros((n, 1), np.int64),
        target=(generator.random(n) < predictor(some)[:, 0]).astype(np.int64),
        features=tuple(Feature(f"x{j}", "number") for j in range(20)), positions=np.arange(n),
    )  # fmt: skip
    matrix = generator.normal(size=(bench.size(FLOOR_ROWS, 4096), 20)).astype(np.float32)
    floor = _table_floor(bench, model, matrix)
    own = [problem.rows.astype(np.float32), problem.background.astype(np.float32)]
    return Case("mlp", "20-64-64-1 on a matrix", problem, model, *own, lambda x: model.predict(x, verbose=0), floor)


def _table_floor(bench: Bench, model: Any, matrix: np.ndarray) -> Floor:
    batches = (1024,) if bench.quick else TABLE_BATCHES
    return floor_of(model, matrix, batches, batches)


# ---------------------------------------------------------------- images


def small_cnn(bench: Bench) -> Case:
    """Convolutions of 16, 32 and 64 filters on 96×96×3, four classes, random weights."""
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    stack: list[Any] = [keras.Input((96, 96, 3))]
    for filters in (16, 32, 64):
        stack += [layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
    model = keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(4, "softmax")])
    generator = np.random.default_rng(0)
    n, b = bench.size(128, 4), bench.size(32, 4)
    coarse = generator.uniform(0, 255, (n + b, 12, 12, 3)).repeat(8, 1).repeat(8, 2)
    images = np.clip(coarse + generator.normal(0, 10, coarse.shape), 0, 255).astype(np.float32)
    return _images(bench, "cnn", "CNN 16-32-64 on 96×96×3", model, images[:n], images[n:], ("a", "b", "c", "d"))


def digits(bench: Bench) -> Case:
    """The bundled digit model on its scenes."""
    import pyarrow.parquet as pq
    from PIL import Image

    import_tensorflow()
    import keras

    model = keras.saving.load_model(ROOT / "data/models/digit_scenes/1/model.keras", compile=False)

    def pictures(name: str, count: int) -> np.ndarray:
        column = pq.read_table(ROOT / f"data/digit_scenes/{name}.parquet", columns=["image"])["image"]
        pixels = [np.asarray(Image.open(io.BytesIO(value))) for value in column.slice(0, count).to_pylist()]
        return np.stack(pixels)[..., None].astype(np.float32)

    rows, background = pictures("test", bench.size(128, 4)), pictures("reference", bench.size(50, 4))
    classes = tuple(str(digit) for digit in range(10))
    return _images(bench, "digits", "digit scenes, 64×64×1", model, rows, background, classes)


def _images(
    bench: Bench,
    key: str,
    name: str,
    model: Any,
    rows: np.ndarray,
    background: np.ndarray,
    classes: tuple[str, ...],
) -> Case:
    predictor = Predictor(
        model, describe(model, "multiclass", classes, "label", "benchmark"), Pixels(1 / 255), rows.shape[1:]
    )
    problem = Problem(
        modality="image", task="multiclass", predictor=predictor, kind="probability", rows=rows, background=background,
        reference=background, explained=np.tile(np.arange(len(classes)), (len(rows), 1)),
        target=np.full(len(rows), -1), positions=np.arange(len(rows)),
    )  # fmt: skip
    scaled, behind = (images * np.float32(1 / 255) for images in (rows, background))
    batches = (4,) if bench.quick else IMAGE_BATCHES
    floor = floor_of(model, scaled, batches, () if bench.quick else (IMAGE_XLA_BATCH,))

    def documented(images: np.ndarray) -> np.ndarray:
        return model.predict(np.asarray(images, np.float32) * np.float32(1 / 255), verbose=0)

    return Case(key, name, problem, model, scaled, behind, documented, floor)


# ---------------------------------------------------------------- what is said of them


def floor_line(case: Case) -> str:
    """A sentence about the floor."""
    return f"Floor: {number(case.floor.rate)} rows/s ({case.floor.way})"
