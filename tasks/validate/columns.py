"""What each column must hold to be read at all: names, types, numbers that are finite and exact, values that vary.

Each check is a function of a table to outcomes, and looks only at columns that are there once. Great Expectations has
no expectation for these, or decides by pandas types what Arrow's types already say.
"""

from __future__ import annotations

import re
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import nearest
from tasks.validate.outcome import Outcome, counted, shown
from tasks.validate.requirements import Column, Requirements

#: whole numbers beyond it are not all float64 numbers
EXACT = 2**53

_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")


def column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column that is there once, dictionaries decoded; half floats widened, for which Arrow can do little else."""
    values = table.column(table.schema.get_all_field_indices(name)[0])
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.float32()) if pa.types.is_float16(values.type) else values


def once(table: pa.Table, name: str) -> bool:
    """Whether the table has exactly one column of the name."""
    return len(table.schema.get_all_field_indices(name)) == 1


def is_number(kind: pa.DataType) -> bool:
    """Whether values of the type can be read as numbers; a column of nulls alone can."""
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def can_be_binned(kind: pa.DataType) -> bool:
    """Whether values of the type have a place between edges."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def is_plain(kind: pa.DataType) -> bool:
    """Whether values of the type have a text, so that they can be categories, classes or groups."""
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return is_number(kind) or text or pa.types.is_temporal(kind)


def texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as text in their own Arrow type (a nullable 1 is `1`); null and NaN are null."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values.cast(pa.string())


def named_once(table: pa.Table, requirements: Requirements) -> list[Outcome]:
    """No two columns have one name: critical for a column that the audit reads, a warning for another."""
    needed = dict(requirements.columns)
    twins = {name: times for name, times in Counter(table.column_names).items() if times > 1}
    failed = [
        Outcome(
            "columns_named_once",
            name,
            "critical" if name in needed else "warning",
            False,
            "duplicate_column",
            f"{times} columns have the name {name}",
            element_count=len(table.column_names),
            unexpected_count=times,
            compared=len(table.column_names),
        )
        for name, times in twins.items()
    ]
    text = "Every column has a name of its own"
    return failed or [Outcome("columns_named_once", None, "critical", True, "duplicate_column", text)]


def readable(table: pa.Table, what: str) -> tuple[pa.Table, list[Outcome]]:
    """The table without what cannot be read: a column with bytes that are no text becomes one of nulls.

    Args:
        what: how the table is called in a sentence.

    Returns:
        The table, and a critical failure for each such column.
    """
    outcomes = []
    for place, field in enumerate(table.schema):
        try:
            table.column(place).validate(full=True)
        except pa.ArrowInvalid:
            text = f"{what}, column {field.name}: bytes that are not UTF-8 text"
            outcomes.append(Outcome("column_is_readable", field.name, "critical", False, "not_text", text))
            table = table.set_column(place, field.name, pa.nulls(table.num_rows, field.type))
    return table, outcomes


def missing_hint(name: str, table: pa.Table) -> str:
    """What may be meant by a column that is not there."""
    hint = nearest(name, table.column_names)
    return f"; {hint}" if hint else f"; the data has {counted(len(table.column_names), 'column')}"


def types(table: pa.Table, requirements: Requirements) -> list[Outcome]:
    """Numbers are numbers, and whatever is compared by its text has one."""
    numbers = {c.name: f"the model reads {c.name} as a number" for c in requirements.features if c.kind == "number"}
    if requirements.weight is not None:
        numbers.setdefault(requirements.weight, "weights are numbers")
    if requirements.task == "regression":
        numbers.setdefault(requirements.target, "the target of a regression is a number")
    for attribute in requirements.parted:
        if attribute.bins is not None:
            numbers.setdefault(attribute.column, f"the bins of {attribute.key} need numbers")
    outcomes = []
    for name, use in requirements.columns:
        if not once(table, name) or name == requirements.image:
            continue
        values = column(table, name)
        if name in numbers:
            outcomes.append(_numeric(values, name, numbers[name], requirements))
        elif not (is_plain(values.type) or (use == "id" and pa.types.is_binary(values.type))):
            text = f"Column {name} has the type {values.type}, which cannot be used as {use}"
            outcomes.append(Outcome("column_type_is_plain", name, "critical", False, "column_type", text))
    return outcomes


def _numeric(values: pa.ChunkedArray, name: str, why: str, requirements: Requirements) -> Outcome:
    def outcome(success: bool, text: str, unexpected: int, examples: tuple[str, ...] = ()) -> Outcome:
        valid = len(values) - values.null_count
        return Outcome(
            "column_type_is_numeric",
            name,
            "critical",
            success,
            "not_numeric",
            text,
            len(values),
            unexpected,
            valid,
            examples,
        )

    binned = any(a.column == name and a.bins is not None for a in requirements.parted)
    if can_be_binned(values.type) or (is_number(values.type) and not binned):
        return outcome(True, f"Holds: the type is {values.type}", 0)
    if is_number(values.type) or not is_plain(values.type) or pa.types.is_temporal(values.type):
        return outcome(False, f"Column {name} has the type {values.type}, but {why}", len(values) - values.null_count)
    found = pc.value_counts(values).to_pylist()
    wrong = [v for v in found if v["values"] is not None and not _NUMBER.fullmatch(v["values"])]
    count = sum(v["counts"] for v in wrong)
    what = f"{counted(count, 'value is', 'values are')} not a number" if wrong else "its numbers are written as text"
    text = f"Column {name} has the type {values.type}, but {why}: {what}"
    hidden = requirements.hidden(name)
    return outcome(False, text, count, () if hidden else shown(v["values"] for v in wrong))


def finite(table: pa.Table, requirements: Requirements) -> list[Outcome]:
    """No infinity where a number is read; NaN counts as missing, and is judged with the nulls."""
    numbers = [c.name for c in requirements.features if c.kind == "number"]
    if requirements.weight is not None:
        numbers.append(requirements.weight)
    if requirements.task == "regression":
        numbers.append(requirements.target)
    outcomes = []
    for name in dict.fromkeys(numbers):
        if not once(table, name):
            continue
        values = column(table, name)
        if not is_number(values.type):
            continue
        infinite = pc.sum(pc.is_inf(values)).as_py() or 0 if pa.types.is_floating(values.type) else 0
        text = f"Column {name}: {counted(infinite, 'value is', 'values are')} infinite" if infinite else "Holds"
        outcomes.append(
            Outcome(
                "column_values_are_finite",
                name,
                "critical",
                not infinite,
                "not_finite",
                text,
                len(values),
                infinite,
                len(values) - missing(values),
            )
        )
    return outcomes


def exact(table: pa.Table, requirements: Requirements) -> list[Outcome]:
    """Whole numbers are small enough to be told apart as float64, in which the model reads them."""
    outcomes = []
    for feature in requirements.features:
        if feature.kind != "number" or not once(table, feature.name):
            continue
        values = column(table, feature.name)
        if not pa.types.is_integer(values.type) or values.type.bit_width < 64:
            continue
        scalar = pa.scalar(EXACT, values.type)
        beyond = pc.greater(values, scalar)
        if pa.types.is_signed_integer(values.type):
            beyond = pc.or_(beyond, pc.less(values, pa.scalar(-EXACT, values.type)))
        count = pc.sum(beyond).as_py() or 0
        if count:
            text = (
                f"Column {feature.name}: {counted(count, 'whole number is', 'whole numbers are')} beyond 2^53"
                " and rounded when the model reads them"
            )
            outcomes.append(
                Outcome(
                    "column_values_are_exact",
                    feature.name,
                    "warning",
                    False,
                    "rounded_number",
                    text,
                    len(values),
                    count,
                    len(values) - values.null_count,
                    () if requirements.hidden(feature.name) else shown(values.filter(beyond).slice(0, 5).to_pylist()),
                )
            )
    return outcomes


def varies(table: pa.Table, features: tuple[Column, ...]) -> list[Outcome]:
    """A feature that has one value in every row explains nothing: said, not refused."""
    outcomes = []
    for feature in features:
        if table.num_rows < 2 or not once(table, feature.name):
            continue
        values = column(table, feature.name)
        if not is_plain(values.type):
            continue
        if len(values.unique()) == 1:
            what = "missing in every row" if missing(values) else "the same in every row"
            text = f"Column {feature.name} is {what}: no technique can say what it contributes"
            outcomes.append(
                Outcome("column_values_vary", feature.name, "info", False, "constant_column", text, len(values))
            )
    return outcomes


def missing(values: pa.ChunkedArray) -> int:
    """How many values are null or NaN."""
    nan = pc.sum(pc.is_nan(values)).as_py() or 0 if pa.types.is_floating(values.type) else 0
    return values.null_count + nan
