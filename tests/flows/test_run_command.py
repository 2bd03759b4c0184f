"""`keras-audit` as a process of its own: what programs and people get from it, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import Subject


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> dict[str, str]:
    """An environment with a Prefect home of its own, kept for the module: the database is made once."""
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect"))}
    environment.pop("PREFECT_API_URL", None)
    environment.pop("PREFECT_LOGGING_LEVEL", None)
    return environment


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "flows.cli", *words]


def _run(home: dict[str, str], *words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*words), env=home, capture_output=True, text=True, timeout=300, check=False, **options
    )


def test_json_is_alone_on_stdout_and_show_and_list_find_the_run(home, subject: Subject, tmp_path):
    config, reports = str(subject.write(tmp_path, {})), str(tmp_path / "reports")
    ended = _run(home, "run", config, "--set", "explain.rows=5", "--reports", reports, "--json")
    assert ended.returncode == 1, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["verdict"] == "not_satisfied"
    assert "NOT SATISFIED" in ended.stderr
    assert "report.html" in ended.stderr
    assert "InitializeLog" not in ended.stderr  # TensorFlow's greeting is not the user's concern

    listed = json.loads(_run(home, "list", "--reports", reports, "--json").stdout)
    assert [run["verdict"] for run in listed] == ["not_satisfied"]
    for name in ("credit", listed[0]["run"], str(tmp_path / "reports" / "credit" / "latest")):
        shown = _run(home, "show", name, "--reports", reports)
        assert shown.returncode == 0
        assert "NOT SATISFIED" in shown.stderr + shown.stdout
    assert json.loads(_run(home, "show", "credit", "--reports", reports, "--json").stdout) == summary


def test_check_opens_everything_and_keeps_nothing(home, subject: Subject, tmp_path):
    config = str(subject.write(tmp_path, {}))
    before = set(tmp_path.iterdir())
    ended = _run(home, "check", config, "--json")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["model"]["version"] == 1
    assert found["data"]["rows"] == 200
    assert found["planned"] == ["permutation", "shap", "lime"]
    assert set(tmp_path.iterdir()) == before


def test_check_of_refused_data_ends_with_3(home, subject: Subject, tmp_path):
    config = str(subject.write(tmp_path, {}, subject.data.drop_columns(["debt"])))
    ended = _run(home, "check", config)
    assert ended.returncode == 3
    assert "debt" in ended.stderr + ended.stdout


def test_an_error_is_one_line_and_json_for_programs(home, subject: Subject, tmp_path):
    config = str(subject.write(tmp_path, {"explain.rosw": 3}))
    ended = _run(home, "run", config, "--json")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "did you mean rows?" in json.loads(ended.stdout)["error"]["message"]
    assert "Traceback" not in ended.stderr
    assert "Traceback" in _run(home, "run", config, "--debug").stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)])
def test_a_stopped_run_ends_with_130_and_leaves_no_run(home, subject: Subject, tmp_path, sent):
    """The signal comes while rows are being explained: many repeats give it the time."""
    changes = {"explain.techniques": {"permutation": {"repeats": 10_000}}, "explain.rows": 200}
    config, reports = str(subject.write(tmp_path, changes)), tmp_path / "reports"
    with subprocess.Popen(
        _command("run", config, "--reports", str(reports)), env=home, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "compare groups" in line or "measure drift" in line:
                break  # the technique runs beside them
        process.send_signal(sent)
        process.wait(timeout=60)
        said = process.stderr.read()
    assert process.returncode == 130
    assert "error: stopped by" in said
    assert "Traceback" not in said
    assert not [p for p in reports.glob("credit/*") if p.name != ".finished"]


def test_a_full_disk_ends_with_4_and_leaves_no_run(home, subject: Subject, tmp_path):
    """From the first step on no file may grow beyond 3 kB, as on a disk that has just filled up."""
    config, reports = str(subject.write(tmp_path, {})), tmp_path / "reports"
    code = (
        "import resource, sys\n"
        "from flows import audit, local\n"
        "examine = audit.examine\n"
        "def full(*given):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))\n"
        "    return examine(*given)\n"
        "audit.examine = full\n"
        "from flows.cli import main\n"
        f"main(['run', {config!r}, '--reports', {str(reports)!r}, '--json'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=home, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 4, ended.stderr
    error = json.loads(ended.stdout)["error"]
    assert error["code"] == "storage"
    assert "artifacts" in error["where"]
    assert not [p for p in reports.glob("credit/*") if p.name != ".finished"]


def test_a_defect_of_ours_ends_with_70_and_says_where_the_traceback_lies(home, subject: Subject, tmp_path):
    code = (
        "from flows import local, cli\n"
        "def broken(*given, **more): raise RuntimeError('broken on purpose')\n"
        "local.run_audit = broken\n"
        f"cli.main(['run', {str(subject.write(tmp_path, {}))!r}])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=home, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 70
    (line,) = ended.stderr.splitlines()
    assert "broken on purpose" in line
    kept = Path(line.rpartition(" ")[2])
    assert "Traceback" in kept.read_text()
    kept.unlink()
