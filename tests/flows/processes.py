"""Audits and Prefect's server as processes of their own, and what a server tells of the runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

#: bounds on a hang, not expectations
LONGEST = 300.0
_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, true: Callable[[], Any], process: subprocess.Popen[Any] | None = None) -> Any:
    """Asks until the answer is true; fails where the process that is to bring it about has ended before."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        ended = process is not None and process.poll() is not None
        found = true()
        if found:
            return found
        assert not ended, f"ended before {what}"
        time.sleep(0.005)
    raise AssertionError(f"no {what} in {LONGEST:.0f} s")


# Audits


def started(config: Path, reports: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """An audit as a user starts it, the leader of a process group of its own; it writes to `<reports>/../said`."""
    command = [sys.executable, "-m", "flows.cli", "run", str(config), "--reports", str(reports)]
    with (reports.parent / "said").open("a") as said:
        return subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=said, stderr=said, text=True,
            start_new_session=True,
        )  # fmt: skip


def kill(process: subprocess.Popen[Any]) -> None:
    """SIGKILL to the whole group: whatever the audit has started goes with it."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(LONGEST)


def ended_well(process: subprocess.Popen[Any], reports: Path) -> None:
    """Waits for an audit whose policy may be violated."""
    code = process.wait(LONGEST)
    assert code in (0, 1), (reports.parent / "said").read_text()


def tables(run: Path) -> dict[str, pa.Table]:
    """Every table of a run; the files tell which run they are of, the values do not."""
    root = run / "artifacts"
    return {
        path.relative_to(root).as_posix(): pq.read_table(path).replace_schema_metadata()
        for path in sorted(root.rglob("*.parquet"))
    }


def differing(run: Path, whole: Mapping[str, pa.Table]) -> list[str]:
    """Names of tables that are not equal to those of another run, bit for bit, or not there."""
    found = tables(run)
    names = sorted({*found, *whole})
    return [name for name in names if name not in found or name not in whole or not found[name].equals(whole[name])]


# What the server tells


def states(api: str, config: Path, login: str | None = None) -> list[tuple[str, dict[str, str]]]:
    """Of each run of a config, the first one first: its state's name, and step → its state's name."""
    auth = httpx.BasicAuth(*login.split(":", 1)) if login else None
    with httpx.Client(base_url=api, auth=auth, timeout=60) as client:

        def asked(path: str, query: dict[str, Any]) -> Any:
            return client.post(path, json=query).raise_for_status().json()

        runs = asked("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 200})[::-1]
        found = []
        for run in (r for r in runs if r["parameters"].get("config") == str(config)):
            of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}, "limit": 200}
            steps = {step["name"]: step["state"]["name"] for step in asked("/task_runs/filter", of_run)}
            found.append((run["state"]["name"], steps))
    return found


def settled(api: str, config: Path, login: str | None = None) -> list[tuple[str, dict[str, str]]]:
    """The same, when the last run's steps are all told: the server hears of them by and by."""

    def all_told() -> list[tuple[str, dict[str, str]]] | None:
        found = states(api, config, login)
        ends = ("Completed", "Cached", "NotApplicable")
        last = found[-1][1] if found else {}
        report = [name for name in last if name.startswith("write the report")]
        return found if report and all(state.startswith(ends) for state in last.values()) else None

    return until("end of all steps", all_told)


# Prefect's server


@contextmanager
def prefect_server(home: Path, environment: Mapping[str, str], port: int | None = None) -> Iterator[str]:
    """Prefect's server on loopback as its own command starts it; the address of its API."""
    port = port or free_port()
    api = f"http://127.0.0.1:{port}/api"
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    own = {"PREFECT_HOME": str(home), "PREFECT_API_URL": api, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with (home / "server.log").open("a") as said:
        process = subprocess.Popen(
            command, env={**os.environ, **own, **environment}, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
    try:
        until("answer of Prefect's server", lambda: _healthy(api), process)
        yield api
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            kill(process)


def _healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
