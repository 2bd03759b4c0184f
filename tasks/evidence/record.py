"""record.json: what the flow knows of a run and no table holds, so that its folder alone can be reported on again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from tasks.evidence.opening import json_values, read_file

if TYPE_CHECKING:
    from tasks.report import RunRecord

RECORD = "record.json"


def kept(record: RunRecord, folder: Path) -> tuple[bytes, RunRecord]:
    """record.json, and the record as it will be read from there: a report made of it can be made again.

    Paths of tables are relative to the run's folder; a number that is not finite is null, as in summary.json.

    Args:
        folder: the run's working folder.
    """
    from tasks.report import RunRecord

    value = record.to_json()
    for result in value["results"]:
        for table in result.get("tables", ()):
            table["path"] = _inside(table["path"], folder)
    content = json.dumps(_finite(value), indent=1, allow_nan=False).encode() + b"\n"
    return content, RunRecord.from_json(json.loads(content))


def _inside(path: str, folder: Path) -> str:
    place = PurePath(path)
    if place.is_relative_to(folder):
        return place.relative_to(folder).as_posix()
    return place.name if place.is_absolute() else place.as_posix()


def _finite(value: Any) -> Any:
    """JSON values: no NaN, no infinity, no numbers of other libraries."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return _finite(value.item()) if hasattr(value, "item") else str(value)


def read_record(folder: Path) -> RunRecord:
    """The record that a run's folder holds.

    Raises:
        Unreadable: record.json is missing, or cannot be read.
        ValueError: it is not the record of a run.
    """
    from tasks.report import RunRecord

    try:
        return RunRecord.from_json(json_values(read_file(folder, RECORD)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not the record of a run") from error
