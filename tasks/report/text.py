"""Text and targets from outside, made fit for XML, Markdown and PDF."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

#: letters in a row after which a word is long: it may be broken
LONG_WORD = 18
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: object) -> str:
    """Text that every form can carry: line ends as spaces, U+FFFD for what XML cannot hold (control characters, lone
    surrogates, non-characters) and for controls that turn the direction of the text after them (U+202A–E, U+2066–9).

    Letters that run from right to left stay; the renderers close them off from their surroundings.
    """
    text = str(text)
    if text.isprintable():  # nearly always
        return text
    return "".join(_fit(char) for char in text)


def _fit(char: str) -> str:
    if char in "\n\r\t":
        return " "
    if unicodedata.category(char) in ("Cc", "Cs") or ord(char) & 0xFFFE == 0xFFFE or char in _TURNS:
        return "\ufffd"
    return char


def href(target: str) -> str:
    """An anchor of the document, or a file of the run beside it; never another scheme, host or folder above."""
    if target.startswith("#"):
        return "#" + quote(target[1:], errors="replace")
    steps = (step for step in target.split("/") if step not in ("", ".", ".."))
    return "./" + "/".join(quote(step, errors="surrogateescape") for step in steps)


def parted(word: str) -> list[str]:
    """A long word at the places where a name may be broken: after an underscore, a slash, or a dot inside it."""
    return re.split(r"(?<=[_/])(?=.)|(?<=\.)(?=[^\W\d])", word, flags=re.DOTALL) if len(word) > LONG_WORD else [word]
