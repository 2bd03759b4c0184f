"""What docs/operations.md promises of a run against a server of one's own: login, and what an unchanged audit loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from tasks.persist.publish import runs
from tests.flows import processes
from tests.flows.conftest import Subject

LOGIN = "auditor:a password, with a comma"


def test_a_server_with_a_login_takes_audits_that_know_it(subject: Subject, tmp_path: Path):
    config, reports = subject.write(tmp_path, {}), tmp_path / "reports"
    with processes.prefect_server(tmp_path / "prefect", {"PREFECT_SERVER_API_AUTH_STRING": LOGIN}) as api:
        assert httpx.post(f"{api}/flow_runs/filter", json={}, timeout=60).status_code == 401
        stranger = processes.started(config, reports, {"PREFECT_API_URL": api})
        assert stranger.wait(processes.LONGEST) == 4
        said = (tmp_path / "said").read_text()
        assert "PREFECT_API_AUTH_STRING" in said.splitlines()[-1]
        assert "Traceback" not in said
        assert not list(reports.glob("credit/*"))
        known = {"PREFECT_API_URL": api, "PREFECT_API_AUTH_STRING": LOGIN}
        processes.ended_well(processes.started(config, reports, known), reports)
        ((state, steps),) = processes.settled(api, config, LOGIN)
    assert state == "Completed: policy not satisfied"
    assert len(steps) > 10
    assert len(list(runs(reports))) == 1
    assert LOGIN.partition(":")[2] not in (tmp_path / "said").read_text()


def test_a_server_that_is_not_there_is_told_in_one_line(subject: Subject, tmp_path: Path):
    config, reports = subject.write(tmp_path, {"explain.techniques": {}}), tmp_path / "reports"
    api = f"http://127.0.0.1:{processes.free_port()}/api"
    assert processes.started(config, reports, {"PREFECT_API_URL": api}).wait(processes.LONGEST) == 4
    said = (tmp_path / "said").read_text()
    assert f"error: {api}: Prefect's server does not answer" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not list(reports.glob("credit/*"))


@pytest.mark.usefixtures("prefect_server")
def test_an_unchanged_audit_loads_nothing_heavy(subject: Subject, tmp_path: Path):
    """Neither do the plain imports that lead to it."""
    from prefect.settings import PREFECT_API_URL

    config = subject.write(tmp_path, {"report.formats": ["html", "pdf", "json", "markdown"]})
    code = f"""
        import json, sys
        from pathlib import Path
        from flows.local import run_audit
        found = run_audit({str(config)!r}, [], Path({str(tmp_path / "reports")!r}), lambda *told: None)
        heavy = ("tensorflow", "keras", "great_expectations", "sklearn", "shap", "lime", "numba", "scipy", "matplotlib")
        print(json.dumps([found.verdict, [name for name in heavy if name in sys.modules]]))
    """
    told = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, check=True,
            env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or ""}, timeout=processes.LONGEST,
        )  # fmt: skip
        told.append(json.loads(done.stdout.splitlines()[-1]))
    assert {"tensorflow", "great_expectations", "sklearn"} <= set(told[0][1])
    assert told[1] == ["not_satisfied", []]
