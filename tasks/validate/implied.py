"""What the audit implies about its data, as expectations of Great Expectations, where that has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tasks.contracts import Severity
from tasks.validate import columns
from tasks.validate.groups import class_values, missing_label
from tasks.validate.outcome import counted, shown
from tasks.validate.requirements import Requirements, Sensitive
from tasks.validate.suite import Asked

_ORDER: tuple[Severity, ...] = ("critical", "warning", "info")


@dataclass(frozen=True)
class Implied:
    """An expectation that nobody wrote down.

    Attributes:
        code: of the finding where it fails.
        tell: how many values are unexpected (0 where none is counted) → what is wrong, without its full stop.
    """

    asked: Asked
    severity: Severity
    code: str
    tell: Callable[[int], str]


def implied_by(table: pa.Table, requirements: Requirements) -> list[Implied]:
    """Everything implied about a table; about values only where it has rows, about a column only where it is one."""
    rows = Asked("expect_table_row_count_to_be_between", {"min_value": 1})
    found = [Implied(rows, "critical", "empty_table", _saying("The table has no rows"))]
    for name, use in requirements.columns:
        text = f"There is no column {name} (the {use}){columns.missing_hint(name, table)}"
        found.append(Implied(_about("expect_column_to_exist", name), "critical", "missing_column", _saying(text)))
    if not table.num_rows:
        return found
    found += _complete(table, requirements)
    found += _known_classes(table, requirements)
    found += _identified(table, requirements.id)
    return found + _weighted(table, requirements.weight)


def _about(kind: str, name: str, **arguments: Any) -> Asked:
    return Asked(kind, {"column": name, **arguments})


def _saying(text: str) -> Callable[[int], str]:
    return lambda _: text


def _counting(name: str, one: str, many: str, then: str = "") -> Callable[[int], str]:
    return lambda count: f"Column {name}: {counted(count, one, many)}{then}"


def _complete(table: pa.Table, requirements: Requirements) -> list[Implied]:
    """No value is missing: a row a column, and the strictest of its uses says what it means if one is."""
    uses: dict[str, Implied] = {}

    def use(name: str | None, severity: Severity, code: str, tell: Callable[[int], str]) -> None:
        if name is None or not columns.once(table, name):
            return
        before = uses.get(name)
        if before is None or _ORDER.index(severity) < _ORDER.index(before.severity):
            uses[name] = Implied(_about("expect_column_values_to_not_be_null", name), severity, code, tell)

    def values(name: str, then: str) -> Callable[[int], str]:
        return _counting(name, "value is missing", "values are missing", then)

    for name in (requirements.id, requirements.weight, requirements.image):
        use(name, "critical", "missing_value", values(name or "", ", and every row needs one"))
    for feature in requirements.features:
        if not feature.nulls:
            then = " (null or NaN), and the model takes none"
            use(feature.name, "critical", "missing_value", values(feature.name, then))
    target, decision = requirements.target, requirements.decision
    if columns.once(table, target) and columns.missing(columns.column(table, target)) == table.num_rows:
        use(target, "critical", "no_labels", _saying(f"Column {target}: no row has a label"))
    then = ": rows without one are left out wherever it is needed"
    use(target, "warning", "missing_label", _counting(target, "label is missing", "labels are missing", then))
    use(decision, "warning", "missing_decision", values(decision or "", then))
    for attribute in requirements.sensitive:
        use(attribute.column, "warning", "missing_group", _group_told(attribute))
    for feature in requirements.features:
        use(feature.name, "info", "missing_value", values(feature.name, "; the model takes missing values"))
    return list(uses.values())


def _group_told(attribute: Sensitive) -> Callable[[int], str]:
    return lambda count: missing_label(count, attribute)


def _known_classes(table: pa.Table, requirements: Requirements) -> list[Implied]:
    """Labels and recorded decisions are classes of the model."""
    classes, found = requirements.classes, []
    if classes is None or requirements.task == "regression":
        return []
    listed = f"no class of the model ({', '.join(shown(classes))}{', …' if len(classes) > 5 else ''})"
    for name, what in ((requirements.target, "label"), (requirements.decision, "decision")):
        if name is None or not columns.once(table, name):
            continue
        values = columns.column(table, name)
        if columns.is_plain(values.type):
            allowed = class_values(values, classes) or [str(one) for one in classes]
            tell = _counting(name, f"{what} is {listed}", f"{what}s are {listed}")
            asked = _about("expect_column_values_to_be_in_set", name, value_set=allowed)
            found.append(Implied(asked, "critical", "unknown_class", tell))
    return found


def _identified(table: pa.Table, name: str | None) -> list[Implied]:
    if name is None or not columns.once(table, name):
        return []
    tell = _counting(name, "row shares an id with another row", "rows share an id with another row")
    return [Implied(_about("expect_column_values_to_be_unique", name), "critical", "duplicate_id", tell)]


def _weighted(table: pa.Table, name: str | None) -> list[Implied]:
    if name is None or not columns.once(table, name):
        return []
    asked = _about("expect_column_values_to_be_between", name, min_value=0, strict_min=True)
    tell = _counting(name, "weight is zero or negative", "weights are zero or negative")
    return [Implied(asked, "critical", "weight_not_positive", tell)]
