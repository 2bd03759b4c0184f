"""An audit that is killed, at whatever moment, and started again: it finishes, does nothing twice, says the same."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from flows.keys import STEPS
from tasks.persist import file_digest
from tasks.persist.publish import RUN_ID, find_run, runs
from tests.flows import processes
from tests.flows.conftest import Subject

#: every step has work to do
CHANGES = {"bias.strata": {"column": "job"}, "reasons.changeable": {"income": None}}
TECHNIQUES = ("permutation", "shap", "lime")
KEPT = tuple(step for step in STEPS if step != "explain/") + tuple(f"explain/{name}" for name in TECHNIQUES)
#: step of STEPS → how Prefect shows it
SHOWN = {
    "validate": "validate data", "predict": "predict every row", "drift": "measure drift", "reasons": "state reasons",
    "reasons_fit": "check reasons",
    "sources": "trace disparities", "advice": "try other thresholds", "agreement": "compare techniques",
    "bias": "compare groups",
}  # fmt: skip
#: boundary → what the audit has just done in its folder
BOUNDARIES = {
    "begun": "/.partial-",
    **{step: f"/.finished/{step.replace('/', '-')}-" for step in KEPT},
    "report": "/report.html",
    "manifest": "/manifest.sha256",
    "published": "/latest",
}
SEEDED = 10


@pytest.fixture(scope="module")
def api(prefect_server: None) -> str:
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() or ""


@pytest.fixture(scope="module")
def whole(subject: Subject, prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    """The tables of a run that nobody disturbs."""
    from flows.audit import audit

    folder = tmp_path_factory.mktemp("whole")
    state = audit(config=str(subject.write(folder, CHANGES)), reports=str(folder / "reports"), return_state=True)
    return processes.tables(Path(state.result(raise_on_failure=False).folder))


@pytest.fixture
def config(subject: Subject, tmp_path: Path) -> Path:
    return subject.write(tmp_path, CHANGES)


#: the audit's command; its process group is killed before the n-th time that it touches the folder of the reports, or
#: right after it has put a file, or a folder, in a place that is named
_WATCHED = """
import os, signal, sys
last, place, reports, seen = int(sys.argv[1]), sys.argv[2], sys.argv[3], 0
TOUCHES = {"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.utime"}
def touched(event, given):
    global seen, last
    names = [str(name) for name in given[:2] if isinstance(name, (str, os.PathLike))] if event in TOUCHES else []
    if any(name.startswith(reports) for name in names):
        seen += 1
        if seen == last:
            os.killpg(0, signal.SIGKILL)
        if place and last < 0 and event in {"os.rename", "os.mkdir"} and place in names[-1]:
            last = seen + 1
sys.addaudithook(touched)
from flows.cli import _run
code = _run(sys.argv[4:])
print(seen)
sys.exit(code)
"""


def watched(config: Path, reports: Path, api: str, *, last: int = -1, place: str = "") -> tuple[int, str]:
    """Exit code and, of a run that came to its end, how often it touched the folder."""
    words = [str(last), place, str(reports), "run", str(config), "--reports", str(reports)]
    ended = subprocess.run(
        [sys.executable, "-c", _WATCHED, *words], env={**os.environ, "PREFECT_API_URL": api}, capture_output=True,
        text=True, check=False, start_new_session=True, timeout=processes.LONGEST,
    )  # fmt: skip
    return ended.returncode, ended.stdout.strip()


def killed_at(boundary: str, config: Path, reports: Path, api: str) -> None:
    code, _ = watched(config, reports, api, place=BOUNDARIES[boundary])
    assert code == -signal.SIGKILL, f"never at {boundary}"


def kept(reports: Path) -> set[str]:
    """Steps whose results lie ready for a later run."""
    lying = {path.parent.name.rpartition("-")[0] for path in (reports / "credit" / ".finished").glob("*/result.json")}
    return {step for step in KEPT if step.replace("/", "-") in lying}


def finished_again(config: Path, reports: Path, api: str, whole: dict[str, pa.Table]) -> None:
    """Starts the audit again and holds what it comes to against a run that nobody disturbed."""
    ready = kept(reports)
    processes.ended_well(processes.started(config, reports, {"PREFECT_API_URL": api}), reports)
    *before, (_, again) = processes.settled(api, config)
    assert processes.differing(find_run(reports, "credit"), whole) == []
    # What had ended is not done again: by what lies there, and by what the server was told.
    assert {step for step in ready if _state(again, step) != "Cached"} == set()
    ended = {name for _, steps in before for name, state in steps.items() if state in ("Completed", "NotApplicable")}
    assert {name for name in ended if again[name] != "Cached" and not name.startswith(("judge", "write"))} == set()
    assert {state for state, _ in before} <= {"Crashed", "Completed: policy not satisfied"}
    nothing_half_written(reports)


def _state(steps: dict[str, str], step: str) -> str:
    name = f"explain with {step[8:]}" if step.startswith("explain/") else SHOWN.get(step, step.replace("_", " "))
    (found,) = (state for told, state in steps.items() if told.startswith(name))
    return found


def nothing_half_written(reports: Path) -> None:
    """What bears a run's name is whole: every file that its manifest names is there, as it was written."""
    for run in runs(reports):
        manifest = run / "manifest.json"
        assert (run / "manifest.sha256").read_text().split()[0] == file_digest(manifest)
        subjects = json.loads(manifest.read_text())["subject"]
        assert len(subjects) > 10
        assert [s["name"] for s in subjects if file_digest(run / s["name"]) != s["digest"]["sha256"]] == []
        assert [path.name for path in run.rglob("*.partial")] == []
    shown = {path.name for path in (reports / "credit").iterdir() if not path.name.startswith(".")}
    assert {name for name in shown if not RUN_ID.fullmatch(name)} == {"latest"}


def test_killed_twice_and_started_again(config, api, whole, tmp_path):
    """While the techniques run, and just before the run would have got its name."""
    reports = tmp_path / "reports"
    killed_at("explain/shap", config, reports, api)
    killed_at("manifest", config, reports, api)
    finished_again(config, reports, api, whole)
    assert [state for state, _ in processes.states(api, config)][:2] == ["Crashed", "Crashed"]
    assert len(list(runs(reports))) == 1


def test_two_at_once_do_not_disturb_each_other(config, api, whole, tmp_path):
    reports = tmp_path / "reports"
    both = [processes.started(config, reports, {"PREFECT_API_URL": api}) for _ in range(2)]
    for process in both:
        processes.ended_well(process, reports)
    assert [processes.differing(run, whole) for run in runs(reports)] == [[], []]
    nothing_half_written(reports)
    assert kept(reports) == set(KEPT)
    assert not list((reports / "credit").glob(".partial-*"))


@pytest.mark.soak
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_killed_at_each_boundary(boundary, config, api, whole, tmp_path):
    reports = tmp_path / "reports"
    killed_at(boundary, config, reports, api)
    finished_again(config, reports, api, whole)


@pytest.fixture(scope="module")
def touches(subject: Subject, api: str, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How often a run that nobody disturbs touches the folder of the reports."""
    folder = tmp_path_factory.mktemp("touches")
    code, said = watched(subject.write(folder, CHANGES), folder / "reports", api)
    assert code == 1
    return int(said)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SEEDED))
def test_killed_at_a_seeded_moment(seed, config, api, whole, touches, tmp_path):
    reports = tmp_path / "reports"
    moment = random.Random(seed).randrange(2, touches)
    code, _ = watched(config, reports, api, last=moment)
    assert code == -signal.SIGKILL, f"touch {moment} of {touches}"
    finished_again(config, reports, api, whole)


# The server goes away in between


@pytest.fixture
def own_server(tmp_path: Path) -> tuple[Path, int]:
    return tmp_path / "prefect", processes.free_port()


@pytest.mark.soak
@pytest.mark.parametrize("boundary", ["predict", "explain/shap"])
def test_the_server_stops_while_an_audit_runs_and_is_started_again(boundary, config, own_server, whole, tmp_path):
    """However the run ends that lost its server, the next one finishes, and does nothing twice."""
    reports = tmp_path / "reports"
    home, port = own_server
    with processes.prefect_server(home, {}, port) as api:
        process = processes.started(config, reports, {"PREFECT_API_URL": api})
        processes.until(boundary, lambda: boundary in kept(reports), process)
    assert process.wait(2 * processes.LONGEST) in (0, 1, 4)  # Prefect's client asks again and again
    assert "Traceback" not in (tmp_path / "said").read_text()
    with processes.prefect_server(home, {}, port) as api:
        finished_again(config, reports, api, whole)


@pytest.mark.soak
def test_run_and_server_are_killed_and_started_again(config, own_server, whole, tmp_path):
    reports = tmp_path / "reports"
    home, port = own_server
    with processes.prefect_server(home, {}, port) as api:
        killed_at("explain/lime", config, reports, api)
    with processes.prefect_server(home, {}, port) as api:
        finished_again(config, reports, api, whole)
