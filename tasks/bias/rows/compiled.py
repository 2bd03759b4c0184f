"""Compiles loops by numba, and keeps what was compiled in a folder that only this user can write.

Compiling takes about half a second a loop; loading one some milliseconds. numba's files are pickles, as trusted as the
user's own .pyc files, so they lie in `$XDG_CACHE_HOME/keras-audit` (`~/.cache/keras-audit`), never among the sources.
Where others could write there, or nothing can be kept, loops are compiled anew in each process: the same machine code.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

_KINDS = {"f": "float64", "i": "int64", "o": "int32", "u": "uint8", "s": "int8", "b": "bool_"}
_compiling = threading.Lock()


def compiled(bodies: ModuleType, name: str) -> Callable[..., Any]:
    """A function of a module, compiled; it runs without Python's lock.

    Args:
        bodies: its SIGNATURES name the arrays that each function takes: kind and dimensions, as `f1 O2`: f8, i and o
            (int64, int32), uint8, int8 (s), bool. A capital letter is written to.
    """
    with _compiling:
        return _compiled(bodies, name)


@functools.cache
def _compiled(bodies: ModuleType, name: str) -> Callable[..., Any]:
    folder = kept(bodies)
    if folder is not None:
        with suppress(Exception):  # a full disk, a damaged file: whatever a pickle can raise
            return _jitted(bodies, name, folder)
    return _jitted(bodies, name, None)


def _jitted(bodies: ModuleType, name: str, folder: Path | None) -> Callable[..., Any]:
    import numba
    from numba import types

    # What is only read may be read-only, as columns of a table are.
    arguments = [
        types.Array(getattr(types, _KINDS[a[0].lower()]), int(a[1]), "C", readonly=a[0].islower())
        for a in bodies.SIGNATURES[name].split()
    ]
    before = numba.config.CACHE_DIR
    try:
        if folder is not None:
            numba.config.CACHE_DIR = str(folder)
        return numba.njit(types.void(*arguments), nogil=True, cache=folder is not None)(getattr(bodies, name))
    finally:
        numba.config.CACHE_DIR = before


def kept(bodies: ModuleType, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The folder for what is compiled of these very sources by this very numba; None: nothing can be kept safely."""
    try:
        digest = hashlib.sha256(" ".join(version(name) for name in ("numba", "llvmlite")).encode())
        for source in (__file__, str(bodies.__file__)):
            digest.update(Path(source).read_bytes())
        given = Path(environment.get("XDG_CACHE_HOME", ""))
        cache = given if given.is_absolute() else Path(environment["HOME"]) / ".cache"
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = cache / "keras-audit"
        folder = ours / f"compiled-{digest.hexdigest()[:16]}"
        for part in (ours, folder):
            part.mkdir(mode=0o700, exist_ok=True)
        return folder if private(folder) else None
    except (OSError, KeyError, PackageNotFoundError):
        return None


def private(folder: Path) -> bool:
    """Whether only this user enters a folder, and nobody else but root can put another in its place."""
    if not hasattr(os, "geteuid"):
        return False
    owner, place = os.geteuid(), folder.resolve(strict=True)
    own = place.stat()
    if own.st_uid != owner or own.st_mode & 0o077:
        return False
    for above in place.parents:
        found = above.stat()
        shared = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX  # in /tmp a folder stays its owner's
        if found.st_uid not in {owner, 0} or shared:
            return False
    return True
