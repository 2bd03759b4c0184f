"""Audits whose data and reports lie on S3: a real server of the protocol, and the commands that read them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.run import Outcome
from tasks.errors import StorageError
from tests.flows.conftest import Subject
from tests.tasks.persist.s3_server import BUCKET, Server, s3_server

REPORTS = f"s3://{BUCKET}/team/reports"
KEYS = "team/reports"
FAR = {"data.path": f"s3://{BUCKET}/in/data.parquet", "data.reference": f"s3://{BUCKET}/in/reference.parquet"}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory, subject: Subject) -> Iterator[Server]:
    """A server that holds the subject's tables; this process and those it starts are sent there."""
    with s3_server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        for name in ("data", "reference"):
            server.put(f"in/{name}.parquet", (subject.folder / f"{name}.parquet").read_bytes())
        yield server


def _audited(config: Path, reports: str) -> Outcome:
    from flows.audit import audit

    value = audit(config=str(config), reports=reports, return_state=True).result(raise_on_failure=False)
    if isinstance(value, BaseException):
        raise value
    return value


@dataclass(frozen=True)
class Runs:
    near: Outcome  # data and reports in folders
    first: Outcome  # both on S3
    second: Outcome


@pytest.fixture(scope="module")
def runs(prefect_server: None, s3: Server, subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("configs")
    near = _audited(subject.write(folder, {}), str(folder / "reports"))
    far = subject.write(folder, FAR)
    return Runs(near, _audited(far, REPORTS), _audited(far, f"{REPORTS}/"))


@pytest.fixture
def passing(tmp_path: Path) -> Path:
    """The TMPDIR of the commands."""
    folder = tmp_path / "passing"
    folder.mkdir()
    return folder


def _command(passing: Path, *words: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """A command as a process; what it leaves under TMPDIR is a failure."""
    environment = {**os.environ, "TMPDIR": str(passing), **{k: v for k, v in changes.items() if v is not None}}
    for name in ("PREFECT_API_URL", "PREFECT_LOGGING_LEVEL", *(k for k, v in changes.items() if v is None)):
        environment.pop(name, None)
    command = [sys.executable, "-m", "flows.cli", *words]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert not list(passing.glob("keras-audit-*")), ended.stderr
    return ended


def _tables(folder: Path) -> dict[str, object]:
    return {p.relative_to(folder).as_posix(): pq.read_table(p) for p in sorted(folder.rglob("*.parquet"))}


def _downloaded(s3: Server, prefix: str, folder: Path) -> Path:
    """A copy that is made by nothing of ours."""
    for key in s3.under(f"{prefix}/"):
        path = folder / key.removeprefix(f"{prefix}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.get(key))
    return folder


# What is on S3


def test_tables_equal_those_of_folders_and_nothing_is_left_here(runs, s3, tmp_path):
    near = _tables(Path(runs.near.folder))
    assert len(near) > 8
    for outcome in (runs.first, runs.second):
        assert outcome.address == f"{REPORTS}/credit/{outcome.run_id}"
        assert not Path(outcome.folder).exists()
        far = _tables(_downloaded(s3, f"{KEYS}/credit/{outcome.run_id}", tmp_path / outcome.run_id))
        assert list(far) == list(near)
        for name, table in far.items():
            assert table.equals(near[name]), name
    assert s3.get(f"{KEYS}/credit/latest").decode().strip() == runs.second.run_id


def test_what_an_earlier_run_worked_out_is_taken_over_though_it_lies_on_s3(runs, s3):
    summary = json.loads(s3.get(f"{KEYS}/credit/{runs.second.run_id}/summary.json"))
    of_run = {stage["stage"]: stage["of_run"] for stage in summary["run"]["stages"]}
    assert of_run["explain/shap"] == of_run["predict"] == runs.first.run_id


def test_the_inputs_that_are_recorded_are_those_of_the_objects(runs, s3):
    manifest = json.loads(s3.get(f"{KEYS}/credit/{runs.first.run_id}/manifest.json"))
    digests = {one["name"]: one["digest"]["sha256"] for one in manifest["predicate"]["configuration"]}
    for name in ("data", "reference"):
        assert digests[name] == hashlib.sha256(s3.get(f"in/{name}.parquet")).hexdigest()


def test_a_copy_of_a_run_verifies_as_any_other(runs, s3, tmp_path, passing):
    copy = _downloaded(s3, f"{KEYS}/credit/{runs.second.run_id}", tmp_path / runs.second.run_id)
    ended = _command(passing, "verify", str(copy))
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("way", ["name", "name/run-id", "address", "address of the name"])
def test_a_run_is_verified_where_it_lies_and_its_chain_is_followed(runs, passing, way):
    place = f"{REPORTS}/credit/{runs.second.run_id}"
    words = {
        "name": ["credit", "--reports", REPORTS],
        "name/run-id": [f"credit/{runs.second.run_id}", "--reports", REPORTS],
        "address": [place],
        "address of the name": [f"{REPORTS}/credit/"],
    }[way]
    ended = _command(passing, "verify", *words, "--json")
    assert ended.returncode == 0, ended.stdout
    found = json.loads(ended.stdout)
    assert (found["run"], found["run_id"], found["verified"]) == (place, runs.second.run_id, True)
    assert "chain: 1 run before this one fit, back to the first" in " ".join(found["notes"]).replace("fits", "fit")


def test_what_was_changed_or_put_beside_is_found(runs, s3, passing):
    prefix = f"{KEYS}/credit/{runs.first.run_id}"
    content = s3.get(f"{prefix}/report.md")
    s3.put(f"{prefix}/report.md", content + b" ")
    s3.put(f"{prefix}/extra.txt", b"")
    try:
        ended = _command(passing, "verify", runs.first.address)
    finally:
        s3.put(f"{prefix}/report.md", content)
        s3.remove(f"{prefix}/extra.txt")
    assert ended.returncode == 5
    assert "report.md: differs" in ended.stdout
    assert "extra.txt" in ended.stdout
    s3.put(f"{prefix}/../../../../evil", b"")
    try:
        ended = _command(passing, "verify", runs.first.address)
    finally:
        s3.remove(f"{prefix}/../../../../evil")
    assert (ended.returncode, ended.stderr.count("\n")) == (5, 1), ended.stderr
    assert "../../../../evil" in ended.stderr
    assert not list(passing.parent.rglob("evil"))


@pytest.mark.soak  # a replay of a run in a folder is tested in any case
def test_a_run_on_s3_is_replayed_from_its_inputs_on_s3(runs, passing):
    ended = _command(passing, "verify", "credit", "--reports", REPORTS, "--replay")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "run again from the recorded inputs: every value is the same" in ended.stdout


def test_list_and_show(runs, s3, passing):
    listed = json.loads(_command(passing, "list", "--reports", REPORTS, "--json").stdout)
    assert [(one["run"], one["verdict"]) for one in listed] == [
        (f"credit/{run.run_id}", run.verdict) for run in (runs.first, runs.second)
    ]
    assert json.loads(_command(passing, "list", "credit", "--reports", REPORTS, "--json").stdout) == listed
    table = _command(passing, "list", "--reports", REPORTS)
    assert runs.second.run_id in table.stdout
    other = _command(passing, "list", "credot", "--reports", REPORTS)
    assert (other.returncode, "did you mean credit?" in other.stderr) == (2, True)
    shown = _command(passing, "show", "credit", "--reports", REPORTS)
    assert shown.returncode == 0, shown.stderr
    assert f"{runs.second.address}/report.html" in shown.stdout
    whole = _command(passing, "show", runs.first.address, "--json")
    assert whole.stdout.encode() == s3.get(f"{KEYS}/credit/{runs.first.run_id}/summary.json")
    nothing = _command(passing, "list", "--reports", f"s3://{BUCKET}/elsewhere")
    assert (nothing.returncode, "no runs under" in nothing.stdout) == (0, True)


def test_the_index_lies_beside_the_runs(runs, s3):
    page = s3.get(f"{KEYS}/index.html").decode()
    for run in (runs.first, runs.second):
        assert f'href="./credit/{run.run_id}/report.html"' in page


# What goes wrong


def test_a_server_that_goes_away_in_the_middle_costs_the_next_run_nothing(runs, s3, subject, tmp_path, passing):
    """The error says where the copy is that is left; the next run, as a command, uploads it first."""
    config, reports = subject.write(tmp_path, FAR), f"s3://{BUCKET}/broken/reports"
    started: list[int] = []

    def gone(key: str) -> None:
        if key.startswith(f"{BUCKET}/broken/reports/credit/2") and not started:
            started.append(1)
            s3.gone_after = 3

    s3.before_put = gone
    try:
        with pytest.raises(StorageError, match="cannot be uploaded") as caught:
            _audited(config, reports)
    finally:
        s3.before_put, s3.gone_after = (lambda key: None), None
    local = Path(str(caught.value).rpartition("the run is whole: ")[2].partition(";")[0])
    assert (local / "report.html").is_file()
    assert _command(passing, "verify", str(local)).returncode == 0
    assert 0 < len(s3.under("broken/reports/credit/2")) <= 10  # requests are under way at once
    assert json.loads(_command(passing, "list", "--reports", reports, "--json").stdout) == []

    ended = _command(passing, "run", str(config), "--reports", reports, "--json")
    assert ended.returncode == 1, ended.stderr
    assert f"{reports}/credit/" in ended.stderr
    newest = json.loads(ended.stdout)["report_id"]
    assert not local.exists()
    found = json.loads(_command(passing, "verify", f"credit/{newest}", "--reports", reports, "--json").stdout)
    assert found["verified"]
    manifest = json.loads(s3.get(f"broken/reports/credit/{newest}/manifest.json"))
    assert manifest["predicate"]["annotations"]["predecessor"]["run_id"] == local.name


@pytest.mark.parametrize("wrong", ["bucket", "credentials", "server"])
def test_reports_that_cannot_be_written_are_told_before_anything_heavy_starts(s3, subject, tmp_path, passing, wrong):
    config = str(subject.write(tmp_path, {}))
    reports = "s3://no-such-bucket/reports" if wrong == "bucket" else REPORTS
    none = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")) | {"AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    changes = {"credentials": none, "server": {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}}.get(wrong, {})
    ended = _command(passing, "run", config, "--reports", reports, **changes)
    assert (ended.returncode, ended.stderr.count("\n")) == (4, 1), ended.stderr
    assert reports in ended.stderr
    said = {"bucket": "bucket does not exist", "credentials": "locate credentials", "server": "127.0.0.1:9"}[wrong]
    assert said in ended.stderr


def test_a_flow_that_prefect_started_is_told_too(prefect_server, s3, subject, tmp_path):
    with pytest.raises(StorageError, match="bucket does not exist"):
        _audited(subject.write(tmp_path, {}), "s3://no-such-bucket/reports")


def test_serve_has_to_have_a_folder(s3, passing):
    ended = _command(passing, "serve", "configs/adult_income.yaml", "--reports", REPORTS)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr


# Data on S3

_READ = """
import sys
from flows.request import load_config
from tasks.errors import AuditError
from tasks.load import open_data
try:
    print(open_data(load_config(sys.argv[1])).table.num_rows)
except AuditError as error:
    sys.exit(f"{error.exit_code} {error}")
"""


def _read(config: Path, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """Reads the data of a config in a process of its own: fsspec reads the environment when it is imported."""
    environment = {**os.environ, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    environment |= {name: value for name, value in changes.items() if value is not None}
    for name in (name for name, value in changes.items() if value is None):
        del environment[name]
    command = [sys.executable, "-c", _READ, str(config)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "FSSPEC_S3_ENDPOINT_URL"])
def test_the_server_of_the_data_is_named_by_the_environment(s3, subject, tmp_path, variable):
    ended = _read(subject.write(tmp_path, FAR), **{"AWS_ENDPOINT_URL": None, variable: s3.address})
    assert ended.stdout == "200\n", ended.stderr


@pytest.mark.parametrize(
    ("path", "changes", "said"),
    [
        (f"s3://{BUCKET}/in/nothing.parquet", {}, r"2 data\.path: .* cannot be read \("),
        ("s3://no-such-bucket/data.parquet", {}, "2 data.path: .*bucket does not exist"),
        (FAR["data.path"], {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "2 .* set AWS_ACCESS_KEY_ID"),
        (FAR["data.path"], {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "4 .* try again when the network"),
    ],
)
def test_data_that_cannot_be_had_says_why_and_whether_to_try_again(s3, subject, tmp_path, path, changes, said):
    ended = _read(subject.write(tmp_path, {**FAR, "data.path": path}), **changes)
    assert re.match(said, ended.stderr), ended.stderr
    assert ended.stderr.count("\n") == 1


# A folder stays a folder


def test_for_a_folder_nothing_of_this_is_imported(runs, tmp_path):
    reports = Path(runs.near.folder).parent.parent
    code = (
        "import sys\n"
        "from flows.cli import main\n"
        "import flows.finish\n"
        "for words in (['list'], ['show', 'credit'], ['verify', 'credit']):\n"
        f"    try:\n        main([*words, '--reports', {str(reports)!r}])\n    except SystemExit as end:\n"
        "        assert end.code == 0, (words, end.code)\n"
        "far = {'tasks.persist.object_store', 'tasks.persist.upload', 'tasks.persist.fetch', 's3fs'}\n"
        "assert not far & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True)
