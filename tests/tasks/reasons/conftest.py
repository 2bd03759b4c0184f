"""A model whose weights are known, on data written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig
from tasks.contracts import Done
from tasks.persist import Workspace
from tasks.persist.publish import begin, new_run_id
from tasks.steady import steady_algebra
from tasks.watch import Watch


class Linear:
    """Audits whose margin is `rows @ weights + bias`; every column is a number and a feature."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, 0

    def config(
        self,
        columns: dict[str, Any],
        weights: list[float],
        bias: float = 0.0,
        *,
        sensitive: dict[str, Any] | None = None,
        **blocks: Any,
    ) -> AuditConfig:
        import keras

        self.runs += 1
        folder = self.folder / str(self.runs)
        folder.mkdir(parents=True)
        names = list(columns)
        n = len(columns[names[0]])
        pq.write_table(pa.table({**columns, "y": np.arange(n) % 2}), folder / "data.parquet")
        layer = keras.layers.Dense(1, activation="sigmoid")
        model = keras.Sequential([keras.Input((len(names),)), layer])
        model.set_weights([np.array(weights, np.float32)[:, None], np.array([bias], np.float32)])
        model.save(folder / "model.keras")
        given: dict[str, Any] = {
            "name": "linear",
            "model": {"path": str(folder / "model.keras"), "task": "binary", "classes": [0, 1]},
            "data": {
                "path": str(folder / "data.parquet"), "features": names, "target": {"column": "y", "favorable": 1},
                "sensitive": sensitive or {},
            },
            "explain": {"rows": 5, "background": 10},
        }  # fmt: skip
        for key, value in blocks.items():
            given[key] = {**given[key], **value} if isinstance(given.get(key), dict) else value
        return AuditConfig.model_validate(given)

    def stated(self, config: AuditConfig) -> tuple[Workspace, Done]:
        """Predicts and states reasons."""
        from tasks.predict import predict
        from tasks.reasons import state_reasons

        self.runs += 1
        workspace = begin(self.folder / f"run {self.runs}", config.name, new_run_id())
        with steady_algebra():
            predict(config, workspace, Watch())
            done = state_reasons(config, workspace, Watch())
        assert isinstance(done, Done), done
        return workspace, done


@pytest.fixture
def linear(tmp_path: Path) -> Linear:
    return Linear(tmp_path)


@pytest.fixture
def language(tmp_path: Path) -> Any:
    """Writes a language file and hands back its path."""

    def write(content: str | bytes, name: str = "reasons.yaml") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write
