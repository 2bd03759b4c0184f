"""How it was run: stages with their times, versions, seed, machine."""

from __future__ import annotations

import json

from configs.schema import AuditConfig
from tasks.contracts import Done, Failed, StageResult
from tasks.report.document import (
    Block,
    Column,
    Content,
    Facts,
    Section,
    Table,
    code,
    line,
    muted,
    name,
    num,
    said,
    status,
)
from tasks.report.numbers import count, duration, moment
from tasks.report.reading import Reading
from tasks.report.record import MACHINE_KEYS
from tasks.report.sections.shared import dash


def method(reading: Reading) -> Section:
    record, config = reading.record, reading.config
    pairs: list[tuple[str, Content]] = [
        ("Run", (code(record.run_id),)),
        ("Started", line(moment(record.started))),
        ("Finished", line(moment(record.finished))),
        ("Seed", (num(str(record.seed)),)),
        ("Explained", line(_explained(config))),
        ("Intervals", line(f"confidence {config.bias.confidence:g}, {count(config.bias.resamples)} resamples")),
        ("Smallest group judged", line(f"{count(config.bias.min_group_size)} rows")),
    ]
    if record.flow_run.get("name"):
        pairs.append(("Prefect flow run", (name(record.flow_run["name"]), muted(f" {record.flow_run.get('id', '')}"))))
    pairs += [
        (key.capitalize(), (name(str(record.environment[key])),)) for key in MACHINE_KEYS if record.environment.get(key)
    ]
    stages = Table(
        "stages",
        "Stages, as planned",
        (
            Column("Stage", weight=1.6),
            Column("State"),
            Column("Time", "right"),
            Column("Tables written", weight=2.2),
        ),
        tuple((line(reading.stage_title(r.stage)), *_outcome(r)) for r in record.results),
    )
    blocks: list[Block] = [Facts(tuple(pairs)), stages, *_techniques(reading)]
    if record.libraries:
        rows = tuple((name(k),) for k in record.libraries)
        versions = tuple((n, (num(v),)) for n, v in zip(rows, record.libraries.values(), strict=True))
        blocks.append(Table("libraries", "Libraries", (Column("Library"), Column("Version")), versions))
    return Section("method", "How it was run", tuple(blocks))


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


def _outcome(result: StageResult) -> tuple[Content, ...]:
    if isinstance(result, Done):
        written = line(*[part for t in result.tables for part in (code(t.name), " ")][:-1]) or dash()
        return (status("done"),), _time(result.seconds), written
    if isinstance(result, Failed):
        state = "not_reached" if result.code == "not_reached" else "failed"
        return (status(state),), _time(result.seconds), (said(result.reason),)
    return (status("not_applicable"),), dash(), (said(result.reason),)


def _time(seconds: float) -> Content:
    return (num(duration(seconds)),) if seconds else dash()
