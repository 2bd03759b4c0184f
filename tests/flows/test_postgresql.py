"""Five audits at once against Prefect's server on PostgreSQL: the real ones, as they would be run for years."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tasks.persist.publish import find_run, runs
from tests.flows import processes
from tests.flows.conftest import Subject

AUDITS = 5
_PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: [int(p.parent.name), p.name])
#: Debian's packages, newest first, or whatever is in the path
PROGRAMS = next((p for p in reversed(_PLACES) if (p / "initdb").is_file()), None) or (
    Path(found).parent if (found := shutil.which("initdb")) else None
)
PASSWORD = "a password of the test"

pytestmark = pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed: apt-get install postgresql")


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root: Debian's package has a user for it."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


def _program(name: str, *words: str) -> list[str]:
    assert PROGRAMS is not None
    return [*_unprivileged(), str(PROGRAMS / name), *words]


def _ran(command: Sequence[str], said: Path) -> None:
    """Runs a command to its end; its server keeps what it inherits open, so nothing is read from a pipe."""
    with said.open("a") as stream:
        done = subprocess.run(
            command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, timeout=processes.LONGEST, cwd="/",
            check=False,
        )  # fmt: skip
    assert done.returncode == 0, said.read_text()


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A cluster of its own on loopback; yields the address that Prefect is given."""
    data, secret, said = folder / "data", folder / "secret", folder / "said"
    secret.write_text(PASSWORD)
    if os.geteuid() == 0:
        for place in (folder, secret):
            shutil.chown(place, "postgres")
    port = processes.free_port()
    login = ["--username", "prefect", "--pwfile", str(secret), "--auth", "scram-sha-256"]
    _ran(_program("initdb", "--pgdata", str(data), "--encoding", "UTF8", "--no-sync", *login), said)
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    _ran(_program("pg_ctl", "start", "--wait", "--pgdata", str(data), "--log", f"{data}/log", "-o", options), said)
    try:
        yield f"postgresql+asyncpg://prefect:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/postgres"
    finally:
        _ran(_program("pg_ctl", "stop", "--wait", "--mode", "fast", "--pgdata", str(data)), said)


@dataclass(frozen=True)
class Served:
    """Prefect's server on PostgreSQL.

    Attributes:
        database: its address, for a client of PostgreSQL.
        home: of Prefect.
    """

    api: str
    database: str
    home: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    # Not below pytest's folder, which is its user's alone.
    with TemporaryDirectory(prefix="keras-audit-postgresql-") as folder, postgresql(Path(folder)) as address:
        environment, home = {"PREFECT_API_DATABASE_CONNECTION_URL": address}, tmp_path_factory.mktemp("prefect")
        with processes.prefect_server(home, environment) as api:
            yield Served(api, address.replace("+asyncpg", ""), home)


def test_five_audits_at_once(served: Served, subject: Subject, tmp_path: Path):
    """Each under a name of its own, so that none takes over what another has worked out."""
    environment = {"PREFECT_API_URL": served.api}
    configs = []
    for name in (*(f"credit-{number}" for number in range(AUDITS)), "alone"):
        (tmp_path / name).mkdir()
        configs.append((subject.write(tmp_path / name, {"name": name}), tmp_path / name / "reports"))
    *five, (single, apart) = configs
    running = [processes.started(config, reports, environment) for config, reports in five]
    for process, (_, reports) in zip(running, five, strict=True):
        processes.ended_well(process, reports)
    processes.ended_well(processes.started(single, apart, environment), apart)
    whole = processes.tables(find_run(apart, "alone"))
    assert len(whole) > 10
    for config, reports in five:
        (run,) = runs(reports)
        assert processes.differing(run, whole) == [], config
        ((state, steps),) = processes.settled(served.api, config)
        assert state == "Completed: policy not satisfied"
        assert "Cached" not in steps.values()
    assert asyncio.run(_told(served.database)) == AUDITS + 1
    assert not list(served.home.glob("*.db"))  # Prefect's own file


async def _told(database: str) -> int:
    """How many audits PostgreSQL itself knows."""
    import asyncpg

    connection = await asyncpg.connect(database)
    try:
        query = "select count(*) from flow_run where name like 'credit-%' or name like 'alone%'"
        return int(await connection.fetchval(query))
    finally:
        await connection.close()
