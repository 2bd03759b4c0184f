"""The report: built once as a typed document from the run's tables and record, rendered to HTML, Markdown and PDF."""

from tasks.report import document, figures, numbers
from tasks.report.html import render_html
from tasks.report.markdown import escape_markdown
from tasks.report.record import RunRecord
from tasks.report.regulations import REGULATIONS, check_regulations, pack_inputs
from tasks.report.stage import report_files, write_report
from tasks.report.summary import summary_schema
from tasks.report.words import metric_label

__all__ = [
    "REGULATIONS",
    "RunRecord",
    "check_regulations",
    "document",
    "escape_markdown",
    "figures",
    "metric_label",
    "numbers",
    "pack_inputs",
    "render_html",
    "report_files",
    "summary_schema",
    "write_report",
]
