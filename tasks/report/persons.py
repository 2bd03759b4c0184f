"""What a report prints of single persons: how a row is called, and which values stay out.

A value of `data.id` is printed as a pseudonym, unless `report.rows.ids` is plain: the first 12 hex digits of
HMAC-SHA-256 over the id's text (UTF-8). Ids are often small numbers, so a plain SHA-256 would give them away to whoever
tries them all; the key has to be out of a report's reach. It is

    SHA-256("keras-audit/row-id/1" ‖ 0x0A ‖ the column `score` of predictions, float64, little endian, row by row)

- Whoever has the run's folder has the table, and can call every id by its pseudonym; but the table holds the ids as
  they are, so nothing is given away that way. Nothing else is stored: a copy of the folder renders to the same bytes.
- Whoever has the report alone would have to guess the scores of all rows, bit by bit. The digests that the report
  prints are of the table's file, under no such prefix: the key cannot be made of them. A table with fewer than `LEAST`
  different scores might be guessed: there a row's id is not printed at all.
- Two audits of the same model and the same data give a person the same pseudonym; other data, another one.

Source of the construction: RFC 2104; of the reasoning: Article 29 Working Party, Opinion 05/2014 (WP 216), section 4
(hashing with a key that is kept apart). Without `data.id` a row is called by its position in the data, from 0: that is
no identifier of a person, but whoever holds the data finds the row by it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from configs.schema import AuditConfig
from tasks.report.reading import Reading

REDACTED = "redacted"
#: different scores that make a key: 32 unknown numbers of 20 bits or more
LEAST = 32
#: hex digits of a pseudonym: in ten million rows, two have the same with a chance of one in six
DIGITS = 12
_PREFIX = b"keras-audit/row-id/1\n"


def row_label(reading: Reading, row_id: Any) -> str:
    """What a row is called in every form of the report: a pseudonym, the id, its position, or `redacted`."""
    column, rows = reading.config.data.id, reading.config.report.rows
    if column is None:
        return str(row_id)
    if column in rows.redact:
        return REDACTED
    if rows.ids == "plain":
        return str(row_id)
    key = _key_of(reading)
    return REDACTED if key is None else pseudonym(key, row_id)


def pseudonym(key: bytes, row_id: Any) -> str:
    """12 hex digits that stand for an id under a key."""
    text = str(row_id).encode("utf-8", errors="surrogatepass")
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:DIGITS]


def printable(reading: Reading, facts: Any) -> Any:
    """A stage's facts as summary.json may hold them.

    Every `row_id` is what the report calls that row (a number stays where it is a position), and below the name of a
    hidden feature every text is `redacted`.
    """
    return _printable(reading, facts, hidden_features(reading.config))


def _printable(reading: Reading, value: Any, hidden: frozenset[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _named(reading, inner)
            if key == "row_id" and inner is not None
            else _blacked_out(inner)
            if key in hidden
            else _printable(reading, inner, hidden)
            for key, inner in value.items()
        }
    return [_printable(reading, inner, hidden) for inner in value] if isinstance(value, list | tuple) else value


def _named(reading: Reading, row_id: Any) -> Any:
    return row_id if reading.config.data.id is None else row_label(reading, row_id)


def _blacked_out(value: Any) -> Any:
    """The same with its texts gone; keys and numbers say how much there was."""
    if isinstance(value, Mapping):
        return {key: _blacked_out(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_blacked_out(inner) for inner in value]
    return REDACTED if isinstance(value, str) else value


def hidden_features(config: AuditConfig) -> frozenset[str]:
    """Features of which no value is printed: redacted columns, and groups of features that hold one."""
    redacted = set(config.report.rows.redact)
    bound = {name for name, columns in config.explain.feature_groups.items() if redacted & set(columns)}
    return frozenset(redacted | bound)


def _key_of(reading: Reading) -> bytes | None:
    table = reading.artifact("predictions")
    return None if table is None else scores_key(reading.workspace.table_path("predictions"), table.sha256)


@lru_cache(maxsize=8)
def scores_key(path: Path, sha256: str) -> bytes | None:
    """The key of a table of predictions; None where it has too few different scores to keep a secret.

    Args:
        path: of the Parquet file.
        sha256: of its bytes; by it a key is known again.
    """
    import numpy as np
    import pyarrow.parquet as pq

    digest, different = hashlib.sha256(_PREFIX), np.empty(0)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1 << 18, columns=["score"]):
            scores = batch.column("score").to_numpy(zero_copy_only=False).astype("<f8")
            digest.update(scores.tobytes())
            if len(different) < LEAST:
                different = np.unique(np.concatenate([different, scores[np.isfinite(scores)]]))
    return digest.digest() if len(different) >= LEAST else None
