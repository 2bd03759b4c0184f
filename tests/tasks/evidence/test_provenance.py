"""What ran: the code's digest and commit, the lock, the machine; nothing of who ran it, and where."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from tasks.evidence import code_about, code_digest, hardware, lock_digest, packages_digest
from tasks.evidence.provenance import ROOT, packages
from tasks.persist import file_digest


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in ("flows/a.py", "tasks/b/c.py", "tasks/b/page.html", "configs/schema.py", "configs/mine.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def _git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def _digest(tree: Path) -> str:
    return code_digest.__wrapped__(tree)  # without its memory


@pytest.mark.parametrize("name", ["flows/a.py", "tasks/b/c.py", "tasks/b/page.html", "configs/schema.py"])
def test_every_file_of_the_program_counts(tree, name):
    before = _digest(tree)
    (tree / name).write_text("changed")
    assert _digest(tree) != before
    (tree / name).write_text(name)
    assert _digest(tree) == before
    (tree / name).rename(tree / f"{name}2.py")
    assert _digest(tree) != before


def test_a_users_configs_and_bytecode_do_not_count(tree):
    before = _digest(tree)
    (tree / "configs" / "mine.yaml").write_text("changed")
    (tree / "tasks" / "__pycache__").mkdir()
    (tree / "tasks" / "__pycache__" / "x.pyc").write_text("x")
    (tree / "flows" / ".a.py.swp").write_text("x")
    (tree / "README.md").write_text("x")
    assert _digest(tree) == before


def test_the_digest_is_that_of_the_sorted_lines(tree):
    names = ["configs/schema.py", "flows/a.py", "tasks/b/c.py", "tasks/b/page.html"]
    lines = "".join(f"{file_digest(tree / name)}  {name}\n" for name in names)
    (tree / "lines").write_text(lines)
    assert _digest(tree) == file_digest(tree / "lines")


def test_a_checkout_tells_its_commit_and_whether_it_was_changed(tree, monkeypatch):
    assert code_about(tree) == {"version": version("keras-audit")}
    _git(tree, "init", "-q")
    _git(tree, "add", ".")
    _git(tree, "commit", "-qm", "x")
    commit = _git(tree, "rev-parse", "HEAD")
    clean = {"version": version("keras-audit"), "git_commit": commit, "git_dirty": False}
    assert code_about(tree) == clean
    monkeypatch.setenv("GIT_DIR", str(ROOT / ".git"))
    assert code_about(tree) == clean  # not another repository's
    (tree / "README.md").write_text("no code")
    assert code_about(tree)["git_dirty"] is False
    (tree / "flows" / "new.py").write_text("x")
    assert code_about(tree)["git_dirty"] is True


@pytest.mark.parametrize("form", ["loose", "packed", "detached", "worktree"])
def test_without_git_the_commit_is_read_from_its_files(tree, monkeypatch, form):
    _git(tree, "init", "-q")
    _git(tree, "add", ".")
    _git(tree, "commit", "-qm", "x")
    commit, place = _git(tree, "rev-parse", "HEAD"), tree
    if form == "packed":
        _git(tree, "pack-refs", "--all")
    elif form == "detached":
        _git(tree, "checkout", "-q", "--detach")
    elif form == "worktree":
        place = tree / "elsewhere"
        _git(tree, "worktree", "add", "-q", str(place))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert code_about(place) == {"version": version("keras-audit"), "git_commit": commit, "git_dirty": None}


def test_a_repository_that_is_broken_is_no_error(tree):
    (tree / ".git").mkdir()
    assert code_about(tree)["git_commit"] is None
    (tree / ".git" / "HEAD").write_bytes(b"\xff\x00")
    assert code_about(tree)["git_commit"] is None


def test_the_lock_is_the_checkouts_or_what_is_installed(tree):
    assert lock_digest(tree) == (packages_digest(), "installed distributions")
    (tree / "requirements.lock").write_text("numpy==1\n")
    assert lock_digest(tree)[1] == "installed distributions"  # somebody's file in a folder of packages
    (tree / "pyproject.toml").write_text("")
    assert lock_digest(tree) == (file_digest(tree / "requirements.lock"), "requirements.lock")


def test_installed_distributions_are_sorted_and_each_once():
    found = packages()
    assert found == sorted(set(found))
    assert f"pyarrow=={version('pyarrow')}" in found
    assert f"great-expectations=={version('great-expectations')}" in found


def test_the_machine_is_numbers():
    told = hardware()
    assert set(told) == {"machine", "cores", "memory_bytes"}
    assert told["cores"] >= 1
    assert told["memory_bytes"] is None or told["memory_bytes"] > 1 << 28
    json.dumps(told)
