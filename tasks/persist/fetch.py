"""Runs on object storage, copied into a passing folder to be read there.

A bucket may be anybody's: an object's name leads nowhere out of the folder, nothing has no end, and what is no file is
told. Runs whose upload has not ended have no manifest.sha256 and are passed over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.errors import StorageError, UsageError, VerificationFailed, nearest
from tasks.persist.object_store import DIGEST, LATEST, MANIFEST, SUMMARY, ObjectStore, each, reading
from tasks.persist.publish import RUN_ID
from tasks.persist.store import make_folder

#: objects of one run that are copied; a run has a hundred, with images a few thousand
_MOST = 100_000
#: bytes of a summary that is fetched for a list: more is no summary
_MAX_SUMMARY = 32 << 20


def names(store: ObjectStore, *above: str) -> list[str]:
    """The audits of which there may be runs, in the store or in a folder of it.

    Raises:
        UsageError, DataUnavailable: the address cannot be read.
    """
    with reading(store.address):
        return sorted(
            name
            for name, kind, _ in store.inside(*above)
            if kind == "directory" and _is_part(name) and not name.startswith(".")
        )


def copy_stubs(store: ObjectStore, target: Path, wanted: Iterable[str]) -> None:
    """What a list of runs is made of: of each run of the names its summary, the digest of its manifest, and an empty
    file for each other one. What the folder holds already is not fetched again; what the store has no more goes.

    Raises:
        UsageError, DataUnavailable: the address cannot be read.
    """
    with reading(store.address):
        there = {
            (name, run)
            for name in wanted
            for run, kind, _ in store.inside(name)
            if kind == "directory" and RUN_ID.fullmatch(run)
        }
        for run in target.glob("*/*"):
            if RUN_ID.fullmatch(run.name) and (run.parent.name, run.name) not in there:
                shutil.rmtree(run, ignore_errors=True)
        missing = sorted(pair for pair in there if not target.joinpath(*pair).is_dir())
        each(lambda pair: _copy_stub(store, target, *pair), missing)


def _copy_stub(store: ObjectStore, target: Path, name: str, run_id: str) -> None:
    files = {file: size for file, kind, size in store.inside(name, run_id) if kind == "file" and _is_part(file)}
    if DIGEST not in files:
        return
    make_folder(target / name)
    with TemporaryDirectory(prefix=".stub-", dir=target) as place:
        partial = Path(place) / run_id
        partial.mkdir(mode=0o700)
        for file, size in files.items():
            path = partial / file
            if file in (SUMMARY, DIGEST) and size <= _MAX_SUMMARY:
                path.write_bytes(store.files.cat_file(store.path(name, run_id, file)))
            else:
                path.touch(mode=0o600)
                os.truncate(path, size if file == SUMMARY else 0)  # of one that is too large the size is told
        with suppress(OSError):  # another process was faster
            os.rename(partial, target / name / run_id)


def resolve(store: ObjectStore, run: str) -> tuple[str, ...]:
    """Where a run lies below the address: `name/run-id`, `name` or `name/latest` (its latest), or another path.

    Raises:
        UsageError, DataUnavailable: there is no such run, or the address cannot be read.
    """
    parts = tuple(part for part in run.split("/") if part)
    good = bool(parts) and all(map(_is_part, parts))
    if good:
        with reading(store.shown(*parts)):
            name = parts[:-1] if parts[-1] == LATEST else parts
            newest = store.latest(*name)[0] if name and not RUN_ID.fullmatch(name[-1]) else None
            if newest is not None:
                return (*name, newest)
            if any(kind == "file" for _, kind, _ in store.inside(*parts)):
                return parts
    known = names(store, *parts[: -2 if RUN_ID.fullmatch(parts[-1]) else -1]) if good else []
    hint = nearest(run, known) or "see keras-audit list"
    raise UsageError(f"no run {run}", where=store.address, available=known, hint=hint)


def copy_run(store: ObjectStore, parts: tuple[str, ...], target: Path, only: tuple[str, ...] = ()) -> None:
    """Copies a run, or those of its files that are asked for, into a folder. Nothing is written outside of it.

    Raises:
        UsageError, DataUnavailable: it cannot be read.
        VerificationFailed: it holds what no run does: names that are no files', or far too many objects.
        StorageError: there is no room for it.
    """
    where = store.shown(*parts)
    target.mkdir(mode=0o700, parents=True)
    with reading(where):
        sizes = dict.fromkeys(only, 0) if only else _sizes(store, parts)
    bad = [name for name in sizes if not all(map(_is_part, name.split("/")))]
    bad += [name for name in sizes if any(above.as_posix() in sizes for above in Path(name).parents)]
    if bad:
        raise VerificationFailed("holds objects whose names are no files' of a run", where=where, values=bad)
    if len(sizes) > _MOST:
        raise VerificationFailed(f"holds more than {_MOST:,} objects: it is no run", where=where)
    if sum(sizes.values()) > shutil.disk_usage(target).free:
        raise StorageError("is larger than the room there is", where=where, hint="set TMPDIR to a larger disk")
    with reading(where):
        each(lambda name: _get(store, store.path(*parts, name), target / name), sizes)


def _sizes(store: ObjectStore, parts: tuple[str, ...]) -> dict[str, int]:
    """Every object of a run by its name in it. What S3's consoles leave where a folder is made is none."""
    prefix = store.path(*parts).lstrip("/") + "/"
    found = store.files.find(store.path(*parts), detail=True)
    named = {path.lstrip("/").removeprefix(prefix): about for path, about in found.items()}
    sizes = {name: int(about["size"] or 0) for name, about in named.items() if about["type"] == "file" and name}
    return {name: size for name, size in sizes.items() if size or not name.endswith("/")}


def copy_manifests(store: ObjectStore, parts: tuple[str, ...], target: Path) -> None:
    """Copies the manifests of the other runs of a run's name, each into a folder of its own, as far as they are there.

    Raises:
        UsageError, DataUnavailable: they cannot be read.
    """
    *above, own = parts
    with reading(store.shown(*above)):
        others = [run for run, kind, _ in store.inside(*above) if kind == "directory" and RUN_ID.fullmatch(run)]

        def get(pair: tuple[str, str]) -> None:
            with suppress(FileNotFoundError):
                _get(store, store.path(*above, *pair), target.joinpath(*pair))

        each(get, [(run, name) for run in others if run != own for name in (MANIFEST, DIGEST)])


def _get(store: ObjectStore, path: str, target: Path) -> None:
    make_folder(target.parent)
    try:
        store.files.get_file(path, str(target))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    target.chmod(0o400)


def _is_part(name: str) -> bool:
    """Whether it is a name that a file or a folder may have, and leads nowhere else."""
    return bool(name) and name not in (".", "..") and len(os.fsencode(name)) <= 255 and not set(name) & set("/\\\x00")
