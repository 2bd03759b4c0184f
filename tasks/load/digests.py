"""Digests of files and folders, computed once for each state of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.load.cache import Cache
from tasks.persist import file_digest

_known: Cache[str] = Cache(256)


def state_of(path: Path) -> tuple[str, int, int, int, int]:
    """What changes when a file is written or replaced: a name for its present content, without reading it.

    The time of the last change of status cannot be set by hand, so a forged modification time shows.
    """
    stat = path.stat()
    return str(path.resolve()), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, or of a folder: of its sorted `sha256  path` lines.

    Raises:
        OSError: it cannot be read.
    """
    if path.is_dir():
        files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        lines = sorted(f"{digest_of(path / name)}  {name}\n" for name in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    return _known.get(state_of(path), lambda: file_digest(path))
