"""One process at a time: a lock file that the system frees when its holder ends, however it does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import StorageError

_POLL = 0.02  # seconds


@contextmanager
def turn(lock: Path, *, patience: float, doing: str) -> Iterator[None]:
    """Holds a lock file for a block.

    Args:
        patience: seconds to wait for another holder.
        doing: what another one has been at, as `publishing a run`.

    Raises:
        StorageError: the lock cannot be made, is not to be had on this file system, or stays another's.
    """
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows: who starts two at once sees to it that they do not meet
        yield
        return
    until = time.monotonic() + patience
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"cannot be written ({error.strerror or error})", where=str(lock)) from error
    with open(handle, "ab"):
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    told = f"another process has been {doing} for {patience:.0f} s"
                    raise StorageError(told, where=str(lock), hint="start again") from error
                time.sleep(_POLL)
            except OSError as error:  # a file system without locks
                raise StorageError(
                    f"cannot be locked ({error.strerror or error})",
                    where=str(lock),
                    hint="choose another folder with --reports",
                ) from error
        yield
