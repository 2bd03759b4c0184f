"""Results of steps that ended, kept for later runs: what depends on the same contents is not computed again.

They lie in `reports/<name>/.finished/<step>-<key>/`, where the key tells the content of whatever the result depends on.
`result.json` holds the step's result and the SHA-256 of each of its files; the files are hard links to those of the
run that made them, copies where the file system has no links. A hit is one whose every file still has its digest;
what is damaged, or half there, is removed and counts as a miss. Nothing here ever makes an audit fail.

    kept until        no run has used it for KEEP_SECONDS (`sweep_finished`, at the start of each run).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tasks.contracts import Done, NotApplicable, result_from_json, result_to_json
from tasks.persist.store import Workspace, file_digest, make_folder

FOLDER = ".finished"
#: a quarter's schedule, and some weeks
KEEP_SECONDS = 120 * 24 * 3600.0
_RESULT = "result.json"
_NAME = re.compile(r"[a-z0-9_.-]+-[0-9a-f]{64}")

Kept = Done | NotApplicable


def keep(folder: Path, step: str, key: str, workspace: Workspace, result: Kept) -> None:
    """Keeps a result and its files under a key; does nothing where it cannot, or where it is there already."""
    place = _place(folder, step, key)
    partial = place.with_name(f".{place.name}-{workspace.run_id}")
    try:
        if (place / _RESULT).is_file():
            return
        make_folder(folder)
        partial.mkdir(mode=0o700)
        digests = {}
        for name in _files(result):
            source, target = workspace.folder / name, partial / "files" / name
            make_folder(target.parent)
            _link(source, target)
            digests[name] = file_digest(target)
        told = {"result": result_to_json(result), "files": digests, "run_id": workspace.run_id}
        (partial / _RESULT).write_text(json.dumps(told, allow_nan=False), encoding="utf-8")
        os.rename(partial, place)
    except (OSError, ValueError, TypeError):  # a full disk, a fact that is no JSON, another run that was faster
        shutil.rmtree(partial, ignore_errors=True)


def take(folder: Path, step: str, key: str, workspace: Workspace) -> Kept | None:
    """The result kept under a key, its files put into the run's folder; None for a miss."""
    place = _place(folder, step, key)
    try:
        told = json.loads((place / _RESULT).read_text(encoding="utf-8"))
        result = result_from_json(told["result"])
        if not isinstance(result, Kept) or set(told["files"]) != set(_files(result)):
            raise ValueError("not what was kept")
        for name, digest in told["files"].items():
            target = workspace.place(name)
            make_folder(target.parent)
            _link(place / "files" / name, target)
            if file_digest(target) != digest:
                raise ValueError("damaged")
        os.utime(place)
    except FileNotFoundError:
        if place.exists():  # without its result, or a file of it
            shutil.rmtree(place, ignore_errors=True)
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        shutil.rmtree(place, ignore_errors=True)  # the step writes its files anew
        return None
    return _moved(result, workspace, str(told.get("run_id")))


def has(folder: Path, step: str, key: str) -> bool:
    """Whether something is kept under a key; whether it is whole, `take` finds."""
    return (_place(folder, step, key) / _RESULT).is_file()


def sweep_finished(folder: Path) -> None:
    """Removes what no run has used for KEEP_SECONDS, and what a killed run left half-made a day ago."""
    now = time.time()
    with suppress(OSError):
        for entry in folder.iterdir():
            with suppress(OSError):
                age = now - entry.stat().st_mtime
                if age > (KEEP_SECONDS if _NAME.fullmatch(entry.name) else 24 * 3600.0):
                    shutil.rmtree(entry, ignore_errors=True)


def _place(folder: Path, step: str, key: str) -> Path:
    return folder / f"{re.sub('[^a-z0-9_.]+', '-', step.lower())}-{key}"


def _files(result: Kept) -> list[str]:
    """Names in the run's folder of everything that the step wrote."""
    if isinstance(result, NotApplicable):
        return []
    tables = [f"artifacts/{table.name}.parquet" for table in result.tables]
    return [*tables, *(f"artifacts/{image}" for image in result.images), *result.parts]


def _moved(result: Kept, workspace: Workspace, run_id: str) -> Kept:
    """The result, whose tables lie in this run's folder; it says which run it is of."""
    if isinstance(result, NotApplicable):
        return result
    tables = tuple(replace(table, path=str(workspace.table_path(table.name))) for table in result.tables)
    return replace(result, tables=tables, of_run=result.of_run or run_id)


def _link(source: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        target.unlink()
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
