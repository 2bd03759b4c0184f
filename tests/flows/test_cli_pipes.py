"""What stands behind stdout: a reader that has gone, a disk that is full, a terminal of another encoding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest


def _process(*arguments: str, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["schema"], 0), (["list", "--json"], 0), (["--help"], 0), (["show", "nothing", "--json"], 2)],
)
def test_a_reader_that_has_gone_changes_no_exit_code(tmp_path, arguments: Sequence[str], code: int):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = _process(*arguments, *(["--reports", str(tmp_path)] if "--json" in arguments else []), stdout=writer)
    finally:
        os.close(writer)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_disk_behind_stdout_is_told(tmp_path):
    with open("/dev/full", "wb") as full:
        done = _process("list", "--json", "--reports", str(tmp_path), stdout=full.fileno())
    assert done.returncode not in {0, 1}
    assert b"No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8:strict"])
def test_answers_are_utf_8_whatever_the_terminal_says(encoding):
    done = _process("schema", PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert "→" in done.stdout.decode("utf-8")
    told = _process("show", "\udcff", "--json", PYTHONIOENCODING=encoding)
    assert told.returncode == 2
    assert json.loads(told.stdout)["error"]["exit_code"] == 2
