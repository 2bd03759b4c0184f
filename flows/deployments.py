"""What an audit is to Prefect: a deployment with its schedule and its form, served here or run by a work pool."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.schema import AuditConfig
from flows.form import DATA_ROOTS, REPORT_ROOTS, form_schema, roots_of
from flows.places import is_address
from flows.preflight import checked_config
from flows.terminal import console
from tasks.errors import AuditError, ConfigError, Incomplete, UsageError

if TYPE_CHECKING:
    from uuid import UUID

ENTRYPOINT = "flows.audit.audit"  # a module: the program is installed wherever runs are
TAG = "keras-audit"
_NO_POOL = "make it first: prefect work-pool create NAME --type process"


@dataclass(frozen=True)
class Deployment:
    """One audit, as it is to be registered.

    Attributes:
        shown: the config's path as the form shows it and a run reads it.
        known: the configs that the form lets a person choose from.
        pool: the work pool whose workers run it; None where it is served.
        image: of a pool of containers.
        storage: none; a runner asks.
    """

    config: AuditConfig
    shown: str
    known: tuple[str, ...]
    reports: str
    pool: str | None = None
    image: str | None = None
    storage: None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return self.config.name

    def wanted(self) -> dict[str, Any]:
        """What it should be like in Prefect, as the API's client takes it.

        Raises:
            ConfigError: the schedule is not one.
        """
        from prefect.client.schemas.objects import ConcurrencyLimitStrategy

        roots = {key: roots_of(key) for key in (DATA_ROOTS, REPORT_ROOTS)}
        wanted: dict[str, Any] = {
            "name": self.name,
            "description": self._description(),
            "parameters": {"config": self.shown, "reports": self.reports},
            "parameter_openapi_schema": form_schema(_signature(), self.known, self.shown, self.reports, roots),
            "enforce_parameter_schema": True,
            "schedules": schedules_of(self.config, self.shown),
            # Two audits of one name would only compete for the same model and cores.
            "concurrency_limit": 1,
            "concurrency_options": {"collision_strategy": ConcurrencyLimitStrategy.ENQUEUE},
            "tags": [TAG],
            "entrypoint": ENTRYPOINT,
            "paused": False,
        }
        if self.pool is not None:
            # A folder of whoever deploys would be baked in without this.
            wanted |= {"work_pool_name": self.pool, "pull_steps": [], "job_variables": self._job(roots)}
        return wanted

    @property
    def digest(self) -> str:
        """Changes with whatever Prefect is told."""
        return hashlib.sha256(json.dumps(self.wanted(), default=str, sort_keys=True).encode()).hexdigest()

    async def aapply(self) -> UUID:
        """Registers it, or brings the one that is there up to date; runs that are due stay due."""
        from prefect.client.orchestration import get_client

        async with get_client() as client:
            flow_id = await client.create_flow_from_name("audit")
            return await client.create_deployment(flow_id, **self.wanted())

    @property
    def when(self) -> str:
        schedule = self.config.schedule
        return f"{schedule.cron} ({schedule.timezone})" if schedule else "when started by hand"

    def _description(self) -> str:
        from tasks.report import escape_markdown

        config = self.config
        model = f"{config.model.path}, version {config.model.version}"
        lines = [f"**{escape_markdown(config.title or f'Audit {config.name}')}**", ""]
        facts = {"model": model, "data": config.data.path, "config": self.shown, "reports": self.reports}
        lines += [f"- {name}: {escape_markdown(str(fact))}" for name, fact in facts.items()]
        lines.append(f"- policy: {len(config.policy)} checks")
        return "\n".join(lines)

    def _job(self, roots: dict[str, tuple[str, ...]]) -> dict[str, Any]:
        """What a worker gives the process or the container of a run; folders of this machine mean nothing in one."""
        given = {key: ",".join(value) for key, value in roots.items() if self.image is None or key in os.environ}
        return {"env": given} if self.image is None else {"env": given, "image": self.image}


def schedules_of(config: AuditConfig, path: str) -> list[Any]:
    """A config's schedule as Prefect has it, or none.

    Raises:
        ConfigError: Prefect takes the fields for no schedule.
    """
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    schedule = config.schedule
    if schedule is None:
        return []
    try:
        cron = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    except ValueError as error:
        where = f"{path}, schedule.cron"
        raise ConfigError(
            f"{schedule.cron} is no schedule", where=where, hint='give one such as "0 6 * * 1"'
        ) from error
    return [DeploymentScheduleCreate(schedule=cron, active=True)]


def _signature() -> dict[str, Any]:
    from flows.audit import audit

    return audit.parameters.model_dump()


def shown(path: str | Path) -> str:
    """A path as a person reads it: from the current folder where it lies in there. An address is itself."""
    if is_address(path):
        return str(path)
    whole, here = Path(os.path.abspath(path)), Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)


def deploy_audits(configs: Sequence[Path], reports: str, pool: str, image: str | None) -> None:
    """Registers a deployment for each config to a work pool. A wrong config is told before anything is registered.

    Raises:
        UsageError: no Prefect API is configured, there is no such pool, or two configs have one name.
        ConfigError: a config is wrong.
        Incomplete: the API does not answer.
    """
    import asyncio

    from flows.prefect_api import configured_api

    if not configured_api():
        raise UsageError(
            "no Prefect API is configured, and a work pool is one's", hint="set PREFECT_API_URL, or use serve"
        )
    found: dict[str, tuple[Path, AuditConfig]] = {}
    for path in configs:
        config = checked_config(str(path))
        if config.name in found:
            raise UsageError(f"the name {config.name} is taken by {found[config.name][0]}", where=str(path))
        found[config.name] = (path, config)
    known = tuple(shown(path) for path, _ in found.values())
    deployments = [
        Deployment(config, shown(path), known, shown(reports), pool=pool, image=image)
        for path, config in found.values()
    ]
    for deployment in deployments:
        deployment.wanted()
    asyncio.run(_register(deployments, pool))


async def _register(deployments: Sequence[Deployment], pool: str) -> None:
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    try:
        async with get_client() as client:
            try:
                await client.read_work_pool(pool)
            except ObjectNotFound as error:
                there = [one.name for one in await client.read_work_pools()]
                raise UsageError(f"no work pool {pool}", available=there, hint=_NO_POOL) from error
        for deployment in deployments:
            await deployment.aapply()
            told = f"  audit/{deployment.name}  {deployment.shown}  {deployment.when}  pool {pool}"
            console().print(told, soft_wrap=True)
    except AuditError:
        raise
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise Incomplete(f"Prefect's API refused or did not answer: {error}", code="prefect_api") from error
