"""Reading a folder that anybody may have made: nothing outside it, nothing that blocks, nothing without an end."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

#: bytes of a manifest, a signature, a record: of the bundled examples the largest has 200 kB
MAX_JSON = 64 << 20
MAX_TEXT = 1 << 20
#: entries of a folder and folders in folders that are looked at
MAX_FILES, MAX_DEPTH = 200_000, 16
_CHUNK = 1 << 20


class Unreadable(Exception):
    """A file that cannot be read; the text says why, without its name."""


@dataclass(frozen=True)
class Entry:
    """Something in a run's folder.

    Attributes:
        name: its path in the folder, with `/`.
        kind: `file`, `folder`, or what else it is, in words.
        bytes: size of a file.
    """

    name: str
    kind: str
    bytes: int = 0


def entries(folder: Path) -> Iterator[Entry]:
    """Whatever lies in a folder, hidden or not; links are told and not followed.

    Raises:
        Unreadable: it has too many entries, or folders nested too deep, or one cannot be listed.
    """
    count, left = 0, [("", 0)]
    while left:
        inner, depth = left.pop()
        try:
            listed = sorted(os.scandir(folder / inner), key=lambda found: found.name)
        except OSError as error:
            raise Unreadable(f"{inner or 'the folder'} cannot be listed ({error.strerror or error})") from error
        for found in listed:
            count += 1
            if count > MAX_FILES or depth >= MAX_DEPTH:
                raise Unreadable(f"over {MAX_FILES:,} files, or over {MAX_DEPTH} folders in folders: not a run")
            try:
                status = found.stat(follow_symlinks=False)
            except OSError as error:
                raise Unreadable(f"{inner}{found.name} cannot be looked at ({error.strerror or error})") from error
            entry = Entry(f"{inner}{found.name}", _kind(status.st_mode), status.st_size)
            yield entry
            if entry.kind == "folder":
                left.append((f"{entry.name}/", depth + 1))


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "a link" if stat.S_ISLNK(mode) else "not a plain file"


@contextmanager
def _opened(folder: Path, name: str) -> Iterator[IO[bytes]]:
    """A plain file of a folder, opened without following a link at its end and without waiting for a pipe."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(folder / name, flags)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Unreadable("is not a plain file")
        with open(handle, "rb", buffering=0) as stream:
            yield stream
    except FileNotFoundError as error:
        raise Unreadable("is missing") from error
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or error})") from error


def read_file(folder: Path, name: str, limit: int = MAX_JSON) -> bytes:
    """The bytes of a small file.

    Raises:
        Unreadable: it is missing, no plain file, or over the limit.
    """
    with _opened(folder, name) as stream:
        content = b"".join(iter(lambda: stream.read(_CHUNK), b"")) if _size(stream) <= limit else None
    if content is None:
        raise Unreadable(f"has over {limit:,} bytes")
    return content


def _size(stream: IO[bytes]) -> int:
    return os.fstat(stream.fileno()).st_size


def digest_of(folder: Path, name: str) -> str:
    """SHA-256 of a file, as 64 hex digits.

    Raises:
        Unreadable: it is missing or no plain file.
    """
    with _opened(folder, name) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # raw, and read into


def json_values(content: bytes) -> Any:
    """The values of JSON in UTF-8.

    Raises:
        ValueError: not JSON; or a key is given twice, which readers take in different ways; or nested too deep.
    """
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refused)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
