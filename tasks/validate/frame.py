"""A table as Great Expectations sees it: a pandas frame, and arguments that fit the types of its columns."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Asked:
    """One expectation to run: its type and its own arguments."""

    type: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def nameable(table: pa.Table, asked: Sequence[Asked]) -> tuple[pa.Table, Sequence[Asked]]:
    """The library takes no column without a name, as the first of many CSV files is: it is given one."""
    if "" not in table.column_names:
        return table, asked
    name = "(no name)"
    while name in table.column_names:
        name += "'"
    keys = ("column", "column_A", "column_B")
    renamed = [
        Asked(one.type, {k: name if k in keys and v == "" else v for k, v in one.arguments.items()}) for one in asked
    ]
    return table.rename_columns([known or name for known in table.column_names]), renamed


def frame_of(table: pa.Table, named: set[str]) -> Any:
    """A pandas frame with every column; those that nobody names are left empty, so that they cost nothing.

    Whole numbers stay whole where some are null, dictionaries become their values, decimals floats (a config cannot
    write a decimal, and 0.1 should equal 0.1), dates stay dates.
    """
    import pandas as pd

    nullable = {
        pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype(), pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype(),
    }  # fmt: skip
    series = []
    empty = None
    for name, values in zip(table.column_names, table.columns, strict=True):
        if name not in named:
            if empty is None:  # one for all of them: of a large table each would take memory
                empty = pd.Series([None]).reindex(range(table.num_rows))
            series.append(empty)
            continue
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_decimal(values.type):
            values = values.cast(pa.float64())
        series.append(values.to_pandas(types_mapper=nullable.get if values.null_count else None))
    if not series:
        return pd.DataFrame(index=range(table.num_rows))
    frame = pd.concat(series, axis=1)
    frame.columns = pd.Index(table.column_names, dtype=object)
    return frame


def suited(asked: Asked, schema: pa.Schema) -> Asked:
    """Dates of the config as moments, where the column holds moments: the two do not compare."""
    column = asked.arguments.get("column")
    positions = schema.get_all_field_indices(column) if isinstance(column, str) else []
    if len(positions) != 1 or not pa.types.is_timestamp(schema.field(positions[0]).type):
        return asked
    zone = datetime.UTC if schema.field(positions[0]).type.tz else None

    def moment(value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = datetime.datetime.fromisoformat(value)
            except ValueError:
                return value
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            value = datetime.datetime(value.year, value.month, value.day)
        if isinstance(value, datetime.datetime) and zone and value.tzinfo is None:
            value = value.replace(tzinfo=zone)
        return [moment(v) for v in value] if isinstance(value, list) else value

    keys = ("min_value", "max_value", "value_set")
    return Asked(asked.type, {k: moment(v) if k in keys else v for k, v in asked.arguments.items()})


def texts_in(value: Any) -> Iterator[str]:
    """Every text in an argument, however deep: a column is named by one of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, Iterable):
        for inner in value:
            yield from texts_in(inner)
