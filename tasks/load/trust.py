"""Code from outside: it runs only if the user named its module in KERAS_AUDIT_TRUST."""

from __future__ import annotations

import importlib
import os
from typing import Any

from tasks.errors import ModelError

VARIABLE = "KERAS_AUDIT_TRUST"


def trusted_modules() -> tuple[str, ...]:
    """The modules named in KERAS_AUDIT_TRUST, a list separated by commas."""
    return tuple(name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip())


def trusted_module(name: str, *, where: str) -> Any:
    """Imports a module that the user trusts.

    Raises:
        ModelError: it is not named in KERAS_AUDIT_TRUST, or importing it fails.
    """
    if name not in trusted_modules():
        raise ModelError(
            "code of a module that is not trusted",
            where=where,
            values=[name],
            hint=f"if you trust it, name it: {VARIABLE}={name}",
            code="untrusted_code",
        )
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ModelError(
            f"the trusted module {name} cannot be imported ({type(error).__name__}: {error})", where=where
        ) from error


def trusted_object(reference: str, *, where: str) -> Any:
    """What `module:name` names, from a module that the user trusts.

    Raises:
        ModelError: the module is not trusted or cannot be imported, or has no such name.
    """
    module, _, name = reference.partition(":")
    found = trusted_module(module, where=where)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ModelError(f"the module {module} has no {name}", where=where)
        found = getattr(found, part)
    return found
