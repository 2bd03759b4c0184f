"""Runs whose process died are found and set Crashed; those of others, and those that live, are left alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from flows.alive import is_gone, set_dead_runs_crashed, this_process


def test_a_process_that_lives_is_not_gone():
    assert not is_gone(this_process())


def test_a_process_that_ended_is_gone():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        labels = this_process(child.pid)
        assert not is_gone(labels)
        child.kill()
        child.wait()
        assert is_gone(labels)


def test_a_process_that_nobody_has_waited_for_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    labels = this_process(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie from here on
    assert is_gone(labels)
    child.communicate()


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"started": "1"}, True),  # the number was given to another process
        ({"boot": "another"}, True),
        ({"host": "another"}, False),  # nothing is known of other machines
        ({"host": "another", "boot": "another"}, False),
        ({"pid": "none"}, False),
        ({"pid": "9" * 30}, False),
    ],
)
def test_what_labels_say(change, gone):
    labels = {**this_process(), **{f"keras-audit.{key}": value for key, value in change.items()}}
    assert is_gone(labels) is gone
    assert not is_gone({})


def _running(name):
    """A flow run that says RUNNING, and nothing more."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    @flow(name=name)
    def empty():
        return None

    with get_client(sync_client=True) as client:
        run = client.create_flow_run(empty)
        client.set_flow_run_state(run.id, Running(), force=True)
    return run.id


def _state(run_id):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id).state


def test_only_audits_of_dead_processes_are_set_crashed(prefect_server):
    from prefect.client.orchestration import get_client

    dead = {**this_process(), "keras-audit.started": "1"}
    away = {**dead, "keras-audit.host": "another"}
    runs = {name: _running("audit") for name in ("dead", "alive", "away", "unlabelled")} | {"other": _running("other")}
    labels = {"dead": dead, "alive": this_process(), "away": away, "other": dead}
    with get_client(sync_client=True) as client:
        for name, one in labels.items():
            client.update_flow_run_labels(runs[name], one)
    set_dead_runs_crashed()
    states = {name: _state(run).type.value for name, run in runs.items()}
    assert states == {"dead": "CRASHED"} | dict.fromkeys(["alive", "away", "unlabelled", "other"], "RUNNING")
    assert socket.gethostname() in _state(runs["dead"]).message


def test_a_directly_started_audit_that_was_killed_is_set_crashed_by_the_next(prefect_server, subject, tmp_path, audit):
    """`keras-audit run` is killed with SIGKILL; nobody but the next run can know."""
    import httpx
    from prefect.settings import PREFECT_API_URL, get_current_settings

    folder = tmp_path / "killed"
    folder.mkdir()
    path = subject.write(folder, {"name": "killed"})
    environment = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
    command = [sys.executable, "-m", "flows.cli", "run", str(path), "--reports", str(folder / "reports")]
    api = PREFECT_API_URL.value()

    def running():
        sought = {"flow_runs": {"name": {"like_": "killed"}, "state": {"type": {"any_": ["RUNNING"]}}}}
        found = httpx.post(f"{api}/flow_runs/filter", json=sought, timeout=60).json()
        return next((run["id"] for run in found if run["labels"].get("keras-audit.pid") == str(process.pid)), None)

    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        found = None
        deadline = time.monotonic() + 240
        while found is None and time.monotonic() < deadline:
            assert process.poll() is None, "it ended before it could be killed"
            found = running()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert _state(found).type.value == "RUNNING"
    audit()
    assert _state(found).type.value == "CRASHED"
