"""From a working folder to a run under its final name, and back from a name to a run.

A run is made in `reports/<name>/.partial-<run-id>` and renamed when it is whole, so that nobody ever reads half of
one. `reports/<name>/latest` is a relative link, replaced atomically.

Runs of a name form a chain: each is sealed with what `latest` named before it. One run at a time publishes, under a
lock on `reports/<name>/.lock` that ends with its process. What a run that was killed between its rename and the
replacement of `latest` left to do (`.latest-<run-id>`), the next one does first: no run is left out of the chain.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from tasks.errors import StorageError, UsageError, nearest
from tasks.persist.finished import FOLDER as FINISHED
from tasks.persist.finished import sweep_finished
from tasks.persist.store import Workspace, make_folder
from tasks.persist.turn import turn
from tasks.persist.unfinished import FOLDER as UNFINISHED
from tasks.persist.unfinished import sweep

RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_PARTIAL = ".partial-"
_STALE = 24 * 3600.0  # seconds; no step is that long without writing
_LOCK, _LATEST = ".lock", ".latest-"
#: seconds that a run waits for another one of its name to be published: a manifest and two renames
_PATIENCE = 600.0


def new_run_id(now: datetime | None = None) -> str:
    """`YYYYMMDDTHHMMSSZ-8hex`: sorts by time, and two audits in one second differ."""
    return f"{(now or datetime.now(UTC)):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


def begin(reports: Path, name: str, run_id: str, metadata: dict[str, str] | None = None) -> Workspace:
    """Makes the working folder of a run, readable by its owner alone: it will hold personal data.

    Raises:
        StorageError: the folder cannot be made.
    """
    folder = reports.absolute() / name / f"{_PARTIAL}{run_id}"
    try:
        make_folder(folder.parent)
        _sweep(folder.parent)
        sweep(folder.parent / UNFINISHED)
        sweep_finished(folder.parent / FINISHED)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise StorageError(
            f"cannot be made ({error.strerror or error})",
            where=str(folder.parent),
            hint="choose another folder with --reports",
        ) from error
    whole = {"keras_audit.run_id": run_id, **(metadata or {})}
    return Workspace(folder, run_id, whole, folder.with_name(UNFINISHED))


def publish(workspace: Workspace, seal: Callable[[Path | None], None] | None = None) -> Path:
    """Gives the run its final name and points `latest` at it, while no other run of the name does.

    Args:
        seal: writes the last files of the run; it is given the folder that `latest` names, which may have been removed
            by hand, or None where there is no run before.

    Raises:
        StorageError: the lock cannot be had or a file not be written, and the working folder is left for `discard`;
            or the run has its name, but `latest` cannot point at it.
    """
    parent = workspace.folder.parent
    final, link = parent / workspace.run_id, parent / f"{_LATEST}{workspace.run_id}"
    with turn(parent / _LOCK, patience=_PATIENCE, doing="publishing a run"):
        _catch_up(parent)
        if seal is not None:
            seal(_latest(parent))
        try:
            _settle(workspace.folder)
            os.symlink(final.name, link)  # before the run has its name: whoever finds it knows what is left to do
            os.rename(workspace.folder, final)
        except OSError as error:
            with suppress(OSError):
                link.unlink()
            raise StorageError(f"cannot be published ({error.strerror or error})", where=str(final)) from error
        try:
            os.replace(link, parent / "latest")
        except OSError as error:
            with suppress(OSError):
                link.unlink()
            raise StorageError(
                f"cannot point at the run ({error.strerror or error})",
                where=str(parent / "latest"),
                hint=f"the run is whole: {final}",
            ) from error
    return final


def _catch_up(parent: Path) -> None:
    """Does what a run that was killed while it published had left to do: this one has the lock, so its turn is over."""
    for link in sorted(parent.glob(f"{_LATEST}*")):
        with suppress(OSError):
            if (parent / link.name.removeprefix(_LATEST)).is_dir():
                os.replace(link, parent / "latest")
            else:
                link.unlink()


def _latest(parent: Path) -> Path | None:
    """The folder that `latest` names, whether it is there or not; None where it names none."""
    try:
        name = os.readlink(parent / "latest")
    except OSError:
        return None
    return parent / name if RUN_ID.fullmatch(name) else None


def _settle(folder: Path) -> None:
    """Has the disk keep every file before the run has its name: `latest` never points at what a power cut emptied."""
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def discard(workspace: Workspace) -> None:
    """Removes a run that will not be published."""
    remove(workspace.folder)


def remove(folder: Path) -> None:
    """Removes a working folder, and the audit's own folder where nothing else is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # there are other runs
        folder.parent.rmdir()


def _sweep(folder: Path) -> None:
    """Removes what killed runs left behind: working folders that nobody has written to for a day."""
    for partial in folder.glob(f"{_PARTIAL}*"):
        with suppress(OSError):
            newest = max(p.stat().st_mtime for p in (partial, *partial.rglob("*")))
            if time.time() - newest > _STALE:
                shutil.rmtree(partial, ignore_errors=True)


def runs(reports: Path, name: str | None = None) -> Iterator[Path]:
    """Published runs, oldest first within a name.

    Raises:
        UsageError: a folder cannot be read.
    """
    try:
        if not reports.is_dir():
            return
        for audit in sorted(p for p in reports.iterdir() if p.is_dir() and not p.name.startswith(".")):
            if name is None or audit.name == name:
                yield from sorted(p for p in audit.iterdir() if p.is_dir() and RUN_ID.fullmatch(p.name))
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror or error})", where=str(reports)) from error


def find_run(reports: Path, run: str, marks: Collection[str] = ("summary.json",)) -> Path:
    """A run by its folder, by `name/run-id`, or by `name` (its latest).

    Args:
        marks: names of files one of which tells that a folder holds a run.

    Raises:
        UsageError: there is none; the names that there are are said.
    """
    # A folder is taken only where it holds a run: a name may also be a folder that happens to be here.
    for candidate in (Path(run), reports / run, reports / run / "latest"):
        with suppress(OSError):  # a name too long for a file
            if any((candidate / mark).is_file() for mark in marks):
                return candidate.resolve()
    names = sorted({p.parent.name for p in runs(reports)})
    raise UsageError(
        f"no run {run}",
        where=str(reports),
        available=names,
        hint=nearest(run, names) or "see keras-audit list",
    )
