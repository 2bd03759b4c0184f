"""A small subject, made in a second, and Prefect's real server, started once for all tests of the flow."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flows.run import Outcome
from tasks.watch import Watch


def rows(n: int, seed: int) -> dict[str, list[Any]]:
    """Applicants with an income, a debt, a job and a sex; good payers are those with more income than debt."""
    draw = np.random.default_rng(seed)
    income, debt = draw.normal(50, 15, n).round(1), draw.normal(20, 8, n).round(1)
    sex = draw.choice(["Female", "Male"], n)
    job = draw.choice(["clerk", "cook", "driver"], n)
    good = income - debt + np.where(sex == "Male", 6, -6) + draw.normal(0, 8, n) > 30
    return {
        "person": [f"p{i:04d}" for i in range(n)],
        "income": income.tolist(),
        "debt": debt.tolist(),
        "job": job.tolist(),
        "sex": sex.tolist(),
        "outcome": np.where(good, "good", "bad").tolist(),
    }


class Subject:
    """The small subject's files, and a way to audit it with changes to its config or data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reference = pa.table(rows(300, seed=1))
        self.data = pa.table(rows(200, seed=2))
        pq.write_table(self.reference, folder / "reference.parquet")
        pq.write_table(self.data, folder / "data.parquet")
        self.save_model(folder / "model" / "1")
        self.config: dict[str, Any] = {
            "name": "credit",
            "model": {"path": str(folder / "model"), "task": "binary", "classes": ["bad", "good"]},
            "data": {
                "path": str(folder / "data.parquet"),
                "reference": str(folder / "reference.parquet"),
                "target": {"column": "outcome", "favorable": "good"},
                "id": "person",
                "sensitive": {"sex": {"column": "sex"}},
            },
            "explain": {
                "rows": 20, "background": 10,
                "techniques": {"permutation": {"repeats": 2}, "shap": {}, "lime": {"samples": 200}},
            },
            "bias": {"resamples": 100},
            "policy": [{"metric": "impact_ratio", "attribute": "sex", "min": 0.8}],
            "report": {"formats": ["html", "json", "markdown"]},
        }  # fmt: skip

    def save_model(self, folder: Path, weights: Sequence[float] = (1.2, -0.7, 0.1, 0.0, -0.1, -0.4, 0.4)) -> None:
        """A logistic regression as a Keras model, with a fitted ColumnTransformer beside it."""
        import keras
        import skops.io
        from sklearn.compose import ColumnTransformer
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        columns = ColumnTransformer(
            [("numbers", StandardScaler(), ["income", "debt"]), ("categories", encode, ["job", "sex"])]
        ).fit(self.reference.select(["income", "debt", "job", "sex"]).to_pandas())
        inputs = keras.Input((len(weights),))
        model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))
        model.layers[-1].set_weights([np.array(weights, "float32")[:, None], np.zeros(1, "float32")])
        folder.mkdir(parents=True)
        model.save(folder / "model.keras")
        skops.io.dump(columns, folder / "preprocessor.skops")

    def changed(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The config with changes by dotted key; None removes a key."""
        config = copy.deepcopy(self.config)
        for key, value in changes.items():
            *path, last = key.split(".")
            place = config
            for part in path:
                place = place.setdefault(part, {})
            if value is None:
                place.pop(last, None)
            else:
                place[last] = value
        return config

    def write(self, folder: Path, changes: dict[str, Any], data: pa.Table | None = None) -> Path:
        """Writes a config with changes, and the data it is to audit, into a folder."""
        if data is not None:
            pq.write_table(data, folder / "changed.parquet")
            changes = {"data.path": str(folder / "changed.parquet"), **changes}
        path = folder / "audit.yaml"
        path.write_text(yaml.safe_dump(self.changed(changes)), encoding="utf-8")
        return path


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(tmp_path_factory.mktemp("subject"))


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


Audit = Callable[..., Any]


@pytest.fixture
def audit(prefect_server: None, subject: Subject, tmp_path: Path) -> Audit:
    """Audits the small subject with changes; returns the Outcome, or raises what the flow raised."""

    def run(changes: dict[str, Any] | None = None, data: pa.Table | None = None, watch: Watch | None = None) -> Outcome:
        from flows.audit import audit as flow
        from flows.run import watched

        path = subject.write(tmp_path, changes or {}, data)
        with watched(watch or Watch()):
            state = flow(config=str(path), reports=str(tmp_path / "reports"), return_state=True)
        value = state.result(raise_on_failure=False)
        if isinstance(value, BaseException):
            raise value
        return value

    return run
