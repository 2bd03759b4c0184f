"""A run appears under its final name when it is whole, and is found again by folder, id or name."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.errors import StorageError, UsageError
from tasks.persist.publish import RUN_ID, begin, discard, find_run, new_run_id, publish, runs

FIRST, SECOND, THIRD = (f"2026010{day}T000000Z-0000000{day}" for day in (1, 2, 3))


def _names(folder: Path) -> list[str]:
    """What lies in a folder, but for the lock, which stays."""
    return sorted(set(os.listdir(folder)) - {".lock"})


def _published(reports: Path, name: str, run_id: str) -> Path:
    workspace = begin(reports, name, run_id)
    workspace.write_bytes("summary.json", json.dumps({"report_id": run_id}).encode())
    return publish(workspace)


# Names of runs


def test_a_run_id_is_the_time_and_eight_hex_digits():
    run_id = new_run_id(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
    assert run_id.startswith("20260304T050607Z-")
    assert RUN_ID.fullmatch(run_id)
    assert RUN_ID.fullmatch(new_run_id())


def test_two_runs_in_one_second_differ():
    now = datetime(2026, 3, 4, tzinfo=UTC)
    assert len({new_run_id(now) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "name", [f".partial-{FIRST}", f"{FIRST}\n", f"x{FIRST}", f"{FIRST[:-1]}A", FIRST.lower(), "latest", "٢" + FIRST[1:]]
)
def test_other_names_are_not_runs(name):
    assert not RUN_ID.fullmatch(name)


# From a working folder to a run


def test_a_run_is_not_there_until_it_is_published(tmp_path):
    workspace = begin(tmp_path, "credit", FIRST, {"keras_audit.model": "m"})
    assert workspace.folder == tmp_path / "credit" / f".partial-{FIRST}"
    assert workspace.metadata == {"keras_audit.run_id": FIRST, "keras_audit.model": "m"}
    workspace.write_bytes("summary.json", b"{}")
    assert list(runs(tmp_path)) == []
    with pytest.raises(UsageError):
        find_run(tmp_path, "credit")
    folder = publish(workspace)
    assert folder == tmp_path / "credit" / FIRST
    assert _names(tmp_path / "credit") == [FIRST, "latest"]
    assert list(runs(tmp_path)) == [folder]


def test_folders_are_readable_by_their_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        folder = _published(tmp_path / "a" / "reports", "credit", FIRST)
    finally:
        os.umask(before)
    made = [folder, folder.parent, folder.parent.parent, folder.parent.parent.parent]
    assert {stat.S_IMODE(part.stat().st_mode) for part in made} == {0o700}


def test_the_reports_folder_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = begin(Path("reports"), "credit", FIRST)
    assert workspace.folder.is_absolute()
    monkeypatch.chdir("/")
    assert publish(workspace) == tmp_path / "reports" / "credit" / FIRST


def test_latest_is_a_relative_link_to_the_newest(tmp_path):
    for run_id in (FIRST, SECOND):
        _published(tmp_path, "credit", run_id)
        assert os.readlink(tmp_path / "credit" / "latest") == run_id
    moved = tmp_path / "moved"
    (tmp_path / "credit").rename(moved)
    assert json.loads((moved / "latest" / "summary.json").read_text())["report_id"] == SECOND


def test_a_discarded_run_leaves_nothing(tmp_path):
    workspace = begin(tmp_path, "credit", FIRST)
    workspace.write_bytes("artifacts/images/1.png", b"x")
    discard(workspace)
    discard(workspace)  # twice is once
    assert os.listdir(tmp_path) == []  # nor an empty folder of its name


def test_discarding_does_not_touch_a_published_run(tmp_path):
    workspace = begin(tmp_path, "credit", FIRST)
    workspace.write_bytes("summary.json", b"{}")
    folder = publish(workspace)
    discard(workspace)
    assert (folder / "summary.json").is_file()


# What stands in the way


@pytest.mark.parametrize("obstacle", ["reports", "reports/credit", f"reports/credit/.partial-{FIRST}"])
def test_a_run_cannot_begin_where_a_file_lies(tmp_path, obstacle):
    (tmp_path / obstacle).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / obstacle).write_bytes(b"in the way")
    with pytest.raises(StorageError, match=r"cannot be made .*--reports"):
        begin(tmp_path / "reports", "credit", FIRST)
    assert (tmp_path / obstacle).read_bytes() == b"in the way"


def test_a_run_cannot_begin_in_a_folder_that_is_no_disk():
    with pytest.raises(StorageError, match=r"^/proc/1"):
        begin(Path("/proc/1/reports"), "credit", FIRST)


def test_a_run_is_begun_once(tmp_path):
    begin(tmp_path, "credit", FIRST)
    with pytest.raises(StorageError):
        begin(tmp_path, "credit", FIRST)


def test_a_run_never_replaces_another(tmp_path):
    folder = _published(tmp_path, "credit", FIRST)
    workspace = begin(tmp_path, "credit", FIRST)
    workspace.write_bytes("summary.json", b"other")
    with pytest.raises(StorageError, match="cannot be published"):
        publish(workspace)
    assert (folder / "summary.json").read_bytes() != b"other"
    discard(workspace)
    assert _names(tmp_path / "credit") == [FIRST, "latest"]


def test_a_working_folder_that_has_gone_cannot_be_published(tmp_path):
    workspace = begin(tmp_path, "credit", FIRST)
    shutil.rmtree(workspace.folder)
    with pytest.raises(StorageError):
        publish(workspace)
    assert _names(tmp_path / "credit") == []


def test_a_whole_run_is_kept_when_latest_cannot_be_moved(tmp_path):
    (tmp_path / "credit" / "latest" / "somebody's").mkdir(parents=True)
    workspace = begin(tmp_path, "credit", FIRST)
    workspace.write_bytes("summary.json", b"{}")
    with pytest.raises(StorageError, match=r"latest: cannot point at the run .*the run is whole: .*" + FIRST):
        publish(workspace)
    assert find_run(tmp_path, f"credit/{FIRST}") == tmp_path / "credit" / FIRST
    assert _names(tmp_path / "credit") == [FIRST, "latest"]


# At once


def test_threads_publish_at_once_while_others_read(tmp_path):
    ids = [f"20260101T0000{n:02d}Z-{n:08x}" for n in range(24)]
    _published(tmp_path, "credit", "20250101T000000Z-00000000")
    done = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            folder = find_run(tmp_path, "credit")  # never without a latest, never half a run
            seen.add(json.loads((folder / "summary.json").read_text())["report_id"])
            assert all((p / "summary.json").is_file() for p in runs(tmp_path, "credit"))

    with ThreadPoolExecutor(9) as pool:
        reader = pool.submit(read)
        folders = list(pool.map(lambda run_id: _published(tmp_path, "credit", run_id), ids))
        done.set()
        reader.result()
    assert seen
    assert [p.name for p in runs(tmp_path)][1:] == ids
    assert sorted(folders) == folders
    assert os.readlink(tmp_path / "credit" / "latest") in ids
    assert not [name for name in _names(tmp_path / "credit") if name.startswith(".")]


def test_processes_publish_at_once_in_one_chain(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tasks.persist.publish import begin, new_run_id, publish\n"
        "for _ in range(5):\n"
        "    run = begin(Path(sys.argv[1]), 'credit', new_run_id())\n"
        "    run.write_bytes('summary.json', b'{}')\n"
        "    publish(run, lambda last: run.write_bytes('before', (last.name if last else '').encode()) and None)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    assert len(list(runs(tmp_path))) == 10
    after = {(p / "before").read_text(): p.name for p in runs(tmp_path)}
    chain = [""]
    while chain[-1] in after:
        chain.append(after[chain[-1]])
    assert len(chain) == 11  # each run has one before it, and no two the same
    assert chain[-1] == os.readlink(tmp_path / "credit" / "latest")
    assert find_run(tmp_path, "credit") in set(runs(tmp_path))
    assert not [name for name in _names(tmp_path / "credit") if name.startswith(".")]


# One after the other


def _sealing(reports: Path, run_id: str, before: list[str | None]) -> Path:
    workspace = begin(reports, "credit", run_id)
    workspace.write_bytes("summary.json", b"{}")

    def seal(latest: Path | None) -> None:
        before.append(None if latest is None else latest.name)
        workspace.write_bytes("manifest.json", b"{}")

    return publish(workspace, seal)


def test_a_run_is_sealed_with_what_latest_named_before_it(tmp_path):
    before: list[str | None] = []
    for run_id in (SECOND, FIRST, THIRD):  # the order of publication counts, not that of the ids
        assert (_sealing(tmp_path, run_id, before) / "manifest.json").is_file()
    assert before == [None, SECOND, FIRST]


def test_a_latest_that_is_gone_is_named_all_the_same(tmp_path):
    before: list[str | None] = []
    shutil.rmtree(_sealing(tmp_path, FIRST, before))
    _sealing(tmp_path, SECOND, before)
    assert before == [None, FIRST]


@pytest.mark.parametrize("target", ["..", "../../etc", f"../credit/{FIRST}", "/etc", f"{FIRST}/", "x"])
def test_a_latest_that_leads_elsewhere_names_no_run(tmp_path, target):
    _published(tmp_path, "credit", FIRST)
    (tmp_path / "credit" / "latest").unlink()
    (tmp_path / "credit" / "latest").symlink_to(target)
    before: list[str | None] = []
    _sealing(tmp_path, SECOND, before)
    assert before == [None]
    assert os.readlink(tmp_path / "credit" / "latest") == SECOND


def test_a_seal_that_fails_publishes_nothing_and_frees_the_lock(tmp_path):
    workspace = begin(tmp_path, "credit", FIRST)

    def refuse(latest: Path | None) -> None:
        raise StorageError("cannot be written")

    with pytest.raises(StorageError, match="cannot be written"):
        publish(workspace, refuse)
    assert _names(tmp_path / "credit") == [f".partial-{FIRST}"]
    discard(workspace)
    before: list[str | None] = []
    _sealing(tmp_path, SECOND, before)
    assert before == [None]


_KILLED = """
import os, signal, sys
from pathlib import Path
import tasks.persist.publish as at
rename = os.rename
def dies(*places):
    if sys.argv[3] == "after_rename":
        rename(*places)
    os.kill(os.getpid(), signal.SIGKILL)
run = at.begin(Path(sys.argv[1]), "credit", sys.argv[2])
run.write_bytes("summary.json", b"{}")
if sys.argv[3] == "sealing":
    at.publish(run, lambda before: os.kill(os.getpid(), signal.SIGKILL))
os.rename = dies
at.publish(run)
"""


@pytest.mark.parametrize(("when", "there"), [("sealing", False), ("before_rename", False), ("after_rename", True)])
def test_a_run_that_is_killed_while_it_publishes(tmp_path, when, there):
    """The lock is free, nothing is half-written, and a run that has its name is in the chain."""
    before: list[str | None] = []
    _sealing(tmp_path, FIRST, before)
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), SECOND, when], timeout=60, check=False)
    assert ended.returncode == -9
    assert (tmp_path / "credit" / SECOND).is_dir() is there
    assert os.readlink(tmp_path / "credit" / "latest") == FIRST
    _sealing(tmp_path, THIRD, before)
    assert before == [None, SECOND if there else FIRST]
    left = [name for name in _names(tmp_path / "credit") if not name.startswith(".partial-")]
    assert left == [*([FIRST, SECOND] if there else [FIRST]), THIRD, "latest"]


def test_a_lock_that_is_no_file_is_told(tmp_path):
    workspace = begin(tmp_path, "credit", FIRST)
    (tmp_path / "credit" / ".lock").symlink_to("/etc/passwd")
    with pytest.raises(StorageError, match=r"\.lock: cannot be written"):
        publish(workspace)


# Runs that are there


def test_runs_are_listed_oldest_first_within_a_name(tmp_path):
    for name, run_id in itertools.product(["b", "a"], [SECOND, FIRST]):
        _published(tmp_path, name, run_id)
    (tmp_path / "README.md").write_text("x")
    (tmp_path / ".hidden" / FIRST).mkdir(parents=True)
    (tmp_path / "a" / "notes").mkdir()
    (tmp_path / "a" / THIRD).write_text("a file")
    begin(tmp_path, "a", THIRD)
    assert [p.relative_to(tmp_path).as_posix() for p in runs(tmp_path)] == [
        f"a/{FIRST}", f"a/{SECOND}", f"b/{FIRST}", f"b/{SECOND}",
    ]  # fmt: skip
    assert [p.name for p in runs(tmp_path, "b")] == [FIRST, SECOND]
    assert list(runs(tmp_path, "c")) == []


@pytest.mark.parametrize("reports", ["nothing", "file"])
def test_no_reports_folder_means_no_runs(tmp_path, reports):
    (tmp_path / "file").write_text("x")
    assert list(runs(tmp_path / reports)) == []


def test_a_reports_folder_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        list(runs(tmp_path / ("x" * 300)))


def test_a_run_is_found_by_folder_id_or_name(tmp_path, monkeypatch):
    reports = tmp_path / "reports"
    first, second = (_published(reports, "credit", run_id) for run_id in (FIRST, SECOND))
    assert find_run(reports, str(first)) == first
    assert find_run(reports, f"credit/{FIRST}") == first
    assert find_run(reports, "credit") == second
    assert find_run(reports, str(reports / "credit" / "latest")) == second
    monkeypatch.chdir(tmp_path)
    assert find_run(Path("reports"), f"reports/credit/{FIRST}") == first
    (tmp_path / "credit").mkdir()  # a folder here of that name that holds no run
    assert find_run(Path("reports"), "credit") == second


@pytest.mark.parametrize(
    "run",
    ["", ".", "..", "/", "\0", "credit\0", "x" * 300, "x/" * 3000, "../../etc/passwd", "~", "credit/latest/x", "\udcff",
     "<script>", "-h", "credit\n", "*", f"credit/.partial-{FIRST}", f"credit/{SECOND}", "loop", "gone"],
    ids=repr,
)  # fmt: skip
def test_a_run_that_is_not_there(tmp_path, run):
    _published(tmp_path, "credit", FIRST)
    begin(tmp_path, "credit", FIRST)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(UsageError, match="no run") as raised:
        find_run(tmp_path, run)
    assert raised.value.exit_code == 2
    assert raised.value.available == ("credit",)
    assert "\n" not in str(raised.value)
    str(raised.value).encode()


def test_the_nearest_name_is_suggested(tmp_path):
    _published(tmp_path, "credit", FIRST)
    with pytest.raises(UsageError, match=r"no run credti; available: credit; did you mean credit\?"):
        find_run(tmp_path, "credti")
    with pytest.raises(UsageError, match="see keras-audit list"):
        find_run(tmp_path, "zzz")
