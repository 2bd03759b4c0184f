"""Scheduled audits and audits from Prefect's UI: a server on loopback and a deployment for each config."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.prefect_api import configured_api, wait_until_healthy
from flows.preflight import checked_config
from flows.terminal import console
from tasks.errors import AuditError, UsageError

if TYPE_CHECKING:
    from configs.schema import AuditConfig

_START_SECONDS = 120
#: audits at a time: each holds a model and its data in memory
_AUDITS_AT_ONCE = 2


def serve_audits(configs: Sequence[Path], reports: Path) -> None:
    """Serves until it is stopped. A config that is wrong is shown, and the others are served.

    Raises:
        UsageError: there is no config that can be served.
        Incomplete: Prefect's server does not start.
    """
    out = console()
    audits: dict[str, tuple[Path, AuditConfig]] = {}
    for path in configs:
        try:
            config = checked_config(str(path))
            if config.name in audits:
                raise UsageError(f"the name {config.name} is taken by {audits[config.name][0]}", where=str(path))
            audits[config.name] = (path, config)
        except AuditError as error:
            out.print(f"not served: {error}", style="red", soft_wrap=True)
    if not audits:
        raise UsageError("no config that can be served", values=configs, hint="name one: keras-audit serve CONFIG")
    with _server() as api:
        from prefect import serve

        deployments = [_deployment(path, config, reports) for path, config in audits.values()]
        for name, (path, config) in audits.items():
            when = f"{config.schedule.cron} ({config.schedule.timezone})" if config.schedule else "when started by hand"
            out.print(f"  audit/{name}  {path}  {when}", soft_wrap=True)
        out.print(
            f"Prefect's UI: {api.removesuffix('/api')}/deployments   reports: {reports.absolute()}   stop: Ctrl-C",
            soft_wrap=True,
        )
        serve(*deployments, limit=_AUDITS_AT_ONCE, print_starting_message=False)


def _deployment(path: Path, config: AuditConfig, reports: Path) -> Any:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.flows import EntrypointType
    from prefect.schedules import Cron

    from flows.audit import audit

    schedule = Cron(config.schedule.cron, timezone=config.schedule.timezone) if config.schedule else None
    return audit.to_deployment(
        name=config.name,
        description=config.title or f"Audit {config.name}",
        parameters={"config": str(path.absolute()), "settings": [], "reports": str(reports.absolute())},
        schedule=schedule,
        # Two audits of one name would only compete for the same model and cores.
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        tags=["keras-audit"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


@contextmanager
def _server() -> Iterator[str]:
    """The configured Prefect API, or a server with its UI that lives as long as this block."""
    configured = configured_api()
    if configured:
        yield configured
        return
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_API_PORT, temporary_settings

    port = PREFECT_SERVER_API_PORT.value()
    api = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    # A session of its own: Ctrl-C in the terminal reaches the audits first, the server when they have ended.
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115  # a pipe that nobody reads would block the server one day
    process = subprocess.Popen(  # noqa: S603  # our own interpreter and constants
        command, stdout=subprocess.DEVNULL, stderr=said, text=True, start_new_session=True
    )
    try:
        wait_until_healthy(api, process, said, _START_SECONDS)
        # Audits run in processes of their own, which find the server through the environment.
        os.environ["PREFECT_API_URL"] = api
        with temporary_settings({PREFECT_API_URL: api}):
            yield api
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
