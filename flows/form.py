"""The form of Prefect's UI: the flow's parameters, each with its words, and what they change in a config.

A value that is left empty is as in the config. What a person may change from there is bounded: keys that open no file
or run no code, and paths below the folders that the operator configured.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from configs.schema import AuditConfig
from flows.request import load_config
from tasks.errors import UsageError, nearest
from tasks.explain import TECHNIQUES
from tasks.report import REGULATIONS

#: folders, or addresses such as s3://bucket/data, with commas between them; absent: the current folder
DATA_ROOTS = "KERAS_AUDIT_DATA_ROOTS"
REPORT_ROOTS = "KERAS_AUDIT_REPORT_ROOTS"
#: configs that a run may be of, one a line; absent: any
CONFIGS = "KERAS_AUDIT_CONFIGS"

#: what a person may change from the UI; the rest is the operator's, who writes the config
_OPEN_KEYS = (
    "bias", "data.path", "data.reference", "explain", "model.version", "policy", "report.formats",
    "report.regulations", "report.rows", "run.deadline",
)  # fmt: skip
_PATHS = ("data.path", "data.reference")


def _several(names: Sequence[str]) -> Any:
    """A multi-select of names. What is chosen stays text: the config's own check says what is wrong with it."""
    return Field(json_schema_extra={"items": {"type": "string", "enum": list(names)}, "uniqueItems": True})


ModelVersion = Annotated[str, Field(pattern="^(latest|[0-9]+)?$")]
Rows = Annotated[int, Field(ge=0)]
Techniques = Annotated[list[str], _several(list(dict.fromkeys(t.name for t in TECHNIQUES)))]
Regulations = Annotated[list[str], _several(list(REGULATIONS))]

#: how the UI heads the fields; their descriptions are the flow's docstring
_TITLES = {
    "config": "Config",
    "model_version": "Model version",
    "data": "Data",
    "rows": "Rows to explain",
    "techniques": "Techniques",
    "regulations": "Regulations",
    "reports": "Output folder",
    "settings": "Other settings",
}


def form_schema(
    plain: Mapping[str, Any], configs: Sequence[str], chosen: str, reports: str, roots: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The JSON Schema that the UI renders and the API holds new runs to.

    Args:
        plain: what Prefect made of the flow's signature.
        configs: those that can be chosen.
        chosen: the one that is chosen unless another is.
        roots: the folders of data and of reports, under DATA_ROOTS and REPORT_ROOTS.
    """
    schema: dict[str, Any] = {**copy.deepcopy(dict(plain)), "additionalProperties": False}
    fields = schema["properties"]
    for name, title in _TITLES.items():
        fields[name]["title"] = title
    fields["config"] |= {"enum": list(configs), "default": chosen}
    fields["reports"]["default"] = reports
    fields["data"]["description"] += f" Below {_listed(roots[DATA_ROOTS])}."
    fields["reports"]["description"] += f" Below {_listed(roots[REPORT_ROOTS])}."
    return schema


def _listed(roots: Sequence[str]) -> str:
    return " or ".join(f"`{root}`" for root in roots)


def changes(
    config: str,
    settings: Sequence[str],
    *,
    model_version: str = "",
    data: str = "",
    rows: int = 0,
    techniques: Sequence[str] = (),
    regulations: Sequence[str] = (),
) -> list[str]:
    """What the form changes in a config, each as `--set` of the command line has it; other settings come last.

    Raises:
        ConfigError: the config cannot be read.
    """
    found: list[str] = []
    if model_version:
        found.append(f"model.version={model_version}")
    if data:
        found.append(f"data.path={json.dumps(data)}")
    if rows:
        found.append(f"explain.rows={rows}")
    if techniques:
        own = load_config(config).explain.techniques or {}
        found.append(f"explain.techniques={json.dumps({name: own.get(name, {}) for name in techniques})}")
    if regulations:
        found.append(f"report.regulations={json.dumps(list(regulations))}")
    return [*found, *settings]


def check_bounds(config: str, settings: Sequence[str], reports: str) -> None:
    """Whether a run that was started from a deployment stays within what the operator configured.

    Raises:
        ConfigError: the config cannot be read, or a setting is wrong.
        UsageError: a config that is not served, a key that is the operator's, or a path outside the folders.
    """
    known = os.environ.get(CONFIGS, "").splitlines()
    if known and config not in known:
        raise UsageError(f"{config} is not served", available=known, hint=nearest(config, known))
    for setting in settings:
        key = setting.partition("=")[0].strip()
        if not any(key == one or key.startswith(f"{one}.") for one in _OPEN_KEYS):
            raise UsageError(
                f"{key} cannot be changed from Prefect's UI",
                where=f"--set {setting}",
                available=_OPEN_KEYS,
                hint="change the config itself",
            )
    before, after = load_config(config), load_config(config, settings)
    for key in _PATHS:
        value = _value(after, key)
        if value is not None and value != _value(before, key):
            _check_below(value, roots_of(DATA_ROOTS), key, DATA_ROOTS)
    _check_below(reports, roots_of(REPORT_ROOTS), "reports", REPORT_ROOTS)


def roots_of(variable: str) -> tuple[str, ...]:
    """The folders that an environment variable names; the current one where it names none."""
    return listed(variable) or (str(Path.cwd()),)


def listed(variable: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in os.environ.get(variable, "").split(",") if part.strip())


def _value(config: AuditConfig, key: str) -> str | None:
    block, _, name = key.partition(".")
    value: str | None = getattr(getattr(config, block), name)
    return value


def _check_below(value: str, roots: Sequence[str], where: str, variable: str) -> None:
    if not is_below(value, roots):
        raise UsageError(
            f"{value} is outside the folders that this may be in",
            where=where,
            available=roots,
            hint=f"the operator sets them with {variable}",
        )


def is_below(value: str, roots: Sequence[str]) -> bool:
    """Whether a path or an address lies below one of the roots."""
    return any(_below(value, root) for root in roots)


def _below(value: str, root: str) -> bool:
    """Whether a path or an address lies below a root; links are followed, and an address has no steps up."""
    if "://" in value or "::" in value:
        steps = value.replace("\\", "/").split("/")
        plain = "::" not in value and ".." not in steps and "%" not in value
        return plain and "://" in root and value.startswith(f"{root.rstrip('/')}/")
    try:
        return "://" not in root and Path(value).resolve().is_relative_to(Path(root).resolve())
    except (OSError, ValueError):  # a loop of links, a null character
        return False
