"""Where the tasks of an audit run: threads that share one model in memory, or the workers of a Dask cluster."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from configs.schema import AuditConfig
from tasks.errors import ConfigError
from tasks.watch import Watch

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

#: tasks at a time, unless the config says otherwise
WORKERS = 4


def task_runner(config: AuditConfig, watch: Watch) -> TaskRunner[Any]:
    """The runner of an audit; nothing of Dask is imported where it is not asked for.

    Args:
        watch: of the audit: workers stop when it does, and tell it how far they are.
    """
    if config.run.task_runner == "dask":
        from flows.dask_workers import DaskWorkers

        return DaskWorkers(config.run.dask, watch)
    from prefect.task_runners import ThreadPoolTaskRunner

    return ThreadPoolTaskRunner(max_workers=config.run.workers or WORKERS)


def check_runner(config: AuditConfig) -> None:
    """Raises ConfigError where the runner that a config asks for is not installed."""
    if config.run.task_runner == "dask" and not find_spec("prefect_dask"):
        hint = "pip install 'keras-audit[dask]', or use threads"
        raise ConfigError("prefect-dask is not installed", where="run.task_runner", hint=hint)
