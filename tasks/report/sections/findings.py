"""Findings of all stages, the worst first, each with the table that shows it."""

from __future__ import annotations

from tasks.contracts import Finding
from tasks.report.document import Block, Content, FindingNote, Paragraph, Section, line, link, said
from tasks.report.reading import Reading
from tasks.report.sections.shared import CHECKS, plural
from tasks.report.words import family

_SHOWN = 60
_ADVICE = "what would change it"
_TITLES = {"critical": "Critical", "warning": "Warnings", "info": "Notes"}


def findings(reading: Reading) -> Section:
    found = reading.findings
    if not found:
        text = "No stage recorded a finding. Failed policy checks, if any, stand in the summary."
        return Section("findings", "Findings", (Paragraph(line(text)),))
    sections = []
    left = _SHOWN
    for severity, title in _TITLES.items():
        every = [f for f in found if f.severity == severity]
        chosen = [f for f in every if not _told(reading, f)]
        shown = chosen[: max(left, 0)]
        left -= len(shown)
        blocks: list[Block] = []
        for elsewhere, target in (("the policy checks", "#policy-checks"), (_ADVICE, "#advice")):
            repeated = [f for f in every if f not in chosen and (f.stage == "advice") == (target == "#advice")]
            if repeated:
                more = plural(len(repeated), "finding says", "findings say")
                verb = "is" if len(repeated) == 1 else "are"
                told = f"{more} what stands elsewhere and {verb} not repeated here: "
                blocks.append(Paragraph(line(told, link(elsewhere, target), ".")))
        blocks += [
            FindingNote(
                severity=f.severity,
                content=(said(reading.with_titles(f)),),
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


def _told(reading: Reading, finding: Finding) -> bool:
    """Whether it stands elsewhere: advice in its chapter; of a policy check its own sentence, or what it judged."""
    if finding.stage == "advice":
        return True
    for check in reading.checks[:CHECKS]:
        if not check.get("sentence"):
            continue
        if finding.stage == "policy" and finding.text == check["sentence"]:
            return True
        metric = finding.code.removeprefix("disparity_")
        if metric == finding.code or check.get("verdict") != "not_satisfied":
            continue
        about = finding.text.startswith(f"By {check.get('attribute')}, ")
        if about and family(metric) == family(str(check.get("metric"))):
            return True
    return False


def _evidence(reading: Reading, table: str | None) -> Content:
    """A link to the table, where the run holds it."""
    found = None if table is None else reading.artifact(table)
    return () if found is None else line(link(found.name, found.path))
