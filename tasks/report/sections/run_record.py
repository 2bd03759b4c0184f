"""The record of the run: when, on what, step by step, with which libraries."""

from __future__ import annotations

from tasks.contracts import Done, Failed, StageResult
from tasks.report.document import (
    Block,
    Column,
    Content,
    Facts,
    Section,
    Table,
    aside,
    code,
    line,
    muted,
    name,
    num,
    said,
    status,
)
from tasks.report.numbers import duration, moment
from tasks.report.reading import Reading
from tasks.report.record import MACHINE_KEYS
from tasks.report.sections.shared import dash

_TAKEN_OVER = line(
    "A step that names a run was worked out in that run and taken over: the data, model, settings, code and libraries"
    " that it depends on are the same, by their digests. Its time is from there."
)


def run_record(reading: Reading) -> Section:
    record = reading.record
    pairs: list[tuple[str, Content]] = [
        ("Run", (code(record.run_id),)),
        ("Started", line(moment(record.started))),
        ("Finished", line(moment(record.finished))),
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
        note=_TAKEN_OVER if any(isinstance(r, Done) and r.of_run for r in record.results) else (),
    )
    blocks: list[Block] = [Facts(tuple(pairs)), stages]
    if record.libraries:
        rows = tuple(((name(library),), (num(version),)) for library, version in record.libraries.items())
        blocks.append(Table("libraries", "Libraries", (Column("Library"), Column("Version")), rows))
    return Section("run_record", "Run record", tuple(blocks))


def _outcome(result: StageResult) -> tuple[Content, ...]:
    if isinstance(result, Done):
        written = line(*[part for t in result.tables for part in (code(t.name), " ")][:-1]) or dash()
        of_run = (aside(f"in {result.of_run}"),) if result.of_run else ()
        return (status("done"), *of_run), _time(result.seconds), written
    if isinstance(result, Failed):
        state = "not_reached" if result.code == "not_reached" else "failed"
        return (status(state),), _time(result.seconds), (said(result.reason),)
    return (status("not_applicable"),), dash(), (said(result.reason),)


def _time(seconds: float) -> Content:
    return (num(duration(seconds)),) if seconds else dash()
