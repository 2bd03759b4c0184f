"""The report: built once as a typed document from the run's tables and record, rendered to HTML, Markdown and PDF."""

from tasks.report.markdown import escape_markdown
from tasks.report.record import RunRecord
from tasks.report.regulations import check_regulations
from tasks.report.stage import write_report
from tasks.report.summary import summary_schema

__all__ = ["RunRecord", "check_regulations", "escape_markdown", "summary_schema", "write_report"]
