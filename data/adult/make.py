"""Make the UCI Adult tables: ``python -m data.adult.make`` in the repository's root."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pyarrow as pa

from data import sources

SCHEMA = pa.schema(
    {
        "age": pa.int64(),
        "workclass": pa.string(),
        "fnlwgt": pa.int64(),
        "education": pa.string(),
        "education_num": pa.int64(),
        "marital_status": pa.string(),
        "occupation": pa.string(),
        "relationship": pa.string(),
        "race": pa.string(),
        "sex": pa.string(),
        "capital_gain": pa.int64(),
        "capital_loss": pa.int64(),
        "hours_per_week": pa.int64(),
        "native_country": pa.string(),
        "income": pa.string(),
    }
)


def people(content: bytes) -> pa.Table:
    """One table from one file: numbers as int64, ``?`` as null, labels without the test file's dot."""
    rows = csv.reader(content.decode("ascii").splitlines(), skipinitialspace=True)
    # Short rows: the empty last line of both files, and the comment on the first line of the test file.
    columns = zip(*(row for row in rows if len(row) == len(SCHEMA)), strict=True)
    return pa.table([column(field, values) for field, values in zip(SCHEMA, columns, strict=True)], SCHEMA)


def column(field: pa.Field, texts: tuple[str, ...]) -> pa.Array:
    """The values of one column from their texts."""
    stripped = (text.strip().removesuffix(".") for text in texts)
    convert = int if field.type == pa.int64() else str
    return pa.array([None if text == "?" else convert(text) for text in stripped], field.type)


def tables(files: dict[str, bytes]) -> dict[str, pa.Table]:
    """The tables to write, from the source files."""
    return {"train.parquet": people(files["adult.data"]), "test.parquet": people(files["adult.test"])}


if __name__ == "__main__":
    sys.exit(sources.run(Path(__file__).parent, tables, __doc__))
