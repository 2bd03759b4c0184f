"""Pins: what a run has read at its start, so that nothing else is taken for it later.

A stage opens model and data by the config, minutes or hours after the first one did. Under pins it gets what the first
one got, or an error. Prefect copies the context into its threads, and the pins with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from tasks.errors import Incomplete, UsageError

CODE = "inputs_changed"
_HINT = "run the audit again, and leave the files alone while it runs"


@dataclass(frozen=True)
class Pins:
    """SHA-256 digests of what a run reads; None where there is no such file.

    Attributes:
        version: the model's, None where it has no version folder.
    """

    data: str
    reference: str | None
    model: str
    preprocessor: str | None
    version: int | None

    @classmethod
    def of_facts(cls, model: Mapping[str, Any], data: Mapping[str, Any]) -> Pins:
        """From the facts of the stages load_model and load_data: just what they read; nothing is opened again."""
        reference = data["reference"]
        return cls(
            data=data["data"]["sha256"],
            reference=None if reference is None else reference["sha256"],
            model=model["sha256"],
            preprocessor=model["preprocessor_sha256"],
            version=model["version"],
        )


_PINS: ContextVar[Pins | None] = ContextVar("keras_audit_pins", default=None)


@contextmanager
def pinned(pins: Pins) -> Iterator[None]:
    """Runs a block in which model and data are opened as pinned, or not at all (Incomplete, `inputs_changed`)."""
    token = _PINS.set(pins)
    try:
        yield
    finally:
        _PINS.reset(token)


@contextmanager
def under_pins() -> Iterator[Pins | None]:
    """The pins in force, for a block that opens what they pin.

    What was opened once and now is not there, or not fit to be opened, is no mistake in the config.

    Raises:
        Incomplete: in place of a UsageError, where there are pins.
    """
    pins = _PINS.get()
    try:
        yield pins
    except UsageError as error:
        if pins is None:
            raise
        raise Incomplete(
            f"what was opened at the start of the run cannot be opened again ({error})", hint=_HINT, code=CODE
        ) from error


def require(pin: str | int | None, found: str | int | None, where: str, what: str = "SHA-256") -> None:
    """Compares what is there now with its pin.

    Raises:
        Incomplete: they differ.
    """
    if pin != found:
        was, now = ("none" if value is None else value for value in (pin, found))
        raise Incomplete(
            f"changed during the run: the {what} was {was} and is {now}",
            where=where,
            hint=_HINT,
            code=CODE,
        )
