"""What ran: our code, the libraries, the machine. Digests and numbers only: no path, no user's and no host's name."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from tasks.persist import file_digest

#: the folder that holds flows/, tasks/ and configs/: a checkout, or where packages are installed
ROOT = Path(__file__).resolve().parents[2]
_HEADER = re.compile(r"^(Name|Version): *(\S+)", re.MULTILINE)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@cache
def code_digest(root: Path = ROOT) -> str:
    """SHA-256 of the sorted `sha256  path` lines of our program's files, as they were when the process first asked.

    Users' audit definitions under configs/ are none of them.
    """
    files = [p for layer in ("flows", "tasks") for p in (root / layer).rglob("*") if p.is_file()]
    files += (root / "configs").glob("*.py")
    named = {p.relative_to(root).as_posix(): p for p in files if "__pycache__" not in p.parts and p.name[0] != "."}
    lines = "".join(f"{file_digest(path)}  {name}\n" for name, path in sorted(named.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def code_about(root: Path = ROOT) -> dict[str, Any]:
    """`version` of the package; in a checkout also `git_commit`, and `git_dirty`: whether its files differ from it.

    What git cannot tell (it is not installed, or does not trust the folder's owner) is null.
    """
    try:
        found: dict[str, Any] = {"version": version("keras-audit")}
    except PackageNotFoundError:
        found = {"version": "unknown"}
    if not (root / ".git").exists():
        return found
    commit, status = (
        _git(root, "rev-parse", "HEAD"),
        _git(root, "status", "--porcelain", "--", "flows", "tasks", "configs"),
    )
    return {
        **found,
        "git_commit": commit.strip() if commit is not None else _head(root / ".git"),
        "git_dirty": None if status is None else bool(status.strip()),
    }  # fmt: skip


def _git(root: Path, *words: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    # Variables such as GIT_DIR would lead to another repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(  # noqa: S603  # a fixed command, in our own folder
            [program, *words], cwd=root, env=environment, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return done.stdout if done.returncode == 0 else None


def _head(git: Path) -> str | None:
    """The commit that HEAD names, from git's files: for a machine without git."""
    with suppress(OSError, UnicodeDecodeError):
        if git.is_file():  # of a worktree: the place of its folder
            git = (git.parent / git.read_text(encoding="utf-8").partition(":")[2].strip()).resolve()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if _COMMIT.fullmatch(head):
            return head
        ref = head.removeprefix("ref: ")
        common = git / "commondir"
        shared = git / common.read_text(encoding="utf-8").strip() if common.is_file() else git
        for place in (git / ref, shared / ref):
            if place.is_file():
                text = place.read_text(encoding="utf-8").strip()
                return text if _COMMIT.fullmatch(text) else None
        for line in (shared / "packed-refs").read_text(encoding="utf-8").splitlines():
            commit, _, name = line.partition(" ")
            if name == ref and _COMMIT.fullmatch(commit):
                return commit
    return None


def packages() -> list[str]:
    """`name==version` of every installed distribution, sorted, each once."""
    found = set()
    for distribution in distributions():
        # Its headers alone: parsing whole descriptions would take a tenth of an audit that has nothing to work out.
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        head = dict(_HEADER.findall(text.partition("\n\n")[0]))
        if head.get("Name"):  # a folder that an interrupted installation left behind has none
            found.add(f"{re.sub(r'[-_.]+', '-', head['Name']).lower()}=={head.get('Version')}")
    return sorted(found)


def packages_digest() -> str:
    """SHA-256 of the lines of `packages`."""
    return hashlib.sha256("".join(f"{line}\n" for line in packages()).encode()).hexdigest()


def lock_digest(root: Path = ROOT) -> tuple[str, str]:
    """(SHA-256, what it is of): of the checkout's requirements.lock, or of what is installed where there is none."""
    lock = root / "requirements.lock"
    if (root / "pyproject.toml").is_file() and lock.is_file():
        return file_digest(lock), lock.name
    return packages_digest(), "installed distributions"


def hardware() -> Mapping[str, Any]:
    """`machine` (architecture), `cores` (logical), `memory_bytes` (null where the system does not tell)."""
    memory = None
    with suppress(ValueError, OSError, AttributeError):  # no such name, or no sysconf at all
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"machine": platform.machine(), "cores": os.cpu_count() or 1, "memory_bytes": memory}
