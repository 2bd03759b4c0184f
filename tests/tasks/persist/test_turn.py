"""A lock that one process has at a time, and that nobody waits for without end."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tasks.errors import StorageError
from tasks.persist import turn

HOLDER = """
import sys
from pathlib import Path
from tasks.persist import turn

with turn(Path(sys.argv[1]), patience=5, doing="it"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_waits_and_is_told_of_it(tmp_path):
    lock = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        told = r"another process has been publishing a run for 0 s.*start again"
        with pytest.raises(StorageError, match=told), turn(lock, patience=0.1, doing="publishing a run"):
            pass
        holder.kill()  # the system frees the lock of who was killed
        holder.wait()
        with turn(lock, patience=5, doing="it"):
            pass
    assert lock.stat().st_mode & 0o777 == 0o600


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "target").touch()
    (tmp_path / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(StorageError, match="cannot be written"), turn(tmp_path / ".lock", patience=1, doing="it"):
        pass
