"""Scale-out: rows of a local technique on one and two Dask workers of a core each, beside threads on one core and two.

A whole audit is run each time, on a server of its own; what is measured is the technique, from its first row asked for
to its table written, once model and data are open.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Bench, hold_to, main, number

#: environment of the process of one audit
ONE = "KERAS_AUDIT_BENCH_DASK"
TECHNIQUE, SETTINGS, BACKGROUND = "shap", {"estimator": "kernel", "coalitions": 2048}, 10
LONGEST = 1200.0


@dataclass(frozen=True)
class Way:
    """How an audit is run.

    Attributes:
        run: block of the config.
        cores: that the audit and its workers are held to.
    """

    name: str
    run: dict[str, Any]
    cores: int


WAYS = (
    Way("threads, one core", {"task_runner": "threads"}, 1),
    Way("Dask, one worker, one core", {"task_runner": "dask", "dask": {"workers": 1}}, 1),
    Way("threads, two cores", {"task_runner": "threads"}, 2),
    Way("Dask, two workers, a core each", {"task_runner": "dask", "dask": {"workers": 2}}, 2),
)


def run(bench: Bench) -> None:
    if ONE in os.environ:
        one(json.loads(os.environ[ONE]))
        return
    from synthetic import write_adult

    rows = bench.size(20_000, 3000)
    about = (
        f"kernel SHAP, 2048 coalitions × {BACKGROUND} background rows, of {rows:,} Adult-like rows, in shards of whole"
        " batches; start: until the first row is asked for, libraries, server and workers included"
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        bench.table("Scale-out on Dask", ("", "seconds", "rows/s", "of one core", "start", "note"), about) as table,
    ):
        path = Path(folder) / "rows.parquet"
        write_adult(path, rows)
        alone: dict[str, float] = {}
        for way in WAYS:
            with table.attempt(way.name):
                taken, start, digest = in_process(way, path, rows, Path(folder))
                speed, kind = rows / taken, str(way.run["task_runner"])
                first = alone.setdefault(kind, speed)
                alone.setdefault("digest", digest)  # type: ignore[arg-type]
                note = "the same table, bit for bit" if digest == alone["digest"] else "ANOTHER TABLE"
                table.row(way.name, number(taken), number(speed), number(speed / first), number(start), note)
                if way.cores == 2 and kind == "dask":
                    bench.figure("dask.two_workers", speed / first)


def in_process(way: Way, path: Path, rows: int, folder: Path) -> tuple[float, float, str]:
    """Seconds of the technique and before it, and the digest of its values.

    Raises:
        RuntimeError: the process failed; what it said went to standard error.
    """
    task = {"run": way.run, "cores": way.cores, "path": str(path), "rows": rows, "folder": str(folder / way.name)}
    done = subprocess.run(
        [sys.executable, __file__], env=os.environ | {ONE: json.dumps(task)}, stdout=subprocess.PIPE, text=True,
        check=False, timeout=LONGEST,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the process ended with {done.returncode}")
    taken, start, digest = json.loads(done.stdout.splitlines()[-1])
    return taken, start, digest


def one(task: dict[str, Any]) -> None:
    """Runs one audit and prints what its technique took, as JSON."""
    hold_to(task["cores"])
    import hashlib

    import pyarrow.parquet as pq
    import yaml
    from subjects import adult_config

    from flows.local import run_audit

    began = time.perf_counter()
    folder = Path(task["folder"])
    folder.mkdir()
    config = adult_config(rows="all", background=BACKGROUND, techniques={TECHNIQUE: SETTINGS}).model_dump(mode="json")
    config["data"]["path"] = task["path"]
    config["run"] = task["run"]
    config["bias"]["resamples"] = 0
    config["report"]["formats"] = ["json"]
    (folder / "audit.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    seen: list[float] = []

    def report(step: str, done: int, total: int | None) -> None:
        if step == f"explain with {TECHNIQUE}" and total:
            seen.append(time.perf_counter())

    outcome = run_audit(str(folder / "audit.yaml"), [], folder / "reports", report)
    table = pq.read_table(Path(outcome.folder) / "artifacts" / "attributions" / f"{TECHNIQUE}.parquet")
    digest = hashlib.sha256(table.column("attribution").to_numpy().tobytes()).hexdigest()
    print(json.dumps([seen[-1] - seen[0], seen[0] - began, digest]))


if __name__ == "__main__":
    main(__file__, run, __doc__)
