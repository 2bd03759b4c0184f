"""Findings of all stages, the worst first, each with the table that shows it."""

from __future__ import annotations

from tasks.report.document import Block, Content, FindingNote, Paragraph, Section, line, link, said
from tasks.report.reading import Reading

_SHOWN = 60
_TITLES = {"critical": "Critical", "warning": "Warnings", "info": "Notes"}


def findings(reading: Reading) -> Section:
    found = reading.findings
    if not found:
        text = "No stage recorded a finding. Failed policy checks, if any, stand in the summary."
        return Section("findings", "Findings", (Paragraph(line(text)),))
    sections = []
    left = _SHOWN
    for severity, title in _TITLES.items():
        chosen = [f for f in found if f.severity == severity]
        shown = chosen[: max(left, 0)]
        left -= len(shown)
        blocks: list[Block] = [
            FindingNote(
                severity=f.severity,
                content=(said(f.text),),
                code=f.code,
                stage=reading.stage_title(f.stage or ""),
                evidence=_evidence(reading, f.evidence),
            )
            for f in shown
        ]
        if len(chosen) > len(shown):
            rest = f"{len(chosen) - len(shown):,} more of this severity are in summary.json under run.findings."
            blocks.append(Paragraph(line(rest)))
        if blocks:
            sections.append(Section(f"findings-{severity}", title, tuple(blocks)))
    return Section("findings", "Findings", sections=tuple(sections))


def _evidence(reading: Reading, table: str | None) -> Content:
    """A link to the table, where the run holds it."""
    found = None if table is None else reading.artifact(table)
    return () if found is None else line(link(found.name, found.path))
