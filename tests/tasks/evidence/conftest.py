"""Two runs of one audit, signed by one key, and a third of another audit without a signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.evidence import PublicKey, trusted_keys
from tests.tasks.evidence.evidence_runs import IDS, published, signer_at
from tests.tasks.report import report_runs


@dataclass(frozen=True)
class Runs:
    """Runs that no test changes."""

    reports: Path
    first: Path
    second: Path
    unsigned: Path
    key: PublicKey
    stranger: PublicKey


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("evidence")
    reports = root / "reports"
    with pytest.MonkeyPatch.context() as patch:
        signer, public = signer_at(root / "keys" / "ours.pem", reports, patch)
        _, other = signer_at(root / "keys" / "theirs.pem", reports, patch)
    first, second = (published(reports, run_id, signer=signer) for run_id in IDS[:2])
    unsigned = published(reports, IDS[2], kind=report_runs.tabular_run)
    (key,), (stranger,) = trusted_keys([public]), trusted_keys([other])
    return Runs(reports, first, second, unsigned, key, stranger)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a run to somewhere else, under another name."""
    import shutil

    def copy(run: Path) -> Path:
        return Path(shutil.copytree(run, tmp_path / "elsewhere" / f"a copy of {run.name[-4:]}", symlinks=True))

    return copy
