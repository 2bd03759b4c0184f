"""Runs whose process died: Prefect leaves those that nobody watched over RUNNING for ever; here they are set Crashed.

Every run says, in its labels, which process it is: machine, boot, number, and when that process started, since numbers
are given again. Only runs of this machine are judged.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_LABELS = ("host", "boot", "pid", "started")
_PREFIX = "keras-audit."
_AT_ONCE = 200


def this_process(pid: int | None = None) -> dict[str, str]:
    """What a process is known by."""
    number = os.getpid() if pid is None else pid
    values = (socket.gethostname(), _boot(), str(number), _started(number))
    return {f"{_PREFIX}{label}": value for label, value in zip(_LABELS, values, strict=True)}


def is_gone(labels: Mapping[str, Any]) -> bool:
    """Whether the process that labels tell of was one of this machine and has ended."""
    host, boot, pid, started = (str(labels.get(f"{_PREFIX}{label}", "")) for label in _LABELS)
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    if boot != _boot():
        return bool(boot and _boot())
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return _started(int(pid)) != started


def stand_by(flow_run_id: Any) -> None:
    """Says which process a run is, and sets dead ones Crashed. An API that is away costs that, not the audit."""
    from prefect.client.orchestration import get_client

    with suppress(Exception), get_client(sync_client=True) as client:  # whatever Prefect's client raises
        client.update_flow_run_labels(flow_run_id, {**this_process()})
        set_dead_runs_crashed()


def set_dead_runs_crashed() -> list[str]:
    """Sets audits that are RUNNING, and whose process on this machine has ended, Crashed; hands back their names."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterState
    from prefect.client.schemas.filters import FlowRunFilterStateType as StateTypes
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    running = FlowRunFilterState(type=StateTypes(any_=[StateType.RUNNING, StateType.CANCELLING]))
    buried = []
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["audit"])),
            flow_run_filter=FlowRunFilter(state=running),
            limit=_AT_ONCE,
        ):
            if is_gone(run.labels):
                pid = run.labels.get(f"{_PREFIX}pid")
                state: Any = Crashed(message=f"process {pid} of {socket.gethostname()} has ended without a word")
                client.set_flow_run_state(run.id, state, force=True)
                buried.append(run.name)
    return buried


def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id")


def _started(pid: int) -> str:
    """When a process started, in ticks since the boot; empty where the system does not say, or it has ended."""
    text = _read(f"/proc/{pid}/stat")
    fields = text.rpartition(")")[2].split()  # a name may hold anything, brackets too
    if len(fields) < 20 or fields[0] in "ZX":
        return ""
    return fields[19]


def _read(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    return ""
