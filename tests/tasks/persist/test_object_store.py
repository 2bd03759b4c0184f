"""Runs on object storage: whole or not there, one after the other, and read back without being believed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.errors import DataUnavailable, Stopped, StorageError, UsageError, VerificationFailed
from tasks.persist import Workspace
from tasks.persist.fetch import copy_manifests, copy_run, copy_stubs, names, resolve
from tasks.persist.object_store import ObjectStore, open_store
from tasks.persist.publish import begin, new_run_id
from tasks.persist.upload import forget, publish_to
from tasks.watch import Watch
from tests.tasks.persist.s3_server import BUCKET, Server, s3_server

TEAM = f"s3://{BUCKET}/team/reports"
Machine = Callable[[str], ObjectStore]


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with s3_server() as found:
        yield found


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server, empty, and the environment of a program that is sent there."""
    from s3fs import S3FileSystem

    running.empty()
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    yield running
    running.gone_after, running.before_put = None, lambda key: None
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The store as a machine of a name has it: each has a local side of its own."""

    def store(name: str, address: str = TEAM) -> ObjectStore:
        with monkeypatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
            found = open_store(address)
        found.check("credit")
        return found

    return store


def _seal(workspace: Workspace, before: Path | None) -> None:
    """As the evidence does it: the manifest names the run before, and the digest comes last."""
    known = before is not None and (before / "manifest.json").is_file()
    named = {"before": None if before is None else before.name, "known": known}
    workspace.write_bytes("manifest.json", json.dumps(named).encode())
    workspace.write_bytes("manifest.sha256", f"digest of {named}".encode())


def _run(store: ObjectStore) -> Workspace:
    workspace = begin(store.folder, "credit", new_run_id())
    workspace.write_bytes("summary.json", json.dumps({"report_id": workspace.run_id}).encode())
    workspace.write_bytes("artifacts/attributions/shap.parquet", os.urandom(5000))
    workspace.write_bytes("artifacts/images/[0-9]?*.png", b"not a pattern")
    return workspace


def _published(store: ObjectStore, seal=_seal) -> str:
    workspace = _run(store)
    forget(publish_to(store, workspace, seal, lambda: None))
    return workspace.run_id


def _chain(store: ObjectStore, folder: Path) -> list[str]:
    """The runs from the newest to the first, as their manifests name them."""
    found = []
    run = store.latest("credit")[0]
    while run is not None:
        assert run not in found
        found.append(run)
        place = folder / f"chain-{len(found)}-{run}"
        copy_run(store, ("credit", run), place, ("manifest.json",))
        run = json.loads((place / "manifest.json").read_bytes())["before"]
    return found


# From this machine to the store


@pytest.mark.parametrize("kind", ["s3", "memory", "file"])
def test_a_run_is_there_as_it_was_made_and_the_next_one_follows_it(kind, server, machine, tmp_path):
    address = {"s3": TEAM, "memory": f"memory://{tmp_path.name}/reports", "file": f"file://{tmp_path}/far/reports"}[
        kind
    ]
    store = machine("here", address)
    first = _run(store)
    local = publish_to(store, first, _seal, lambda: None)
    assert local == store.folder / "credit" / first.run_id
    copy_run(store, resolve(store, "credit"), tmp_path / "copy")
    files = {p.relative_to(local).as_posix(): p.read_bytes() for p in local.rglob("*") if p.is_file()}
    copies = {p.relative_to(tmp_path / "copy").as_posix(): p for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in copies.items()} == files
    assert {stat.S_IMODE(path.stat().st_mode) for path in copies.values()} == {0o400}
    forget(local)
    second = _published(store)
    assert resolve(store, "credit") == resolve(store, "credit/latest") == ("credit", second)
    assert _chain(store, tmp_path) == [second, first.run_id]
    copy_manifests(store, ("credit", second), tmp_path / "others")
    assert sorted(p.name for p in (tmp_path / "others").iterdir()) == [first.run_id]
    assert not list(store.folder.glob("credit/2*"))  # nothing of a run stays on this machine
    assert not list(store.folder.glob("credit/.pending-*"))


def test_what_makes_it_a_run_comes_last_and_latest_after_it(server, machine):
    store = machine("here")
    run = _published(store)
    order = [key.rpartition("/")[2] for key in server.written if f"/{run}/" in key or key.endswith("/latest")]
    assert order[-3:] == ["manifest.json", "manifest.sha256", "latest"]
    assert server.get("team/reports/credit/latest") == f"{run}\n".encode()


def test_the_local_side_is_its_owners_alone_and_tells_servers_apart(server, machine, tmp_path, monkeypatch):
    store = machine("here")
    part = store.folder
    while part != tmp_path:
        assert stat.S_IMODE(part.stat().st_mode) == 0o700
        part = part.parent
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    assert open_store(TEAM).folder == store.folder
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert open_store(TEAM).folder != store.folder


# What goes wrong


@pytest.mark.parametrize("answered", [0, 1, 3, 4, 5])
def test_a_server_that_goes_away_leaves_nothing_that_looks_whole(server, machine, tmp_path, answered):
    """A run here is five objects, and `latest` the sixth: after each of them, and before the first."""
    store = machine("here")
    before = _published(store)
    workspace = _run(store)
    server.gone_after = answered
    with pytest.raises(StorageError, match="cannot be uploaded") as caught:
        publish_to(store, workspace, _seal, lambda: None)
    local = store.folder / "credit" / workspace.run_id
    assert f"the run is whole: {local}" in str(caught.value)
    assert str(caught.value).count("\n") == 0
    server.gone_after = None
    assert store.latest("credit")[0] == before
    copy_stubs(store, tmp_path / "list", ["credit"])
    there = sorted(p.name for p in (tmp_path / "list" / "credit").iterdir())
    whole = answered == 5  # all of it is there, and only `latest` is not
    assert there == sorted([before, *([workspace.run_id] if whole else [])])
    # The next run of its name uploads it first, and follows it.
    after = _published(store)
    assert _chain(store, tmp_path) == [after, workspace.run_id, before]
    assert not local.exists()
    assert not list(store.folder.glob("credit/.pending-*"))


def test_a_run_that_was_overtaken_while_it_waited_is_kept_and_not_forced_in(server, machine, tmp_path):
    store, other = machine("here"), machine("there")
    workspace = _run(store)
    server.gone_after = 2
    with pytest.raises(StorageError):
        publish_to(store, workspace, _seal, lambda: None)
    server.gone_after = None
    newer = _published(other)
    newest = _published(store)
    assert _chain(store, tmp_path) == [newest, newer]
    assert (store.folder / "credit" / workspace.run_id / "manifest.sha256").is_file()
    assert f"team/reports/credit/{workspace.run_id}/manifest.sha256" not in server.under("team/")


def test_a_process_that_is_killed_while_it_uploads_leaves_the_rest_to_the_next_one(server, machine, tmp_path):
    store = machine("here")
    code = (
        "import os\nfrom tasks.persist.object_store import open_store\n"
        "from tasks.persist.publish import begin, new_run_id\n"
        "from tasks.persist.upload import publish_to\n"
        f"store = open_store({TEAM!r})\n"
        "def seal(workspace, before):\n"
        "    workspace.write_bytes('manifest.json', b'{\"before\": null}')\n"
        "    workspace.write_bytes('manifest.sha256', b'x')\n"
        "workspace = begin(store.folder, 'credit', new_run_id())\n"
        "publish_to(store, workspace, seal, lambda: os.kill(os.getpid(), 9))\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "here")}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, check=False, timeout=120)
    assert ended.returncode == -9
    (killed,) = [path.name for path in store.folder.glob("credit/2*")]
    assert store.latest("credit") == (None, None)
    after = _published(store)
    assert _chain(store, tmp_path) == [after, killed]


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_a_run_that_another_machine_overtakes_is_sealed_again_after_it(kind, server, machine, tmp_path):
    address = TEAM if kind == "s3" else f"memory://{tmp_path.name}/two"
    store, other = machine("here", address), machine("there", address)
    first = _published(store)
    overtaking: list[str] = []

    def seal(workspace: Workspace, before: Path | None) -> None:
        _seal(workspace, before)
        if len(overtaking) < 2:
            overtaking.append(_published(other))

    last = _published(store, seal)
    assert _chain(store, tmp_path) == [last, *reversed(overtaking), first]


def test_machines_that_publish_at_once_make_one_chain(server, machine, tmp_path):
    stores = [machine(f"machine-{number}") for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        made = list(pool.map(_published, stores))
    assert sorted(_chain(stores[0], tmp_path)) == sorted(made)


def test_an_answer_that_was_lost_is_no_other_run(server, machine, tmp_path):
    """The write of `latest` is done, but its answer never comes: the second time its condition is not met."""
    store = machine("here")
    lost: list[str] = []

    def lose(key: str) -> None:
        if key.endswith("/latest") and not lost:
            lost.append(key)
            run = max(k for k in server.under("team/reports/credit/2")).split("/")[3]
            server.put("team/reports/credit/latest", f"{run}\n".encode())

    server.before_put = lose
    run = _published(store)
    assert lost
    assert _chain(store, tmp_path) == [run]


def test_a_latest_that_names_no_run_is_not_replaced(server, machine):
    store = machine("here")
    server.put("team/reports/credit/latest", b"../../etc\n")
    workspace = _run(store)
    with pytest.raises(StorageError, match=r"latest names no run: \.\./\.\./etc"):
        publish_to(store, workspace, _seal, lambda: None)
    assert server.get("team/reports/credit/latest") == b"../../etc\n"


def test_a_run_before_without_a_manifest_is_followed_all_the_same(server, machine, tmp_path):
    store = machine("here")
    gone = "20260101T000000Z-00000001"
    server.put("team/reports/credit/latest", gone.encode())
    run = _published(store)
    copy_run(store, ("credit", run), tmp_path / "run", ("manifest.json",))
    assert json.loads((tmp_path / "run" / "manifest.json").read_bytes()) == {"before": gone, "known": False}


def test_a_user_who_stops_the_upload_has_the_run_kept(server, machine):
    store = machine("here")
    workspace = _run(store)
    watch = Watch()
    watch.stop.set()
    with pytest.raises(Stopped):
        publish_to(store, workspace, _seal, watch.advance)
    assert (store.folder / "credit" / workspace.run_id).is_dir()
    assert not server.under("team/reports/credit/latest")


# Addresses


@pytest.mark.parametrize(
    "address",
    ["s3://", "s3:///", "s3://audits/a/../b", "s3://audits/[ab]*", "s3://audits/x?versionId=1", "zip::s3://audits/a.zip",
     "s3://audits/a\nb"],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused(address):
    with pytest.raises(UsageError, match="is no address"):
        open_store(address)


def test_an_unknown_kind_of_address_says_so():
    with pytest.raises(UsageError, match="nowhere"):
        open_store("nowhere://audits/reports")


def test_a_missing_package_is_named():
    code = (
        "import sys; sys.modules['s3fs'] = None\nfrom tasks.persist.object_store import open_store\n"
        "try:\n    open_store('s3://audits/reports')\n"
        "except Exception as error:\n    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert "pip install 'keras-audit[s3]'" in ended.stdout


def test_a_wrong_bucket_no_credentials_and_no_server_are_told_before_anything_is_made(server, machine, monkeypatch):
    from s3fs import S3FileSystem

    wrong = open_store("s3://no-such-bucket/reports")
    with pytest.raises(StorageError, match=r"bucket does not exist.*check the bucket's name"):
        wrong.check("credit")
    for read in (names, lambda store: resolve(store, "credit")):
        with pytest.raises(UsageError, match=r"bucket does not exist"):
            read(wrong)
    store = open_store(TEAM)
    server.gone_after = 0
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL"):
        store.check("credit")
    server.gone_after = -1
    with pytest.raises(DataUnavailable, match="cannot be read"):
        names(store)
    server.gone_after = None
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match=r"Unable to locate credentials.*AWS_ACCESS_KEY_ID"):
        open_store(TEAM).check("credit")
    with pytest.raises(UsageError, match="Unable to locate credentials"):
        names(open_store(TEAM))


def test_a_local_side_that_cannot_be_made_is_told(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="XDG_CACHE_HOME"):
        open_store(TEAM).check("credit")


# What lies in a bucket is anybody's

RUN = "20260101T000000Z-00000001"


@pytest.mark.parametrize(
    "key", ["../../evil", "a/../../../evil", "/etc/evil", "a//b", "a\\..\\evil", "nul\x00l", "x" * 300, "report.html/x"]
)
def test_a_hostile_key_leads_nowhere(key, server, machine, tmp_path):
    store = machine("here")
    for name in ("manifest.sha256", "summary.json", "report.html"):
        server.put(f"team/reports/credit/{RUN}/{name}", b"{}")
    server.put(f"team/reports/credit/{RUN}/{key}", b"evil")
    target = tmp_path / "a" / "b" / "run"
    with pytest.raises((VerificationFailed, DataUnavailable, UsageError)):
        copy_run(store, ("credit", RUN), target)
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name or path.name == "etc"]


def test_what_consoles_leave_for_folders_is_no_file(server, machine, tmp_path):
    store = machine("here")
    run = _published(store)
    server.put(f"team/reports/credit/{run}/", b"")
    server.put(f"team/reports/credit/{run}/artifacts/", b"")
    copy_run(store, ("credit", run), tmp_path / "run")
    assert (tmp_path / "run" / "artifacts" / "attributions" / "shap.parquet").is_file()


@pytest.mark.parametrize(
    "run", ["", "..", "../credit", "credit/../credit", "nobody", "credit/20200101T000000Z-00000000"]
)
def test_a_run_that_is_not_there_is_told_with_those_that_are(run, server, machine):
    store = machine("here")
    _published(store)
    with pytest.raises(UsageError, match=r"^s3://audits/team/reports: no run"):
        resolve(store, run)


def test_a_list_fetches_what_it_does_not_have_and_forgets_what_is_gone(server, machine, tmp_path):
    store = machine("here")
    first, second = _published(store), _published(store)
    server.put("team/reports/other/20260101T000000Z-00000002/summary.json", b"{}")  # its upload has not ended
    server.put(f"team/reports/huge/{RUN}/manifest.sha256", b"x")
    server.put("team/reports/readme.txt", b"not an audit")
    target = tmp_path / "list"
    assert names(store) == ["credit", "huge", "other"]
    copy_stubs(store, target, names(store))
    assert sorted(p.parent.name + "/" + p.name for p in target.glob("*/2*")) == sorted(
        [f"credit/{first}", f"credit/{second}", f"huge/{RUN}"]
    )
    stub = target / "credit" / first
    assert json.loads((stub / "summary.json").read_bytes()) == {"report_id": first}
    kept = stub / "summary.json"
    kept.chmod(0o600)
    kept.write_bytes(b"kept")
    for key in server.under(f"team/reports/credit/{second}/"):
        server.remove(key)
    copy_stubs(store, target, names(store))
    assert kept.read_bytes() == b"kept"
    assert not (target / "credit" / second).exists()
