"""Rows of the tables `proxies` and `slices`, which are dataclasses whose fields are the columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks.contracts import schema_of

#: column → the field that has it, where they are not called the same
_FIELDS = {"ci_low": "low", "ci_high": "high", "p_value": "p", "q_value": "q"}


def table_of(name: str, rows: Sequence[object]) -> pa.Table:
    """The table of that name."""
    schema = schema_of(name)
    return pa.table(
        {
            column: pa.array([_cell(row, _FIELDS.get(column, column)) for row in rows], schema.field(column).type)
            for column in schema.names
        }
    )


def _cell(row: object, field: str) -> object:
    """NaN is no number of a table."""
    value = getattr(row, field)
    return None if isinstance(value, float) and not np.isfinite(value) else value
