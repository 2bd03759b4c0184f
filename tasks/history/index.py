"""reports/index.html: all runs of all audits on one page, made anew after each run.

The page is a view: it is made of what lies in the folders and of nothing else, so a run that was removed is gone from
it the next time, and no run is ever changed for it. One process at a time makes it, under a lock that ends with its
process; both files appear whole or not at all. Where it cannot be made, no audit fails for that.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.errors import StorageError, one_line
from tasks.history.entries import entries
from tasks.history.known import FILE, Known

INDEX = "index.html"
_LOCK, _PARTIAL = ".index.lock", ".index-partial-"
#: seconds that a process waits for another one to make the page: a thousand runs take a few
_PATIENCE, _POLL = 60.0, 0.05


def index_runs(reports: Path) -> str | None:
    """Makes the index after a run; where that fails, one sentence says why, and nothing is raised."""
    try:
        write_index(reports)
    except Exception as error:  # noqa: BLE001  # the run is published: whatever an odd folder does must not fail it
        return f"the index of runs was not made: {one_line(error, 300) or type(error).__name__}"
    return None


def write_index(reports: Path) -> Path:
    """Makes reports/index.html from every run under a folder.

    Raises:
        StorageError: a file cannot be written, or another process holds the lock for a minute.
        UsageError: the folder cannot be read.
    """
    from tasks.history.page import index_page

    path = reports / INDEX
    try:
        with _turn(reports):
            _sweep(reports)
            known = Known.of(reports)
            found = entries(reports, known=known)
            _write(path, index_page(found))
            _write(reports / FILE, known.content())
    except OSError as error:
        raise StorageError(f"cannot be written ({error.strerror or error})", where=str(path)) from error
    return path


@contextmanager
def _turn(reports: Path) -> Iterator[None]:
    """Holds the lock of the reports folder. Who comes last reads last, so that no run is left out."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows: two at once write one after the other, each a whole page
        yield
        return
    until = time.monotonic() + _PATIENCE
    handle = os.open(reports / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(handle, "ab"):
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    told = f"another process has been making it for {_PATIENCE:.0f} s"
                    raise StorageError(told, where=str(reports / INDEX)) from error
                time.sleep(_POLL)
        yield


def _sweep(reports: Path) -> None:
    """Removes what a killed process left; it had the lock, and this one has it now."""
    for partial in reports.glob(f"{_PARTIAL}*"):
        with suppress(OSError):
            partial.unlink()


def _write(path: Path, content: bytes) -> None:
    handle, partial = tempfile.mkstemp(prefix=_PARTIAL, dir=path.parent)
    try:
        with open(handle, "wb") as stream:
            stream.write(content)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise
