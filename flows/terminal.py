"""What a person sees in the terminal: progress while it runs, a closing table when it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.watch import Report

if TYPE_CHECKING:
    from rich.console import Console

    from flows.run import Outcome

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


def console() -> Console:
    """Where people are talked to: stderr, so that stdout stays for programs."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


@contextmanager
def progress(out: Console) -> Iterator[Report]:
    """A bar for each task while it runs. Without a terminal, a line when a task ends."""
    if not out.is_terminal:
        yield _lines(out)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(finished_text="✓"), TextColumn("{task.description:<22}"), BarColumn(bar_width=30),
        MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=out) as bars:
        known: dict[str, Any] = {}
        lock = threading.Lock()

        def report(task: str, done: int, total: int | None) -> None:
            with lock:
                if task not in known:
                    known[task] = bars.add_task(task, total=total)
            bars.update(known[task], completed=done, total=total)

        yield report


def _lines(out: Console) -> Report:
    finished: set[str] = set()

    def report(task: str, done: int, total: int | None) -> None:
        if total and done >= total and task not in finished:
            finished.add(task)
            out.print(f"  {task}: done", soft_wrap=True)

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
            out.print(Text(f"{label}: {sentence}", style="red"))
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
            Text(f"{check['metric']}{on}{worst}"),
            Text(" and ".join(limits)),
            Text("undefined" if value is None else f"{value:.3f}"),
            Text(words, style=colour),
        )
    return table


def _shown(path: Path) -> str:
    """A path as short as it can be clicked: from here where it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def runs_table(summaries: Sequence[tuple[Path, Mapping[str, Any]]]) -> Any:
    """The runs of `keras-audit list`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("run", "verdict", "model", "rows", "when", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[3].justify = "right"
    for folder, summary in summaries:
        words, colour = VERDICTS[summary["verdict"]]
        model = (summary.get("subject") or {}).get("model") or {}
        rows = next((str(d["rows"]) for d in summary.get("data") or [] if d.get("rows") is not None), "")
        table.add_row(
            Text(f"{folder.parent.name}/{folder.name}", overflow="fold"),
            Text(words.split(":")[0], style=colour),
            Text("" if model.get("version") is None else f"v{model['version']}"),
            Text(rows),
            Text(str(summary.get("generated_at", ""))[:16].replace("T", " ")),
        )
    return table
