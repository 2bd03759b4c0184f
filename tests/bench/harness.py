"""What every bench file shares: two cores, timing, aligned tables, and records of what was printed.

A bench file is a script of its own, `bench_<name>.py`, with a function of a `Bench` handed to `main`. It prints tables
as it goes and, where it is told a file, leaves the same as JSON lines, from which `run.py` makes docs/performance.md:

    {"kind": "table", "bench", "title", "about", "columns", "rows"}   cells are text
    {"kind": "figure", "id", "value", "note"}                         what a target of targets.py is held against

Nothing here imports a heavy library, so that the number of cores is settled before any of them counts them.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import io
import json
import math
import os
import pstats
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: the targets are stated for two cores
CORES = 2
#: says that a process and its libraries are already held to that many cores
HELD = "KERAS_AUDIT_BENCH_CORES"
#: what the numerical libraries read when they are imported
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip
WHO, OURS, FAST, DOCUMENTED = "", "this project", "with our predictor", "as documented"
FLOOR = "floor: the evaluations alone"
SPEED = (WHO, "ms a row", "rows/s", "overhead", "ours faster", "note")
_FIRST, _OTHERS = 46, 12


# ---------------------------------------------------------------- cores


def hold_to(count: int) -> None:
    """Holds this process, and whatever it starts, to so many cores; where the system cannot, to so many threads."""
    os.environ |= {name: str(count) for name in THREADS} | {HELD: str(count), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, apart(sorted(os.sched_getaffinity(0)), count))


def apart(cores: Sequence[int], count: int) -> list[int]:
    """So many of the cores, two threads of one physical core only where there are no others."""
    first: list[int] = []
    taken: set[str] = set()
    for core in cores:
        place = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        siblings = place.read_text().strip() if place.is_file() else str(core)
        if siblings not in taken:
            taken.add(siblings)
            first.append(core)
    return [*first, *(core for core in cores if core not in first)][:count]


def cores_held() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else int(os.environ.get(HELD, CORES))


def peak_memory() -> int:
    """The most bytes that this process has had in memory at a time."""
    with contextlib.suppress(OSError):
        # getrusage would count what the parent held at the fork.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


# ---------------------------------------------------------------- timing


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Progress bars and warnings of the libraries stay unsaid."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def seconds(work: Callable[[], Any], repeats: int = 1) -> float:
    """The least of several runs."""
    return in_turn({"": work}, repeats)[""]


def in_turn(works: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Seconds of each, the least of several runs, one after the other: what else the machine does meets all alike."""
    least = dict.fromkeys(works, math.inf)
    for _ in range(repeats):
        for name, work in works.items():
            with quiet():
                start = time.perf_counter()
                work()
                least[name] = min(least[name], time.perf_counter() - start)
    return least


def repeats_for(once: float, budget: float, most: int = 10, least: int = 1) -> int:
    """How often what takes `once` seconds is run within a budget."""
    return max(least, min(most, int(budget / max(once, 1e-9))))


# ---------------------------------------------------------------- numbers as text


def number(value: float | None) -> str:
    """Three digits that mean something; nothing for None."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if abs(value) >= 1e-3 else f"{value:.1e}"


def times(value: float) -> str:
    """A ratio: 12.3 ×."""
    return f"{number(value)} ×"


# ---------------------------------------------------------------- tables


class Table:
    """Printed line by line, recorded when its block ends."""

    def __init__(self, bench: Bench, title: str, about: str, columns: Sequence[str]) -> None:
        self.title, self.about, self.columns = title, about, tuple(columns)
        self.rows: list[list[str]] = []
        self._bench = bench

    def __enter__(self) -> Table:
        print(f"\n{self.title}\n  {self.about}" if self.about else f"\n{self.title}")
        self._print(self.columns)
        return self

    def __exit__(self, *_: object) -> None:
        self._bench.record(kind="table", title=self.title, about=self.about, columns=self.columns, rows=self.rows)

    def row(self, *cells: str) -> None:
        """Adds a line: text, in the order of the columns; what is missing stays empty."""
        self.rows.append([*cells, *[""] * (len(self.columns) - len(cells))])
        self._print(self.rows[-1])

    @contextlib.contextmanager
    def attempt(self, who: str) -> Iterator[None]:
        """What fails in this block becomes a line that says so; the bench goes on."""
        try:
            yield
        except ImportError as error:
            self.row(who, *[""] * (len(self.columns) - 2), f"not installed: {error.name}")
        except Exception as error:  # the libraries' and ours alike
            if self._bench.strict:
                raise
            traceback.print_exc()
            self.row(who, *[""] * (len(self.columns) - 2), f"failed: {type(error).__name__}")

    def _print(self, cells: Sequence[str]) -> None:
        texts = [f"{cells[0]:<{_FIRST}}"]
        for name, cell in zip(self.columns[1:], cells[1:], strict=True):
            texts.append(f"  {cell}" if name == "note" else f"{cell:>{max(_OTHERS, len(name) + 2)}}")
        print("  " + "".join(texts).rstrip(), flush=True)


class Speed(Table):
    """Who takes how long for a row; the first line is ours, and the others are compared with it."""

    ours: float | None = None

    def floor(self, rows: int, evaluations: float, rate: float) -> None:
        """Adds the line of the evaluations alone."""
        self.line(FLOOR, rows, evaluations / rate, overhead=1.0)

    def line(
        self, who: str, rows: int, taken: float, *, overhead: float | None = None, note: str = "", error: str = ""
    ) -> float | None:
        """Adds a line.

        Args:
            overhead: time over what the evaluations alone take at the floor.
            error: a note about the error against exact values.

        Returns:
            How many times as fast ours is; None for ours, or where there is none.
        """
        each = taken / rows
        ratio = None if self.ours is None else each / self.ours
        if self.ours is None and who.startswith(OURS):
            self.ours = each
        faster = "" if ratio is None or who.startswith(OURS) else times(ratio)
        said = "; ".join(part for part in (note, error) if part)
        self.row(who, number(each * 1e3), number(1 / each), number(overhead), faster, said)
        return ratio


# ---------------------------------------------------------------- a bench


class Bench:
    """One bench file at work.

    Args:
        name: of the file, without bench_.
        quick: tiny sizes, for the tests: everything runs, no figure means anything.
        records: file that records are appended to, or None.
        profile: what to profile: a part of the name that `profiled` is called with.
        strict: errors end the bench, for the tests.
    """

    def __init__(
        self,
        name: str,
        *,
        quick: bool = False,
        records: Path | None = None,
        profile: str | None = None,
        strict: bool = False,
    ) -> None:
        self.name, self.quick, self.strict = name, quick, strict
        self._records, self._profile = records, profile

    def size(self, full: int, quick: int) -> int:
        """A number of rows, or whatever: the small one where only the code is tried."""
        return quick if self.quick else full

    def table(self, title: str, columns: Sequence[str], about: str = "") -> Table:
        """A table with columns of its own."""
        return Table(self, title, about, columns)

    def speed(self, title: str, about: str = "") -> Speed:
        """A table of who takes how long."""
        return Speed(self, title, about, SPEED)

    def figure(self, target: str, value: float | None, note: str = "") -> None:
        """Leaves what a target is held against; None leaves nothing."""
        if value is not None:
            self.record(kind="figure", id=target, value=float(value), note=note)

    def record(self, **record: Any) -> None:
        if self._records is not None:
            with self._records.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"bench": self.name, **record}) + "\n")

    def profiled(self, name: str, work: Callable[[], Any], most: int = 20) -> None:
        """Where `--profile` asks for it: runs the work once more and prints where its time goes."""
        if self._profile is None or self._profile not in name:
            return
        profile = cProfile.Profile()
        profile.runcall(work)
        text = io.StringIO()
        pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(most)
        lines = [line for line in text.getvalue().splitlines() if line.strip()]
        print(f"\n  Profile of {name}\n" + "\n".join(f"    {line}" for line in lines), flush=True)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every bench file, and the runner, can be told."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: tries the code, measures nothing")
    parser.add_argument("--records", type=Path, help="append records to this file, as JSON lines")
    parser.add_argument("--profile", help="print where the time of what bears this name goes")
    parser.add_argument("--cores", type=int, default=CORES, help=f"cores to use; the targets hold for {CORES}")
    parser.add_argument("--strict", action="store_true", help="end at the first error")
    return parser


def main(file: str, run: Callable[[Bench], None], description: str | None) -> None:
    """Runs a bench file: on two cores from the first import on."""
    options = arguments(description).parse_args()
    if HELD not in os.environ:
        hold_to(options.cores)
        os.execv(sys.executable, [sys.executable, *sys.argv])  # again, before any library has counted the cores
    warnings.simplefilter("ignore")
    os.chdir(ROOT)
    run(
        Bench(
            Path(file).stem.removeprefix("bench_"),
            quick=options.quick,
            records=options.records,
            profile=options.profile,
            strict=options.strict,
        )
    )
