"""The stage: from the tables and the record to summary.json and the report in every form that the config asks for."""

from __future__ import annotations

import time
from collections.abc import Callable

from configs.schema import AuditConfig
from tasks.contracts import Done
from tasks.persist import Workspace
from tasks.report.compose import document_of
from tasks.report.document import Document
from tasks.report.html import render_html
from tasks.report.markdown import render_markdown
from tasks.report.pdf import render_pdf
from tasks.report.reading import Reading
from tasks.report.record import RunRecord
from tasks.report.summary import render_summary

#: format in the config → file, and how it is made; `json` is summary.json, which is always written
FORMATS: dict[str, tuple[str, Callable[[Document], bytes]]] = {
    "html": ("report.html", render_html),
    "markdown": ("report.md", render_markdown),
    "pdf": ("report.pdf", render_pdf),
}


def write_report(config: AuditConfig, workspace: Workspace, record: RunRecord) -> Done:
    """Writes summary.json and the reports into the run's folder.

    Nothing but the config, the record and the run's tables and images is read; the same of them give the same bytes.

    Raises:
        StorageError: a file cannot be written, or a table is not what its stage wrote.
        Incomplete: a report cannot be made.
    """
    started = time.monotonic()
    reading = Reading(config, workspace, record)
    written = [workspace.write_bytes("summary.json", render_summary(reading))]
    document = document_of(reading)
    for name, (file, render) in FORMATS.items():
        if name in config.report.formats:
            written.append(workspace.write_bytes(file, render(document)))
    seconds = round(time.monotonic() - started, 3)
    return Done("report", facts={"files": written, "verdict": record.verdict}, seconds=seconds)
