"""The columns that groups are read from, row by row as the predictions have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig

if TYPE_CHECKING:
    from tasks.load import Dataset


def sensitive_columns(config: AuditConfig, data: Dataset, position: np.ndarray) -> pa.Table:
    """The sensitive columns of the predicted rows, and that of the strata; those that the data lack are left out.

    Args:
        position: (n,) row of the data that each predicted row is.
    """
    columns = dict.fromkeys(declared.column for declared in config.data.sensitive.values())
    if config.bias.strata is not None:
        columns[config.bias.strata.column] = None
    table = data.table.select([name for name in columns if name in data.table.column_names])
    if np.array_equal(position, np.arange(table.num_rows)):
        return table
    return table.take(pa.array(position))
