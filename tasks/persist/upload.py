"""From a run on this machine to a run on object storage.

A run is published on this machine, then uploaded: its files, the manifest, the manifest's digest, and last `latest`.

    one after the other
                    object stores have no locks. On this machine uploads of a name take turns. Between machines `latest`
                    is replaced only if it still is what the run was sealed after (S3: If-Match, If-None-Match); else
                    the run is sealed again, after the one that was faster. A store without such conditions is asked
                    just before instead: there two machines that publish a name in one moment may fork the chain.
    what failed     the local copy stays, with a mark (`.pending-<run-id>`) that names the run it was sealed after. The
                    next run of its name uploads it first, unless another machine has published one since.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.errors import StorageError
from tasks.persist.object_store import DIGEST, MANIFEST, ObjectStore, each, writing
from tasks.persist.publish import RUN_ID, publish
from tasks.persist.store import Workspace
from tasks.persist.turn import turn

#: written in this order when everything else is there
_LAST = ("attestation.json", MANIFEST, DIGEST)
_LOCK, _PENDING = ".upload.lock", ".pending-"
#: seconds that an upload waits for another one of its name on this machine
_PATIENCE = 3600.0
#: how often a run is sealed again because another machine was faster
_TRIES = 20

#: writes the manifest into a run, given the folder of the run that was published before, or None
Seal = Callable[[Workspace, Path | None], None]


def publish_to(store: ObjectStore, workspace: Workspace, seal: Seal, tick: Callable[[], None]) -> Path:
    """Publishes a run on this machine and uploads it; returns the local copy, which `forget` removes.

    Args:
        tick: called after each file; what it raises ends the upload.

    Raises:
        StorageError: the run cannot be published; or it is whole on this machine, and could not be uploaded.
    """
    parent, run_id = workspace.folder.parent, workspace.run_id
    name = parent.name
    with turn(parent / _LOCK, patience=_PATIENCE, doing="uploading a run"):
        _catch_up(store, parent, tick)
        with writing(store.shown(name), "cannot be read"):
            before, tag = store.latest(name)
        mark = _marked(parent, run_id, before)
        try:
            final = publish(workspace, lambda _: _sealed(store, workspace, seal, name, before))
        except BaseException:
            mark.unlink(missing_ok=True)
            raise
        hint = f"the run is whole: {final}; the next run of its name uploads it first"
        with writing(store.shown(name, run_id), "cannot be uploaded", hint):
            upload(store, final, tick)
            for _ in range(_TRIES):
                if store.point(name, run_id, before, tag):
                    break
                before, tag = _sealed_again(store, replace(workspace, folder=final), seal)
            else:
                raise OSError(errno.EBUSY, f"other runs of {name} keep being published")
        mark.unlink(missing_ok=True)
    return final


def forget(run: Path) -> None:
    """Removes the local copy of a run that was uploaded."""
    shutil.rmtree(run, ignore_errors=True)


def upload(store: ObjectStore, run: Path, tick: Callable[[], None]) -> None:
    """Copies a run's files, those that make it one last. `latest` is left as it is."""
    names = sorted(p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file())
    each(lambda name: _put(store, run, name), [name for name in names if name not in _LAST], tick)
    for name in _LAST:
        if name in names:
            _put(store, run, name)
            tick()


def _put(store: ObjectStore, run: Path, name: str) -> None:
    store.files.put_file(str(run / name), store.path(run.parent.name, run.name, name))


def _catch_up(store: ObjectStore, parent: Path, tick: Callable[[], None]) -> None:
    """Uploads what earlier runs could not, where it still fits behind `latest`; what fails keeps its mark."""
    for mark in sorted(parent.glob(f"{_PENDING}*")):
        run_id = mark.name.removeprefix(_PENDING)
        run = parent / run_id
        if not (RUN_ID.fullmatch(run_id) and (run / DIGEST).is_file()):
            mark.unlink(missing_ok=True)  # its process was killed before it was published on this machine
            continue
        with suppress(StorageError), writing(store.shown(parent.name, run_id)):
            after = mark.read_text(encoding="ascii") or None
            before, tag = store.latest(parent.name)
            if before == after:
                upload(store, run, tick)
            if before == run_id or (before == after and store.point(parent.name, run_id, before, tag)):
                forget(run)
                mark.unlink()


def _marked(parent: Path, run_id: str, before: str | None) -> Path:
    mark = parent / f"{_PENDING}{run_id}"
    with writing(str(mark)):
        mark.write_text(before or "", encoding="ascii")
    return mark


def _sealed(store: ObjectStore, workspace: Workspace, seal: Seal, name: str, before: str | None) -> None:
    """Seals a run after one that is on the store: its manifest is fetched, if it has one."""
    with ExitStack() as stack:
        folder = None
        if before is not None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="keras-audit-before-"))) / before
            folder.mkdir(mode=0o700)
            with suppress(FileNotFoundError):
                (folder / MANIFEST).write_bytes(store.files.cat_file(store.path(name, before, MANIFEST)))
        seal(workspace, folder)


def _sealed_again(store: ObjectStore, workspace: Workspace, seal: Seal) -> tuple[str | None, str | None]:
    """Has a run follow the one that was faster. Until that is done, nobody takes it for a run."""
    run = workspace.folder
    name = run.parent.name
    with suppress(FileNotFoundError):
        store.files.rm_file(store.path(name, run.name, DIGEST))
    before, tag = store.latest(name)
    _sealed(store, workspace, seal, name, before)
    _marked(run.parent, run.name, before)  # after it: killed in between, the run is kept, and follows nothing wrong
    for file in _LAST:
        if (run / file).is_file():
            _put(store, run, file)
    return before, tag
