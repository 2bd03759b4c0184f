"""The card beside a model: what its maker says about it, read as plain data."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.errors import ModelError

CARD = "card.yaml"
MAX_BYTES = 1 << 20
MAX_DEPTH = 20


def read_card(folder: Path) -> dict[str, Any]:
    """The card in a model's folder as JSON values; empty where there is none.

    Raises:
        ModelError: it is too large, or not a YAML mapping.
    """
    import yaml

    path = folder / CARD
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ModelError(f"is larger than {MAX_BYTES >> 20} MiB", where=str(path))
        # A reference would let a small file unfold into a huge one.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, yaml.SafeLoader)):
            raise ModelError("references (*name) are not read here", where=str(path), hint="write the values out")
        card = yaml.safe_load(content)
        if not isinstance(card, dict):
            raise ModelError("is not a mapping", where=str(path), hint="write keys and values, or remove it")
        return _json(card, MAX_DEPTH)
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot be read ({error})", where=str(path), hint="mend or remove it") from error


def check_card(card: Mapping[str, Any], digests: Mapping[str, str], folder: Path) -> None:
    """Compares the digests that a card states under `files` with those of the files.

    Args:
        digests: file name → SHA-256, of the files in use.

    Raises:
        ModelError: one differs.
    """
    files = card.get("files")
    for name, sha256 in digests.items():
        entry = files.get(name) if isinstance(files, dict) else None
        stated = entry.get("sha256") if isinstance(entry, dict) else None
        if stated is not None and str(stated).lower() != sha256:
            raise ModelError(
                f"has the SHA-256 {sha256}, but its card states {stated}",
                where=str(folder / name),
                hint="restore the file, or write the card anew",
                code="card_digest",
            )


def _json(value: Any, depth: int) -> Any:
    if depth == 0:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        return {str(key): _json(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_json(inner, depth - 1) for inner in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
