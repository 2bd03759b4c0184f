"""People of three attributes, their labels and a model's predictions, as Parquet of any length.

Drawn and written row group by row group: the first rows of a longer table are those of a shorter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.contracts import TABLES

ROW_GROUP = 65_536  # as `predict` writes them
RACES = ("Asian", "Black", "Hispanic", "Other", "White")
DATA = pa.schema([("sex", pa.string()), ("race", pa.string()), ("age", pa.int64()), ("hired", pa.string())])
#: for the config: 2, 5 and 6 groups, and every crossing of them
SENSITIVE = {
    "sex": {"column": "sex"},
    "race": {"column": "race"},
    "age": {"column": "age", "bins": [25, 35, 45, 55, 65]},
}
CROSSINGS = [["sex", "race"], ["sex", "age"], ["race", "age"], ["sex", "race", "age"]]


def write_people(data: Path, predictions: Path, rows: int, seed: int = 0) -> None:
    """Writes both tables: the data, and what a model with one output says of them.

    Args:
        data, predictions: of the files; their folders exist.
        seed: every row group draws from a generator of its own.
    """
    texts = [pa.array(names) for names in (("Female", "Male"), RACES, ("no", "yes"))]
    with (
        pq.ParquetWriter(data, DATA) as people,
        pq.ParquetWriter(predictions, TABLES["predictions"], compression="zstd") as predicted,
    ):
        for group, start in enumerate(range(0, rows, ROW_GROUP)):
            rng, n = np.random.default_rng([seed, group]), ROW_GROUP
            sex, race = rng.integers(0, 2, n), rng.choice(5, n, p=[0.1, 0.15, 0.2, 0.05, 0.5])
            age = rng.integers(18, 80, n)
            score = np.clip(rng.beta(2, 3, n) + 0.03 * sex + 0.01 * race, 0, 1)
            label, decision = (rng.random(n) < score).astype(int), (score >= 0.5).astype(int)
            taken = [words.take(pa.array(codes)) for words, codes in zip(texts, (sex, race, label), strict=True)]
            columns = [*taken[:2], pa.array(age), taken[2]]
            people.write_table(pa.table(columns, schema=DATA).slice(0, rows - start))
            columns = [
                pa.array(np.arange(start, start + n)), pa.array(["yes"] * n), taken[2], pa.array(score),
                texts[2].take(pa.array(decision)),
            ]  # fmt: skip
            predicted.write_table(pa.table(columns, schema=TABLES["predictions"]).slice(0, rows - start))
