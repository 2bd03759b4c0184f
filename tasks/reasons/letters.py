"""The letter of a decision: plain text from the language file's template."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from tasks.errors import one_line
from tasks.reasons.texts import Words

#: characters of a name or a value that a letter repeats
_LONGEST = 300


def letter(
    template: Template, *, row_id: object, audit: str, decision: str, reasons: Sequence[str], changes: Sequence[str]
) -> str:
    """The text of one letter. What is put in is put in once: a `$` in it names nothing.

    Args:
        reasons: texts of the principal reasons, the first one first; numbered in the letter.
        changes: sentences on what would alter the result.
    """
    return template.substitute(
        id=shown(row_id),
        audit=shown(audit),
        decision=shown(decision),
        reasons="\n".join(f"{number}. {shown(text, 2000)}" for number, text in enumerate(reasons, 1)),
        changes="\n".join(changes),
    )


def change_text(words: Words, parts: Sequence[tuple[str, str, str]], decision: str) -> str:
    """The sentence on a change of one or several features.

    Args:
        parts: feature as people call it, its value, the value that would alter the result; none where no change would.
        decision: the favourable one.
    """
    if not parts:
        return Template(words.none).substitute(decision=shown(decision))
    each = Template(words.each)
    told = [each.substitute({"feature": shown(name), "from": shown(old), "to": shown(new)}) for name, old, new in parts]
    return Template(words.change).substitute(changes=words.join.join(told), decision=shown(decision))


def shown(text: object, limit: int = _LONGEST) -> str:
    """A name or value from the data as a line of plain text."""
    return one_line(text, limit)
