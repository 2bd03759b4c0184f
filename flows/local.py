"""An audit in this process: the way from the command line into the flow, and out of it again."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from flows.places import local_side, store_of
from flows.prefect_api import Api, prefect_api, quiet_environment
from flows.run import Outcome, watched
from tasks.errors import Incomplete, Stopped
from tasks.evidence import signing_key
from tasks.persist.publish import begin, discard, new_run_id, remove
from tasks.watch import Report, Say, Watch

#: seconds that a stopped audit may take to end by itself; then the process ends, whatever it waits for
GRACE = 4.0


def run_audit(
    config: str,
    settings: Sequence[str],
    reports: str | Path,
    report: Report,
    *,
    say: Say | None = None,
    debug: bool = False,
    passing: bool = False,
) -> Outcome:
    """Runs one audit and waits for it.

    Args:
        reports: a folder, or an address such as `s3://bucket/reports`.
        report, say: told how far a step is, and what else it has to say; as `Watch` calls them.
        passing: nobody keeps the reports folder: it goes too where the process has to end at once, and Prefect's UI
            is told of no results.

    Raises:
        AuditError: with the exit code that says how it ended.
    """
    quiet_environment()
    if not debug:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # failures are told in the report and below
    from flows.keys import models_stay_shut
    from flows.preflight import checked_config

    # A wrong config, a key that is no good, and a folder that cannot be written, are told before anything heavy starts.
    checked, store = checked_config(config, settings), store_of(reports)
    folder = local_side(reports, store, checked.name)
    signing_key(folder)
    discard(begin(folder, checked.name, new_run_id()))
    watch = Watch(report=report) if say is None else Watch(report=report, say=say)
    if passing:
        watch.unfinished.append(folder)
    with _collected_later() as collect, prefect_api() as api, _interruptible(watch, api):
        if not models_stay_shut(checked, folder / checked.name):
            if checked.run.task_runner == "threads":  # on a cluster the workers import what they need
                _import_heavy(watch)
            collect()
        api.wait()
        from prefect.exceptions import TerminationSignal

        from flows.audit import audit

        try:
            with watched(watch, passing=passing):
                state = audit(config=config, settings=list(settings), reports=str(reports), return_state=True)
        except TerminationSignal as error:  # while a flow runs, SIGTERM is Prefect's
            raise Stopped("stopped by SIGTERM") from error
        except Exception as error:
            told = _told_by_api(error)
            if told is None:
                raise
            raise told from error
        return _outcome(state, watch)


@contextmanager
def _collected_later() -> Iterator[Callable[[], None]]:
    """A block without the search for cyclic garbage, a fifth of the time of imports; it begins when it is asked for."""
    was = gc.isenabled()
    gc.disable()

    def collect() -> None:
        gc.freeze()  # what was imported stays
        if was:
            gc.enable()

    try:
        yield collect
    finally:
        if was:
            gc.enable()


def _told_by_api(error: Exception) -> Incomplete | None:
    """What an API that refuses, or does not answer, comes to; None where the error is none of its own."""
    import httpx
    from prefect.settings import PREFECT_API_URL

    where = PREFECT_API_URL.value() or "Prefect's API"
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403):
        hint = "set PREFECT_API_AUTH_STRING to the server's user:password"
        return Incomplete("Prefect's server asks for a login", where=where, hint=hint, code="prefect_login")
    if isinstance(error, httpx.HTTPError) or str(error).startswith("Failed to reach API"):
        hint = "is the server running? start the audit again when it is: it goes on where it ended"
        return Incomplete("Prefect's server does not answer as it should", where=where, hint=hint, code="prefect_api")
    return None


def _import_heavy(watch: Watch) -> None:
    """Imports in the main thread what the steps will ask for, while Prefect's server starts beside it."""
    from tasks.load import tensorflow

    starting = watch.for_task("start")
    heavy: tuple[Callable[[], Any], ...] = (
        tensorflow,
        lambda: importlib.import_module("sklearn.compose"),
        lambda: importlib.import_module("great_expectations"),
    )
    starting.expect(len(heavy))
    for load in heavy:
        load()
        starting.advance()


def _outcome(state: Any, watch: Watch) -> Outcome:
    value = state.result(raise_on_failure=False)
    if isinstance(value, Outcome):
        return value
    if watch.stop.is_set():
        raise Stopped("stopped by the user") from (value if isinstance(value, BaseException) else None)
    if isinstance(value, Exception) and (told := _told_by_api(value)) is not None:  # gone while the audit ran
        raise told from value
    if isinstance(value, BaseException):
        raise value
    raise Incomplete(f"the flow ended as {state.name}", hint="start the audit again", code="crashed")


@contextmanager
def _interruptible(watch: Watch, api: Api) -> Iterator[None]:
    """The first Ctrl-C sets the stop flag, the second kills; what does not end within GRACE is ended."""
    if threading.current_thread() is not threading.main_thread():  # pragma: no cover - signals need the main thread
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if watch.stop.is_set():
            _leave(watch, api)
        watch.stop.set()
        print("stopping; press Ctrl-C again to end at once", file=sys.stderr)  # noqa: T201
        threading.Thread(target=_end_soon, args=(watch, api), daemon=True).start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_soon(watch: Watch, api: Api) -> None:
    """Runs until the process has ended: taking libraries down may last longer than the audit took to stop."""
    time.sleep(GRACE)
    _leave(watch, api)


def _leave(watch: Watch, api: Api) -> None:
    """Ends the process now, with nothing half-made left behind: neither a run nor Prefect's server."""
    api.kill()
    for partial in watch.unfinished:
        remove(partial)
    print("error: stopped by the user", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(Stopped.exit_code)
