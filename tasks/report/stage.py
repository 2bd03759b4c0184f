"""The stage: from the tables and the record to summary.json and the report in every form that the config asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from configs.schema import AuditConfig
from tasks.contracts import Done, Failed, StageResult
from tasks.errors import StorageError, one_line
from tasks.persist import Workspace, canonical
from tasks.report.compose import document_of, unmade_sections
from tasks.report.document import Document
from tasks.report.exports import render_cyclonedx, render_model_card
from tasks.report.html import render_html
from tasks.report.markdown import render_markdown
from tasks.report.pdf import begin_pdf
from tasks.report.reading import Reading
from tasks.report.record import RunRecord
from tasks.report.regulations import judged, unjudged
from tasks.report.summary import render_summary, summary_of


@dataclass(frozen=True)
class Source:
    """What every form of the report is made from.

    Attributes:
        attachments: files that a form which can carry files carries: summary.json and inputs.json.
        summary: summary.json as values, for what is an export of it.
    """

    document: Document
    attachments: Mapping[str, bytes]
    summary: Mapping[str, Any]


#: gives a form's bytes
Made = Callable[[], bytes]
#: format in the config → file, and how it is begun; `json` is summary.json, which is always written
FORMATS: dict[str, tuple[str, Callable[[Source], Made]]] = {
    "html": ("report.html", lambda source: partial(render_html, source.document)),
    "markdown": ("report.md", lambda source: partial(render_markdown, source.document)),
    "pdf": ("report.pdf", lambda source: begin_pdf(source.document, source.attachments)),
    "cyclonedx": ("bom.cdx.json", lambda source: partial(render_cyclonedx, source.summary)),
    "model_card": ("model_card.json", lambda source: partial(render_model_card, source.summary)),
}
#: set by typst beside the others, without Python: asked for when these are made
_LAST = "pdf"


def write_report(config: AuditConfig, workspace: Workspace, record: RunRecord) -> tuple[StageResult, ...]:
    """Writes summary.json and the reports into the run's folder.

    Returns:
        `report`, with the verdict that the report carries, and a Failed for each part that could not be made.

    Raises:
        StorageError: a file cannot be written, or a table is not what its stage wrote.
    """
    files, record, failed = report_files(config, workspace, record)
    written = [workspace.write_bytes(file, content) for file, content in files.items()]
    return (Done("report", facts={"files": written, "verdict": record.verdict}), *failed)


def report_files(
    config: AuditConfig, workspace: Workspace, record: RunRecord
) -> tuple[dict[str, bytes], RunRecord, list[Failed]]:
    """File → content of summary.json and of every form of the report.

    Nothing but the config, the record and the run's tables and images is read; the same of them give the same bytes.
    A pack, a section or a format that cannot be made makes the audit incomplete, and the rest of the report says so.

    Returns:
        The files, the record with what could not be made, and that alone.

    Raises:
        StorageError: a table is not what its stage wrote.
    """
    reading = Reading(config, workspace, record)
    failed = unjudged(reading)
    reading = _also(reading, failed)
    unmade = unmade_sections(reading)
    reading = _also(reading, unmade)
    files, unrendered = _rendered(reading)
    if unrendered:  # said in the formats that there are
        reading = _also(reading, unrendered)
        files, _ = _rendered(reading)
    return files, reading.record, [*failed, *unmade, *unrendered]


def _also(reading: Reading, failed: list[Failed]) -> Reading:
    """The run with what could not be made of it; the same reading where that is nothing: it remembers what it read."""
    return Reading(reading.config, reading.workspace, _with(reading.record, failed)) if failed else reading


def _with(record: RunRecord, failed: list[Failed]) -> RunRecord:
    """The record with what could not be made; a refused audit stays refused."""
    if not failed:
        return record
    verdict = record.verdict if record.verdict == "refused" else "incomplete"
    return replace(record, results=(*record.results, *failed), verdict=verdict)


def _rendered(reading: Reading) -> tuple[dict[str, bytes], list[Failed]]:
    """File → content for every form that can be made."""
    summary = summary_of(reading)
    made = {"summary.json": render_summary(reading, summary)}
    attachments = {**made, "inputs.json": render_inputs(reading)}
    source = Source(document_of(reading), attachments, summary)
    failed: dict[str, Failed] = {}

    def tried(name: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a renderer stumbles over
            told = one_line(f"{type(error).__name__}: {error}")
            failed[name] = Failed(f"report/{name}", "unexpected", told)
            return None

    asked = [name for name in FORMATS if name in reading.config.report.formats]
    begun = {name: tried(name, partial(FORMATS[name][1], source)) for name in asked}
    contents = {name: tried(name, begun[name]) for name in sorted(asked, key=lambda n: n == _LAST) if begun[name]}
    made |= {FORMATS[name][0]: contents[name] for name in asked if contents.get(name) is not None}
    if "html" in asked:
        made |= tried("html", partial(_pages, reading)) or {}
    return made, [failed[name] for name in asked if name in failed]


def _pages(reading: Reading) -> dict[str, bytes]:
    """What packs want published, as HTML."""
    return {file: render_html(page) for pack in judged(reading) for file, page in pack.pages}


def render_inputs(reading: Reading) -> bytes:
    """inputs.json: the digests of whatever the audit read, and of every table and image that it wrote."""
    outputs = {artifact.path: artifact.sha256 for artifact in reading.artifacts}
    return canonical({"run_id": reading.record.run_id, "inputs": dict(reading.record.inputs), "outputs": outputs})
