"""Scheduled audits and audits from Prefect's UI: a server, a deployment for each config, and the site of the reports.

All of it listens on loopback. Configs are read again when they change, appear or go.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.alive import set_dead_runs_crashed
from flows.prefect_api import configured_api, wait_until_healthy
from flows.terminal import console
from tasks.errors import Incomplete, UsageError

if TYPE_CHECKING:
    from prefect.runner import Runner

    from flows.shelf import Shelf

_START_SECONDS = 120
#: audits at a time: each holds a model and its data in memory
_AUDITS_AT_ONCE = 2
_ASK_SECONDS = 4.0  # for runs that are due
_LOOK_SECONDS = 1.0  # for configs that changed
_BURY_SECONDS = 60.0  # for runs whose process died
#: how long audits that are stopped may take to say so
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Options:
    """What serve is told on the command line.

    Attributes:
        data_roots, report_roots: folders that a run from the UI may read data from and write reports to; those of the
            environment where there are none.
        site_port: of the site of the reports; None serves none.
        site_url: the address by which a proxy makes the site known.
    """

    reports: Path
    data_roots: tuple[str, ...] = ()
    report_roots: tuple[str, ...] = ()
    site_port: int | None = None
    site_url: str | None = None


@dataclass
class _Served:
    """The runner, in a thread of its own: signals and configs are the main thread's."""

    runner: Runner
    failed: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        try:
            asyncio.run(self.runner.start())
        except BaseException as error:  # noqa: BLE001  # told by the main thread
            self.failed.append(error)

    def register(self, deployment: Any) -> Any:
        """Registers a deployment; hands back its id."""
        return self.runner.execute_in_background(self.runner.aadd_deployment, deployment).result(timeout=60)

    def stop(self, thread: threading.Thread) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        while thread.is_alive() and not self.runner.started and time.monotonic() < deadline:
            time.sleep(0.05)  # what has not started cannot be stopped
        with suppress(Exception):  # it may have ended by itself
            self.runner.execute_in_background(self.runner.astop).result(timeout=_STOP_SECONDS)
        thread.join(timeout=_STOP_SECONDS)


def serve_audits(configs: Sequence[Path], options: Options) -> None:
    """Serves until it is stopped. A config that is wrong is shown, and the others are served.

    Args:
        configs: YAML files, and folders of them.

    Raises:
        UsageError: there is no config that can be served, or the site's port is taken.
        Incomplete: Prefect's server does not start, or ends.
    """
    from flows.form import CONFIGS, DATA_ROOTS, REPORT_ROOTS, is_below, listed, roots_of
    from flows.shelf import Shelf

    out = console()
    shelf = Shelf(
        tuple(configs), options.reports, lambda text, style=None: out.print(text, style=style, soft_wrap=True)
    )
    shelf.read()
    if not shelf.audits:
        raise UsageError("no config that can be served", values=configs, hint="name one: keras-audit serve CONFIG")
    for variable, given in ((DATA_ROOTS, options.data_roots), (REPORT_ROOTS, options.report_roots)):
        os.environ[variable] = ",".join(given or roots_of(variable))
    own = str(options.reports.absolute())  # where every run goes unless told otherwise
    if not is_below(own, listed(REPORT_ROOTS)):
        os.environ[REPORT_ROOTS] += f",{own}"
    with _stopped_by_signals() as stop, _site(options) as site, _server() as (api, server):
        for name in _buried(api):
            out.print(f"  {name}: its process had died; set Crashed", style="yellow", soft_wrap=True)
        ui = f"Prefect's UI: {api.removesuffix('/api')}/deployments"
        out.print(f"{ui}   {f'reports: {site}   ' if site else ''}stop: Ctrl-C", soft_wrap=True)
        _serve(shelf, stop, server, CONFIGS)


def _buried(api: str) -> list[str]:
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        return set_dead_runs_crashed()
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise Incomplete(
            f"Prefect's API does not answer as it should: {error}",
            where=api,
            hint="are PREFECT_API_URL and PREFECT_API_AUTH_STRING right?",
            code="prefect_api",
        ) from error


def _serve(shelf: Shelf, stop: threading.Event, server: subprocess.Popen[str] | None, variable: str) -> None:
    from prefect.runner import Runner

    # Schedules are not paused when serve stops: what is due meanwhile is Late, and runs when it is back.
    runner = Runner(name="keras-audit", limit=_AUDITS_AT_ONCE, pause_on_shutdown=False, query_seconds=_ASK_SECONDS)
    served = _Served(runner)
    # Prefect knows its API by the context.
    thread = threading.Thread(target=copy_context().run, args=(served.run,), name="keras-audit-runner", daemon=True)
    thread.start()
    try:
        _until(lambda: runner.started or not thread.is_alive(), stop)
        buried = time.monotonic()
        while not stop.is_set():
            if not thread.is_alive():
                raise Incomplete("Prefect's runner has ended", code="prefect_runner") from next(
                    iter(served.failed), None
                )
            if server is not None and server.poll() is not None:
                raise Incomplete(f"Prefect's server has ended with code {server.returncode}", code="prefect_server")
            shelf.read()
            os.environ[variable] = "\n".join(shelf.known)  # what a run started from now on may be of
            shelf.register(served.register)
            if time.monotonic() - buried > _BURY_SECONDS:
                buried = time.monotonic()
                with suppress(Exception):  # the API may be away for a moment
                    set_dead_runs_crashed()
            stop.wait(_LOOK_SECONDS)
        shelf.tell("stopping: audits that are going on are cancelled")
    finally:
        served.stop(thread)


def _until(true: Any, stop: threading.Event) -> None:
    while not true() and not stop.wait(0.05):
        pass


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second ends the process, and its server with it."""
    stop = threading.Event()

    def asked(number: int, frame: Any) -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _site(options: Options) -> Any:
    """The site as a block, or a block without one."""
    from flows.site import site_on_loopback

    if options.site_port is None:
        return nullcontext()
    # Who may see the runs may see the reports.
    return site_on_loopback(options.reports, options.site_port, options.site_url, _login())


def _login() -> str | None:
    """`user:password` that a Prefect server of this machine asks for."""
    from prefect.settings import get_current_settings

    login = get_current_settings().server.api.auth_string
    return login.get_secret_value() or None if login else None


@contextmanager
def _server() -> Iterator[tuple[str, subprocess.Popen[str] | None]]:
    """The configured Prefect API, or a server with its UI that lives as long as this block and this process."""
    configured = configured_api()
    if configured:
        yield configured, None
        return
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_SERVER_API_PORT,
        get_current_settings,
        temporary_settings,
    )

    port = PREFECT_SERVER_API_PORT.value()
    _check_free(port)
    api = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
    # A session of its own: Ctrl-C in the terminal reaches the audits first, the server when they have ended.
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115  # a pipe that nobody reads would block the server one day
    process = subprocess.Popen(  # noqa: S603  # our own interpreter and constants
        [sys.executable, "-m", "flows.prefect_server", str(port), str(os.getpid()), "whole"],
        env=environment, stdout=subprocess.DEVNULL, stderr=said, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until_healthy(api, process, said, _START_SECONDS)
        # Audits run in processes of their own, which find the server through the environment.
        known: dict[Any, Any] = {PREFECT_API_URL: api}
        if login := _login():
            known[PREFECT_API_AUTH_STRING] = login
        os.environ |= {setting.name: value for setting, value in known.items()}
        with temporary_settings(known):
            yield api, process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _check_free(port: int) -> None:
    """A server that is there already would be taken for ours."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            pass
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be had for Prefect's server ({error})",
            hint="choose another with PREFECT_SERVER_API_PORT, or use the server that is there: set PREFECT_API_URL",
        ) from error
