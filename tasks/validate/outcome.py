"""The outcome of one expectation: a row of the `validation` table, and a finding where it failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tasks.contracts import TABLES, Finding, Severity

#: how many of the unexpected values are shown
EXAMPLES = 5
_LONGEST = 80


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation.

    Attributes:
        expectation: its type: Great Expectations' name, or our own where that has none.
        code: of the finding, snake_case.
        text: what is wrong as a sentence; what was found, where it holds.
        element_count: values that were looked at, null where the expectation is not about single values.
        unexpected_count: how many of them are not as expected.
        compared: what `unexpected_percent` is a share of: the non-null values, or all where null is the question.
        examples: unexpected values, as text.
    """

    expectation: str
    column: str | None
    severity: Severity
    success: bool
    code: str
    text: str
    element_count: int | None = None
    unexpected_count: int | None = None
    compared: int | None = None
    examples: tuple[str, ...] = ()

    @property
    def unexpected_percent(self) -> float | None:
        """Unexpected values per hundred of those compared, null where none could be."""
        if self.unexpected_count is None or not self.compared:
            return None
        return 100.0 * self.unexpected_count / self.compared

    @property
    def sentence(self) -> str:
        """The text with its examples, ending in a full stop."""
        shown = f", for example {', '.join(self.examples)}" if self.examples else ""
        return f"{self.text}{shown}" if self.text.endswith("?") else f"{self.text}{shown}."

    @property
    def detail(self) -> str:
        """The sentence, and what the percentage is a percentage of."""
        percent = self.unexpected_percent
        if self.success or percent is None:
            return self.sentence
        whole = "all" if self.compared == self.element_count else "the non-null"
        return f"{self.sentence} That is {percent:.3g} % of {whole} {self.compared:,} values."

    @property
    def finding(self) -> Finding:
        return Finding(self.severity, self.code, self.sentence, evidence="validation", stage="validate")


def validation_table(outcomes: Sequence[Outcome]) -> pa.Table:
    """The `validation` table of the contract, a row for each expectation in the order given."""
    rows = [
        {
            "expectation": o.expectation,
            "column": o.column,
            "severity": o.severity,
            "success": o.success,
            "element_count": o.element_count,
            "unexpected_count": o.unexpected_count,
            "unexpected_percent": o.unexpected_percent,
            "detail": o.detail,
        }
        for o in outcomes
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["validation"])


def shown(values: Iterable[Any]) -> tuple[str, ...]:
    """Up to five values as short text on one line each."""
    texts: list[str] = []
    for value in values:
        text = " ".join(str(value).split())
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        if text not in texts:
            texts.append(text or "''")
        if len(texts) == EXAMPLES:
            break
    return tuple(texts)


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 value`, `1,234 values`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
