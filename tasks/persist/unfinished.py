"""Results of a stage that did not end, kept for the next run of the same audit.

They lie in `reports/<name>/.unfinished/<stage>-<key>/`, where the key tells the content of whatever they depend on: so
what is found under it may be used, and what changed is not found. A piece is a file of bytes for rows `start` to
`stop`, under a first line with their SHA-256; it appears whole or not at all, and one that is damaged counts as
missing. Nothing here ever makes an audit fail: where a piece cannot be kept, the audit goes on without.

    kept until        the audit is published and nothing in it is missing (`clear`),
    or                nobody has written to it for KEEP_SECONDS, or all of an audit's take more than KEEP_BYTES, then
                      those that were written to longest ago (`sweep`, at the start of each run).

A folder has one run at a time: it is locked while a run works with it, and a second run of the same audit goes on
without. Where a run has many processes, one of them holds the lock (`claim`) and the others of the same run write
beside it: a piece has one name for its rows, and the bits of those rows. Folders are made with mode 0700: attributions
are personal data.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tasks.persist.store import make_folder

FOLDER = ".unfinished"
#: a week: a schedule's next run, and a long weekend
KEEP_SECONDS = 7 * 24 * 3600.0
KEEP_BYTES = 16 << 30
_LOCK, _USED = "lock", "used.json"
_PIECE = re.compile(r"rows-([0-9]{12})-([0-9]{12})")


class Unfinished:
    """The pieces of one stage of one audit, held by one run until they are closed. `take` makes it.

    No folder is made before there is a piece to keep, or it is claimed.

    Attributes:
        found: rows that were there when the run first took them.
    """

    def __init__(self, folder: Path, note: Mapping[str, Any], lock: IO[Any] | None, *, beside: bool = False) -> None:
        self._folder, self._note, self._lock, self._beside = folder, note, lock, beside
        self._refused = False
        self._stops: dict[int, int] = {}
        self.found = 0
        if lock is None and not beside:
            return
        for start, stop in _pieces(folder):
            self._stops[start] = max(stop, self._stops.get(start, 0))
        self._told()

    @property
    def rows(self) -> int:
        """How many rows the pieces cover."""
        return sum(stop - start for start, stop in self._stops.items())

    def stop_of(self, start: int) -> int | None:
        """Where the piece that starts at a row ends; None where there is none."""
        return self._stops.get(start)

    def covers(self, start: int, stop: int) -> bool:
        """Whether there are pieces for all of these rows, one after the other."""
        at: int | None = start
        while at is not None and at < stop:
            at = self._stops.get(at)
        return at is not None

    def read(self, start: int) -> bytes | None:
        """A piece's content; None where there is none, or it is damaged: then it is gone from now on."""
        stop = self._stops.get(start)
        if stop is None:
            return None
        path = self._path(start, stop)
        try:
            digest, _, content = path.read_bytes().partition(b"\n")
        except OSError:
            digest, content = b"", b""
        if digest.decode("ascii", "replace") == hashlib.sha256(content).hexdigest():
            return content
        self.drop(start)
        return None

    def drop(self, start: int) -> None:
        """Forgets a piece that turned out to be of no use."""
        stop = self._stops.pop(start, None)
        if stop is not None:
            with suppress(OSError):
                self._path(start, stop).unlink()

    def claim(self) -> bool:
        """Has the folder made and locked now, for the other processes of this run; False where that cannot be."""
        if self._lock is None and not self._refused and not self._beside:
            self._lock = _locked(self._folder, make=True)
            self._refused = self._lock is None
            self._told()
        return self._lock is not None

    def write(self, start: int, stop: int, content: bytes) -> bool:
        """Keeps a piece; False where that cannot be: another run has the folder, or the disk is full."""
        if not self._beside and not self.claim():
            return False
        path = self._path(start, stop)
        partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}")  # a lost worker may still be writing its own
        try:
            with open(partial, "wb") as stream:
                stream.write(f"{hashlib.sha256(content).hexdigest()}\n".encode())
                stream.write(content)
            os.replace(partial, path)
        except OSError:
            with suppress(OSError):
                partial.unlink()
            return False
        self._stops[start] = stop
        return True

    def close(self) -> None:
        """Lets the next run have the folder; one that holds no piece is removed."""
        if self._lock is None:
            return
        with suppress(OSError):  # others of this run may have written since
            if not any(_pieces(self._folder)):
                shutil.rmtree(self._folder, ignore_errors=True)
                _tidy(self._folder.parent)
        self._lock.close()

    def _told(self) -> None:
        """Notes which run works with the pieces, and what it found here when it came."""
        noted = _note(self._folder)
        if noted.get("run_id") == self._note["run_id"]:
            self.found = int(noted.get("found") or 0)
        elif self._lock is not None:
            self.found = self.rows
            with suppress(OSError):
                (self._folder / _USED).write_text(json.dumps({**self._note, "found": self.rows}), encoding="utf-8")

    def _path(self, start: int, stop: int) -> Path:
        return self._folder / f"rows-{start:012d}-{stop:012d}"


def take(root: Path, name: str, *, run_id: str, stage: str) -> Unfinished | None:
    """The pieces under a name; None where another run works with them.

    Args:
        root: the audit's `.unfinished`.
        run_id, stage: who takes them, for `used_by`.
    """
    folder, note = root / name, {"run_id": run_id, "stage": stage}
    if not folder.is_dir():
        return Unfinished(folder, note, None)
    lock = _locked(folder, make=False)
    if lock is None and _note(folder).get("run_id") != run_id:
        return None
    try:
        return Unfinished(folder, note, lock, beside=lock is None)
    except OSError:
        if lock is not None:
            lock.close()
        return None


def used_by(root: Path | None, run_id: str) -> list[dict[str, Any]]:
    """What the stages of a run found: run_id, stage, found (rows), in the order of the folders' names."""
    found = []
    for folder in _folders(root):
        note = _note(folder)
        if note.get("run_id") == run_id:
            found.append(note)
    return found


def clear(root: Path | None, run_id: str, taken_over: Mapping[str, str] | None = None) -> None:
    """Removes the pieces that a run used last; those that another run has taken up since stay.

    Args:
        taken_over: stage → the earlier run whose whole result this one has, and whose pieces nobody needs.
    """
    for folder in _folders(root):
        note = _note(folder)
        if str(note.get("run_id")) in (run_id, (taken_over or {}).get(str(note.get("stage")))):
            _remove(folder)
    _tidy(root)


def sweep(root: Path) -> None:
    """Removes pieces that are too old, and the oldest of those that are too many; none that is in use."""
    sizes, times = {}, {}
    for folder in _folders(root):
        with suppress(OSError):
            stats = [path.stat() for path in (folder, *folder.iterdir())]
            sizes[folder], times[folder] = sum(s.st_size for s in stats), max(s.st_mtime for s in stats)
    total = sum(sizes.values())
    for folder in sorted(times, key=lambda one: times[one]):
        if (time.time() - times[folder] > KEEP_SECONDS or total > KEEP_BYTES) and _remove(folder):
            total -= sizes[folder]
    _tidy(root)


def _pieces(folder: Path) -> Iterator[tuple[int, int]]:
    """Where the pieces in a folder start and stop."""
    for path in folder.iterdir():
        match = _PIECE.fullmatch(path.name)
        if match:
            yield int(match[1]), int(match[2])


def _folders(root: Path | None) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir()) if root is not None else []
    except OSError:
        return []


def _note(folder: Path) -> dict[str, Any]:
    try:
        note = json.loads((folder / _USED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _remove(folder: Path) -> bool:
    """Removes a folder that nobody uses."""
    lock = _locked(folder, make=False)
    if lock is None:
        return False
    with lock:
        shutil.rmtree(folder, ignore_errors=True)
    return True


def _tidy(root: Path | None) -> None:
    with suppress(OSError):
        if root is not None:
            root.rmdir()


def _locked(folder: Path, *, make: bool) -> IO[Any] | None:
    """The folder's lock, held until it is closed, also by the end of the process; None where it cannot be had."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        return None
    lock: IO[Any] | None = None
    try:
        if make:
            make_folder(folder)
        lock = open(folder / _LOCK, "ab")  # noqa: SIM115  # held beyond this block
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The run that had it may just have removed the folder, and the lock with it.
        if os.fstat(lock.fileno()).st_ino == (folder / _LOCK).stat().st_ino:
            return lock
    except OSError:
        pass
    if lock is not None:
        lock.close()
    return None
