"""What an error says, in one line that a terminal can show, and that it survives a process boundary."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from tasks import errors
from tasks.errors import AuditError, ConfigError, StorageError, nearest, one_line

#: exit codes of the contract
EXIT_CODES = {
    "AuditError": 70,
    "UsageError": 2,
    "ConfigError": 2,
    "ModelError": 2,
    "DataRefused": 3,
    "Incomplete": 4,
    "DataUnavailable": 4,
    "OutputError": 4,
    "StorageError": 4,
    "DeadlinePassed": 4,
    "VerificationFailed": 5,
    "Stopped": 130,
}
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AuditError)]


def _full(kind: type[AuditError] = ConfigError) -> AuditError:
    return kind(
        "unknown key rowz",
        where="a.yaml:3",
        values=(1, "two", None),
        available=["rows"],
        hint="did you mean rows?",
        code="unknown_key",
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_the_exit_code_of_the_contract(kind):
    assert kind("x").exit_code == EXIT_CODES[kind.__name__]


def test_every_exit_code_has_its_error():
    assert {kind.__name__ for kind in KINDS} == set(EXIT_CODES)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_reason_for_programs(kind):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind("x").code)
    assert kind("x", code="other").code == "other"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (AuditError("it broke"), "it broke"),
        (AuditError("it broke", where="a.csv"), "a.csv: it broke"),
        (AuditError("it broke", values=[3, "x"]), "it broke: 3, x"),
        (AuditError("it broke", values=[0]), "it broke: 0"),
        (AuditError("it broke", available=["a", "b"]), "it broke; available: a, b"),
        (AuditError("it broke", hint="mend it"), "it broke; mend it"),
        (_full(), "a.yaml:3: unknown key rowz: 1, two, None; available: rows; did you mean rows?"),
        (AuditError("it broke", values=range(8)), "it broke: 0, 1, 2, 3, 4, 5, 6, 7"),
        (AuditError("it broke", values=range(11)), "it broke: 0, 1, 2, 3, 4, 5, 6, 7 and 3 more"),
        (AuditError("it broke", values=(n for n in range(2))), "it broke: 0, 1"),
    ],
)
def test_the_line_says_what_where_values_available_and_hint(error, line):
    assert str(error) == line


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_an_error_crosses_processes_whole(kind, copied):
    error = _full(kind)
    error.extra = {"rows": [1, 2]}
    twin = copied(error)
    assert type(twin) is kind
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)
    assert twin.exit_code == error.exit_code
    assert twin.args == error.args


def test_a_place_that_is_named_later_is_said():
    error = ConfigError("wrong", where="key")
    error.where = "file, key"
    assert str(error) == "file, key: wrong"
    assert str(pickle.loads(pickle.dumps(error))) == "file, key: wrong"


HOSTILE = {
    "newline": ("a\nb", "a b"),
    "carriage return": ("safe\rhidden", "safe hidden"),
    "line separators": ("a\u2028b\u2029c\x85d", "a b c d"),
    "colour": ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
    "title of the window": ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    "eight-bit escape": ("\x9b31m", "\\x9b31m"),
    "null": ("a\x00b", "a\\x00b"),
    "backspace": ("rm\x08\x08ls", "rm\\x08\\x08ls"),
    "delete": ("\x7f", "\\x7f"),
    "half a character": ("\udcff", "\\udcff"),
    "direction turned": ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
    "words kept": ("größe — 数 <script> | \"q\" 'p' `", "größe — 数 <script> | \"q\" 'p' `"),
    "right to left kept": ("\u200fעברית\u200f", "\u200fעברית\u200f"),
}  # fmt: skip


@pytest.mark.parametrize("field", ["what", "where", "values", "available", "hint"])
@pytest.mark.parametrize("text", HOSTILE, ids=HOSTILE.keys())
def test_no_text_of_a_file_reaches_the_terminal_as_a_command(field, text):
    raw, shown = HOSTILE[text]
    given = {"what": "x", field: [raw] if field in {"values", "available"} else raw}
    line = str(StorageError(given.pop("what"), **given))
    assert shown in line
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\u202a-\u202e\u2066-\u2069]", line)
    line.encode("utf-8")


def test_a_line_stays_short_whatever_the_file_holds():
    huge = "k" * 1_000_000
    error = ConfigError(huge, where=huge, values=[huge] * 100, available=[huge] * 100, hint=huge)
    assert len(str(error)) < 6000
    assert error.what == huge  # programs get all of it


@pytest.mark.parametrize(
    ("text", "limit", "line"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("  a \n\t b  ", 10, "a b"), ("", 5, ""), (17, 5, "17"), (None, 9, "None")],
)
def test_one_line(text, limit, line):
    assert one_line(text, limit) == line


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("rowz", ["rows", "background"], "did you mean rows?"),
        ("treshold", ["threshold", "top_k"], "did you mean threshold?"),
        ("xyz", ["rows", "background"], None),
        ("rows", [], None),
        ("", ["rows"], None),
        (17, [16, 170], "did you mean 170?"),
        ("r" * 100_000, ["rows"], None),
    ],
)
def test_nearest(word, known, hint):
    assert nearest(word, known) == hint


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = re.findall(r"^ {4}[│├└─ ]*([A-Z]\w+)(?: +\((\d+)\))?", errors.__doc__ or "", flags=re.MULTILINE)
    assert {name for name, _ in drawn} == set(EXIT_CODES)
    for name, code in drawn:
        assert not code or int(code) == EXIT_CODES[name]
