"""Pieces that several sections use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from tasks.report.document import Content, Span, aside, line, muted, name, num, status
from tasks.report.numbers import fraction, interval, limit, number
from tasks.report.words import metric_label

#: rows of a table or marks of a chart before the rest is left to the Parquet table
TOP = 20
#: groups, and comparisons, of an attribute that are shown
GROUPS = 10
#: policy checks listed and told in the summary
CHECKS = 40
T = TypeVar("T")
_SEVERITIES = {"critical": ("critical", "critical"), "warning": ("warning", "warnings"), "info": ("note", "notes")}


def top(items: Sequence[T], limit: int = TOP) -> tuple[list[T], int]:
    """The first items, and how many are left out."""
    return list(items[:limit]), max(0, len(items) - limit)


def left_out(count: int, what: str) -> Content:
    """Says what a table does not show."""
    if count == 1:
        first, space, rest = what.partition(" ")  # `kinds of error`
        return line(f"1 more {first.removesuffix('s')}{space}{rest} is in the table named as source.")
    return line(f"{count:,} more {what} are in the table named as source.") if count else ()


def value_cell(row: Mapping[str, Any], *, beside: float | None = None, counts: bool = True) -> Content:
    """A measured value with its counts and interval, or the word for why there is none."""
    state = row.get("status") or "ok"
    facts = []
    if counts and row.get("denominator") is not None:
        facts.append(fraction(row.get("numerator"), row.get("denominator")))
    if state == "ok":
        if row.get("ci_low") is not None or row.get("ci_high") is not None:
            facts.append(interval(row.get("ci_low"), row.get("ci_high")))
        shown = num(number(row.get("value"), beside=beside))
        return (shown, *(aside(f) for f in facts if f != "–"))
    facts += [str(row["reason"])] if row.get("reason") else []
    return (*unsure(row), *(aside(f) for f in facts if f != "–"))


def unsure(row: Mapping[str, Any]) -> Content:
    """`0.133, insufficient data`: a value that is not to be judged stands muted before the word for why."""
    value = row.get("value")
    known = isinstance(value, (int, float)) and not math.isnan(value)
    return (*((muted(f"{number(value)}, "),) if known else ()), status(row.get("status") or "undefined"))


def why_no_interval(row: Mapping[str, Any]) -> Content:
    """The interval, or the reason for which a value has none that could be judged."""
    if (row.get("status") or "ok") == "ok":
        return (num(interval(row.get("ci_low"), row.get("ci_high"))),)
    return (muted(str(row["reason"])),) if row.get("reason") else dash()


def value_text(row: Mapping[str, Any], *, beside: float | None = None) -> str:
    """The value alone, as beside a mark in a chart."""
    state = row.get("status") or "ok"
    return number(row.get("value"), beside=beside) if state == "ok" else status(state).text


def limit_text(check: Mapping[str, Any]) -> str:
    """`at least 0.8`, `at most 0.1`."""
    parts = []
    if check.get("min") is not None:
        parts.append(f"at least {limit(check['min'])}")
    if check.get("max") is not None:
        parts.append(f"at most {limit(check['max'])}")
    return " and ".join(parts)


def check_name(check: Mapping[str, Any]) -> Content:
    """What a policy check is about: the metric, and the attribute that it compares."""
    parts: list[str | Span] = [metric_label(str(check.get("metric")))]
    if check.get("attribute"):
        parts += [" by ", name(check["attribute"])]
    return line(*parts)


def bounds(check: Mapping[str, Any]) -> tuple[float, ...]:
    """The check's thresholds."""
    return tuple(float(check[key]) for key in ("min", "max") if check.get(key) is not None)


def nearest_bound(value: Any, check: Mapping[str, Any]) -> float | None:
    """The threshold that a value is rounded against."""
    found = bounds(check)
    if not found or not isinstance(value, (int, float)):
        return None
    return min(found, key=lambda bound: abs(bound - value))


def breaches(value: float | None, check: Mapping[str, Any]) -> bool:
    """Whether a value lies outside the check's limits; a signed comparison counts by its size."""
    if value is None:
        return False
    low, high = check.get("min"), check.get("max")
    if high is not None and abs(value) > high:
        return True
    return low is not None and value < low


def checks_on(checks: Sequence[Mapping[str, Any]], attribute: str | None, metric: str) -> list[Mapping[str, Any]]:
    return [c for c in checks if c.get("attribute") == attribute and c.get("metric") == metric]


def severities(counted: Mapping[str, int]) -> str:
    """`1 critical, 2 warnings`."""
    return ", ".join(plural(counted[s], *words) for s, words in _SEVERITIES.items() if counted.get(s))


def joined(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(count: int, one: str, many: str) -> str:
    """`1 does`, `3 do`."""
    return f"{count:,} {one if count == 1 else many}"


def dash() -> Content:
    return (muted("–"),)
