"""Class names and target values: which class a value of the target column is.

A value may be written 1, 1.0, "1" or true in the data and 1, "1" or True in the config; both are compared by value
and by text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import ConfigError, DataRefused

MISSING = -1
UNKNOWN = -2


def class_names(
    column: pa.ChunkedArray, named: Sequence[object] | None, card: Sequence[str] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes as text, in order, and what to say about where they come from.

    Args:
        column: the target, dictionaries decoded.
        named: the config's `model.classes`.
        card: the classes that the model's card names.
    """
    if named is not None:
        return tuple(str(name) for name in named), ()
    if card is not None:
        names = ", ".join(card)
        return tuple(card), (f"model.classes is not set: the classes are those of the model's card, {names}.",)
    values = _distinct(column)
    texts = tuple(values.take(pc.sort_indices(values)).cast(pa.string()).to_pylist())
    if pa.types.is_boolean(values.type):
        texts = tuple(text.capitalize() for text in texts)  # as a config's `true` reads
    said = "model.classes is not set: the target's values in sorted order are taken as the order of the outputs"
    return texts, (f"{said}, {', '.join(texts[:10])}{', …' if len(texts) > 10 else ''}.",)


def target_codes(column: pa.ChunkedArray, classes: Sequence[object]) -> np.ndarray:
    """(n,) int64 class indices; MISSING where the label is null, UNKNOWN where it is no class.

    Raises:
        ConfigError: two classes mean the same value.
    """
    values = _distinct(column)
    lookup = np.array([class_index(value, classes, text) for value, text in _with_texts(values)] + [MISSING])
    plain = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_floating(plain.type):
        plain = pc.if_else(pc.is_nan(plain), pa.scalar(None, plain.type), plain)
    positions = pc.fill_null(pc.index_in(plain, value_set=values), len(values))
    return lookup[positions.to_numpy(zero_copy_only=False)].astype(np.int64)


def target_numbers(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """(n,) float64 of a regression's target, NaN where it is missing.

    Raises:
        DataRefused: it holds something else than numbers.
    """
    try:
        return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
    except (pa.ArrowException, ValueError) as error:
        raise DataRefused(
            f"the target {name!r} of type {column.type} holds no numbers", where="data.target.column"
        ) from error


def class_index(value: object, classes: Sequence[object], text: str | None = None) -> int:
    """The class that a value means, UNKNOWN where it is none.

    An exact text goes before an equal number, so that the classes "1" and "1.0" can both be.

    Raises:
        ConfigError: two classes mean it.
    """
    wanted = _texts(value, text)
    exact = [i for i, name in enumerate(classes) if str(name) == (text if text is not None else str(value))]
    if len(exact) == 1:
        return exact[0]
    found = [i for i, name in enumerate(classes) if wanted & _texts(name)]
    if len(found) > 1:
        raise ConfigError(
            f"{value} is more than one of the classes",
            where="model.classes",
            values=[classes[i] for i in found],
            hint="name each class once",
        )
    return found[0] if found else UNKNOWN


def _texts(value: object, text: str | None = None) -> set[str]:
    """All the ways in which a value may be written."""
    texts = {str(value)} | ({text} if text is not None else set())
    if isinstance(value, str):
        return texts
    if isinstance(value, bool):
        texts |= {str(value).lower(), str(int(value)), str(float(value))}
    elif isinstance(value, float) and value.is_integer():
        texts.add(str(int(value)))
    elif isinstance(value, int):
        texts.add(f"{value}.0")
    return texts


def _distinct(column: pa.ChunkedArray) -> pa.Array:
    values = column.unique().drop_null()
    if pa.types.is_floating(values.type):
        values = values.filter(pc.invert(pc.is_nan(values)))
    return values


def _with_texts(values: pa.Array) -> list[tuple[Any, str]]:
    return list(zip(values.to_pylist(), values.cast(pa.string()).to_pylist(), strict=True))
