"""What Prefect's UI shows of an audit: previews and links. The record is the run's folder."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from flows.run import Outcome
from flows.site import site_address

_ROWS = 200  # Prefect's UI is no table viewer
_PICTURES = 6


def publish_artifacts(outcome: Outcome) -> None:
    """The summary (Markdown), the policy's checks and the disparities (tables), the overlays of an image model, and
    links to the report where a site shows it; under keys of the audit's name.

    The run is published by now: an API that does not answer costs the previews, not the audit.
    """
    from prefect.logging import get_run_logger

    try:
        _publish(outcome)
    except Exception as error:  # noqa: BLE001  # whatever Prefect's client raises
        get_run_logger().warning("no artifacts in Prefect: %s", error)


def _publish(outcome: Outcome) -> None:
    from prefect.artifacts import (
        create_image_artifact,
        create_link_artifact,
        create_markdown_artifact,
        create_table_artifact,
    )

    key = re.sub(r"[^a-z0-9]+", "-", outcome.name.lower()).strip("-") or "audit"
    folder = Path(outcome.folder)
    create_markdown_artifact(_summary(outcome), key=f"{key}-summary", description=f"Verdict: {_said(outcome.verdict)}")
    if outcome.checks:
        create_table_artifact(
            [_checked(check) for check in outcome.checks], key=f"{key}-policy", description="Policy checks"
        )
    table = folder / "artifacts" / "disparities.parquet"
    if table.is_file():
        create_table_artifact(_preview(table), key=f"{key}-disparities", description="Disparities between groups")
    for name, (word, address) in _reports(folder).items():
        create_link_artifact(address, word, key=f"{key}-{name.replace('.', '-')}", description=word)
    for number, picture in enumerate(_pictures(folder), 1):
        shown = site_address(picture)
        if shown is not None:
            create_image_artifact(shown, key=f"{key}-overlay-{number}", description=_named(picture))


def _summary(outcome: Outcome) -> str:
    from tasks.report import escape_markdown

    lines = [f"# {_said(outcome.verdict).capitalize()}", ""]
    lines += [f"**{escape_markdown(outcome.name)}**, run {escape_markdown(outcome.run_id)}", ""]
    links = [f"[{word}]({address})" for word, address in _reports(Path(outcome.folder)).values()]
    lines += [" · ".join(links) if links else f"Report: `{outcome.report}`", ""]
    lines += [f"- {escape_markdown(text)}" for text in (*outcome.missing, *outcome.reasons)]
    lines += [f"- **{_said(check['verdict'])}**: {escape_markdown(check['sentence'])}" for check in outcome.checks]
    return "\n".join(lines)


def _said(verdict: str) -> str:
    return verdict.replace("_", " ")


def _reports(folder: Path) -> dict[str, tuple[str, str]]:
    """Of the report's forms that there are: what a link to it says, and where the site shows it."""
    words = {"report.html": "Open the report", "report.pdf": "Open it as PDF"}
    found = {name: (word, site_address(folder / name)) for name, word in words.items() if (folder / name).is_file()}
    return {name: (word, address) for name, (word, address) in found.items() if address is not None}


def _pictures(folder: Path) -> list[Path]:
    """Overlays: of every technique in turn, until there are enough."""
    by_technique: dict[str, list[Path]] = {}
    for path in sorted((folder / "artifacts" / "images").glob("*.png")):
        by_technique.setdefault(path.stem.rpartition("-")[0], []).append(path)
    ranked = [(place, path) for paths in by_technique.values() for place, path in enumerate(paths)]
    return [path for _, path in sorted(ranked)[:_PICTURES]]


def _named(picture: Path) -> str:
    technique, _, number = picture.stem.rpartition("-")
    return f"Overlay {int(number)} of {technique}" if number.isdecimal() else picture.stem


def _checked(check: dict[str, Any]) -> dict[str, Any]:
    keys = ("verdict", "metric", "attribute", "group", "value", "min", "max", "sentence")
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
