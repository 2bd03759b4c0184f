"""All rows: an Adult-like table of 10³ to 10⁶ rows through the stage, each size in a process of its own.

The stage is what an audit runs: it opens the data, explains every row and writes the Parquet table of attributions.
Model, libraries and what a technique prepares do not grow with the rows; they are told apart as `start`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Bench, Table, main, number, peak_memory

#: a size that would take longer, going by the one before, is not run
LONGEST = 900.0
MIB = 2**20
#: environment of the process of one size: technique, settings and file
ONE = "KERAS_AUDIT_BENCH_ROWS"


@dataclass(frozen=True)
class Job:
    """What is explained, and up to how many rows.

    Attributes:
        key: part of the names of figures.
        technique, settings, background: of the config.
        sizes: rising; each ten times the one before.
    """

    key: str
    title: str
    technique: str
    settings: dict[str, Any]
    background: int
    sizes: tuple[int, ...]


JOBS = (
    Job("lime", "LIME, 5000 neighbours", "lime", {"samples": 5000}, 100, (10**3, 10**4, 10**5, 10**6)),
    Job(
        "gradient", "gradient SHAP, 200 points", "shap", {"estimator": "gradient", "samples": 200}, 100,
        (10**3, 10**4, 10**5, 10**6),
    ),
    Job(
        "kernel", "kernel SHAP, 2048 coalitions × 10 background rows", "shap",
        {"estimator": "kernel", "coalitions": 2048}, 10, (10**3, 10**4, 10**5),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """Seconds and bytes of one process.

    Attributes:
        start: libraries, model and preparing, whatever the number of rows.
        data: opening and encoding the table.
        rows: explaining and writing.
        before, peak: the most memory before the table was opened, and in all.
        written: bytes of the table of attributions.
    """

    start: float
    data: float
    rows: float
    before: int
    peak: int
    written: int

    @property
    def whole(self) -> float:
        """What grows with the rows."""
        return self.data + self.rows


def run(bench: Bench) -> None:
    if ONE in os.environ:
        one(json.loads(os.environ[ONE]))
        return
    from synthetic import write_adult

    with tempfile.TemporaryDirectory() as folder:
        for job in JOBS:
            sizes = tuple(size // 50 for size in job.sizes[:2]) if bench.quick else job.sizes
            columns = ("rows", "seconds", "data", "ms a row", "rows/s", "ms a further row", "peak MiB", "note")
            about = (
                "Adult-like Parquet in row groups of 65,536, 14 raw columns, of which the model takes 13. seconds:"
                " opening the data, explaining, writing; a further row: the rise over the size before"
            )
            with bench.table(f"All rows, {job.title}", columns, about) as table:
                found: dict[int, Measured] = {}
                for size in sizes:
                    path = Path(folder) / f"{size}.parquet"
                    if not path.exists():
                        write_adult(path, size)
                    with table.attempt(f"{size:,}"):
                        if not _measure(job, path, size, found, table):
                            break
                if not bench.quick:
                    figures(bench, job, found)


def _measure(job: Job, path: Path, size: int, found: dict[int, Measured], table: Table) -> bool:
    """Explains a table of so many rows in a new process; False where that would take too long."""
    before = found.get(size // 10)
    if before is not None and before.whole * 10 > LONGEST:
        table.row(f"{size:,}", *[""] * 6, f"not run: about {before.whole * 10:,.0f} s, going by {size // 10:,} rows")
        return False
    found[size] = now = in_process(job, path)
    further = None if before is None else (now.whole - before.whole) / (size - size // 10) * 1e3
    note = f"start {now.start:.1f} s; {now.before / MIB:,.0f} MiB before; {now.written / MIB:,.0f} MiB written"
    each = now.whole / size
    cells = (number(now.whole), number(now.data), number(each * 1e3), number(1 / each), number(further))
    table.row(f"{size:,}", *cells, f"{now.peak / MIB:,.0f}", note)
    return True


def figures(bench: Bench, job: Job, found: dict[int, Measured]) -> None:
    """What a row costs on the last step of sizes beside the step before, and the memory of the last two sizes."""
    if len(found) < len(job.sizes):
        return
    low, middle, high = (found[size] for size in job.sizes[-3:])
    last = (high.whole - middle.whole) / (job.sizes[-1] - job.sizes[-2])
    before = (middle.whole - low.whole) / (job.sizes[-2] - job.sizes[-3])
    bench.figure(f"rows.linear.{job.key}", last / before)
    bench.figure(f"rows.memory.{job.key}", high.peak / middle.peak)


def in_process(job: Job, path: Path) -> Measured:
    """One size, in a process of its own, so that its peak of memory is its own.

    Raises:
        RuntimeError: the process failed; what it said went to standard error.
    """
    task = {"technique": job.technique, "settings": job.settings, "background": job.background, "path": str(path)}
    done = subprocess.run(
        [sys.executable, __file__], env=os.environ | {ONE: json.dumps(task)}, stdout=subprocess.PIPE, text=True,
        check=False, timeout=4 * LONGEST,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the process ended with {done.returncode}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


# ---------------------------------------------------------------- in the process of one size


def one(task: dict[str, Any]) -> None:
    """Runs the stage once and prints what it took, as JSON."""
    began = time.perf_counter()
    from subjects import adult_config

    from tasks.contracts import Done
    from tasks.explain import explain
    from tasks.load import open_model, open_subject
    from tasks.persist import Workspace
    from tasks.watch import Watch

    config = adult_config(rows="all", background=task["background"], techniques={task["technique"]: task["settings"]})
    config = config.model_copy(update={"data": config.data.model_copy(update={"path": task["path"]})})
    open_model(config)
    before = peak_memory()
    opening = time.perf_counter()
    open_subject(config)
    opened = time.perf_counter()
    first: list[float] = []

    def report(_: str, done: int, total: int | None) -> None:
        if total is not None and not first:
            first.append(time.perf_counter())  # what is prepared is ready: the rows begin

    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "audit" / "run").mkdir(parents=True)  # beside the run an audit keeps what it would need to go on
        workspace = Workspace(folder / "audit" / "run", "20260101T000000Z-00000000")
        result = explain(task["technique"], config, workspace, Watch(report=report))
        if not isinstance(result, Done):
            raise RuntimeError(f"not explained: {result}")
        ended = time.perf_counter()
        written = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    started = first[0] if first else opened
    print(
        json.dumps(
            {
                "start": opening - began + started - opened,
                "data": opened - opening,
                "rows": ended - started,
                "before": before,
                "peak": peak_memory(),
                "written": written,
            }
        )
    )


if __name__ == "__main__":
    main(__file__, run, __doc__)
