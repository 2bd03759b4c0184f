"""Groups: the values, bins and crossings of sensitive attributes, named as the contract says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import CROSSING, AuditConfig
from tasks.contracts import MISSING
from tasks.errors import DataRefused

#: more groups than this are an identifier, not an attribute
MAX_GROUPS = 10_000


@dataclass(frozen=True, eq=False)
class Attribute:
    """A partition of the rows.

    Attributes:
        name: the config's key, or the keys of a crossing joined by ` × `; None: all rows as one group.
        groups: names of those groups that have a row, in the order they are shown; `(missing)` last.
        codes: (n,) index into groups.
        empty: declared bins without a row.
    """

    name: str | None
    groups: tuple[str, ...]
    codes: np.ndarray
    empty: tuple[str, ...] = ()


def everyone(rows: int) -> Attribute:
    """All rows as one group without a name."""
    return Attribute(None, ("",), np.zeros(rows, np.int64))


def attributes_of(config: AuditConfig, table: pa.Table) -> list[Attribute]:
    """Every declared attribute, then every declared crossing.

    Raises:
        DataRefused: a column is missing, has no single values, has too many, or is to be binned and holds no numbers.
    """
    single = {}
    for key, declared in config.data.sensitive.items():
        where = f"data.sensitive.{key}"
        if declared.column not in table.column_names:
            raise DataRefused(f"there is no column {declared.column}", where=where, available=table.column_names)
        column = table.column(declared.column)
        single[key] = binned(key, column, declared.bins, where) if declared.bins else valued(key, column, where)
    crossings = [crossed([single[key] for key in keys]) for keys in config.data.intersections]
    found = [*single.values(), *crossings]
    for attribute in found:
        if len(attribute.groups) > MAX_GROUPS:
            raise DataRefused(
                f"{attribute.name} has {len(attribute.groups):,} groups, and {MAX_GROUPS:,} is the limit",
                where="data.sensitive",
                hint="bin the numbers, or name a coarser column",
                code="too_many_groups",
            )
    return found


def valued(name: str, column: pa.ChunkedArray, where: str = "") -> Attribute:
    """A group for each value, in the order of the values (of their type: 2 before 10); NaN is missing too."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    try:
        distinct = pc.unique(values).drop_null()
        distinct = distinct.take(pc.sort_indices(distinct))
        codes = pc.index_in(values, distinct)
        texts = distinct.cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise DataRefused(f"values of type {values.type} cannot name groups", where=where) from error
    # Two values may have one text (1.0 and null's own name): they are one group, since nobody could tell them apart.
    names = list(dict.fromkeys(texts))
    lookup = np.array([names.index(text) for text in texts] if len(names) < len(texts) else range(len(texts)), int)
    if codes.null_count:
        if MISSING not in names:
            names.append(MISSING)
        missing = names.index(MISSING)
        lookup = np.append(lookup, missing)
        codes = codes.fill_null(len(lookup) - 1)
    return Attribute(name, tuple(names), lookup[codes.to_numpy(zero_copy_only=False).astype(np.int64)])


def binned(name: str, column: pa.ChunkedArray, edges: Sequence[float], where: str = "") -> Attribute:
    """A group for each interval between edges, closed on the left."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        raise DataRefused(
            f"bins need numbers, and the column has the type {column.type}", where=where, hint="remove bins"
        )
    numbers = column.cast(pa.float64(), safe=False).to_numpy()  # null becomes NaN
    codes = np.where(np.isnan(numbers), len(edges) + 1, np.searchsorted(edges, numbers, side="right"))
    return _only_occupied(name, [*bin_names(edges), MISSING], codes)


def bin_names(edges: Sequence[float]) -> list[str]:
    """`< 25`, `[25, 40)`, `≥ 60`."""
    text = [np.format_float_positional(edge, trim="-") for edge in edges]
    inner = [f"[{low}, {high})" for low, high in pairwise(text)]
    return [f"< {text[0]}", *inner, f"≥ {text[-1]}"]


def crossed(parts: Sequence[Attribute]) -> Attribute:
    """The crossing of attributes: a group for each combination that occurs, as `Female × Black`."""
    shape = [len(part.groups) for part in parts]
    key = np.zeros(len(parts[0].codes), np.int64)
    for part, size in zip(parts, shape, strict=True):
        key = key * size + part.codes
    cells, codes = np.unique(key, return_inverse=True)
    names = []
    for cell in cells:
        words = []
        rest = int(cell)
        for part, size in zip(reversed(parts), reversed(shape), strict=True):
            rest, place = divmod(rest, size)
            words.append(part.groups[place])
        # A value that holds the joining sign itself is quoted, so that no two combinations share a name.
        names.append(CROSSING.join(f'"{word}"' if CROSSING in word else word for word in reversed(words)))
    return Attribute(CROSSING.join(part.name or "" for part in parts), tuple(names), codes)


def _only_occupied(name: str, names: list[str], codes: np.ndarray) -> Attribute:
    held = np.bincount(codes, minlength=len(names)) > 0
    groups = tuple(n for n, some in zip(names, held, strict=True) if some)
    empty = tuple(n for n, some in zip(names, held, strict=True) if not some and n != MISSING)
    return Attribute(name, groups, (np.cumsum(held) - 1)[codes], empty)
