"""One form for JSON values, so that a digest or a signature stands for the values and for nothing else.

Source: RFC 8785 (JSON Canonicalization Scheme) for the values used here: strings, integers, booleans, null, lists and
objects. What is digested or signed holds no floats; `values_digest` writes them as text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no white space, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def values_digest(value: Any) -> str:
    """SHA-256 of JSON values, however they were written down; floats count by their shortest text."""
    return hashlib.sha256(canonical(_without_floats(value))).hexdigest()


def _without_floats(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_floats(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_floats(v) for v in value]
    return {"float": repr(value)} if isinstance(value, float) else value
