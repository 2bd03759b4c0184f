"""The stage: from the tables and the record to summary.json and the report in every form that the config asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from configs.schema import AuditConfig
from tasks.contracts import Done, Failed, StageResult
from tasks.errors import StorageError, one_line
from tasks.persist import Workspace
from tasks.report.compose import document_of, unmade_sections
from tasks.report.document import Document
from tasks.report.html import render_html
from tasks.report.markdown import render_markdown
from tasks.report.pdf import render_pdf
from tasks.report.reading import Reading
from tasks.report.record import RunRecord
from tasks.report.regulations import unjudged
from tasks.report.summary import render_summary

#: format in the config → file, and how it is made; `json` is summary.json, which is always written
FORMATS: dict[str, tuple[str, Callable[[Document], bytes]]] = {
    "html": ("report.html", render_html),
    "markdown": ("report.md", render_markdown),
    "pdf": ("report.pdf", render_pdf),
}


def write_report(config: AuditConfig, workspace: Workspace, record: RunRecord) -> tuple[StageResult, ...]:
    """Writes summary.json and the reports into the run's folder.

    Nothing but the config, the record and the run's tables and images is read; the same of them give the same bytes.
    A pack, a section or a format that cannot be made makes the audit incomplete, and the rest of the report says so.

    Returns:
        `report`, with the verdict that the report carries, and a Failed for each part that could not be made.

    Raises:
        StorageError: a file cannot be written, or a table is not what its stage wrote.
    """
    failed = unjudged(Reading(config, workspace, record))
    failed += unmade_sections(Reading(config, workspace, _with(record, failed)))
    document = document_of(Reading(config, workspace, _with(record, failed)))
    rendered, unrendered = _rendered(config, document)
    if unrendered:  # said in the formats that there are
        failed += unrendered
        rendered, _ = _rendered(config, document_of(Reading(config, workspace, _with(record, failed))))
    record = _with(record, failed)
    content = {"summary.json": render_summary(Reading(config, workspace, record)), **rendered}
    files = [workspace.write_bytes(file, made) for file, made in content.items()]
    return (Done("report", facts={"files": files, "verdict": record.verdict}), *failed)


def _with(record: RunRecord, failed: list[Failed]) -> RunRecord:
    """The record with what could not be made; a refused audit stays refused."""
    if not failed:
        return record
    verdict = record.verdict if record.verdict == "refused" else "incomplete"
    return replace(record, results=(*record.results, *failed), verdict=verdict)


def _rendered(config: AuditConfig, document: Document) -> tuple[dict[str, bytes], list[Failed]]:
    """File → content for every format that can be made."""
    made, failed = {}, []
    for name, (file, render) in FORMATS.items():
        if name not in config.report.formats:
            continue
        try:
            made[file] = render(document)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a renderer stumbles over
            failed.append(Failed(f"report/{name}", "unexpected", one_line(f"{type(error).__name__}: {error}")))
    return made, failed
