"""What Prefect's UI shows of an audit: previews. The record is the run's folder."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from flows.run import Outcome

_ROWS = 200  # Prefect's UI is no table viewer


def publish_artifacts(outcome: Outcome) -> None:
    """The summary (Markdown), the policy's checks and the disparities (tables), under keys of the audit's name.

    The run is published by now: an API that does not answer costs the previews, not the audit.
    """
    from prefect.logging import get_run_logger

    try:
        _publish(outcome)
    except Exception as error:  # noqa: BLE001  # whatever Prefect's client raises
        get_run_logger().warning("no artifacts in Prefect: %s", error)


def _publish(outcome: Outcome) -> None:
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    key = re.sub(r"[^a-z0-9]+", "-", outcome.name.lower()).strip("-") or "audit"
    create_markdown_artifact(_summary(outcome), key=f"{key}-summary", description=f"Verdict: {outcome.verdict}")
    if outcome.checks:
        create_table_artifact(
            [_checked(check) for check in outcome.checks], key=f"{key}-policy", description="Policy checks"
        )
    table = Path(outcome.folder) / "artifacts" / "disparities.parquet"
    if table.is_file():
        create_table_artifact(_preview(table), key=f"{key}-disparities", description="Disparities between groups")


def _summary(outcome: Outcome) -> str:
    from tasks.report import escape_markdown

    lines = [f"# {outcome.verdict.replace('_', ' ').capitalize()}", "", escape_markdown(outcome.name), ""]
    lines += [f"- {escape_markdown(text)}" for text in (*outcome.missing, *outcome.reasons)]
    lines += [f"- **{c['verdict'].replace('_', ' ')}**: {escape_markdown(c['sentence'])}" for c in outcome.checks]
    lines += ["", f"Report: `{outcome.report}`"]
    return "\n".join(lines)


def _checked(check: dict[str, Any]) -> dict[str, Any]:
    keys = ("metric", "attribute", "group", "min", "max", "value", "verdict", "sentence")
    return {key: _plain(check.get(key)) for key in keys}


def _preview(path: Path) -> list[dict[str, Any]]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = [
        "attribute",
        "metric",
        "comparison",
        "group",
        "reference",
        "value",
        "status",
        "ci_low",
        "ci_high",
    ]
    # Comparisons of single features and techniques are many: they are in the report.
    plain = pc.field("feature").is_null() & pc.field("technique").is_null()
    table = pq.read_table(path, columns=columns, filters=plain).slice(0, _ROWS)
    return [{key: _plain(value) for key, value in row.items()} for row in table.to_pylist()]


def _plain(value: Any) -> Any:
    """Infinity breaks the UI, and NaN is no JSON."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else str(value)
    return value
