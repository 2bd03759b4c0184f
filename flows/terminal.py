"""What a person sees in the terminal: progress while it runs, a closing table when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.pace import Pace, clock
from tasks.errors import one_line
from tasks.watch import Report

if TYPE_CHECKING:
    from rich.console import Console

    from flows.run import Outcome
    from tasks.history import Entry

#: how verdicts of audits and of checks are said, and in which colour
VERDICTS = {
    "satisfied": ("satisfied", "green"),
    "not_satisfied": ("NOT SATISFIED", "red"),
    "inconclusive": ("inconclusive", "yellow"),
    "insufficient_data": ("insufficient data", "yellow"),
    "not_applicable": ("not applicable", "dim"),
    "human_required": ("a person must state it", "yellow"),
    "refused": ("REFUSED: the data gate found a critical failure", "red"),
    "incomplete": ("INCOMPLETE: something planned is missing", "red"),
}


def console(*, stderr: bool = True) -> Console:
    """Where people are talked to: stderr while an audit runs; stdout where the text is the answer of the command."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False)


class Shown:
    """What the steps of an audit report and say, for a terminal or a log. Safe to call from many threads."""

    def __init__(self, report: Report, say: Callable[[str], None]) -> None:
        self._report, self._say = report, say

    def __call__(self, task: str, done: int, total: int | None) -> None:
        self._report(task, done, total)

    def say(self, task: str, sentence: str) -> None:
        """Prints a line that stays."""
        self._say(f"  {one_line(task)}: {one_line(sentence)}")


@contextmanager
def progress(out: Console) -> Iterator[Shown]:
    """A bar for each task while it runs, with its pace and the time left. Without a terminal, lines now and then."""
    if not out.is_terminal:
        yield Shown(_lines(out), lambda line: out.print(line, soft_wrap=True))
        return
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
    from rich.text import Text

    class Far(ProgressColumn):
        """Done, total, and once it is known how fast and how long yet; at the end how long it took."""

        def render(self, task: Task) -> Text:
            pace: Pace | None = task.fields.get("pace")
            if task.total is None or pace is None:
                return Text(clock(task.elapsed or 0))
            if task.finished:
                return Text(f"{task.completed:,.0f} of {task.total:,.0f}, took {clock(task.finished_time or 0)}")
            return Text(pace.told(int(task.total)))

    columns = (
        SpinnerColumn(finished_text="✓"), TextColumn("{task.description:<22}"), BarColumn(bar_width=24), Far(),
    )  # fmt: skip
    with Progress(*columns, console=out) as bars:
        known: dict[str, Any] = {}
        paces: dict[str, Pace] = {}
        lock = threading.Lock()

        def report(task: str, done: int, total: int | None) -> None:
            with lock:
                if task not in known:
                    paces[task] = Pace()
                    known[task] = bars.add_task(one_line(task), total=total, pace=paces[task])
                paces[task].saw(done)
            bars.update(known[task], completed=done, total=total)

        yield Shown(report, lambda line: bars.console.print(line, soft_wrap=True))


#: seconds between two lines on how far a task is, where there is no terminal
_EVERY = 30.0


def _lines(out: Console) -> Report:
    finished: set[str] = set()
    paces: dict[str, Pace] = {}
    last: dict[str, float] = {}
    lock = threading.Lock()

    def report(task: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        line = None
        with lock:
            pace = paces.setdefault(task, Pace())
            pace.saw(done, now)
            last.setdefault(task, now)
            if total and done >= total and task not in finished:
                finished.add(task)
                line = "done"
            elif total and done < total and now - last[task] >= _EVERY:
                last[task] = now
                line = pace.told(total)
        if line is not None:
            out.print(f"  {one_line(task)}: {line}", soft_wrap=True)

    return report


def closing(out: Console, outcome: Outcome) -> None:
    """Verdict, policy checks, what is missing, and where the report lies."""
    from rich.text import Text

    words, colour = VERDICTS[outcome.verdict]
    out.print()
    out.print(Text.assemble(("verdict  ", "bold"), (words, f"bold {colour}")))
    if outcome.checks:
        out.print(_checks(outcome.checks))
    for label, sentences in (("missing", outcome.missing), ("refused", outcome.reasons)):
        for sentence in sentences:
            out.print(Text(f"{label}: {one_line(sentence)}", style="red"))
    out.print(Text.assemble(("report   ", "bold"), _shown(outcome.report)), soft_wrap=True)


def _checks(checks: Sequence[Mapping[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("policy check", "limit", "value", "verdict", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[2].justify = "right"
    for check in checks:
        words, colour = VERDICTS[check["verdict"]]
        limits = [f"{sign} {check[key]:g}" for key, sign in (("min", "≥"), ("max", "≤")) if check.get(key) is not None]
        on = f" on {check['attribute']}" if check.get("attribute") else ""
        worst = f" ({check['group']})" if check.get("group") else ""
        value = check.get("value")
        table.add_row(
            Text(one_line(f"{check['metric']}{on}{worst}")),
            Text(" and ".join(limits)),
            Text("undefined" if value is None else f"{value:,.0f}" if check["metric"] == "reasons" else f"{value:.3f}"),
            Text(words, style=colour),
        )
    return table


def _shown(path: Path | str) -> str:
    """A path as short as it can be clicked: from here where it lies below. An address is itself."""
    if isinstance(path, str):
        return one_line(path, 5000)
    try:
        return one_line(path.relative_to(Path.cwd()), 5000)
    except ValueError:
        return one_line(path, 5000)


def runs_table(entries: Sequence[Entry]) -> Any:
    """The runs of `keras-audit list`, each with the checks that are not satisfied; what cannot be read says why."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    heads = ("run", "verdict", "model", "rows", "when", "signed", "not satisfied")
    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[0].no_wrap = True  # to be copied
    table.columns[3].justify = "right"
    for entry in entries:
        named = Text(one_line(entry.run))
        if entry.verdict is None:
            table.add_row(named, Text("cannot be read", style="red"), "", "", "", "", Text(one_line(entry.problem, 80)))
            continue
        words, colour = VERDICTS[entry.verdict]
        version, digest = entry.model_version, one_line((entry.model_sha256 or "")[:8])
        table.add_row(
            named,
            Text(words.split(":")[0], style=colour),
            Text(" ".join(part for part in (f"v{one_line(version, 20)}" if version else "", digest) if part)),
            Text("" if entry.rows is None else str(entry.rows)),
            Text(one_line(entry.generated_at)[:16].replace("T", " ")),
            Text("yes" if entry.signed else "no"),
            Text(_not_satisfied(entry)),
        )
    return table


def _not_satisfied(entry: Entry) -> str:
    """`impact_ratio on sex 0.361`, three at most."""
    told = []
    for check in entry.failed[:3]:
        on = f" on {check.attribute}" if check.attribute else ""
        told.append(f"{check.metric}{on} {'undefined' if check.value is None else f'{check.value:.3f}'}")
    left = len(entry.failed) - len(told)
    return one_line(", ".join(told), 200) + (f" and {left} more" if left > 0 else "")
