"""`keras-audit serve` as a user starts it: a real server, real deployments, runs that end in a report or say why."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from flows.alive import is_gone, this_process

SCHEDULE = {"cron": "0 6 * * 1", "timezone": "Europe/Berlin"}


def _put(subject, path, changes):
    """Writes a config where nobody watches, and moves it to its place."""
    subject.write(path.parent.parent, changes).rename(path)


@pytest.fixture(scope="module")
def served(subject, serving, tmp_path_factory):
    """serve with a folder of configs: the small audit, one that takes its time, and one that is wrong."""
    folder = tmp_path_factory.mktemp("served")
    configs = folder / "configs"
    configs.mkdir()
    _put(subject, configs / "credit.yaml", {"schedule": SCHEDULE, "explain.rows": 5})
    slow = {"name": "slow", "explain.techniques": {"lime": {"samples": 300_000}}, "explain.rows": 200}
    _put(subject, configs / "slow.yaml", slow)
    (configs / "bad.yaml").write_text("name: bad\n")
    return serving(folder, str(configs))


def _report(served, run):
    """Where the site shows the report that a run's summary links to."""
    sought = {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"like_": "credit-summary"}}}
    (summary,) = served.until("summary", lambda: served.post("artifacts/filter", **sought))
    assert summary["data"].startswith("# Not satisfied\n")
    return next(part.split(")")[0] for part in summary["data"].split("](") if part.startswith(served.site))


def test_the_deployments_are_those_of_the_configs_and_the_wrong_one_is_shown(served):
    found = served.deployment("credit")
    assert found["schedules"][0]["schedule"] == {**SCHEDULE, "day_or": True}
    assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert found["global_concurrency_limit"]["limit"] == 1
    assert found["pull_steps"] in (None, [])
    assert served.deployment("slow")["schedules"] == []
    known = found["parameter_openapi_schema"]["properties"]["config"]["enum"]
    assert [Path(one).name for one in known] == ["credit.yaml", "slow.yaml"]
    assert served.log.read_text().count("bad.yaml") == 1


def test_a_scheduled_run_that_is_due_fires_and_its_summary_leads_to_the_report(served):
    run = served.start("credit", "due", due=datetime.now(UTC))
    assert served.ended(run)["name"] == "Completed: policy not satisfied"
    keys = {"credit-summary", "credit-policy", "credit-disparities", "credit-report-html"}

    def artifacts():
        return served.post("artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})

    assert keys <= {artifact["key"] for artifact in served.until("artifacts", artifacts)}
    page = httpx.get(_report(served, run))
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Impact ratio by sex" in page.text
    assert httpx.get(f"{served.site}/credit/.finished/").status_code == 404
    assert httpx.get(f"{served.site}/", headers={"Host": "evil.example"}).status_code == 421


def test_a_run_that_was_missed_is_run_late(served):
    run = served.start("credit", "missed", due=datetime.now(UTC) - timedelta(hours=2))
    assert served.ended(run)["type"] == "COMPLETED"
    found = served.run(run)
    assert found["estimated_start_time_delta"] > 7000  # seconds late


def test_what_the_form_cannot_refuse_is_refused_by_the_run(served, tmp_path):
    outside = served.start("credit", "outside", reports=str(tmp_path))
    value = served.start("slow", "value", settings=["explain.rows=none"])  # of another audit: they need not wait
    for run, said in (
        (outside, f"reports: {tmp_path} is outside the folders that this may be in"),
        (value, "--set explain.rows=none, explain.rows: should be 'all' or a whole number"),
    ):
        state = served.ended(run)
        assert state["type"] == "FAILED"
        assert said in state["message"]


def test_an_audit_whose_process_is_killed_is_reported_crashed(served):
    run = served.start("slow", "killed")
    os.kill(served.process_of(run), signal.SIGKILL)
    assert served.ended(run)["type"] == "CRASHED"


def test_configs_that_change_come_and_go_are_followed(served, subject):
    configs = served.folder / "configs"
    other = {**SCHEDULE, "cron": "30 4 * * *"}
    _put(subject, configs / "credit.yaml", {"schedule": other, "explain.rows": 5})

    def is_served(name, test):
        return lambda: test(served.get(f"deployments/name/audit/{name}"))

    changed = is_served("credit", lambda found: found["schedules"][0]["schedule"]["cron"] == other["cron"])
    served.until("changed schedule", changed)

    _put(subject, configs / "more.yaml", {"name": "more"})
    served.until("new config", is_served("more", lambda found: not found["paused"]))
    listed = is_served(
        "credit",
        lambda found: "more.yaml" in str(found["parameter_openapi_schema"]["properties"]["config"]["enum"]),
    )
    served.until("new config in the form", listed)

    (configs / "more.yaml").write_text("name: more\nmodel: 3\n")
    served.until("pause of what became wrong", is_served("more", lambda found: found["paused"]))
    assert "more.yaml:2" in served.log.read_text()
    _put(subject, configs / "more.yaml", {"name": "more"})
    served.until("what was mended", is_served("more", lambda found: not found["paused"]))
    (configs / "more.yaml").unlink()
    served.until("pause of what is gone", is_served("more", lambda found: found["paused"]))

    _put(subject, configs / "credit.yaml", {"explain.rows": 5})
    served.until("end of the schedule", is_served("credit", lambda found: found["schedules"] == []))


def test_it_listens_on_loopback_alone(served):
    served.deployment("credit")
    listening = {
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    for port in served.ports:
        assert f"0100007F:{port:04X}" in listening
        assert f"00000000:{port:04X}" not in listening


def test_a_killed_serve_leaves_no_server_and_the_next_sets_its_dead_runs_crashed(served, serving):
    run = served.start("slow", "orphan")
    audit = served.process_of(run)
    served.process.send_signal(signal.SIGKILL)
    served.process.wait()
    os.kill(audit, signal.SIGKILL)

    def is_up(address):
        try:
            httpx.get(address, timeout=5)
        except httpx.HTTPError:
            return False
        return True

    again = serving(served.folder, str(served.folder / "configs"))  # on ports of its own, with the same database
    state = again.ended(run)
    assert state["type"] == "CRASHED"
    assert str(audit) in state["message"]
    assert not is_up(f"{served.api}/health")
    assert not is_up(served.site)

    labels = this_process(again.process_of(again.start("slow", "stopped")))
    assert not is_gone(labels)
    assert again.stop(signal.SIGTERM) == 0
    assert is_gone(labels)  # nothing is left that works for nobody
    assert not is_up(f"{again.api}/health")
    assert not is_up(again.site)


def test_a_login_of_the_api_is_asked_for_by_the_site_too(serving, subject, tmp_path):
    """And serve itself, and its runs, have it."""
    guarded = serving(tmp_path, str(subject.write(tmp_path, {})), login="me:pass-word")
    guarded.deployment("credit")
    for address in (f"{guarded.api}/deployments/name/audit/credit", f"{guarded.site}/"):
        assert httpx.get(address).status_code == 401
        assert httpx.get(address, auth=("me", "wrong")).status_code == 401
        assert httpx.get(address, auth=guarded.login).status_code == 200
    assert guarded.stop() == 0


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({"PREFECT_SERVER_API_PORT": "taken"}, 2, "cannot be had for Prefect's server"),
        ({"PREFECT_API_URL": "http://127.0.0.1:1/api"}, 4, "Prefect's API does not answer"),
    ],
)
def test_a_server_that_cannot_be_had_is_told(tmp_path, environment, code, said):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        clean = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
        given = {key: str(taken.getsockname()[1]) if value == "taken" else value for key, value in environment.items()}
        home = {"PREFECT_HOME": str(tmp_path), "PREFECT_PROFILES_PATH": str(tmp_path / "profiles.toml")}
        command = [sys.executable, "-m", "flows.cli", "serve", "configs/adult_income.yaml", "--site-port", "0"]
        command += ["--reports", str(tmp_path / "reports")]
        done = subprocess.run(
            command, env={**clean, **home, **given}, capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_serve_without_a_usable_config_is_bad_usage(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: bad\n")
    command = [sys.executable, "-m", "flows.cli", "serve", str(tmp_path / "bad.yaml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert "no config that can be served" in ended.stderr
