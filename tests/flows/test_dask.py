"""`run.task_runner: dask`: the tables of threads, whoever works them out, also when a worker is lost in the middle."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.running import DaskConfig
from flows.preflight import checked_config
from tasks.contracts import Failed
from tasks.errors import ConfigError, Stopped
from tasks.watch import Watch

#: five shards of shap, three of lime
ROWS = 4500
CHANGES = {
    "explain.rows": "all",
    "explain.techniques": {"permutation": {"repeats": 2}, "shap": {}, "lime": {"samples": 200}},
}
OURS = {"run.task_runner": "dask", "run.dask": {"workers": 2}}


@pytest.fixture(scope="module")
def data() -> pa.Table:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("subject_of_flows", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    assert spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return pa.table(made.rows(ROWS, seed=3))


@pytest.fixture(scope="module")
def threaded(prefect_server: None, subject: Any, data: pa.Table, tmp_path_factory: Any) -> dict[str, pa.Table]:
    """The tables of a run on threads, which imports nothing of Dask."""
    from flows.audit import audit as flow

    folder, before = tmp_path_factory.mktemp("threaded"), cluster_modules()
    outcome = flow(config=str(subject.write(folder, CHANGES, data)), reports=str(folder / "reports"))
    assert cluster_modules() == before
    return tables(outcome.folder)


def cluster_modules() -> set[str]:
    """Of Dask's cluster. Of dask itself a stub of scikit-learn's may be there: it looks through its own packages."""
    return {name for name in sys.modules if name.partition(".")[0] in ("distributed", "prefect_dask")}


def tables(folder: str) -> dict[str, pa.Table]:
    root = Path(folder) / "artifacts"
    return {p.relative_to(root).as_posix(): pq.read_table(p) for p in sorted(root.rglob("*.parquet"))}


def equal(folder: str, threaded: dict[str, pa.Table]) -> None:
    found = tables(folder)
    assert found.keys() == threaded.keys()
    assert [name for name, table in threaded.items() if not found[name].equals(table)] == []


def annotations(folder: str) -> list[str]:
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    return [key for key in manifest["predicate"]["annotations"] if key.startswith("resumed")]


@dataclass
class Killer:
    """Kills a worker, by its number, when a technique has come so far.

    Attributes:
        seen: what the audit's watch was told.
    """

    task: str
    at: int = 1
    killed: list[int] = field(default_factory=list)
    seen: list[tuple[str, int, int | None]] = field(default_factory=list)

    def __call__(self, name: str, done: int, total: int | None) -> None:
        self.seen.append((name, done, total))
        if name == self.task and done >= self.at and not self.killed:
            victim = multiprocessing.active_children()[0].pid
            assert victim is not None
            self.killed.append(victim)
            os.kill(victim, signal.SIGKILL)


def test_a_worker_killed_in_the_middle(audit, data, threaded, tmp_path):
    """Its shards are run again, and the tables are those of threads; bars move in the audit's process."""
    killer = Killer("explain with shap")
    outcome = audit({**CHANGES, **OURS}, data, Watch(report=killer))
    assert len(killer.killed) == 1
    equal(outcome.folder, threaded)
    assert annotations(outcome.folder) == []  # a run does not go on with what it did itself
    assert sorted(p.name for p in Path(outcome.folder).parent.iterdir()) == [
        ".finished", ".lock", Path(outcome.folder).name, "latest",
    ]  # fmt: skip
    assert ("explain with shap", ROWS, ROWS) in killer.seen
    assert any(name == "compare groups" for name, *_ in killer.seen)  # told from a worker
    assert multiprocessing.active_children() == []


@pytest.fixture
def cluster() -> Iterator[subprocess.Popen[str]]:
    """A cluster that was there before, in a process of its own: it has no worker until it is told a number."""
    code = """
        import sys
        from distributed import LocalCluster
        if __name__ == "__main__":
            made = LocalCluster(
                n_workers=0, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, memory_limit=0
            )
            print(made.scheduler_address, flush=True)
            for line in sys.stdin:
                made.scale(int(line))
            made.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def told(cluster: subprocess.Popen[str], workers: int = 0) -> str:
    """Has a cluster start workers; its address, where it was not asked for before."""
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    if workers:
        cluster.stdin.write(f"{workers}\n")
        cluster.stdin.flush()
        return ""
    return cluster.stdout.readline().strip()


def test_a_cluster_that_is_there(audit, cluster, monkeypatch):
    """Without workers, and with others than the audit needs, it is refused; else its workers stand where we stand."""
    from prefect import task

    from flows import dask_workers
    from flows.run import Run
    from tasks.program import environment

    @task
    def place(run: Any) -> str:
        return os.getcwd()

    address = told(cluster)
    there = {"run.task_runner": "dask", "run.dask": {"address": address}}
    with monkeypatch.context() as changed:
        changed.setattr(dask_workers, "_FIRST_WORKER", 0.2)
        with pytest.raises(ConfigError, match="no Dask scheduler with workers answers") as none:
            audit(there)
    assert none.value.exit_code == 2
    told(cluster, workers=1)
    with monkeypatch.context() as changed:
        changed.setattr(dask_workers, "environment", lambda: (*environment()[:-1], "numpy 0.1"))
        with pytest.raises(ConfigError, match=r"other versions or another processor .*numpy 0.1"):
            audit(there)
    run: Any = Run(None, None, Watch())  # type: ignore[arg-type]
    for home in (Path.cwd(), Path("/tmp")):
        monkeypatch.chdir(home)
        with dask_workers.DaskWorkers(DaskConfig(address=address), run.watch) as runner:
            assert runner.submit(place, {"run": run}).result() == str(home)
            assert runner.slots == 1


@pytest.mark.soak
def test_an_audit_on_a_cluster_that_is_there(audit, data, threaded, cluster):
    there = {**CHANGES, "run.task_runner": "dask", "run.dask": {"address": told(cluster)}}
    told(cluster, workers=2)
    equal(audit(there, data).folder, threaded)


def test_a_wrong_address(audit, monkeypatch, tmp_path):
    monkeypatch.setattr("flows.dask_workers._CONNECT", 0.5)
    with pytest.raises(ConfigError) as error:
        audit({"run.task_runner": "dask", "run.dask": {"address": "tcp://127.0.0.1:9"}})
    assert error.value.exit_code == 2
    assert str(error.value).startswith("run.dask.address: no Dask scheduler with workers answers (")
    assert "\n" not in str(error.value)
    assert list((tmp_path / "reports").rglob("*")) in ([], [tmp_path / "reports" / "credit"])


def test_a_stopped_audit_leaves_no_worker(audit, data, tmp_path):
    watch = Watch()

    def report(task: str, done: int, total: int | None) -> None:
        if task == "load data":
            watch.stop.set()

    watch.report = report
    with pytest.raises(Stopped):
        audit({**CHANGES, **OURS}, data, watch)
    assert multiprocessing.active_children() == []
    assert not list((tmp_path / "reports").glob("credit/.partial-*"))


def test_workers_that_are_lost_again_and_again(prefect_server):
    """A step that costs every worker its life is a failure of the step, in a sentence."""
    import dask
    from prefect import task

    from flows.dask_workers import DaskWorkers
    from flows.run import Run
    from flows.steps import result_of

    @task
    def deadly(run: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    run: Any = Run(None, None, Watch())  # type: ignore[arg-type]
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        DaskWorkers(DaskConfig(workers=1), run.watch) as runner,
    ):
        found = result_of("explain/shap", runner.submit(deadly, {"run": run}))
    assert isinstance(found, Failed)
    assert found.code == "workers_lost"
    assert "1 workers were lost" in found.reason or "memory" in found.reason


def test_threads_import_nothing_of_dask():
    code = """
        import sys
        from configs.schema import AuditConfig
        from flows import audit, shards, steps
        from flows.runners import check_runner, task_runner
        from tasks.watch import Watch
        config = AuditConfig(
            name="a", model={"path": "m", "task": "regression"}, data={"path": "d", "target": {"column": "y"}}
        )
        check_runner(config)
        with task_runner(config, Watch()) as runner:
            print(type(runner).__name__, [n for n in sys.modules if n.partition(".")[0] in ("dask", "distributed")])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ThreadPoolTaskRunner []"


def test_what_travels_to_a_worker():
    from flows.dask_workers import CalledOff, Said, Told

    away = Watch(stop=CalledOff(), abandoned=CalledOff(), report=Told("topic"), say=Said("topic"))
    back = pickle.loads(pickle.dumps(away))
    assert not back.stop.is_set()  # in a thread that is no task's
    assert isinstance(back.stop, CalledOff)


def test_a_worker_that_cannot_stand_where_the_audit_stands(tmp_path):
    from flows.dask_workers import SameWorker

    here = Path.cwd()
    with pytest.raises(ConfigError, match=r"worker tcp://w:1: the folder .*gone is not there .*share the file system"):
        SameWorker(tmp_path / "gone").setup(SimpleNamespace(address="tcp://w:1"))
    own = SameWorker(tmp_path)
    own.setup(SimpleNamespace(address="tcp://w:1"))
    assert Path.cwd() == tmp_path
    own.teardown(None)
    assert Path.cwd() == here


def test_a_worker_with_other_code_is_refused(tmp_path, monkeypatch):
    from flows.dask_workers import SameWorker

    monkeypatch.chdir(Path.cwd())
    own = SameWorker(tmp_path)
    monkeypatch.setattr("flows.dask_workers.code_digest", lambda: "of another program")
    with pytest.raises(ConfigError, match=r"other versions or another processor .*keras-audit"):
        own.setup(SimpleNamespace(address="tcp://w:1"))


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"address": "127.0.0.1:8786"}, "should be the address of a Dask scheduler such as tcp://10.0.0.5:8786"),
        ({"address": "tcp://[::1]:8786", "workers": 2}, "run.dask.workers: a cluster with an address has its own"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"threads": True}, "should be a number, not true"),
        ({"memory": "much"}, "should be a size such as 4GiB"),
        ({"adress": "tcp://a:1"}, "unknown key adress; available: address, workers, threads, memory; did you mean"),
    ],
)
def test_a_wrong_block_is_told(subject, tmp_path, block, told):
    path = subject.write(tmp_path, {"run.task_runner": "dask", "run.dask": block})
    with pytest.raises(ConfigError) as error:
        checked_config(str(path))
    assert told in str(error.value)


def test_a_resolved_config_is_a_config():
    """What a run writes as config.yaml names every key."""
    given = DaskConfig(address="tcp://10.0.0.5:8786")
    assert DaskConfig.model_validate(given.model_dump()) == given


def test_dask_that_is_not_installed(subject, tmp_path, monkeypatch):
    path = subject.write(tmp_path, OURS)
    monkeypatch.setattr("flows.runners.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"run.task_runner: prefect-dask is not installed; pip install"):
        checked_config(str(path))
    checked_config(str(path), ["run.task_runner=threads"])


@pytest.mark.soak
@pytest.mark.parametrize("moment", [("load model", 0), ("predict every row", 0), ("explain with lime", 1),
                                    ("compare techniques", 0), ("compare groups", 0)])  # fmt: skip
def test_a_worker_killed_at_any_moment(audit, data, threaded, moment):
    killer = Killer(*moment)
    equal(audit({**CHANGES, **OURS}, data, Watch(report=killer)).folder, threaded)
    assert killer.killed


@pytest.mark.soak
def test_one_worker_and_three(audit, data, threaded):
    for workers in (1, 3):
        changes = {**CHANGES, "run.task_runner": "dask", "run.dask": {"workers": workers, "threads": 4 - workers}}
        outcome = audit({**changes, "name": f"of-{workers}"}, data)
        equal(outcome.folder, threaded)
