"""The whole document from a reading: first page, banners, sections."""

from __future__ import annotations

from collections.abc import Callable

from tasks.contracts import Failed
from tasks.errors import StorageError, one_line
from tasks.report.document import Callout, Content, Document, Paragraph, Section, code, line, name, num, said
from tasks.report.numbers import NOT_GIVEN, count, moment
from tasks.report.reading import Reading, upper_first
from tasks.report.sections import SECTIONS
from tasks.report.sections.controls import DISCLAIMER
from tasks.report.sections.overview import headline

_SHOWN = 12


def document_of(reading: Reading) -> Document:
    """The report. Every section is there, whatever the audit came to."""
    record = reading.record
    return Document(
        title=reading.title,
        subtitle="Audit report",
        report_id=record.run_id,
        date=record.finished,
        verdict=record.verdict,
        headline=headline(reading),
        facts=_facts(reading),
        banners=tuple(_banners(reading)),
        sections=tuple(_section(reading, make) for make in SECTIONS),
        closing=line(DISCLAIMER),
    )


def unmade_sections(reading: Reading) -> list[Failed]:
    """The sections that cannot be made of this run, by trying: one odd value must not cost the whole report.

    Raises:
        StorageError: a table is not what its stage wrote.
    """
    failed = []
    for make in SECTIONS:
        try:
            reading.made[make.__name__] = make(reading)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a section stumbles over
            failed.append(Failed(f"report/{make.__name__}", "unexpected", one_line(f"{type(error).__name__}: {error}")))
    return failed


def _section(reading: Reading, make: Callable[[Reading], Section]) -> Section:
    failed = reading.record.result(f"report/{make.__name__}")
    if isinstance(failed, Failed):
        title = make.__name__.replace("_", " ").capitalize()
        return Section(make.__name__, title, (Paragraph((said(f"This section could not be made: {failed.reason}"),)),))
    made = reading.made.get(make.__name__)
    return make(reading) if made is None else made


def _facts(reading: Reading) -> tuple[tuple[str, Content], ...]:
    """What identifies the report and its subject."""
    record = reading.record
    data = record.fact("load_data", "data", {}) or {}
    version = record.fact("load_model", "version")
    model = record.fact("load_model", "path", reading.config.model.path)
    return (
        ("Report", (code(record.run_id),)),
        ("Date", line(moment(record.finished))),
        ("Audit", (name(reading.config.name),)),
        ("Model", line(name(model), f", version {version}" if version is not None else "")),
        ("Model’s SHA-256", (code(record.fact("load_model", "sha256", NOT_GIVEN)),)),
        ("Data", line(name(data.get("path", reading.config.data.path)))),
        ("Data’s SHA-256", (code(data.get("sha256", NOT_GIVEN)),)),
        ("Rows", (num(count(data.get("rows"))),)),
    )


def _banners(reading: Reading) -> list[Callout]:
    """What is missing, and why, above everything else."""
    verdict = reading.record.verdict
    if verdict == "refused":
        reasons = reading.reasons or ("the data gate found a critical failure",)
        items: list[Content] = [(said(reason),) for reason in reasons[:_SHOWN]]
        if len(reasons) > _SHOWN:
            items.append(line(f"and {len(reasons) - _SHOWN} more, under “The data gate”"))
        return [Callout("Refused: the data cannot be audited as they are", "bad", tuple(items))]
    if verdict != "incomplete" and not reading.missing:
        return []
    told = [f for f in reading.missing if f.code != "not_reached"] or list(reading.missing)
    items = [line(f"{upper_first(reading.stage_title(f.stage))}: ", said(f.reason)) for f in told[:_SHOWN]]
    if len(told) > _SHOWN:
        items.append(line(f"and {len(told) - _SHOWN} more, under “What was not examined”"))
    waiting = len(reading.missing) - len(told)
    if waiting > 0:
        items.append(line(f"{waiting} more step{'s were' if waiting > 1 else ' was'} not reached because of that."))
    if not items:
        items = [line("The audit ended without the judgement of its policy.")]
    return [Callout("Incomplete: this was planned and is missing", "bad", tuple(items))]
