"""When and where an audit runs: its schedule, and the threads or workers of its tasks."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from configs.blocks import Block, Real, Whole

_CRON = r"^\s*(@[a-z]+|\S+(\s+\S+){4,5})\s*$"
_SCHEDULER = r"^(tcp|tls)://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}$"
_BYTES = r"^[0-9]+(\.[0-9]+)? ?[kMGT]i?B$"
#: what a pattern asks for; an error says this
PATTERNS = {
    _CRON: 'five fields of cron such as "0 6 * * 1"',
    _SCHEDULER: "the address of a Dask scheduler such as tcp://10.0.0.5:8786",
    _BYTES: "a size such as 4GiB",
}


class ScheduleConfig(Block):
    cron: str = Field(pattern=_CRON)
    timezone: str = "UTC"

    @model_validator(mode="after")
    def _zone_is_known(self) -> ScheduleConfig:
        try:
            if self.timezone != "UTC":  # known even where the system has no time zones
                ZoneInfo(self.timezone)
        except (ValueError, OSError, KeyError) as error:
            told = f"timezone: {self.timezone!r} is no time zone; give one such as Europe/Berlin"
            raise ValueError(told) from error
        return self


class DaskConfig(Block):
    """A cluster that is there, by its scheduler's address, or else worker processes of this machine."""

    address: str | None = Field(default=None, pattern=_SCHEDULER, description="tcp://host:port, or tls://.")
    workers: Annotated[Whole, Field(ge=1, le=256)] | None = Field(
        default=None, description="Processes; default: one a core, at most 4."
    )
    threads: Annotated[Whole, Field(ge=1, le=64)] = Field(default=1, description="Tasks at a time in each.")
    memory: str | None = Field(
        default=None, pattern=_BYTES, description="Of each, as 4GiB: one that takes more is started again."
    )

    @model_validator(mode="after")
    def _own_or_there(self) -> DaskConfig:
        given = [k for k in ("workers", "threads", "memory") if getattr(self, k) != type(self).model_fields[k].default]
        if self.address is not None and given:
            raise ValueError(f"{given[0]}: a cluster with an address has its own; leave it out")
        return self


class RunConfig(Block):
    task_runner: Literal["threads", "dask"] = "threads"
    workers: Annotated[Whole, Field(ge=1, le=1024)] | None = Field(
        default=None, description="Tasks at a time, of threads; default: 4."
    )
    dask: DaskConfig = Field(default=DaskConfig(), description="What task_runner: dask works on.")
    deadline: Annotated[Real, Field(gt=0)] | None = Field(default=3600.0, description="Seconds a task may take.")
