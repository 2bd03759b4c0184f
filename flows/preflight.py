"""Everything about a config that can be judged before the run, without opening the model or the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from configs.schema import AuditConfig
from flows.request import load_config
from flows.runners import check_runner
from tasks.errors import AuditError, ConfigError


def checked_config(path: str, settings: Sequence[str] = ()) -> AuditConfig:
    """Reads a config and asks each stage whether it can do what the config wants of it.

    Raises:
        ConfigError: the file, a key, a value, a technique, a metric, an expectation or a regulation is wrong.
    """
    from tasks.bias import check_policy
    from tasks.explain import check_techniques
    from tasks.reasons import check_reasons
    from tasks.report import check_regulations
    from tasks.validate import check_expectations

    config = load_config(path, settings)
    try:
        for check in (
            check_runner, check_techniques, check_policy, check_expectations, check_reasons, check_regulations,
        ):  # fmt: skip
            check(config)
    except ConfigError as error:
        key = error.where or ""
        changed = next((s for s in settings if (named := s.partition("=")[0]) and key.startswith(named)), None)
        error.where = f"--set {changed}" if changed else f"{path}, {key}" if key else str(path)
        raise
    return config


def run_label(path: str, settings: Sequence[str] = ()) -> str:
    """What a run is called in Prefect: the audit's name and the model's version. Never fails: it is only a label."""
    from tasks.load import locate_model

    try:
        config = load_config(path, settings)
        version = locate_model(config).version
    except AuditError:
        return Path(path).stem or "audit"
    return f"{config.name} v{version}" if version is not None else config.name
