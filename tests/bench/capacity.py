"""What an audit of many rows takes: processor time, memory and storage of a whole audit, technique by technique.

    python tests/bench/capacity.py                        10⁴ and 10⁵ rows
    python tests/bench/capacity.py 10000 100000 1000000   and a million: an hour or more

Each audit is a process of its own against a Prefect server of this script, on Adult-like rows (13 raw features, 107
encoded). One audit has no technique; what another takes beyond it is its technique's. The tables of docs/operations.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from bench_flow import prefect_server
from harness import ROOT
from synthetic import write_adult

#: name → techniques of the config, and the most rows that it is measured with
JOBS: dict[str, tuple[dict[str, Any], int]] = {
    "no technique": ({}, 10**7),
    "permutation, 10 repeats": ({"permutation": {"repeats": 10}}, 10**7),
    "LIME, 5000 neighbours": ({"lime": {"samples": 5000}}, 10**7),
    "gradient SHAP, 200 points": ({"shap": {"estimator": "gradient", "samples": 200}}, 10**7),
    "kernel SHAP, 2048 coalitions × 100 rows": ({"shap": {"estimator": "kernel", "coalitions": 2048}}, 10**4),
}
GIB, MIB = 2**30, 2**20


@dataclass(frozen=True)
class Taken:
    """What one audit took.

    Attributes:
        seconds: from its start to its end.
        cpu: seconds of processors, the process and its children.
        memory: the most bytes at a time.
        stored: bytes of the run's folder.
    """

    seconds: float
    cpu: float
    memory: int
    stored: int


def main(sizes: list[int]) -> None:
    print("| rows | technique | CPU s | beyond none | wall s | peak GiB | run MiB |\n|---|---|---|---|---|---|---|")
    with (
        tempfile.TemporaryDirectory(prefix="keras-audit-capacity-") as folder,
        prefect_server(Path(folder)) as environment,
    ):
        for rows in sizes:
            data = Path(folder) / f"{rows}.parquet"
            write_adult(data, rows)
            none: Taken | None = None
            for name, (techniques, most) in JOBS.items():
                if rows > most:
                    continue
                place = Path(folder) / f"{rows}-{name.split()[0]}"
                found = _audited(place, data, techniques, environment)
                none = none or found
                _tell(rows, name, found, none)
            print(f"| {rows:,} | the data | | | | | {data.stat().st_size / MIB:,.1f} |", flush=True)


def _tell(rows: int, name: str, found: Taken, none: Taken) -> None:
    beyond = f"{found.cpu - none.cpu:,.1f}" if found is not none else ""
    cells = (f"{rows:,}", name, f"{found.cpu:,.1f}", beyond, f"{found.seconds:,.1f}")
    print(f"| {' | '.join(cells)} | {found.memory / GIB:.2f} | {found.stored / MIB:,.1f} |", flush=True)


def _audited(folder: Path, data: Path, techniques: dict[str, Any], environment: dict[str, str]) -> Taken:
    """Audits every row in a process of its own.

    Raises:
        RuntimeError: the audit did not end with a verdict.
    """
    folder.mkdir()
    values = yaml.safe_load((ROOT / "configs/adult_income.yaml").read_text("utf-8"))
    values["data"]["path"] = str(data)
    values["explain"] |= {"rows": "all", "techniques": techniques}
    config = folder / "audit.yaml"
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = [sys.executable, "-m", "flows.cli", "run", str(config), "--reports", str(folder / "reports"), "--json"]
    started = time.perf_counter()
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
    taken = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise RuntimeError((folder / "said").read_text()[-2000:])
    (run,) = (path for path in (folder / "reports" / "adult-income").iterdir() if path.name[0].isdigit())
    files = [path.stat() for path in run.rglob("*") if path.is_file()]
    return Taken(taken, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, sum(s.st_size for s in files))


if __name__ == "__main__":
    main([int(given) for given in sys.argv[1:]] or [10**4, 10**5])
