"""Runs to look back on: folders with summaries as audits write them, and ways to spoil them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)


def run_id(place: int) -> str:
    """The id of the run of a week."""
    return f"{START + timedelta(weeks=place):%Y%m%dT%H%M%SZ}-{place:08x}"


def check(value: float | None, verdict: str, **more: Any) -> dict[str, Any]:
    """A judged check, as in policy.checks: its group is the worst one."""
    return {
        "metric": "impact_ratio", "attribute": "sex", "group": "Female", "min": 0.8, "max": None, "verdict": verdict,
        "value": value, **more,
    }  # fmt: skip


def summary(name: str, place: int, verdict: str = "satisfied", **changes: Any) -> dict[str, Any]:
    """What of a summary.json the history reads, and some of what it does not."""
    checks = changes.pop("checks", [check(0.85, "satisfied")])
    found = {
        "schema_version": "1.0",
        "report_id": run_id(place),
        "generated_at": (START + timedelta(weeks=place, minutes=3)).isoformat(timespec="seconds"),
        "verdict": verdict,
        "subject": {"name": name, "title": f"The audit {name}", "model": {"version": 2, "sha256": "ab" * 32}},
        "data": [{"role": "audited", "rows": 200}],
        "policy": {"declared": [{**one, "group": None} for one in checks], "checks": checks},
        "run": {"missing": []},
        "results": {"performance": {"metrics": {"rows": [], "omitted": 0}}},
    }
    return {**found, **changes}


def publish(
    reports: Path,
    name: str = "credit",
    place: int = 0,
    verdict: str = "satisfied",
    *,
    files: tuple[str, ...] = ("report.html", "report.pdf"),
    **changes: Any,
) -> Path:
    """A run's folder, as it lies there once it is published."""
    folder = reports / name / run_id(place)
    folder.mkdir(parents=True)
    content = json.dumps(summary(name, place, verdict, **changes)).encode()
    (folder / "summary.json").write_bytes(content)
    (folder / "manifest.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.json\n")
    for file in files:
        (folder / file).write_text(file)
    return folder
