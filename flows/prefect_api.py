"""Prefect without a server to set up, and without phoning home."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from tasks.errors import Incomplete

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
    """A Prefect API that may still be starting; `wait` before the first flow."""

    def __init__(self, start: Any = None) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(start,), daemon=True) if start else None
        if self._thread:
            self._thread.start()

    def _run(self, start: Any) -> None:
        try:
            start()
        except BaseException as error:  # noqa: BLE001  # told to whoever waits
            self._error = error

    def wait(self) -> None:
        """Raises Incomplete when the server did not start."""
        if self._thread:
            self._thread.join()
        if self._error:
            raise Incomplete(
                "Prefect's server did not start",
                where=str(self._error)[:300],
                hint="set PREFECT_API_URL to a server that runs, or try again with --debug",
                code="prefect_server",
            ) from self._error


@contextmanager
def prefect_api() -> Iterator[Api]:
    """The configured API, or a server of this process on loopback that starts while heavy libraries load.

    A server of our own keeps its runs in Prefect's database, so that a later `keras-audit serve` shows them. SQLite
    does not stand two servers on one file: when another one has it, the runs go to a database that is thrown away.
    """
    quiet_environment()
    if configured_api():
        yield Api()
        return
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import (
        PREFECT_API_DATABASE_CONNECTION_URL,
        PREFECT_API_URL,
        PREFECT_HOME,
        temporary_settings,
    )

    server = SubprocessASGIServer()
    server.port = server.find_available_port()
    settings: dict[Any, Any] = {PREFECT_API_URL: server.api_url}
    with _database_lock(Path(PREFECT_HOME.value())) as ours, TemporaryDirectory(prefix="keras-audit-") as own:
        if not ours:
            settings[PREFECT_API_DATABASE_CONNECTION_URL] = f"sqlite+aiosqlite:///{own}/prefect.db"
        with temporary_settings(settings):
            api = Api(lambda: server.start(timeout=120))
            try:
                yield api
            finally:
                with suppress(Exception):
                    api.wait()
                server.stop()


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
