"""From the records of a run to docs/performance.md: the prose is the template's, every number is the run's."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import ROOT, cores_held, number
from targets import TARGETS, WHY, Target

TEMPLATE = Path(__file__).with_name("performance.md.jinja")
PAGE = ROOT / "docs" / "performance.md"
PACKAGES = ("tensorflow", "keras", "numpy", "numba", "shap", "lime", "eli5", "tf-keras-vis", "fairlearn")
NOT_MEASURED = "not measured"


def machine() -> dict[str, Any]:
    """What the figures were taken on: nothing that names the machine or a place on it."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": datetime.date.today().isoformat(),
        "cores": cores_held(),
        "of": os.cpu_count() or cores_held(),
        "cpu": cpu_model(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a run, in the order they were left; a line that a killed process left half is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def judged(records: Iterable[dict[str, Any]], targets: Sequence[Target] = TARGETS) -> list[dict[str, Any]]:
    """Each target with its figure and whether it is met; the last figure of a name counts."""
    figures = {record["id"]: record for record in records if record["kind"] == "figure"}
    lines = []
    for target in targets:
        figure = figures.get(target.id)
        value = None if figure is None else figure["value"]
        said = NOT_MEASURED if value is None else number(value) + target.unit
        if figure is not None and figure["note"]:
            said += f" ({figure['note']})"
        lines.append(
            {
                "target": target,
                "bound": f"{target.sign} {number(target.bound)}{target.unit}",
                "measured": said,
                "status": NOT_MEASURED if value is None else "met" if target.met(value) else "**not met**",
                "why": next((why for beginning, why in WHY.items() if target.id.startswith(beginning)), ""),
                "met": value is not None and target.met(value),
            }
        )
    return lines


def rendered(records: Sequence[dict[str, Any]]) -> str:
    """The page as Markdown."""
    import jinja2

    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )  # text, not HTML: nothing to escape
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    found = {record["kind"]: record for record in records if record["kind"] in ("machine", "total")}
    lines = judged(records)
    return template.render(
        machine=found["machine"],
        total=found.get("total", {"seconds": 0.0}),
        versions=", ".join(f"{name} {version}" for name, version in found["machine"]["versions"].items()),
        ended=[
            [record["bench"], f"{record['seconds']:.0f}", f"ended with {record['code']}" if record["code"] else ""]
            for record in records
            if record["kind"] == "ended"
        ],
        lines=lines,
        missed=[line for line in lines if not line["met"]],
        tables=[record for record in records if record["kind"] == "table"],
        markdown=markdown_table,
    )


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; columns that are empty all the way down are left out."""
    kept = [j for j in range(len(columns)) if j == 0 or any(row[j] for row in rows)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells[j].replace("|", "\\|") for j in kept) + " |"

    rule = "|" + "|".join("---" if j == 0 or columns[j] == "note" else "---:" for j in kept) + "|"
    return "\n".join([line(columns), rule, *map(line, rows)])


def verdict_table(records: Sequence[dict[str, Any]]) -> str:
    """The targets as they are printed at the end of a run."""
    lines = judged(records)
    width = max(len(f"{line['target'].part}: {line['target'].text}") for line in lines)
    texts = []
    for line in lines:
        target = line["target"]
        texts.append(
            f"  {target.part + ': ' + target.text:<{width}}  {target.on:<14}{line['bound']:>10}"
            f"{line['measured']:>16}  {line['status'].strip('*')}"
        )
    met = sum(line["met"] for line in lines)
    return "\n".join([*texts, f"  {met} of {len(lines)} targets met"])
