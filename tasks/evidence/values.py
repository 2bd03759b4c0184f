"""The values of summary.json against the tables they come from, whatever version wrote them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import one_line
from tasks.evidence.opening import Unreadable, json_values, read_file
from tasks.persist import Workspace, values_digest

if TYPE_CHECKING:
    from tasks.evidence.statement import Statement
    from tasks.report import RunRecord

Row = Mapping[str, Any]


def _plain(row: Row) -> bool:
    return row.get("feature") is None and row.get("technique") is None


#: key in `results` → table, and which of its rows are told there
_TOLD: dict[str, tuple[str, Callable[[Row], bool]]] = {
    "performance.metrics": ("group_metrics", lambda row: _plain(row) and row["attribute"] is None),
    "fairness.metrics": ("group_metrics", lambda row: _plain(row) and row["attribute"] is not None),
    "fairness.disparities": ("disparities", _plain),
    "fairness.proxies": ("proxies", lambda _: True),
    "fairness.slices": ("slices", lambda _: True),
    "fairness.thresholds": ("thresholds", lambda _: True),
    "explanations.importance": ("importance", lambda _: True),
    "explanations.agreement": ("agreement", lambda _: True),
    "explanations.quality": ("explanation_quality", lambda _: True),
    "drift.measures": ("drift", lambda _: True),
}


def value_problems(folder: Path, record: RunRecord, statement: Statement) -> tuple[str, ...]:
    """Lines on values of summary.json that are not those of the tables, the record and the manifest.

    Args:
        folder: a run whose files all have the digests of its manifest.
    """
    try:
        summary = json_values(read_file(folder, "summary.json"))
        problems = _head_problems(summary, record, statement)
        for key, (table, told) in _TOLD.items():
            problems += _row_problems(folder, summary["results"], key, table, told)
    except Unreadable as error:
        return (f"summary.json: {error}",)
    except Exception as error:  # noqa: BLE001  # a summary and tables that anybody may have written
        return (
            f"summary.json: cannot be held against the tables ({one_line(f'{type(error).__name__}: {error}', 200)})",
        )
    return tuple(problems)


def _head_problems(summary: Any, record: RunRecord, statement: Statement) -> list[str]:
    found = []
    if summary["report_id"] != statement.run_id:
        found.append("summary.json: is of another run")
    if summary["verdict"] != statement.verdict:
        found.append("summary.json: its verdict is not that of manifest.json")
    listed = {one["path"]: one["sha256"] for one in summary["artifacts"]}
    if listed != {name: digest for name, digest in statement.files.items() if name.startswith("artifacts/")}:
        found.append("summary.json: its artifacts are not those of the run")
    told, judged = summary["policy"]["checks"], record.fact("policy", "checks", [])
    pairs = [(check, {key: own.get(key) for key in check}) for check, own in zip(told, judged, strict=False)]
    if len(told) != len(judged) or any(_text(_bare(check)) != _text(_bare(own)) for check, own in pairs):
        found.append("summary.json: the policy's checks are not as they were judged")
    return found


def _bare(check: Row) -> Row:
    """A check without what only its stage knows."""
    return {key: value for key, value in check.items() if key != "detail"}


def _row_problems(folder: Path, results: Any, key: str, table: str, told: Callable[[Row], bool]) -> list[str]:
    """Rows that no row of the table is, and a number of rows that is not the table's."""
    part, _, name = key.partition(".")
    block = results[part][name]
    rows, found = block["rows"], []
    path = Workspace(folder, "").table_path(table)
    if not path.is_file():
        return [f"summary.json: results.{key} is of a table that is not there"] if rows or block["omitted"] else []
    import pyarrow.parquet as pq

    there = [row for row in pq.read_table(path).to_pylist() if told(row)]
    if len(rows) + block["omitted"] != len(there):
        found.append(f"summary.json: results.{key} counts other rows than artifacts/{table}.parquet has")
    columns = rows[0].keys() if rows else ()
    left = Counter(_text({column: row[column] for column in columns}) for row in there)
    for row in rows:
        text = _text(row)
        left[text] -= 1
        if left[text] < 0:
            line = one_line(", ".join(str(row[c]) for c in columns if isinstance(row[c], str | float)), 160)
            found.append(f"summary.json: results.{key} has a row that artifacts/{table}.parquet has not: {line}")
            break
    return found


def _text(row: Row) -> str:
    """A row as a digest by which equal ones are found; a number that is not finite is null, as in summary.json."""
    return values_digest(_comparable(row))


def _comparable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _comparable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_comparable(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
