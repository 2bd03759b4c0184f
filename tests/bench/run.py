"""Every benchmark, each file in a process of its own, and docs/performance.md from what they found.

    python tests/bench/run.py                 all of them, and the page: what `make bench` does
    python tests/bench/run.py lime rows       some of them, printed only
    python tests/bench/run.py lime --profile lime.adult      and where the time goes
    python tests/bench/run.py --again         the page anew from the records of the last full run

A full run takes about twenty minutes on two cores, to which it holds itself: the targets are stated for two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness import ROOT, arguments, hold_to
from page import PAGE, machine, read_records, rendered, verdict_table

#: in the order of the page
BENCHES = ("predictor", "shapley", "lime", "global", "images", "quality", "bias", "rows", "dask", "flow")
RECORDS = ROOT / "build" / "bench.jsonl"
#: seconds after which a bench file is ended, and the code that is then told
LONGEST, TOO_LONG = 3600.0, 124


def main(given: list[str] | None = None) -> int:
    """Runs what is asked for; 0 where every bench file ended well."""
    options = _options(given)
    if options.again:
        records = read_records(options.records or RECORDS)
        write_page(records, options.page or PAGE)
        print(verdict_table(records))
        return 0
    chosen = options.benches or list(BENCHES)
    full = not (options.benches or options.quick)
    records_path: Path = (options.records or RECORDS) if full else options.records or RECORDS.with_name("some.jsonl")
    records_path = records_path.resolve()
    records_path.parent.mkdir(parents=True, exist_ok=True)
    records_path.unlink(missing_ok=True)
    hold_to(options.cores)
    began = time.perf_counter()
    taken_on = machine()
    print(_greeting(taken_on, options.quick), flush=True)
    leave(records_path, kind="machine", **taken_on)
    failed = [name for name in chosen if not _run_one(name, options, records_path)]
    total = time.perf_counter() - began
    leave(records_path, kind="total", seconds=total)
    records = read_records(records_path)
    print(f"\nTargets\n{verdict_table(records)}" if full else "")
    if full or options.page:
        write_page(records, options.page or PAGE)
        print("\ndocs/performance.md is written" if options.page is None else "\nthe page is written")
    print(f"{'All benchmarks' if full else ', '.join(chosen)}: {total / 60:.1f} minutes")
    if failed:
        print(f"did not end well: {', '.join(failed)}")
    return 1 if failed else 0


def _options(given: list[str] | None) -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"some of {', '.join(BENCHES)}; default: all")
    parser.add_argument("--page", type=Path, help="write the page here; default: docs/performance.md after a full run")
    parser.add_argument("--again", action="store_true", help="run nothing: the page from the last records")
    options = parser.parse_args(given)
    unknown = [name for name in options.benches if name not in BENCHES]
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]}; there are {', '.join(BENCHES)}")
    return options


def _greeting(taken_on: dict[str, Any], quick: bool) -> str:
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    held = f"{taken_on['cores']} of {taken_on['of']} cores, {taken_on['cpu']}, Python {taken_on['python']}{load}"
    return held + ("\nQuick: the code is tried at tiny sizes, and no figure means anything." if quick else "")


def _run_one(name: str, options: argparse.Namespace, records: Path) -> bool:
    """One bench file in a process of its own; what it says goes straight through."""
    command = [sys.executable, str(Path(__file__).with_name(f"bench_{name}.py")), "--records", str(records)]
    command += ["--quick"] if options.quick else []
    command += ["--strict"] if options.strict else []
    command += ["--profile", options.profile] if options.profile else []
    print(f"\n{'=' * 20} {name}", flush=True)
    began = time.perf_counter()
    try:
        code = subprocess.run(command, check=False, cwd=ROOT, timeout=LONGEST).returncode
    except subprocess.TimeoutExpired:
        code = TOO_LONG
    taken = time.perf_counter() - began
    leave(records, kind="ended", bench=name, seconds=taken, code=code)
    print(f"\n{name}: {taken:.0f} s" + (f", ended with {code}" if code else ""), flush=True)
    return code == 0


def leave(path: Path, **record: Any) -> None:
    """Appends a record of the run itself."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"bench": "", **record}) + "\n")


def write_page(records: list[dict[str, Any]], path: Path) -> None:
    path.write_text(rendered(records), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
