"""A small subject, made in a second, and Prefect's real server, started once for all tests of the flow."""

from __future__ import annotations

import copy
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
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


class Serving:
    """`keras-audit serve` as a process of its own, with Prefect and the site on free ports."""

    def __init__(self, folder: Path, *arguments: str, login: str | None = None) -> None:
        self.login = tuple(login.split(":")) if login else None
        self.folder, self.reports = folder, folder / "reports"
        self.ports = [_free_port(), _free_port()]
        self.api, self.site = f"http://127.0.0.1:{self.ports[0]}/api", f"http://127.0.0.1:{self.ports[1]}"
        self.log = folder / "serve.log"
        environment = {
            **os.environ, "PREFECT_HOME": str(folder / "prefect"), "PREFECT_SERVER_API_PORT": str(self.ports[0]),
            "PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_PROFILES_PATH": str(folder / "profiles.toml"),
        }  # fmt: skip
        for name in (
            "PREFECT_API_URL",
            "PREFECT_API_DATABASE_CONNECTION_URL",
            "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        ):
            environment.pop(name, None)
        if login:
            environment["PREFECT_SERVER_API_AUTH_STRING"] = login
        command = [sys.executable, "-m", "flows.cli", "serve", *arguments]
        command += ["--reports", str(self.reports), "--site-port", str(self.ports[1])]
        with self.log.open("a") as stream:
            self.process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)

    def until(self, what: str, answer: Callable[[], Any], seconds: float = 240) -> Any:
        """Asks until there is an answer; the time is a bound on a hang, not an expectation."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"serve ended\n{self.log.read_text()}"
            with suppress(httpx.HTTPError):
                found = answer()
                if found:
                    return found
            time.sleep(0.2)
        raise AssertionError(f"no {what} in {seconds} s\n{self.log.read_text()}")

    def get(self, path: str) -> Any:
        return self._said(httpx.get(f"{self.api}/{path}", timeout=60, auth=self.login))

    def post(self, path: str, **body: Any) -> Any:
        return self._said(httpx.post(f"{self.api}/{path}", json=body, timeout=60, auth=self.login))

    @staticmethod
    def _said(answer: httpx.Response) -> Any:
        # 503, with which Prefect asks clients to come again (SQLite was busy), is for `until` to repeat.
        assert answer.is_success or answer.status_code in {404, 503}, answer.text
        return answer.raise_for_status().json()

    def deployment(self, name: str) -> Any:
        return self.until(f"deployment {name}", lambda: self.get(f"deployments/name/audit/{name}"))

    def start(self, name: str, key: str, due: datetime | None = None, **parameters: Any) -> str:
        """Orders a run; `key` keeps an order that is repeated from being two."""
        order: dict[str, Any] = {"parameters": parameters, "idempotency_key": key}
        if due is not None:
            order["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        found = self.deployment(name)["id"]
        run = self.until("start", lambda: self.post(f"deployments/{found}/create_flow_run", **order))
        return str(run["id"])

    def run(self, run: str) -> Any:
        return self.until("flow run", lambda: self.get(f"flow_runs/{run}"))

    def ended(self, run: str) -> Any:
        """The run's last state."""

        def state() -> Any:
            found = self.run(run)["state"]
            return found if found["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

        return self.until("end of the run", state)

    def process_of(self, run: str) -> int:
        """The process of a run that has begun."""

        def pid() -> Any:
            found = self.run(run)
            assert found["state"]["type"] in {"SCHEDULED", "PENDING", "RUNNING"}, found["state"]
            return found["labels"].get("keras-audit.pid")

        return int(self.until("the run's process", pid))

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ends it by a signal; hands back its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def serving() -> Iterator[Callable[..., Serving]]:
    """Starts `keras-audit serve` in a folder with arguments; whatever is left is stopped after the module's tests."""
    started: list[Serving] = []

    def start(folder: Path, *arguments: str, login: str | None = None) -> Serving:
        started.append(Serving(folder, *arguments, login=login))
        return started[-1]

    yield start
    for one in started:
        one.stop()
