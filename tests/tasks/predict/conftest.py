"""A small subject for the tests of the predictions: one column, a model of one weight, scores known by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig
from tasks.load.backend import tensorflow
from tasks.persist import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "run", "20260101T000000Z-00000000")


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., AuditConfig]:
    def make(
        columns: dict[str, Any],
        *,
        weights: list[float] | None = None,
        activation: str | None = "sigmoid",
        task: str = "binary",
        classes: list[Any] | None = None,
        target: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        decision: dict[str, Any] | None = None,
    ) -> AuditConfig:
        """The model is `activation(x · weights)`, without bias."""
        tensorflow()
        import keras

        kernel = np.array([weights or [1.0]], np.float32)
        inputs = keras.Input((1,))
        score = keras.layers.Dense(kernel.shape[1], activation, use_bias=False, name="score")(inputs)
        model = keras.Model(inputs, score)
        model.set_weights([kernel])
        model.save(tmp_path / "model.keras")
        pq.write_table(pa.table(columns), tmp_path / "data.parquet")
        return AuditConfig.model_validate(
            {
                "name": "test",
                "model": {"path": str(tmp_path / "model.keras"), "task": task, "classes": classes},
                "data": {
                    "path": str(tmp_path / "data.parquet"),
                    "features": ["x"],
                    "target": {"column": "y", **(target or {})},
                    **(data or {}),
                },
                "bias": {"decision": decision or {}},
            }
        )

    return make
