"""How the numbers were made: the sample, the background, the intervals, and what each technique was set to."""

from __future__ import annotations

import json

from configs.schema import AuditConfig
from tasks.report.document import Block, Column, Content, Facts, Section, Table, line, num, said
from tasks.report.numbers import count
from tasks.report.reading import Reading
from tasks.report.sections.shared import dash


def method(reading: Reading) -> Section:
    config = reading.config
    pairs: list[tuple[str, Content]] = [
        ("Explained", line(_explained(config))),
        ("Intervals", line(f"confidence {config.bias.confidence:g}, {count(config.bias.resamples)} resamples")),
        ("Smallest group judged", line(f"{count(config.bias.min_group_size)} rows")),
        ("Seed", (num(str(reading.record.seed)),)),
    ]
    return Section("method", "Method", (Facts(tuple(pairs)), *_techniques(reading)))


def _explained(config: AuditConfig) -> str:
    explain = config.explain
    rows = "all rows" if explain.rows == "all" else f"{count(explain.rows)} rows at most"
    return f"{rows}, {count(explain.background)} background rows, of the {explain.output}"


def _techniques(reading: Reading) -> list[Block]:
    """What each technique was set to, and what it cost in model evaluations."""
    rows = []
    for result in reading.record.done:
        if not result.stage.startswith("explain/"):
            continue
        facts = result.facts
        settings = ", ".join(f"{k} {_setting(v)}" for k, v in (facts.get("settings") or {}).items() if v is not None)
        measured = f"; measured: {facts['measured']}" if facts.get("measured") else ""
        evaluations = facts.get("evaluations")
        rows.append(
            (
                line(reading.technique(result.stage.removeprefix("explain/"))),
                (num(count(facts.get("rows") or facts.get("n_rows"))),),
                (num(count(evaluations)),) if isinstance(evaluations, int | float) else dash(),
                (said(settings + measured or "defaults"),),
                (said(facts["source"]),) if facts.get("source") else dash(),
            )
        )
    if not rows:
        return []
    columns = (
        Column("Technique"),
        Column("Rows", "right"),
        Column("Evaluations", "right"),
        Column("Settings", weight=1.8),
        Column("Source", weight=1.8),
    )
    return [Table("techniques", "Techniques", columns, tuple(rows))]


def _setting(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
