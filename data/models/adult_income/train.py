"""Train both versions of the Adult income classifier: ``python -m data.models.adult_income.train``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from data.models.saving import save_model, save_preprocessor, steady_tensorflow, write_card
from data.sources import sha256

if TYPE_CHECKING:
    import keras

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "adult"
SEED = 0
EPOCHS = 10
BATCH = 256
CLASSES = ["<=50K", ">50K"]
NUMBERS = ["age", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
CATEGORIES = [
    "workclass",
    "education",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "native_country",
]
LEFT_OUT: dict[str, list[str]] = {"1": [], "2": ["sex", "race"]}  # by version, beside fnlwgt

INTENDED_USE = "Example subject for keras-audit and its tests. Not for decisions about people."
LIMITS = [
    "Incomes of the United States in 1994; the 50,000 dollar line means something else today.",
    "fnlwgt is no feature: it says how many people a census record stands for, not what a person is like. "
    "Neither the training nor the accuracy is weighted by it.",
    "education and education_num carry the same fact twice.",
    "A category that training never saw is encoded as zeros. Nulls must come as NaN.",
]
LIMITS_OF_VERSION = {
    "1": "sex and race are features.",
    "2": "sex and race are no features, but relationship (Husband, Wife) nearly gives sex away.",
}


def fitted_preprocessor(rows: pd.DataFrame, left_out: list[str]) -> ColumnTransformer:
    """From raw columns to the matrix: scaled numbers, one-hot categories (a null is one of them)."""
    categories = [name for name in CATEGORIES if name not in left_out]
    return ColumnTransformer(
        [
            ("numbers", StandardScaler(), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
        ],
        verbose_feature_names_out=False,
    ).fit(rows[NUMBERS + categories])


def network(columns: int) -> keras.Model:
    """Two hidden layers of 64 and one sigmoid: the probability of the second class."""
    import keras

    inputs = keras.Input((columns,), name="features")
    hidden = keras.layers.Dense(64, activation="relu", name="hidden_1")(inputs)
    hidden = keras.layers.Dense(64, activation="relu", name="hidden_2")(hidden)
    score = keras.layers.Dense(1, activation="sigmoid", name="score")(hidden)
    return keras.Model(inputs, score, name="adult_income")


def train(version: str) -> None:
    """Train one version and write its folder."""
    steady_tensorflow(SEED)
    import keras

    rows, test = (pd.read_parquet(DATA / name) for name in ("train.parquet", "test.parquet"))
    preprocessor = fitted_preprocessor(rows, LEFT_OUT[version])
    inputs = preprocessor.transform(rows).astype(np.float32)
    labels = (rows["income"] == CLASSES[1]).to_numpy(np.float32)

    started = time.perf_counter()
    model = network(inputs.shape[1])
    rate = keras.optimizers.schedules.CosineDecay(1e-3, EPOCHS * -(-len(rows) // BATCH))
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy")
    model.fit(inputs, labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    seconds = time.perf_counter() - started

    scores = model.predict(preprocessor.transform(test).astype(np.float32), batch_size=4096, verbose=0)[:, 0]
    accuracy = float(np.mean((scores >= 0.5) == (test["income"] == CLASSES[1])))
    print(f"version {version}: test accuracy {accuracy:.4f}, trained in {seconds:.0f} s")

    folder = HERE / version
    folder.mkdir(exist_ok=True)
    write_card(
        folder,
        {
            "name": "adult_income",
            "version": int(version),
            "task": "binary",
            "predicts": "whether a person's income is above 50,000 dollars a year",
            "trained_on": {
                "file": "data/adult/train.parquet",
                "sha256": sha256(DATA / "train.parquet"),
                "rows": len(rows),
            },
            "script": "python -m data.models.adult_income.train",
            "seed": SEED,
            "training": f"{EPOCHS} epochs, batch {BATCH}, Adam with cosine decay from 0.001",
            "architecture": f"{inputs.shape[1]} encoded columns, dense 64 relu twice, dense 1 sigmoid",
            "features": list(map(str, preprocessor.feature_names_in_)),
            "classes": CLASSES,
            "test": {
                "file": "data/adult/test.parquet",
                "sha256": sha256(DATA / "test.parquet"),
                "n": len(test),
                "accuracy": round(accuracy, 4),
                "threshold": 0.5,
            },
            "intended_use": INTENDED_USE,
            "limits": [LIMITS_OF_VERSION[version], *LIMITS],
            "licence": "Apache-2.0",
            "files": {
                "model.keras": {"sha256": save_model(model, folder / "model.keras")},
                "preprocessor.skops": {"sha256": save_preprocessor(preprocessor, folder / "preprocessor.skops")},
            },
        },
    )


if __name__ == "__main__":
    for each in LEFT_OUT:
        train(each)
