"""Events: what is announced of an audit, and that an automation of Prefect's own calls a webhook on them."""

from __future__ import annotations

import http.server
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, Queue

import pytest
import yaml

from flows.events import COMPLETED, INCOMPLETE, REFUSED, VIOLATED, announce, events_of, payload_of
from flows.run import Outcome
from tests.flows.processes import until

TEMPLATE = "configs/automations/policy_violated.yaml"


def _outcome(verdict, checks=(), **facts) -> Outcome:
    return Outcome("credit", "20260102T030405Z-0123abcd", "/r/credit/x", verdict, checks=tuple(checks), **facts)


@pytest.mark.parametrize(
    ("verdict", "events"),
    [
        ("satisfied", (COMPLETED,)),
        ("inconclusive", (COMPLETED,)),
        ("not_satisfied", (COMPLETED, VIOLATED)),
        ("refused", (REFUSED,)),
        ("incomplete", (INCOMPLETE,)),
    ],
)
def test_how_an_audit_ended_is_announced(verdict, events):
    assert events_of(_outcome(verdict)) == events


def test_the_payload_says_why_and_stays_small():
    checks = [{"verdict": "not_satisfied", "sentence": f"check {n}"} for n in range(500)]
    payload = payload_of(_outcome("not_satisfied", [{"verdict": "satisfied", "sentence": "well"}, *checks]))
    assert payload["checks"] == {"satisfied": 1, "not_satisfied": 500}
    assert payload["because"][:2] == ["check 0", "check 1"]
    assert payload["exit_code"] == 1
    assert len(json.dumps(payload)) < 2000


def test_what_is_missing_comes_first():
    payload = payload_of(_outcome("incomplete", missing=("explain/lime: no memory",)))
    assert payload["because"] == ["explain/lime: no memory"]


def test_the_address_of_the_report_is_the_sites(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_AUDIT_SITE_URL", "http://127.0.0.1:4280")
    monkeypatch.setenv("KERAS_AUDIT_SITE_ROOT", str(tmp_path))
    outcome = Outcome("credit", "x", str(tmp_path / "credit" / "x"), "satisfied")
    assert payload_of(outcome)["report"] == "http://127.0.0.1:4280/credit/x/report.html"


def test_an_api_that_does_not_answer_costs_the_event_alone(monkeypatch):
    from prefect import flow

    def broken(*_, **__):
        raise OSError("no route to the API")

    @flow(name="announcing")
    def announcing():
        announce(_outcome("satisfied"))
        return "done"

    monkeypatch.setattr("prefect.events.emit_event", broken)
    # Called as a plain function: no run, and no logger of one.
    monkeypatch.setattr("prefect.logging.get_run_logger", lambda: logging.getLogger("test"))
    assert announcing.fn() == "done"


@pytest.fixture
def receiver():
    """A real HTTP server on loopback; yields its address and what it was sent."""
    received: Queue[dict] = Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received
    server.shutdown()
    server.server_close()


def _event(api, name, run_id):
    """The one event of that name that a run has emitted; the server keeps it a moment after it has acted on it."""
    import httpx

    sought = {"filter": {"event": {"name": [name]}, "occurred": {"since": "2020-01-01T00:00:00Z"}}}

    def found():
        answer = httpx.post(f"{api}/events/filter", json=sought, timeout=60).raise_for_status().json()
        return [event for event in answer["events"] if event["payload"].get("run") == run_id]

    (event,) = until(name, found)
    return event


def test_a_violated_policy_calls_the_webhook_of_an_automation(audit, receiver, tmp_path):
    """The template as it is in configs/, registered with Prefect's command line; a real audit; a real receiver."""
    from prefect.blocks.webhook import Webhook
    from prefect.settings import PREFECT_API_URL, get_current_settings

    address, received = receiver
    block = Webhook(url=address).save("keras-audit-policy", overwrite=True)
    template = yaml.safe_load(Path(TEMPLATE).read_text())
    template["actions"][0]["block_document_id"] = str(block)
    filled = tmp_path / "automation.yaml"
    filled.write_text(yaml.safe_dump(template))
    command = [sys.executable, "-m", "prefect", "automation", "create", "--from-file", str(filled)]
    environment = get_current_settings().to_environment_variables(exclude_unset=True)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    outcome = audit()
    assert outcome.verdict == "not_satisfied"
    api = PREFECT_API_URL.value()
    deadline = time.monotonic() + 120
    told = None
    while told is None and time.monotonic() < deadline:
        try:
            told = received.get(timeout=1)
        except Empty:
            continue
    assert told is not None
    assert told["audit"] == "credit"
    assert told["event"] == VIOLATED
    assert told["run"] == outcome.run_id
    assert told["verdict"] == "not_satisfied"
    assert "Impact ratio by sex" in told["because"][0]

    event = _event(api, VIOLATED, outcome.run_id)
    assert event["resource"]["prefect.resource.id"] == "keras-audit.audit.credit"
    roles = {related["prefect.resource.role"] for related in event["related"]}
    assert {"flow-run", "flow"} <= roles
    assert _event(api, COMPLETED, outcome.run_id)["payload"]["exit_code"] == 1
