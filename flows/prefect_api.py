"""Prefect without a server to set up, and without phoning home."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from tasks.errors import Incomplete

_START_SECONDS = 120
#: seconds that the last log lines and events of an audit may take to reach the server
LAST_WORDS = 2.0
_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # its own 20 s are too few on a busy machine
    "GX_ANALYTICS_ENABLED": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow greets on stderr
}


def quiet_environment() -> None:
    """Turns telemetry off. Call before Prefect, TensorFlow or Great Expectations is imported."""
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    # Not a default: whatever the environment says, nothing is sent anywhere.
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["GX_ANALYTICS_ENABLED"] = "false"


def configured_api() -> str | None:
    """The address of a Prefect API that the user has set up, or None."""
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value()


class Api:
    """A Prefect API that may still be starting; `wait` before the first flow, `kill` to leave at once."""

    def __init__(
        self, process: subprocess.Popen[str] | None = None, url: str = "", said: IO[str] | None = None
    ) -> None:
        self._process, self._url, self._said = process, url, said

    def wait(self) -> None:
        """Raises Incomplete when the server did not start."""
        if self._process and self._said:
            wait_until_healthy(self._url, self._process, self._said, _START_SECONDS)

    def kill(self) -> None:
        """Ends a server of our own without waiting for it."""
        if self._process and self._process.poll() is None:
            self._process.kill()


@contextmanager
def prefect_api() -> Iterator[Api]:
    """The configured API, or a server of this process on loopback that starts while heavy libraries load.

    A server of our own keeps its runs in Prefect's database, so that a later `keras-audit serve` shows them. SQLite
    does not stand two servers on one file: when another one has it, or nothing can be written there, the runs go to a
    home that is thrown away.
    """
    quiet_environment()
    if configured_api():
        yield Api()
        return
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, get_current_settings, temporary_settings

    port = _free_port()
    settings: dict[Any, Any] = {PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}
    with (
        _database_lock(Path(PREFECT_HOME.value())) as ours,
        TemporaryDirectory(prefix="keras-audit-", ignore_cleanup_errors=True) as own,
        tempfile.TemporaryFile("w+") as said,
    ):
        if not ours:
            settings |= _home_of_its_own(own)
        with temporary_settings(settings):
            environment = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and constants
                [sys.executable, "-m", "flows.prefect_server", str(port), str(os.getpid())],
                env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL, text=True,
                start_new_session=True,  # Ctrl-C in the terminal is the audit's
            )  # fmt: skip
            try:
                try:
                    yield Api(process, settings[PREFECT_API_URL], said)
                finally:
                    say_the_rest()
                process.terminate()
            finally:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0 if process.poll() is None and sys.exc_info()[0] else 5)
                process.kill()
                process.wait()


def say_the_rest() -> None:
    """Hands Prefect's last messages to the server while it lives: asked for at exit, they wait for it in vain."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        with suppress(Exception):  # how an audit ended does not hang on its log
            worker.drain_all(timeout=LAST_WORDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _home_of_its_own(folder: str) -> dict[Any, Any]:
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME, PREFECT_LOCAL_STORAGE_PATH

    return {
        PREFECT_HOME: folder,
        PREFECT_LOCAL_STORAGE_PATH: f"{folder}/storage",
        PREFECT_API_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{folder}/prefect.db",
    }


def wait_until_healthy(api: str, process: subprocess.Popen[str], said: IO[str], seconds: float) -> None:
    """Waits for a server of our own.

    Args:
        api: its address, ending in /api.
        said: the file that it writes its messages to.

    Raises:
        Incomplete: it ended, or did not answer in time.
    """
    import httpx

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said.seek(0)
            lines = said.read().strip().splitlines()
            raise Incomplete(
                f"Prefect's server ended with code {process.returncode}: {lines[-1] if lines else 'no message'}",
                where=api,
                hint="is the port taken? choose another with PREFECT_SERVER_API_PORT, or set PREFECT_API_URL",
                code="prefect_server",
            )
        with suppress(httpx.HTTPError):
            if httpx.get(f"{api}/health", timeout=2).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise Incomplete(f"Prefect's server did not answer in {seconds:.0f} s", where=api, code="prefect_server")


@contextmanager
def _database_lock(home: Path) -> Iterator[bool]:
    """Whether this process may have Prefect's database file to itself; the lock goes with the process."""
    stream: IO[str] | None = None
    try:
        import fcntl

        home.mkdir(parents=True, exist_ok=True)
        stream = open(home / "keras-audit.lock", "w")  # noqa: SIM115  # held for the whole block
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = True
    except (OSError, ImportError):  # held by another, not writable, or a system without fcntl
        ours = False
    try:
        yield ours
    finally:
        if stream:
            stream.close()
