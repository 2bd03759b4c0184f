"""The five required keys of a config, and changes to them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from configs.schema import AuditConfig


def config(**changes: Any) -> dict[str, Any]:
    """The five required keys, and changes by dotted key written with `__`; None removes a key."""
    values: dict[str, Any] = {
        "name": "credit",
        "model": {"path": "model.keras", "task": "binary"},
        "data": {"path": "data.parquet", "target": {"column": "paid"}},
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        place = values
        for part in path:
            place = place.setdefault(part, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)
    return values


@pytest.fixture(name="config")
def _config() -> Callable[..., dict[str, Any]]:
    return config


@pytest.fixture
def valid() -> Callable[..., AuditConfig]:
    return lambda **changes: AuditConfig.model_validate(config(**changes))
