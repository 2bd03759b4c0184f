"""A run's working folder, and a disk without space."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.persist import Workspace

RUN = "20260102T030405Z-0123abcd"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "run", RUN, {"keras_audit.run_id": RUN, "keras_audit.data": "d" * 64})


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow past 64 KiB: what a full disk looks like from inside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files_of(workspace: Workspace) -> list[str]:
    """The paths of all files in a working folder."""
    return sorted(p.relative_to(workspace.folder).as_posix() for p in workspace.folder.rglob("*") if p.is_file())


def groups(n: int, row_id: pa.Array | None = None) -> pa.Table:
    """A table of the form of `groups`, with so many rows."""
    return pa.table(
        {
            "row_id": pa.array(range(n)) if row_id is None else row_id,
            "attribute": ["sex"] * n,
            "group": ["Female"] * n,
            "weight": np.random.default_rng(0).random(n),  # does not compress
        }
    )
