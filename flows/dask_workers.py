"""The tasks of an audit on the workers of a Dask cluster, by prefect-dask.

What does not travel to another process by itself is handed over here: a worker hears that its task was called off by
Dask itself, and tells how far it is by Dask's events. Flags and listeners stay in the audit's process.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import util
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Future, KilledWorker, WorkerPlugin, get_worker
from distributed.client import CancelledError
from distributed.worker import thread_state
from prefect_dask import DaskTaskRunner
from prefect_dask.task_runners import PrefectDaskFuture

from configs.running import DaskConfig
from flows.prefect_api import LAST_WORDS, quiet_environment, say_the_rest
from tasks.errors import AuditError, ConfigError, Incomplete, Stopped
from tasks.evidence import code_digest
from tasks.program import environment
from tasks.watch import Watch

#: seconds until a scheduler must have answered, a worker must be there, and a stop is looked at
_CONNECT, _FIRST_WORKER, _LOOK = 10, 60, 0.25
#: seconds between two events of a task's progress
_TELL = 0.5
#: processes of a local cluster at the most, unless the config says otherwise
_MOST = 4
#: what the numerical libraries of a worker read when they are imported
_CORES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


class DaskWorkers(DaskTaskRunner):
    """prefect-dask's runner: connected when it is entered, and heard by a watch.

    A local cluster is this audit's own: processes that are spawned, never forked, on loopback, without a dashboard;
    who else is on the machine cannot reach them, since they speak TLS with a certificate of the moment.
    """

    def __init__(self, settings: DaskConfig, watch: Watch) -> None:
        self._settings, self._audit = settings, watch
        self._topic = f"keras-audit-{uuid4().hex}"
        self._asked: list[Future] = []
        self._registered = False
        if settings.address is not None:
            super().__init__(address=settings.address, client_kwargs={"timeout": _CONNECT})
        else:
            super().__init__(cluster_class="distributed.LocalCluster", cluster_kwargs=_local(settings))

    def __enter__(self) -> DaskWorkers:
        """Raises ConfigError: no scheduler or no worker answers, or a worker cannot come to the same numbers."""
        super().__enter__()
        for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]:
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what a lost worker means is told in the report
        try:
            with _heard(self._audit), _told(self._settings):
                client = self.client
                client.wait_for_workers(1, timeout=_FIRST_WORKER)
                own, self._registered = self._settings.address is None, True
                client.register_plugin(OwnWorker() if own else SameWorker(Path.cwd()), name=self._topic)
                client.subscribe_topic(self._topic, self._hear)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        if self._client is not None:
            with suppress(Exception):  # how an audit ends does not hang on its cluster
                if error[0] is not None:
                    self._client.cancel(self._asked, force=True)
                if self._settings.address is not None and self._registered:
                    self._client.unregister_worker_plugin(self._topic)
        super().__exit__(*error)

    @property
    def slots(self) -> int:
        """Tasks that run at a time on the workers that are there now."""
        return max(1, sum(self.client.nthreads().values()))

    def submit(self, task: Any, parameters: dict[str, Any], **options: Any) -> PrefectDaskFuture[Any]:
        """As the base; a `run` among the parameters gets a watch that can travel."""
        run = parameters["run"]
        away = Watch(stop=CalledOff(), abandoned=CalledOff(), report=Told(self._topic), say=Said(self._topic))
        future = super().submit(task, {**parameters, "run": replace(run, watch=away)}, **options)
        self._asked.append(future.wrapped_future)
        return DaskFuture(future, self._audit)

    def cancel(self, futures: list[PrefectDaskFuture[Any]]) -> None:
        """Calls tasks off: those that wait never start, those that run stop at their next batch."""
        self.client.cancel([future.wrapped_future for future in futures], force=True)

    def _hear(self, event: tuple[float, Any]) -> None:
        kind, *said = event[1]
        if kind == "progress":
            self._audit.report(*said)
        else:
            self._audit.say(*said)


class DaskFuture(PrefectDaskFuture[Any]):
    """A task on a worker. Waiting for it ends when the audit is stopped; workers that were lost are an error of it."""

    def __init__(self, future: PrefectDaskFuture[Any], audit: Watch) -> None:
        super().__init__(task_run_id=future.task_run_id, wrapped_future=future.wrapped_future)
        self._audit = audit

    def done(self) -> bool:
        return bool(self._wrapped_future.done())

    def wait(self, timeout: float | None = None) -> None:
        """Raises Stopped: the user stopped the audit."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.done() and (end is None or time.monotonic() < end):
            if self._audit.stop.is_set():
                raise Stopped("stopped by the user")
            super().wait(timeout=_LOOK)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        try:
            return super().result(timeout=timeout, raise_on_failure=raise_on_failure)
        except KilledWorker as error:
            lost = Incomplete(
                f"{error.allowed_failures + 1} workers were lost while they worked on it",
                where="run.dask",
                hint="memory? give workers more, or have fewer of them",
                code="workers_lost",
            )
        except (CancelledError, OSError) as error:
            lost = Incomplete(f"the cluster was lost ({type(error).__name__})", where="run.dask", code="cluster_lost")
        if raise_on_failure:
            raise lost
        return lost


# ---------------------------------------------------------------- on a worker


class CalledOff(threading.Event):
    """Set when Dask has called off the task that this thread works on: the audit was stopped, or has died."""

    def __reduce__(self) -> tuple[Any, ...]:
        return CalledOff, ()

    def is_set(self) -> bool:
        key = getattr(thread_state, "key", None)
        if key is None:  # a thread that a technique has started
            return False
        task = get_worker().state.tasks.get(key)
        return task is None or task.state == "cancelled"


class Told:
    """A report that goes to the audit's process as an event, twice a second at the most."""

    def __init__(self, topic: str) -> None:
        self._topic, self._last = topic, 0.0

    def __call__(self, task: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._last >= _TELL or done in (0, total):
            self._last = now
            get_worker().log_event(self._topic, ["progress", task, int(done), None if total is None else int(total)])


class Said:
    """A sentence that goes to the audit's process as an event."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def __call__(self, task: str, sentence: str) -> None:
        get_worker().log_event(self._topic, ["sentence", task, sentence])


class OwnWorker(WorkerPlugin):
    """A process of the audit's own: it leaves Ctrl-C to the audit, and ends without taking libraries down."""

    def setup(self, worker: Any) -> None:
        quiet_environment()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def teardown(self, worker: Any) -> None:
        if "prefect" in sys.modules:
            last = threading.Thread(target=say_the_rest, daemon=True)  # not in the loop, which it would wait for
            last.start()
            last.join(LAST_WORDS)
        util._run_finalizers()  # type: ignore[attr-defined]  # libraries' semaphores would outlive the process
        os._exit(0)


class SameWorker(WorkerPlugin):
    """Has the workers of a cluster that was there before stand where the audit stands, or says why they cannot.

    Relative paths start at the audit's folder. Other versions, or another processor, come to other last digits.
    """

    def __init__(self, home: Path) -> None:
        self._home, self._code, self._environment = home, code_digest(), environment()

    def setup(self, worker: Any) -> None:
        quiet_environment()
        where = f"run.dask.address, worker {worker.address}"
        self._before = Path.cwd()
        try:
            os.chdir(self._home)
        except OSError as error:
            raise ConfigError(
                f"the folder {self._home} is not there ({error.strerror})",
                where=where,
                hint="workers need the files under the same paths: share the file system",
            ) from error
        own = environment()
        if own != self._environment or code_digest() != self._code:
            differ = sorted(set(own) ^ set(self._environment)) or ["keras-audit"]
            raise ConfigError(
                "other versions or another processor than where the audit was started",
                where=where,
                values=[text[:80] for text in differ],
                hint="the same numbers twice: install the same lock on machines of one kind",
            )

    def teardown(self, worker: Any) -> None:
        os.chdir(self._before)


# ---------------------------------------------------------------- the cluster


def _local(settings: DaskConfig) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = settings.workers or min(_MOST, cores)
    share = str(max(1, cores // workers))
    return {
        "n_workers": workers,
        "threads_per_worker": settings.threads,
        "processes": True,
        "host": "127.0.0.1",
        "security": True,
        "dashboard_address": None,
        "memory_limit": 0 if settings.memory is None else settings.memory.replace(" ", ""),
        "silence_logs": logging.CRITICAL,
        "env": {
            **dict.fromkeys(_CORES, share),
            "DASK_LOGGING__DISTRIBUTED": "critical",
            "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "spawn",
        },
    }


@contextmanager
def _heard(watch: Watch) -> Iterator[None]:
    """A stop while the cluster starts ends the audit, not with what the start comes to then."""
    try:
        yield
    except Exception as error:
        if watch.stop.is_set():
            raise Stopped("stopped by the user") from error
        raise


@contextmanager
def _told(settings: DaskConfig) -> Iterator[None]:
    """What Dask says when it cannot connect, in one line."""
    try:
        yield
    except AuditError:
        raise
    except ImportError as error:
        raise ConfigError(
            f"the workers have no keras-audit ({error})", where="run.dask.address", hint="install it there too"
        ) from error
    except Exception as error:
        told = type(error).__name__
        if settings.address is None:
            raise Incomplete(f"no workers could be started ({told})", where="run.dask", code="cluster") from error
        raise ConfigError(
            f"no Dask scheduler with workers answers ({told})",
            where="run.dask.address",
            values=[settings.address],
            hint="start one with dask scheduler and dask worker, or leave the address out",
        ) from error
