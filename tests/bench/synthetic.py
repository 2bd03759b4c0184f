"""Adult-like tables of any length: bundled test rows drawn again, numbers jittered, now and then a category swapped.

Drawn and written row group by row group, so that a table larger than memory can be made. It has the 14 raw columns of
the bundled data and its target; the bundled model takes 13 of them (`fnlwgt` is a sampling weight, no feature).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import ROOT

ROW_GROUP = 65_536
#: share of the rows in which a category comes from another row
SWAPPED = 0.05
#: column → (lowest, highest, how far a value moves at most)
STEPS = {"age": (17, 90, 3), "hours_per_week": (1, 99, 4)}
#: multiplied by a factor around one where they are not nought, up to the data's own cap
SCALED = {"fnlwgt": 2_000_000, "capital_gain": 99_999, "capital_loss": 5_000}


def write_adult(path: Path, rows: int, seed: int = 0) -> None:
    """Writes so many rows as Parquet, in row groups of 65,536; the first rows of a longer table are those of a shorter.

    Args:
        path: of the file.
        seed: every row group draws from a generator of its own.
    """
    table = pq.read_table(ROOT / "data/adult/test.parquet")
    with pq.ParquetWriter(path, table.schema.remove_metadata()) as writer:
        for group, start in enumerate(range(0, rows, ROW_GROUP)):
            writer.write_table(_group(table, np.random.default_rng([seed, group])).slice(0, rows - start))


def _group(table: pa.Table, generator: np.random.Generator) -> pa.Table:
    """A whole row group, whatever of it is written: its draws do not depend on how many rows are asked for."""
    picked = generator.integers(0, table.num_rows, ROW_GROUP)
    columns = []
    for field in table.schema:
        other = generator.integers(0, table.num_rows, ROW_GROUP)
        swapped = generator.random(ROW_GROUP) < SWAPPED
        moved = generator.random(ROW_GROUP)
        if field.name in STEPS:
            low, high, step = STEPS[field.name]
            values = table.column(field.name).to_numpy()[picked]
            values = np.clip(values + np.rint((2 * moved - 1) * step).astype(np.int64), low, high)
        elif field.name in SCALED:
            values = table.column(field.name).to_numpy()[picked]
            values = np.minimum(np.rint(values * (0.75 + moved / 2)).astype(np.int64), SCALED[field.name])
        elif pa.types.is_string(field.type) and field.name not in ("education", "income"):
            values = table.column(field.name).take(pa.array(np.where(swapped, other, picked)))
        else:  # education and its number are one fact; the target stays with its row
            values = table.column(field.name).take(pa.array(picked))
        columns.append(values)
    return pa.table(columns, schema=table.schema.remove_metadata())
