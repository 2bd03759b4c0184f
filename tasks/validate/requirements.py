"""What the subject needs from its data, so that the gate can be judged without a model or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """A column that the model reads.

    Attributes:
        kind: how the model reads it.
        nulls: whether it takes a missing value (null or NaN).
        categories: the values it knows, as text, where that is known and the kind is category.
    """

    name: str
    kind: Literal["number", "category"]
    nulls: bool = True
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Sensitive:
    """A column that gives groups, with its attribute's key and the inner edges of its bins."""

    key: str
    column: str
    bins: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Taken:
    """What the model said when it was asked.

    Attributes:
        nulls: feature → whether it may be null.
        refused: feature → how many of its values the model cannot take, and which (text; None for null).
    """

    nulls: Mapping[str, bool]
    refused: Mapping[str, tuple[int, tuple[str | None, ...]]]


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """The columns that an audit reads, and what each must hold.

    Attributes:
        features: what the model reads; empty for an image model.
        target: the column of labels.
        task: binary, multiclass or regression.
        classes: the model's classes as the config or the card names them; None where nobody has, and for a
            regression.
        id, weight, image: columns, or None.
        decision: column of recorded decisions, or None.
        sensitive: columns that give groups.
        crossings: keys of `sensitive` that are crossed.
        strata: the column that conditional disparities are conditional on, or None.
        redact: columns of which no value may be shown.
        decode: decodes a column of images, and raises an AuditError where one of them cannot be.
    """

    features: tuple[Column, ...] = ()
    target: str
    task: Literal["binary", "multiclass", "regression"]
    classes: tuple[object, ...] | None = None
    id: str | None = None
    weight: str | None = None
    image: str | None = None
    decision: str | None = None
    sensitive: tuple[Sensitive, ...] = ()
    crossings: tuple[tuple[str, ...], ...] = ()
    strata: Sensitive | None = None
    redact: frozenset[str] = frozenset()
    decode: Callable[[pa.ChunkedArray], object] | None = None

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Every column needed, with what it is needed as; a column comes once, with its first use."""
        uses: dict[str, str] = {}
        for column in self.features:
            uses.setdefault(column.name, "feature")
        for name, use in (
            (self.image, "image"),
            (self.target, "target"),
            (self.id, "id"),
            (self.weight, "weight"),
            (self.decision, "recorded decision"),
        ):
            if name is not None:
                uses.setdefault(name, use)
        for attribute in self.sensitive:
            uses.setdefault(attribute.column, f"sensitive attribute {attribute.key}")
        if self.strata is not None:
            uses.setdefault(self.strata.column, self.strata.key)
        return tuple(uses.items())

    @property
    def parted(self) -> tuple[Sensitive, ...]:
        """Whatever parts the rows: sensitive attributes, and strata."""
        return self.sensitive if self.strata is None else (*self.sensitive, self.strata)

    def with_nulls(self, taken: Mapping[str, bool]) -> Requirements:
        """The same, with what has been found out about nulls: feature → whether it may be null."""
        return replace(self, features=tuple(replace(c, nulls=taken.get(c.name, c.nulls)) for c in self.features))

    def hidden(self, column: str | None) -> bool:
        """Whether values of the column stay out of findings and tables."""
        return column is not None and (column in self.redact or column == self.id)
