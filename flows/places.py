"""Where reports lie: a folder, or an address of object storage such as `s3://bucket/reports`.

For a folder nothing of what object storage needs is imported.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING

from tasks.errors import Stopped, UsageError, nearest, one_line

if TYPE_CHECKING:
    from tasks.history import Entry
    from tasks.persist.object_store import ObjectStore

#: in the local side: what the index was made of
_STUBS = ".index"


@dataclass(frozen=True)
class Found:
    """A run to read.

    Attributes:
        folder: where its files are; for object storage a passing copy of them.
        place: where it lies.
        reports: the folder under which other runs are.
    """

    folder: Path
    place: str
    reports: Path


def is_address(text: str | Path) -> bool:
    """Whether it names object storage, and no folder."""
    return "://" in str(text)


def folder_only(reports: str) -> Path:
    """A reports folder, where it has to be one.

    Raises:
        UsageError: it is an address.
    """
    if is_address(reports):
        raise UsageError("has to be a folder on this machine here", where=f"--reports {reports}")
    return Path(reports)


def store_of(reports: str | Path) -> ObjectStore | None:
    """The store that an address names; None for a folder.

    Raises:
        UsageError: the address cannot be used.
    """
    if not is_address(reports):
        return None
    from tasks.persist.object_store import open_store

    return open_store(str(reports))


def local_side(reports: str | Path, store: ObjectStore | None, name: str) -> Path:
    """The folder on this machine in which runs of a name are made; a store is asked whether it will take them.

    Raises:
        StorageError: the store will not.
    """
    if store is None:
        return Path(reports)
    store.check(name)
    return store.folder


def index_store(store: ObjectStore) -> str | None:
    """Makes the index of a store's runs anew; where that fails, one sentence says why, and nothing is raised."""
    from tasks.history import INDEX, index_runs
    from tasks.persist.fetch import copy_stubs, names
    from tasks.persist.store import make_folder

    stubs = store.folder / _STUBS
    try:
        make_folder(stubs)
        copy_stubs(store, stubs, names(store))
        told = index_runs(stubs)
        if told is None:
            store.write(INDEX, (stubs / INDEX).read_bytes())
    except Exception as error:  # noqa: BLE001  # the run is uploaded: nothing here may fail it
        return f"the index of runs was not made: {one_line(error, 300) or type(error).__name__}"
    return told


def listed(reports: str, name: str | None) -> list[Entry]:
    """Every run under a folder or an address, the newest last.

    Raises:
        UsageError, DataUnavailable: they cannot be read, or there is no run of that name.
    """
    from tasks.history import entries
    from tasks.history import listed as listed_here

    store = store_of(reports)
    if store is None:
        return listed_here(Path(reports), name)
    from tasks.persist.fetch import copy_stubs, names

    known = names(store)
    if name is not None and name not in known and known:
        raise UsageError(f"no run of {name}", where=reports, available=known, hint=nearest(name, known))
    with passing_folder("keras-audit-list-") as folder:
        copy_stubs(store, folder, known if name is None else [name] if name in known else [])
        return entries(folder)


@contextmanager
def opened_run(
    run: str,
    reports: str,
    find: Callable[[Path, str], Path] | None = None,
    *,
    only: Collection[str] = (),
    chain: bool = False,
) -> Iterator[Found]:
    """A run to read, by what the command line calls it: a folder, an address, `name/run-id`, or `name`.

    Where reports is an address, a folder begins with `/` or `.`: `name/run-id` is one that lies there.

    Args:
        find: finds it where it is no address's: (reports folder, run) → folder; None: `find_run`.
        only: the files that are needed; none: all of them.
        chain: whether manifests of the other runs of its name are needed too.

    Raises:
        UsageError, DataUnavailable: there is none, or it cannot be read.
    """
    far = is_address(run)
    if not far and (not is_address(reports) or run.startswith((".", "/"))):
        here = Path() if is_address(reports) else Path(reports)
        folder = _found(here, run) if find is None else find(here, run)
        yield Found(folder, str(folder), here)
        return
    from tasks.persist.fetch import copy_manifests, copy_run, resolve

    store = store_of(_above(run) if far else reports)
    assert store is not None
    parts = resolve(store, run.rstrip("/").removeprefix(f"{store.address}/") if far else run)
    with passing_folder("keras-audit-run-") as place:
        folder = place / "runs" / parts[-1]
        copy_run(store, parts, folder, tuple(only))
        if chain:
            copy_manifests(store, parts, folder.parent)
        yield Found(folder, store.shown(*parts), place)


def _found(reports: Path, run: str) -> Path:
    from tasks.persist.publish import find_run

    return find_run(reports, run)


def _above(address: str) -> str:
    """The bucket of an address: whatever is below it may be a run's name."""
    protocol, _, path = address.partition("://")
    bucket = path.strip("/").partition("/")[0]
    return f"{protocol}://{'/' if path.startswith('/') else ''}{bucket}"


@contextmanager
def passing_folder(prefix: str) -> Iterator[Path]:
    """A folder under TMPDIR, readable by its owner alone, that goes however the block ends."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped("stopped by SIGTERM")

    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if ours else None
    try:
        with TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
            yield Path(name)
    finally:
        if ours:
            signal.signal(signal.SIGTERM, before)
