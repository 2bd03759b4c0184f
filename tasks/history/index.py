"""reports/index.html: all runs of all audits on one page, made anew after each run.

The page is a view: it is made of what lies in the folders and of nothing else, so a run that was removed is gone from
it the next time, and no run is ever changed for it. One process at a time makes it, under a lock that ends with its
process; both files appear whole or not at all. Where it cannot be made, no audit fails for that.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from tasks.errors import StorageError, one_line
from tasks.history.entries import entries
from tasks.history.known import FILE, Known
from tasks.persist import turn

INDEX = "index.html"
_LOCK, _PARTIAL = ".index.lock", ".index-partial-"
#: seconds that a process waits for another one to make the page: a thousand runs take a few
_PATIENCE = 60.0


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
        with turn(reports / _LOCK, patience=_PATIENCE, doing="making the index"):
            _sweep(reports)
            known = Known.of(reports)
            found = entries(reports, known=known)
            _write(path, index_page(found))
            _write(reports / FILE, known.content())
    except OSError as error:
        raise StorageError(f"cannot be written ({error.strerror or error})", where=str(path)) from error
    return path


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
