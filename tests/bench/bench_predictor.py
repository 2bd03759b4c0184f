"""The predictor on the bundled Adult model, against the bare compiled model and `model.predict`.

    python tests/bench/bench_predictor.py

All rates are rows a second, medians of interleaved repeats: whatever else the machine does meets every candidate. The
floor is the bare compiled model at its best batch size, its input already in tensors.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from configs.schema import AuditConfig
from tasks.load import Subject, open_subject, tensorflow

ROOT = Path(__file__).resolve().parents[2]
ROWS = 131_072
KERAS_ROWS = 4_096  # what model.predict is given: it needs seconds for more
REPEATS = 7
BATCHES = (8192, 16_384, 32_768)


def main() -> None:
    os.chdir(ROOT)
    subject = adult()
    rows = np.resize(subject.rows, (ROWS, subject.rows.shape[1]))
    matrix = np.concatenate([subject.predictor.encode(part).numpy() for part in np.array_split(rows, 16)])
    candidates = bare(subject, matrix) | {
        "bare, from numpy": (from_numpy(subject, matrix), ROWS),
        "predictor, raw coded rows": (lambda: subject.predictor(rows), ROWS),
        "predictor, margin": (lambda: subject.predictor(rows, "margin"), ROWS),
        "model.predict, its defaults": (
            lambda: subject.model.keras_model.predict(matrix[:KERAS_ROWS], verbose=0),
            KERAS_ROWS,
        ),
    }
    rates = measured(candidates)
    floor = max(rate for name, rate in rates.items() if name.startswith("bare compiled"))
    keras_rate = rates["model.predict, its defaults"]
    print(f"Predictor: Adult income, {matrix.shape[1]} encoded columns, {ROWS:,} rows, {os.cpu_count()} cores")
    print(f"{'':36}{'rows/s':>12}{'of the floor':>14}{'× model.predict':>17}")
    for name, rate in rates.items():
        print(f"{name:36}{rate:12,.0f}{rate / floor:14.2f}{rate / keras_rate:17.0f}")


def adult() -> Subject:
    """The bundled subject, opened."""
    config = AuditConfig.model_validate(yaml.safe_load((ROOT / "configs/adult_income.yaml").read_text("utf-8")))
    return open_subject(config)


def bare(subject: Subject, matrix: np.ndarray) -> dict[str, tuple[Callable[[], Any], int]]:
    """The compiled model at each batch size, nothing around it."""
    tf = tensorflow()
    found: dict[str, tuple[Callable[[], Any], int]] = {}
    for batch in BATCHES:
        function = compiled(subject, batch, matrix.shape[1])
        tensors = [tf.constant(matrix[start : start + batch]) for start in range(0, ROWS, batch)]
        found[f"bare compiled, batches of {batch:,}"] = (
            lambda function=function, tensors=tensors: [function(tensor) for tensor in tensors],
            ROWS,
        )
    return found


def from_numpy(subject: Subject, matrix: np.ndarray, batch: int = 16_384) -> Callable[[], Any]:
    """The compiled model as a plain loop calls it: a tensor made of each slice, an array of each result."""
    tf = tensorflow()
    function = compiled(subject, batch, matrix.shape[1])
    return lambda: [function(tf.constant(matrix[at : at + batch])).numpy() for at in range(0, ROWS, batch)]


def compiled(subject: Subject, batch: int, width: int) -> Callable[..., Any]:
    tf = tensorflow()
    model = subject.model.keras_model
    signature = [tf.TensorSpec((batch, width), tf.float32)]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature, autograph=False)
    return function.get_concrete_function()


def measured(candidates: dict[str, tuple[Callable[[], Any], int]]) -> dict[str, float]:
    """Rows a second of each, the median over repeats in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for run, _ in candidates.values():
        run()
    for _ in range(REPEATS):
        for name, (run, _) in candidates.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: rows / statistics.median(seconds[name]) for name, (_, rows) in candidates.items()}


if __name__ == "__main__":
    main()
