from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tasks.bias.rows import compiled, loop_bodies, loops

CODES = np.arange(40) % 3


@pytest.fixture(autouse=True)
def as_in_a_new_process() -> Iterator[None]:
    compiled._compiled.cache_clear()
    yield
    compiled._compiled.cache_clear()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user; only they enter it."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def _moments() -> np.ndarray:
    return np.concatenate([part.ravel() for part in loops.moments(CODES, np.sqrt(np.arange(40.0)), None, 3)])


def _files(home: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in home.rglob("*.nb?")}


def test_what_is_kept_is_what_is_compiled(home: Path) -> None:
    first = _moments()
    written = _files(home)
    assert len(written) == 4  # an index and a machine code of each of two loops
    compiled._compiled.cache_clear()
    assert np.array_equal(_moments(), first)
    assert _files(home) == written
    plain = compiled._jitted(loop_bodies, "moments", None)
    sums = np.zeros((4, 3))
    plain(CODES.astype(np.int32), np.sqrt(np.arange(40.0)), np.zeros(0), sums)
    assert np.array_equal(sums.ravel(), first[:12])
    again = compiled._jitted(loop_bodies, "moments", compiled.kept(loop_bodies))
    assert again.stats.cache_hits


def test_a_damaged_file_is_not_used(home: Path) -> None:
    first = _moments()
    for path in home.rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:50])
    compiled._compiled.cache_clear()
    assert np.array_equal(_moments(), first)


def test_the_setting_of_other_users_of_numba_stays(home: Path) -> None:
    import numba

    before = numba.config.CACHE_DIR
    _moments()
    assert before == numba.config.CACHE_DIR


def test_the_cache_is_where_the_user_keeps_theirs(home: Path) -> None:
    (home / "own").mkdir(mode=0o700)
    in_home = compiled.kept(loop_bodies, {"HOME": str(home), "XDG_CACHE_HOME": "not/absolute"})
    assert in_home is not None
    assert in_home.parent == home / ".cache" / "keras-audit"
    elsewhere = compiled.kept(loop_bodies, {"XDG_CACHE_HOME": str(home / "own")})
    assert elsewhere is not None
    assert elsewhere == home / "own" / "keras-audit" / in_home.name
    assert in_home.stat().st_mode & 0o777 == 0o700


def test_without_a_home_nothing_is_kept(tmp_path: Path) -> None:
    assert compiled.kept(loop_bodies, {}) is None
    (tmp_path / "file").touch()
    assert compiled.kept(loop_bodies, {"XDG_CACHE_HOME": str(tmp_path / "file")}) is None


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o755])
def test_nothing_is_kept_where_others_come_in(home: Path, mode: int) -> None:
    folder = compiled.kept(loop_bodies)
    assert folder is not None
    folder.chmod(mode)
    assert compiled.kept(loop_bodies) is None
    _moments()
    assert not _files(home)


@pytest.mark.parametrize(("mode", "kept"), [(0o777, False), (0o770, False), (0o1777, True), (0o755, True)])
def test_nothing_is_kept_where_others_could_put_their_own_folder(home: Path, mode: int, kept: bool) -> None:
    folder = compiled.kept(loop_bodies)
    assert folder is not None
    folder.parent.chmod(mode)
    assert (compiled.kept(loop_bodies) == folder) is kept


def test_nothing_is_kept_in_a_folder_of_another_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled.kept(loop_bodies) is not None
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert compiled.kept(loop_bodies) is None


def test_another_source_has_another_folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled.kept(loop_bodies)
    other = tmp_path / "loop_bodies.py"
    other.write_text("SIGNATURES = {}\n")
    monkeypatch.setattr(loop_bodies, "__file__", str(other))
    assert compiled.kept(loop_bodies) != first
