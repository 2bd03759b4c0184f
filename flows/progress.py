"""How far a step is, as a progress artifact in Prefect's UI beside whatever else listens to the watch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

from flows.pace import Pace
from tasks.watch import Watch

_EVERY = 2.0  # seconds between two updates: each is a call to the API
_AGAIN = 60.0  # and after one that an API did not answer


@contextmanager
def shown_in_prefect(watch: Watch) -> Iterator[Watch]:
    """The same watch, whose progress also moves a bar in the task run's artifacts."""
    from prefect.artifacts import create_progress_artifact, update_progress_artifact
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    artifact: UUID | None = None
    pace, said = Pace(), ""
    last = time.monotonic()
    listener, speaker = watch.report, watch.say

    def report(task: str, done: int, total: int | None) -> None:
        nonlocal last
        listener(task, done, total)
        now = time.monotonic()
        pace.saw(done, now)
        if not total or now - last < _EVERY:
            return
        last = now
        show(f"{task}: {pace.told(total)}{said}", min(100.0, 100.0 * done / total))

    def say(task: str, sentence: str) -> None:
        nonlocal said
        speaker(task, sentence)
        said = f" ({sentence})"

    def show(told: str, percent: float) -> None:
        nonlocal artifact, last
        # An API that does not answer costs the bar, not the evidence; Prefect would try for a minute, the work waiting.
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                if artifact is None:
                    artifact = create_progress_artifact(percent, description=told)  # type: ignore[assignment]
                else:
                    update_progress_artifact(artifact, progress=percent, description=told)
        except Exception:  # noqa: BLE001  # whatever Prefect's client raises
            last = time.monotonic() + _AGAIN

    yield replace(watch, report=report, say=say)
    if artifact is not None:
        show(f"{watch.task}{said}", 100.0)
