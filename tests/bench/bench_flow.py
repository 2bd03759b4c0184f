"""What orchestration costs: audits against a warm Prefect server, beside an empty flow and plain functions.

Each line is a process of its own, from its start to its end, as a user waits for it; the least of several, taken in
turns. Only the comparison with plain functions is taken inside a process, when the libraries are imported.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness import ROOT, Bench, main, number

CONFIG = "configs/adult_income.yaml"
QUICK = ["explain.rows=20", "explain.techniques.lime.samples=200", "bias.resamples=200"]
ROUNDS = 5
START = 180.0
#: an empty flow, and what an audit sets up before one
EMPTY = """
from flows.prefect_api import quiet_environment
quiet_environment()
from prefect import flow
flow(lambda: None, name="empty")()
"""
#: the command; arguments: folder for reports, settings
AUDIT = """
import sys
from flows.cli import main
settings = [word for setting in sys.argv[2:] for word in ("--set", setting)]
sys.argv = ["keras-audit", "run", {config!r}, "--reports", sys.argv[1], *settings]
try:
    main()
except SystemExit as end:
    heavy = ("tensorflow", "great_expectations", "sklearn")
    print(" ".join(name for name in heavy if name in sys.modules) or "none of them")
    sys.exit(0 if end.code in (0, 1) else end.code)
"""
#: the same, in its heart only: libraries are there, the config is read
FLOW = """
import json, sys, time
from pathlib import Path
from flows import local
from flows.prefect_api import quiet_environment
from tasks.watch import Watch
quiet_environment()
local._import_heavy(Watch())
from flows.audit import audit
started = time.perf_counter()
audit(config={config!r}, settings=sys.argv[2:], reports=sys.argv[1], return_state=True)
print(json.dumps(time.perf_counter() - started))
"""


def run(bench: Bench) -> None:
    settings = QUICK if bench.quick else []
    rounds = bench.size(ROUNDS, 1)
    with (
        tempfile.TemporaryDirectory(prefix="keras-audit-bench-") as folder,
        prefect_server(Path(folder)) as environment,
    ):
        place = Path(folder)
        _started(bench, place, environment, settings, rounds)
        _whole(bench, place, environment, settings, min(rounds, 3))


def _started(bench: Bench, place: Path, environment: dict[str, str], settings: list[str], rounds: int) -> None:
    """What a run costs that has nothing, or little, to work out."""
    about = (
        "Processes from start to end, a warm server, the bundled Adult audit; the least of"
        f" {rounds} rounds in turns. more: than the empty flow, in the same rounds"
    )
    columns = ("", "seconds", "more", "note")
    with bench.table("An audit that was run before", columns, about) as table, table.attempt("unchanged"):
        reports = place / "kept"
        ready, _ = _process(AUDIT, environment, reports, settings)
        table.row("the first time", number(ready), "", "the same process, with everything to work out")
        least: dict[str, float] = {}
        imported: dict[str, str] = {}
        for turn in range(rounds):
            # A threshold that no round before had.
            changed = [*settings, f"policy.0.min={0.7 + turn / 100:.2f}"]
            for name, code, given in (
                ("empty flow", EMPTY, []), ("unchanged audit", AUDIT, settings),
                ("one threshold changed", AUDIT, changed),
            ):  # fmt: skip
                taken, said = _process(code, environment, reports, given)
                least[name] = min(taken, least.get(name, taken))
                imported[name] = said
        empty = least["empty flow"]
        table.row("empty flow", number(empty))
        for name, figure in (("unchanged audit", "flow.unchanged"), ("one threshold changed", "flow.threshold")):
            more = least[name] - empty
            table.row(
                name, number(least[name]), number(more), f"TensorFlow, Great Expectations, sklearn: {imported[name]}"
            )
            bench.figure(figure, more)


def _whole(bench: Bench, place: Path, environment: dict[str, str], settings: list[str], rounds: int) -> None:
    """A whole audit beside its stages."""
    about = f"Libraries imported, nothing kept from earlier runs; the least of {rounds} rounds in turns"
    columns = ("", "seconds", "of the stages", "note")
    with bench.table("A whole audit", columns, about) as table, table.attempt("plain functions"):
        flow: list[float] = []
        stages: list[dict[str, float]] = []
        for turn in range(rounds):
            _, said = _process(FLOW, environment, place / f"flow-{turn}", settings)
            flow.append(json.loads(said))
            command = [sys.executable, __file__, str(place / f"plain-{turn}")]
            done = subprocess.run(
                command, env={**environment, PLAIN: json.dumps(settings)}, stdout=subprocess.PIPE, text=True, cwd=ROOT,
                check=True,
            )  # fmt: skip
            stages.append(json.loads(done.stdout.splitlines()[-1]))
        taken = min(stages, key=lambda one: sum(one.values()))
        total, ratio = sum(taken.values()), min(flow) / sum(taken.values())
        table.row("its stages, called one after the other", number(total), number(1.0))
        for name, seconds in sorted(taken.items(), key=lambda one: -one[1])[:6]:
            table.row(f"  {name}", number(seconds))
        table.row("the flow", number(min(flow)), number(ratio), "four tasks at a time, on the same cores")
        bench.figure("flow.whole", ratio)


# ---------------------------------------------------------------- processes

#: environment of the process that calls the stages: settings of the config
PLAIN = "KERAS_AUDIT_BENCH_PLAIN"


def _process(code: str, environment: dict[str, str], reports: Path, settings: list[str]) -> tuple[float, str]:
    """Seconds of a process, and the last line that it printed.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-c", textwrap.dedent(code).format(config=CONFIG), str(reports), *settings]
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    taken = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"a process ended with {done.returncode}: {done.stderr[-2000:]}")
    lines = done.stdout.strip().splitlines()
    return taken, lines[-1] if lines else ""


@contextmanager
def prefect_server(place: Path) -> Iterator[dict[str, str]]:
    """Prefect's server on loopback, with a database of its own; yields the environment of what runs against it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ, "PREFECT_HOME": str(place / "prefect"), "PREFECT_API_URL": api, "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }  # fmt: skip
    environment.pop(PLAIN, None)
    (place / "prefect").mkdir()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (place / "server.log").open("w") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        try:
            _wait(api, process)
            yield environment
        finally:
            process.terminate()
            process.wait(30)


def _wait(api: str, process: subprocess.Popen[Any]) -> None:
    import httpx

    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{api}/health", timeout=2).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    raise RuntimeError("Prefect's server did not start")


# ---------------------------------------------------------------- in the process that calls the stages


def plain(reports: Path, settings: list[str]) -> dict[str, float]:
    """Stage → seconds: every stage of the audit, called one after the other without Prefect."""
    from flows import local
    from flows.finish import verdict_of
    from flows.prefect_api import quiet_environment
    from flows.preflight import checked_config
    from flows.run import Ledger
    from tasks.persist.publish import begin, new_run_id
    from tasks.report import RunRecord
    from tasks.steady import steady_algebra
    from tasks.watch import Watch

    quiet_environment()
    local._import_heavy(Watch())
    config = checked_config(CONFIG, settings)
    workspace, watch, ledger = begin(reports, config.name, new_run_id()), Watch(), Ledger()
    taken: dict[str, float] = {}

    def call(stage: str, work: Any) -> None:
        started = time.perf_counter()
        with steady_algebra():
            found = work()
        taken[stage] = time.perf_counter() - started
        for result in found if isinstance(found, tuple) else (found,):
            ledger.enter(result)

    for stage, work in _stages(config, workspace, watch, ledger):
        call(stage, work)
    now = ledger.started.isoformat(timespec="seconds")
    record = RunRecord(
        run_id=workspace.run_id, started=now, finished=now, verdict=verdict_of(ledger),
        results=tuple(ledger.results.values()), environment={}, seed=config.explain.seed, flow_run={}, inputs=(),
    )  # fmt: skip
    from tasks.report import write_report

    call("report", lambda: write_report(config, workspace, record))
    shutil.rmtree(workspace.folder)
    return taken


def _stages(config: Any, workspace: Any, watch: Any, ledger: Any) -> Iterator[tuple[str, Any]]:
    """The stages in the order of flows/audit.py, as functions of nothing."""
    from tasks.advice import advise
    from tasks.agreement import compare_techniques
    from tasks.bias import measure_bias
    from tasks.contracts import Done
    from tasks.drift import measure_drift
    from tasks.explain import drop_parts, explain, join_importance, planned
    from tasks.load import load_data, load_model
    from tasks.policy import judge
    from tasks.predict import predict
    from tasks.reasons import state_reasons
    from tasks.sources import trace_sources
    from tasks.validate import validate

    given = (config, workspace, watch)
    yield "load_model", lambda: load_model(config, watch)
    yield "load_data", lambda: load_data(config, watch)
    yield "validate", lambda: validate(*given)
    yield "predict", lambda: predict(*given)
    names = planned(config, ledger.fact("load_model", "modality", "table"))
    for name in names:
        yield f"explain/{name}", lambda name=name: explain(name, *given)
    for stage, work in {
        "drift": measure_drift,
        "reasons": state_reasons,
        "sources": trace_sources,
        "advice": advise,
    }.items():
        yield stage, lambda work=work: work(*given)

    def agreement() -> Any:
        explained = [done for name in names if isinstance(done := ledger.results[f"explain/{name}"], Done)]
        join_importance(workspace, explained)
        found = compare_techniques(*given, explained=explained)
        drop_parts(workspace)
        return found

    yield "agreement", agreement
    yield "bias", lambda: measure_bias(*given)
    yield "policy", lambda: judge(config, workspace)


if __name__ == "__main__":
    if PLAIN in os.environ:
        print(json.dumps(plain(Path(sys.argv[1]), json.loads(os.environ[PLAIN]))))
    else:
        main(__file__, run, __doc__)
