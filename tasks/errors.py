"""What can go wrong, and what the user is told.

    AuditError                    one line: what, where, what to do
    ├── UsageError         (2)    the command line or the config cannot be used
    │   ├── ConfigError           a key, a value or a file named in the config
    │   └── ModelError            the model or its preprocessor cannot be loaded, or not safely
    ├── DataRefused        (3)    the data gate found a critical failure
    ├── Incomplete         (4)    something that was planned could not be done
    │   ├── DataUnavailable       data cannot be reached at the moment; another try may do
    │   ├── OutputError           the model returned NaN, infinity or the wrong shape
    │   ├── StorageError          a file could not be written
    │   └── DeadlinePassed        a task ran into its deadline
    ├── VerificationFailed (5)    evidence does not match its digests
    └── Stopped          (130)    the user stopped the audit

The number is the exit code of the command line. Whatever is not an AuditError is a defect of ours and exits with 70.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

#: what a terminal would obey instead of showing: control characters, half characters, and the marks that turn the
#: direction of all text up to their end
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def one_line(text: object, limit: int = 1000) -> str:
    """Text of a user's file as one line that a terminal shows and does not obey, of at most `limit` characters."""
    line = " ".join(str(text).split())
    if len(line) > limit:
        line = f"{line[: limit - 1]}…"
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), line)


class AuditError(Exception):
    """Base of every error that a user can cause or mend.

    Args:
        what: what is wrong, as one sentence without its full stop.
        where: file, key, column or row: the place to look.
        values: the offending values.
        available: what would have been accepted.
        hint: what to do.
        code: machine-readable reason, snake_case.
    """

    exit_code = 70
    default_code = "error"

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        values: Iterable[object] = (),
        available: Iterable[object] = (),
        hint: str | None = None,
        code: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.values = tuple(values)
        self.available = tuple(available)
        self.hint = hint
        self.code = code or self.default_code
        super().__init__(str(self))

    def __str__(self) -> str:
        # One line, whatever the text in it: names come from users' files.
        line = f"{one_line(self.where)}: {one_line(self.what)}" if self.where else one_line(self.what)
        if self.values:
            line += f": {_listed(self.values)}"
        if self.available:
            line += f"; available: {_listed(self.available)}"
        return f"{line}; {one_line(self.hint)}" if self.hint else line

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(kind: type[AuditError], state: dict[str, Any]) -> AuditError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    Exception.__init__(error, str(error))
    return error


def _listed(values: tuple[object, ...], limit: int = 8) -> str:
    shown = ", ".join(one_line(value, 120) for value in values[:limit])
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"


def nearest(word: object, known: Iterable[object]) -> str | None:
    """The known word closest to a misspelt one, as a hint, or None where nothing is close."""
    found = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else None


class UsageError(AuditError):
    exit_code = 2
    default_code = "usage"


class ConfigError(UsageError):
    default_code = "config"


class ModelError(UsageError):
    default_code = "model"


class DataRefused(AuditError):
    exit_code = 3
    default_code = "data_refused"


class Incomplete(AuditError):
    exit_code = 4
    default_code = "incomplete"


class DataUnavailable(Incomplete):
    default_code = "unreachable"


class OutputError(Incomplete):
    default_code = "model_output"


class StorageError(Incomplete):
    default_code = "storage"


class DeadlinePassed(Incomplete):
    default_code = "deadline"


class VerificationFailed(AuditError):
    exit_code = 5
    default_code = "verification"


class Stopped(AuditError):
    exit_code = 130
    default_code = "stopped"
