"""`keras-audit serve` as a user starts it: a real server, a real deployment, a run that ends in a report."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _until(what, answer, process: subprocess.Popen, seconds: float = 240):
    """Asks until there is an answer; the time is a bound on a hang, not an expectation."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "serve ended"
        try:
            found = answer()
        except httpx.HTTPError:
            found = None
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"no {what} in {seconds} s")


def _said(answer: httpx.Response):
    """The answer; 503, with which Prefect asks clients to come again (SQLite was busy), is for `_until` to repeat."""
    assert answer.is_success or answer.status_code == 503, answer.text
    return answer.raise_for_status().json()


@pytest.fixture
def served(subject, tmp_path):
    """serve with the small audit and a config that is wrong; yields (api, reports, process)."""
    good = subject.write(tmp_path, {"schedule": {"cron": "0 6 * * 1", "timezone": "Europe/Berlin"}})
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\n")
    port = _free_port()
    environment = {
        **os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_PROFILES_PATH": str(tmp_path / "profiles.toml"),
    }  # fmt: skip
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "flows.cli", "serve", str(good), str(bad), "--reports", str(tmp_path / "reports")]
    log = tmp_path / "serve.log"
    with log.open("w") as stream, subprocess.Popen(command, env=environment, stdout=stream, stderr=stream) as process:
        try:
            yield f"http://127.0.0.1:{port}/api", tmp_path / "reports", process, log
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    process.kill()


def test_a_run_started_from_its_deployment_ends_in_a_report(served):
    api, reports, process, log = served

    def deployment():
        answer = httpx.get(f"{api}/deployments/name/audit/credit", timeout=5)
        return answer.json() if answer.status_code == 200 else None

    found = _until("deployment", deployment, process)
    assert found["schedules"][0]["schedule"] == {"cron": "0 6 * * 1", "timezone": "Europe/Berlin", "day_or": True}
    assert "bad.yaml" in log.read_text()  # the wrong one is shown, the other is served

    settings = {"config": found["parameters"]["config"], "settings": ["explain.rows=5"], "reports": str(reports)}
    order = {"parameters": settings, "idempotency_key": "one"}

    def started():
        return _said(httpx.post(f"{api}/deployments/{found['id']}/create_flow_run", json=order, timeout=60))

    run = _until("start of the run", started, process)

    def ended():
        state = _said(httpx.get(f"{api}/flow_runs/{run['id']}", timeout=60))["state"]
        return state if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

    state = _until("end of the run", ended, process)
    assert state["name"] == "Completed: policy not satisfied", state
    assert (reports / "credit" / "latest" / "report.html").is_file()

    def artifacts():
        return {artifact["key"] for artifact in _said(httpx.post(f"{api}/artifacts/filter", json={}, timeout=60))}

    assert {"credit-summary", "credit-policy", "credit-disparities"} <= _until("artifacts", artifacts, process)


def test_the_server_listens_on_loopback_alone_and_stops_with_serve(served):
    api, _, process, _ = served
    _until("server", lambda: httpx.get(f"{api}/health", timeout=2).status_code == 200, process)
    port = int(api.split(":")[2].split("/")[0])
    listening = {
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening
    _until("deployment", lambda: httpx.get(f"{api}/deployments/name/audit/credit").status_code == 200, process)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{api}/health", timeout=2)


def test_serve_without_a_usable_config_is_bad_usage(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: bad\n")
    command = [sys.executable, "-m", "flows.cli", "serve", str(tmp_path / "bad.yaml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert "no config that can be served" in ended.stderr
