"""Recorded decisions and scores of people, audited by the real stages: files in, tables and reports out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.schema import AuditConfig
from tasks.bias import measure_bias
from tasks.contracts import Done
from tasks.load import load_data, load_model
from tasks.persist import Workspace
from tasks.policy import judge
from tasks.predict import predict
from tasks.report import RunRecord, report_files
from tasks.report.reading import Reading
from tasks.report.regulations import Judged, judged
from tasks.watch import Watch
from tests.tasks.report.report_builder import RUN_ID, record_of, workspace_of


def save_model(folder: Path, classes: int = 1) -> Path:
    """A model whose score of `yes` is the sigmoid of its only input, `x`; or one that sorts into classes."""
    import keras

    inputs = keras.Input((1,))
    if classes > 1:
        keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(inputs)).save(folder / "model.keras")
        return folder / "model.keras"
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))
    model.layers[-1].set_weights([np.ones((1, 1), "float32"), np.zeros(1, "float32")])
    model.save(folder / "model.keras")
    return folder / "model.keras"


@dataclass
class Recorded:
    """An audit of recorded rows, and everything that its report is."""

    config: AuditConfig
    workspace: Workspace
    record: RunRecord
    files: dict[str, bytes]

    @property
    def reading(self) -> Reading:
        return Reading(self.config, self.workspace, self.record)

    def with_settings(self, **settings: Any) -> Recorded:
        """The same run, reported on with other settings of its packs."""
        report = self.config.report.model_copy(update={"settings": settings})
        return Recorded(self.config.model_copy(update={"report": report}), self.workspace, self.record, self.files)

    def pack(self, id: str) -> Judged:
        return next(pack for pack in judged(self.reading) if pack.id == id)

    def shown(self, pack: str, table: str) -> list[list[str]]:
        """A table of a pack as the report prints it: cells as text."""
        block = next(b for b in self.pack(pack).blocks if getattr(b, "id", None) == table)
        return [[" ".join(span.text for span in cell) for cell in row] for row in block.rows]

    def why(self, control: str) -> str:
        packs = judged(self.reading)
        return next(c.rationale for pack in packs for c in pack.controls if c.id == control)

    def status(self, control: str) -> str:
        packs = judged(self.reading)
        return next(c.status for pack in packs for c in pack.controls if c.id == control)


def audited(
    folder: Path, model: Path, columns: Mapping[str, Sequence[Any]], attributes: Sequence[str], /, **changes: Any
) -> Recorded:
    """Audits rows by the stages themselves.

    Args:
        columns: of the data; with `decided` it is the recorded decision, `yes` or `no`. Without `x`, `x` is 0.
        attributes: which columns are sensitive; sex and race are crossed too.
        changes: to the blocks of the config.
    """
    rows = len(next(iter(columns.values())))
    data = {"x": np.zeros(rows), "label": ["yes", "no"] * (rows // 2) + ["yes"] * (rows % 2), **columns}
    pq.write_table(pa.table(data), folder / "data.parquet")
    values: dict[str, Any] = {
        "name": "recorded",
        "model": {"path": str(model), "task": "binary", "classes": ["no", "yes"], "inputs": "matrix"},
        "data": {
            "path": str(folder / "data.parquet"), "target": {"column": "label", "favorable": "yes"},
            "features": ["x"], "sensitive": {name: {"column": name} for name in attributes},
            "intersections": [["sex", "race"]] if {"sex", "race"} <= set(attributes) else [],
        },
        "bias": {"resamples": 0, **({"decision": {"column": "decided"}} if "decided" in columns else {})},
        "report": {"formats": ["html", "json", "markdown"], "regulations": ["nyc_ll144", "eeoc_four_fifths"]},
    }  # fmt: skip
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    config = AuditConfig.model_validate(values)
    workspace, watch = workspace_of(folder), Watch()
    results = [load_model(config, watch), load_data(config, watch), predict(config, workspace, watch)]
    results += [measure_bias(config, workspace, watch), judge(config, workspace)]
    assert all(isinstance(result, Done) for result in results), results
    files, record, failed = report_files(config, workspace, record_of(results, "satisfied"))
    assert not failed, failed
    assert workspace.run_id == RUN_ID
    return Recorded(config, workspace, record, files)
