"""Limits: what a reader must bear in mind, said by the stages and by the report itself."""

from __future__ import annotations

from tasks.report.document import Block, Bullets, Column, Paragraph, Section, Table, line, said, status
from tasks.report.reading import Reading
from tasks.report.regulations import unevaluated

#: what holds for every audit
OWN_LIMITS = (
    "The numbers describe the audited rows at the date of the run.",
    "Intervals cover chance in drawing such rows; they do not cover errors in the data, nor a population that differs"
    " from it.",
    "Explanations describe the model, not the world: a feature that matters to the model need not cause anything.",
)


def limits(reading: Reading) -> Section:
    blocks: list[Block] = []
    if reading.limitations:
        blocks.append(Bullets(tuple((said(sentence),) for _, sentence in reading.limitations)))
    else:
        blocks.append(Paragraph(line("No stage stated a limitation of its own.")))
    later = unevaluated(reading.config)
    if later:
        columns = (Column("Regulation", weight=2), Column("State"))
        rows = tuple((line(title), (status("not_evaluated"),)) for title in later)
        note = line("The config asks for these; this version of keras-audit does not evaluate them yet.")
        blocks.append(Table("unevaluated", "Regulations not evaluated by this version", columns, rows, note))
    blocks.append(Paragraph(line(" ".join(OWN_LIMITS))))
    return Section("limits", "Limits", tuple(blocks))
