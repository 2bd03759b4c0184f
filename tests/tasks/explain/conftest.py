"""What the tests of the techniques share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.explain.base import Problem
from tasks.load.arrangement import Pixels, identity
from tasks.load.encoding import Feature
from tasks.load.outputs import describe
from tasks.load.predictor import Predictor


def make_image_problem(
    model: Any,
    rows: np.ndarray,
    *,
    background: np.ndarray | None = None,
    explained: list[int] | np.ndarray | None = None,
    target: list[int] | None = None,
    boxes: np.ndarray | None = None,
    kind: str = "margin",
    task: str | None = None,
    classes: tuple[str, ...] | None = None,
    scale: float = 1 / 255,
    seed: int = 0,
) -> Problem:
    """A problem with the real predictor around a Keras model; by default all outputs are explained."""
    width = int(np.prod(model.outputs[0].shape[1:]))
    task = task or ("binary" if width == 1 else "multiclass")
    if task != "regression":
        classes = classes or tuple(f"class {i}" for i in range(max(2, width)))
    outputs = describe(model, task, classes or (), "label", "test")
    rows = np.asarray(rows, np.float32)
    predictor = Predictor(model, outputs, Pixels(scale), rows.shape[1:])
    chosen = np.arange(len(predictor.outputs)) if explained is None else np.asarray(explained)
    if chosen.ndim == 1:
        chosen = np.tile(chosen, (len(rows), 1))
    ground = rows[:2] if background is None else np.asarray(background, np.float32)
    return Problem(
        modality="image",
        task=task,
        predictor=predictor,
        kind=kind,
        rows=rows,
        background=ground,
        reference=ground,
        explained=chosen.astype(np.int64),
        target=np.full(len(rows), -1) if target is None else np.array(target),
        boxes=boxes,
        seed=seed,
    )


@pytest.fixture(scope="session")
def image_problem() -> Callable[..., Problem]:
    return make_image_problem


def make_pictures(n: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """(n, *shape) float32, 0–255: smooth blobs with a little noise, so that there is something to segment."""
    generator = np.random.default_rng(seed)
    height, width, channels = shape
    y, x = np.mgrid[:height, :width]
    pictures = np.empty((n, *shape))
    for picture in pictures:
        picture[:] = generator.uniform(0, 60, channels)
        for _ in range(4):
            at, size = generator.uniform(0, [height, width]), generator.uniform(0.1, 0.3) * max(height, width)
            blob = np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * size**2))
            picture += blob[..., None] * generator.uniform(40, 200, channels)
        picture += generator.normal(0, 4, shape)
    return np.clip(pictures, 0, 255).astype(np.float32)


@pytest.fixture
def looked_up(table_problem: Callable[..., Problem]) -> Problem:
    """Codes that a layer looks up come as floats: TensorFlow gives 0 for a feature that the output depends on."""
    import keras

    inputs = keras.Input((3,))
    found = keras.layers.Embedding(5, 2, name="colours")(keras.ops.cast(inputs[:, 0], "int32"))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()([found, inputs[:, 1:]])))
    codes = np.array([[4.0, 0.1, 0.2], [0.0, 0.3, 0.1]])
    return table_problem(model, codes, codes, task="regression", categories={0: 5})


@pytest.fixture(scope="session")
def pictures() -> Callable[..., np.ndarray]:
    return make_pictures


# ---------------------------------------------------------------- tables


def make_table_problem(
    model: Any,
    rows: np.ndarray,
    background: np.ndarray,
    *,
    kind: str = "margin",
    task: str | None = None,
    arrangement: Any = None,
    categories: dict[int, int] | None = None,
    explained: list[int] | np.ndarray | None = None,
    reference: np.ndarray | None = None,
    target: np.ndarray | None = None,
    batch: int = 1024,
    **options: Any,
) -> Problem:
    """A problem with the real predictor around a Keras model; by default the last output is explained.

    Args:
        arrangement: of coded rows; by default the matrix is the rows.
        categories: column → number of categories, for columns that are not numbers.
    """
    rows, background = np.asarray(rows, np.float64), np.asarray(background, np.float64)
    width = int(np.prod(model.outputs[0].shape[1:]))
    task = task or ("binary" if width == 1 else "multiclass")
    classes = () if task == "regression" else tuple(f"class {i}" for i in range(max(2, width)))
    d = rows.shape[1]
    predictor = Predictor(
        model, describe(model, task, classes, "label", "test"), arrangement or identity(d, {}), (d,), batch=batch
    )
    chosen = np.array([len(predictor.outputs) - 1]) if explained is None else np.asarray(explained)
    if chosen.ndim == 1:
        chosen = np.tile(chosen, (len(rows), 1))
    sizes = categories or {}
    features = tuple(
        Feature(f"x{j}", "category" if j in sizes else "number", tuple(f"c{c}" for c in range(sizes.get(j, 0))))
        for j in range(d)
    )
    return Problem(
        modality="table",
        task=task,
        predictor=predictor,
        kind=kind,
        rows=rows,
        background=background,
        reference=background if reference is None else np.asarray(reference, np.float64),
        explained=chosen.astype(np.int64),
        target=np.full(len(rows), -1) if target is None else np.asarray(target),
        features=features,
        **options,
    )


@pytest.fixture(scope="session")
def table_problem() -> Callable[..., Problem]:
    return make_table_problem


def make_network(
    width: int, outputs: int = 1, *, hidden: tuple[int, ...] = (16, 8), seed: int = 0, final: str | None = None
) -> Any:
    """A network with random weights, large enough to be far from linear; no training."""
    import keras

    generator = np.random.default_rng(seed)
    inputs = keras.Input((width,))
    value = inputs
    for units in hidden:
        value = keras.layers.Dense(units, activation="relu")(value)
    final = final or ("sigmoid" if outputs == 1 else "softmax")
    model = keras.Model(inputs, keras.layers.Dense(outputs, activation=final)(value))
    model.set_weights(
        [
            generator.normal(0, 1.5 / np.sqrt(w.shape[0]), w.shape)
            if w.ndim == 2
            else generator.normal(0, 0.3, w.shape)
            for w in model.get_weights()
        ]
    )
    return model


@pytest.fixture(scope="session")
def network() -> Callable[..., Any]:
    return make_network


@pytest.fixture(scope="session")
def linear_model() -> Callable[..., Any]:
    """Sigmoid of a straight line, from its weights."""

    def make(weights: np.ndarray, bias: float = 0.0) -> Any:
        import keras

        model = keras.Sequential([keras.Input((len(weights),)), keras.layers.Dense(1, activation="sigmoid")])
        model.set_weights([np.asarray(weights, np.float32)[:, None], np.array([bias], np.float32)])
        return model

    return make


# ---------------------------------------------------------------- a whole audit

#: column names and values that must come through as the text they are
HOSTILE = ("a | <b>&amp;", "<script>alert('x')</script>", '"quoted", ’ „', "\u202eright to left", "w" * 200)


def make_audit(folder: Path, *, outputs: int = 1, rows: int = 60) -> dict[str, Any]:
    """Files of a small audit, and its config as a mapping: two numbers and a category, hostile names, some nulls."""
    import keras
    import pandas as pd
    import skops.io
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    generator = np.random.default_rng(0)
    names = ["age", HOSTILE[0], "colour"]

    def frame(n: int) -> Any:
        colours = generator.choice(np.array([*HOSTILE[1:], None], dtype=object), n)
        labels = generator.choice(np.array(["no", "yes", "perhaps"][: max(2, outputs)]), n)
        return pd.DataFrame(
            {
                "key": [f"row-{i}" for i in range(n)],
                "age": generator.integers(18, 90, n),
                HOSTILE[0]: generator.normal(size=n),
                "colour": colours,
                "weight": generator.uniform(0.5, 2, n),
                "ok": np.where(np.arange(n) % 10 == 3, None, labels),
            }
        )

    train, test = frame(150), frame(rows)
    folder.mkdir(parents=True, exist_ok=True)
    train.to_parquet(folder / "train.parquet")
    test.to_parquet(folder / "test.parquet")
    preprocessor = ColumnTransformer(
        [
            ("n", StandardScaler(), names[:2]),
            ("c", OneHotEncoder(handle_unknown="ignore", sparse_output=False), names[2:]),
        ]
    ).fit(train[names])
    place = folder / "model" / "1"
    place.mkdir(parents=True)
    skops.io.dump(preprocessor, place / "preprocessor.skops")
    width = preprocessor.transform(train[names][:1]).shape[1]
    model: keras.Model = make_network(width, outputs)
    model.save(place / "model.keras")
    classes = ["no", "yes", "perhaps"][: max(2, outputs)]
    return {
        "name": "small",
        "model": {
            "path": str(folder / "model"),
            "task": "binary" if outputs == 1 else "multiclass",
            "classes": classes,
        },
        "data": {
            "path": str(folder / "test.parquet"),
            "reference": str(folder / "train.parquet"),
            "target": {"column": "ok", "favorable": "yes"},
            "id": "key",
        },
        "explain": {
            "rows": 25,
            "background": 20,
            "techniques": {"permutation": {"repeats": 3}, "shap": {}, "lime": {"samples": 300}},
        },
    }


@pytest.fixture(scope="session")
def audit_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return make_audit(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="session")
def audit_of_three(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return make_audit(tmp_path_factory.mktemp("audit of three"), outputs=3)
