"""Prefect without phoning home, without a server to set up, and with one owner of its database file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.prefect_api import Api, _database_lock, configured_api, prefect_api, quiet_environment
from tasks.errors import Incomplete

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "GX_ANALYTICS_ENABLED": "false",
}


# Telemetry


def test_nothing_is_sent_from_a_plain_environment(monkeypatch):
    for key in (*QUIET, "TF_CPP_MIN_LOG_LEVEL", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"):
        monkeypatch.delenv(key, raising=False)
    quiet_environment()
    assert {key: os.environ.get(key) for key in QUIET} == QUIET
    assert int(os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"]) >= 60


@pytest.mark.parametrize("key", ["DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED", "GX_ANALYTICS_ENABLED"])
def test_nothing_is_sent_whatever_the_environment_says(monkeypatch, key):
    monkeypatch.setenv(key, "0" if key == "DO_NOT_TRACK" else "true")
    quiet_environment()
    assert os.environ[key] == QUIET[key]


def test_what_is_no_telemetry_stays_as_the_user_set_it(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "7")
    quiet_environment()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] == "7"


# The lock of the database file


def test_one_process_has_the_database_and_the_next_has_it_after(tmp_path):
    home = tmp_path / "deep" / "home"
    with _database_lock(home) as first:
        assert first
        with _database_lock(home) as second:
            assert not second
        with _database_lock(tmp_path / "other") as elsewhere:
            assert elsewhere
    with _database_lock(home) as again:
        assert again


def test_another_process_sees_the_lock_and_the_lock_goes_with_its_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; from flows.prefect_api import _database_lock\n"
        "with _database_lock(Path(sys.argv[1])) as ours:\n"
        "    print(ours, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with _database_lock(tmp_path) as ours:
            assert not ours
        other.kill()
        other.wait(30)
    with _database_lock(tmp_path) as ours:
        assert ours


def test_a_home_that_cannot_be_written_is_not_ours(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for home in (tmp_path / "file", tmp_path / "file" / "home"):
        with _database_lock(home) as ours:
            assert not ours


def test_the_lock_is_freed_when_the_block_fails(tmp_path):
    with pytest.raises(RuntimeError), _database_lock(tmp_path):
        raise RuntimeError
    with _database_lock(tmp_path) as ours:
        assert ours


# An API that may still be starting


def test_an_api_that_is_there_needs_no_waiting():
    api = Api()
    api.wait()
    api.wait()


@pytest.mark.parametrize("said", ["Traceback\nOSError: port \x1b[31mtaken", ""])
def test_a_server_that_ends_is_told_with_its_last_words(tmp_path, said):
    with (tmp_path / "said").open("w+") as stream:
        stream.write(said)
        stream.flush()
        with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], text=True) as process:
            api = Api(process, "http://127.0.0.1:9/api", stream)
            with pytest.raises(Incomplete, match="Prefect's server ended with code 3") as raised:
                api.wait()
    assert raised.value.exit_code == 4
    assert raised.value.code == "prefect_server"
    assert "PREFECT_API_URL" in str(raised.value)
    assert str(raised.value).isprintable()
    assert ("OSError" in str(raised.value)) == bool(said)


def test_a_server_ends_when_its_parent_was_killed(tmp_path):
    """The parent starts the server process and is killed; the server notices and ends."""
    code = (
        "import os, subprocess, sys, time\n"
        "server = subprocess.Popen([sys.executable, '-m', 'flows.prefect_server', '0', str(os.getpid())])\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 60  # a bound on a hang
    while Path(f"/proc/{server}").exists() and time.monotonic() < deadline:
        if "Z" in Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[:1]:
            break
        time.sleep(0.1)
    else:
        assert not Path(f"/proc/{server}").exists()


def test_a_configured_api_is_taken_and_nothing_is_started(tmp_path):
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_HOME: tmp_path}):
        assert configured_api() == "http://127.0.0.1:9/api"
        with prefect_api() as api:
            api.wait()
            assert configured_api() == "http://127.0.0.1:9/api"
    assert not (tmp_path / "keras-audit.lock").exists()


# The real server, once

_STARTED = """
import json, os, sys
from pathlib import Path
from flows.prefect_api import _database_lock, configured_api, prefect_api

home = Path(os.environ["PREFECT_HOME"])
told = {"before": configured_api()}
with prefect_api() as api:
    with _database_lock(home) as free:
        told["free"] = free
    api.wait()
    import httpx
    from prefect.analytics import is_telemetry_enabled
    url = configured_api()
    told["url"] = url
    told["health"] = httpx.get(url + "/health").json()
    told["telemetry"] = is_telemetry_enabled()
    told["server"] = httpx.get(url + "/admin/settings").json()["server"]["analytics_enabled"]
    told["flows"] = httpx.post(url + "/flows/count", json={}).json()
    told["database"] = (home / "prefect.db").is_file()
told["after"] = configured_api()
with _database_lock(home) as free:
    told["free after"] = free
try:
    httpx.get(url + "/health", timeout=5)
    told["answers after"] = True
except httpx.TransportError:
    told["answers after"] = False
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, object]:
    """What a process saw that started the server, asked it something and let it go."""
    root: Path = tmp_path_factory.mktemp("prefect")
    (root / "tmp").mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "DO_NOT"))}
    environment |= {"PREFECT_HOME": str(root / "home"), "TMPDIR": str(root / "tmp"), "CI": ""}
    done = subprocess.run(
        [sys.executable, "-c", _STARTED], capture_output=True, text=True, timeout=180, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    found["left"] = sorted(p.name for p in (root / "tmp").iterdir() if p.name.startswith("keras-audit"))
    return found


def test_a_server_of_our_own_answers_on_loopback(told):
    assert told["before"] is None
    assert str(told["url"]).startswith("http://127.0.0.1:")
    assert told["health"] is True
    assert told["flows"] == 0


def test_it_keeps_its_runs_in_prefects_database_and_holds_the_lock(told):
    assert told["database"] is True
    assert told["free"] is False
    assert told["free after"] is True


def test_it_phones_nobody(told):
    assert told["telemetry"] is False
    assert told["server"] is False


def test_it_goes_with_the_block(told):
    assert told["after"] is None
    assert told["answers after"] is False
    assert told["left"] == []
