"""Digests of what an audit would read, before anything is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from configs.schema import AuditConfig
from tasks.errors import ConfigError
from tasks.load.digests import digest_of
from tasks.load.models import locate_model, preprocessor_source
from tasks.load.remote import fetched, unread


def input_digest(config: AuditConfig, name: str) -> str | None:
    """SHA-256 of one input as it is now, by the name that a manifest gives it.

    Args:
        name: one of INPUTS.

    Returns:
        None where the config means no such file.

    Raises:
        AuditError: it is not there, or cannot be read or reached.
    """
    return _INPUTS[name](config)


def inputs_cover_all(config: AuditConfig) -> bool:
    """Whether these digests cover all that is read: they do not where images are files beside the table."""
    if config.data.image is None:
        return True
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        kind = pq.read_schema(config.data.path).field(config.data.image).type
    except (OSError, KeyError, pa.ArrowException):  # another format, or elsewhere: not looked into
        return False
    return not (pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _model(config: AuditConfig) -> str:
    return _of_file(locate_model(config).path, "model.path")


def _preprocessor(config: AuditConfig) -> str | None:
    source = preprocessor_source(config, locate_model(config).path)
    return _of_file(source, "model.preprocessor") if isinstance(source, Path) else None


def _data(config: AuditConfig) -> str:
    return _of_address(config.data.path, "data.path")


def _reference(config: AuditConfig) -> str | None:
    return None if config.data.reference is None else _of_address(config.data.reference, "data.reference")


def _language(config: AuditConfig) -> str | None:
    path = config.reasons.language
    return None if path is None else _of_file(Path(path), "reasons.language")


def _of_address(address: str, key: str) -> str:
    if "://" in address or "::" in address:
        return hashlib.sha256(fetched(address, key)).hexdigest()
    return _of_file(Path(address), key)


def _of_file(path: Path, key: str) -> str:
    if not path.exists():
        raise ConfigError(f"{path} does not exist", where=key, hint="relative paths start at the current folder")
    try:
        return digest_of(path)
    except OSError as error:
        raise unread(str(path), key, error) from error


#: name in the manifest → its digest now
_INPUTS: dict[str, Callable[[AuditConfig], str | None]] = {
    "model": _model,
    "preprocessor": _preprocessor,
    "data": _data,
    "reference": _reference,
    "reasons_language": _language,
}
#: the inputs that can be looked at before a run
INPUTS = tuple(_INPUTS)
