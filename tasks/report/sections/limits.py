"""Limits: what a reader must bear in mind, said by the stages and by the report itself."""

from __future__ import annotations

from tasks.report.document import Block, Bullets, Paragraph, Section, line, said
from tasks.report.reading import Reading

#: what holds for every audit
OWN_LIMITS = (
    "The numbers describe the audited rows at the date of the run.",
    "Intervals cover chance in drawing such rows; they do not cover errors in the data, nor a population that differs"
    " from it.",
    "Explanations describe the model, not the world: a feature that matters to the model need not cause anything.",
)


#: how the sentences of two stages about a missing reference are known: they say the same
_NO_REFERENCE = ("data.reference", "drawn from the audited data")


def _once(reading: Reading) -> list[str]:
    """The sentences of the stages; of those about a missing reference the fullest."""
    told = [sentence for _, sentence in reading.limitations]
    same = [sentence for sentence in told if all(words in sentence for words in _NO_REFERENCE)]
    fullest = max(same, key=len, default="")
    return [sentence for sentence in told if sentence not in same or sentence == fullest]


def limits(reading: Reading) -> Section:
    blocks: list[Block] = []
    if reading.limitations:
        blocks.append(Bullets(tuple((said(sentence),) for sentence in _once(reading))))
    else:
        blocks.append(Paragraph(line("No stage stated a limitation of its own.")))
    blocks.append(Paragraph(line(" ".join(OWN_LIMITS))))
    return Section("limits", "Limits", tuple(blocks))
