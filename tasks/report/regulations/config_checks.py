"""What a config says to packs, judged before the run: settings of a pack, and what people state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from pydantic import ValidationError

from configs.schema import AuditConfig
from tasks.errors import ConfigError, nearest
from tasks.report.regulations.base import Pack

_SIGNED = ("who", "role", "date")
_KNOWN = ("statement", *_SIGNED)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_EXAMPLE = "{statement: …, who: …, role: …, date: 2026-11-01}"


def check_settings(config: AuditConfig, packs: Mapping[str, Pack]) -> None:
    """Whether every setting is one of a pack that the config names.

    Args:
        packs: those that it names, by id.

    Raises:
        ConfigError: a pack that is not named or has nothing to set, an unknown key, or a wrong value.
    """
    for name, values in config.report.settings.items():
        where = f"report.settings.{name}"
        pack = packs.get(name)
        if pack is None:
            told = f"{name} is not among report.regulations"
            raise ConfigError(told, where=where, available=packs, hint=nearest(name, packs))
        if pack.settings is None:
            raise ConfigError(f"{name} has nothing to set", where=where, hint="remove it")
        try:
            pack.settings.model_validate(values)
        except ValidationError as error:
            # An unknown key explains a missing one, so it is said first.
            first = min(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
            place = ".".join(str(part) for part in first["loc"][:1])
            if first["type"] == "extra_forbidden":
                known = list(pack.settings.model_fields)
                hint = nearest(place, known)
                raise ConfigError(f"unknown key {place}", where=where, available=known, hint=hint) from error
            told = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
            raise ConfigError(told, where=f"{where}.{place}" if place else where) from error


def check_attestations(config: AuditConfig) -> None:
    """Whether every statement has the form of one: a text, or a mapping of statement, who, role and date.

    What a pack asks beside these, such as `retention: {records_years: 3}`, may be added.

    Raises:
        ConfigError: a topic without a name, a list, a mapping without a statement, or a date that is none.
    """
    for topic, value in config.report.attestations.items():
        where = f"report.attestations.{topic}"
        if not topic.strip():
            raise ConfigError("a statement without a topic", where="report.attestations", hint="name what it is about")
        if isinstance(value, Mapping):
            _check_mapping(value, where)
        elif value is not None and not _is_single(value):
            raise ConfigError(f"{_kind(value)} is no statement", where=where, hint=f"a text, or {_EXAMPLE}")


def _check_mapping(value: Mapping[Any, Any], where: str) -> None:
    for key, part in value.items():
        if part is not None and not _is_single(part):
            raise ConfigError(f"{_kind(part)} where a single value is wanted", where=f"{where}.{key}")
    for key in ("who", "role"):
        if value.get(key) is not None and not isinstance(value[key], str):
            raise ConfigError("is no text", where=f"{where}.{key}", hint="put it in quotes")
    if value.get("date") is not None and not _is_day(value["date"]):
        raise ConfigError("is no date such as 2026-11-01", where=f"{where}.date", values=[value["date"]])
    said = value.get("statement", value.get("value"))
    if (said is None or not str(said).strip()) and any(part is not None for part in value.values()):
        others = [key for key in value if key not in (*_KNOWN, "value")]
        hint = next((told for key in others if (told := nearest(key, ["statement"]))), f"write {_EXAMPLE}")
        raise ConfigError("the statement is missing", where=where, available=list(value), hint=hint)


def _is_single(value: Any) -> bool:
    return isinstance(value, str | bool | int | float | date)


def _kind(value: Any) -> str:
    return "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else type(value).__name__


def _is_day(value: Any) -> bool:
    if isinstance(value, date):
        return not isinstance(value, datetime)
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True
