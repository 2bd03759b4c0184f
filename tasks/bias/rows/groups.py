"""Groups: the values, bins and crossings of sensitive attributes, named as the contract says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import CROSSING, AuditConfig, GroupsConfig, SensitiveConfig
from tasks.contracts import MISSING
from tasks.errors import ConfigError, DataRefused

#: more groups than this are an identifier, not an attribute
MAX_GROUPS = 10_000
#: what a reference may be beside a group's name
BEST_OFF, LARGEST = "best_off", "largest"
#: tables of at most so many cells are counted directly, however few rows there are
_SMALL = 1_000_000


@dataclass(frozen=True, eq=False)
class Attribute:
    """A partition of the rows.

    Attributes:
        name: the config's key, or the keys of a crossing joined by ` × `; None: all rows as one group.
        groups: names of those groups that have a row, in the order they are shown; `(missing)` last.
        codes: (n,) int32 index into groups.
        empty: declared bins, and a reference's crossing, without a row.
        reference: whom the others are held against: a group's name, `largest` (LARGEST), or None: the best-off.
        unknown: those of the groups whose rows' group is not known; none of them is ever a reference that is chosen.
    """

    name: str | None
    groups: tuple[str, ...]
    codes: np.ndarray
    empty: tuple[str, ...] = ()
    reference: str | None = None
    unknown: tuple[str, ...] = ()

    @property
    def known(self) -> np.ndarray:
        """(groups,) bool: not an unknown group."""
        unknown = frozenset(self.unknown)
        return np.array([name not in unknown for name in self.groups], bool)


def everyone(rows: int) -> Attribute:
    """All rows as one group without a name."""
    return Attribute(None, ("",), np.zeros(rows, np.int32))


def attributes_of(config: AuditConfig, table: pa.Table) -> list[Attribute]:
    """Every declared attribute, then every declared crossing.

    Raises:
        ConfigError: a reference is no group, or one that is not known.
        DataRefused: a column is missing, has no single values, has too many, or is to be binned and holds no numbers.
    """
    single = {
        key: attribute_of(key, declared, table, f"data.sensitive.{key}")
        for key, declared in config.data.sensitive.items()
    }
    return [*single.values(), *(crossed([single[key] for key in keys]) for keys in config.data.intersections)]


def attribute_of(name: str, declared: GroupsConfig, table: pa.Table, where: str) -> Attribute:
    """The groups of one column, as declared.

    Args:
        where: the config's key, for errors.

    Raises:
        ConfigError, DataRefused: as `attributes_of`.
    """
    if declared.column not in table.column_names:
        raise DataRefused(f"there is no column {declared.column}", where=where, available=table.column_names)
    column = table.column(declared.column)
    unknown = declared.unknown if isinstance(declared, SensitiveConfig) else ()
    if declared.bins:
        found = binned(name, column, declared.bins, where, apart=_numbers(unknown))
    else:
        found = valued(name, column, where)
    places = sorted({_place(value, found.groups) for value in (*unknown, MISSING)})
    found = replace(found, unknown=tuple(found.groups[place] for place in places if place >= 0))
    wanted = declared.reference if isinstance(declared, SensitiveConfig) else None
    return replace(found, reference=_reference(wanted, found, where))


def _reference(wanted: object, attribute: Attribute, where: str) -> str | None:
    if wanted is None or wanted == BEST_OFF:
        return None
    if wanted == LARGEST:
        return LARGEST
    place = _place(wanted, attribute.groups)
    known = [name for name in attribute.groups if name not in attribute.unknown]
    if place < 0 or attribute.groups[place] in attribute.unknown:
        problem = "is no group that has a row" if place < 0 else "is declared unknown and can be no reference"
        raise ConfigError(
            f"{wanted} {problem}", where=f"{where}.reference", available=[BEST_OFF, LARGEST, *known[:50]],
            code="unknown_reference",
        )  # fmt: skip
    return attribute.groups[place]


def _place(value: object, names: Sequence[str]) -> int:
    """Which of the groups a value of the config means, by value or by text; negative where none."""
    from tasks.load import class_index

    return class_index(value, names)


def _numbers(values: Iterable[object]) -> list[float]:
    return [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


# ---------------------------------------------------------------- one column


def valued(name: str, column: pa.ChunkedArray, where: str = "") -> Attribute:
    """A group for each value, in the order of the values (of their type: 2 before 10); NaN is missing too.

    Raises:
        DataRefused: the values have no text, or there are more of them than MAX_GROUPS.
    """
    try:
        parts = [_encoded(chunk) for chunk in column.chunks]
        values = pa.concat_arrays([values for _, values in parts] or [pa.array([], _plain(column.type))])
        distinct = pc.unique(values).drop_null()
        distinct = distinct.take(pc.sort_indices(distinct))
        # A dictionary may hold values that no row has: they are no groups.
        codes = np.concatenate([np.zeros(0, np.int32), *(_among(distinct, *part) for part in parts)])
        held = np.flatnonzero(np.bincount(codes, minlength=len(distinct) + 1)[:-1])
        _refuse_many(name, len(held))
        texts = distinct.take(pa.array(held)).cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise DataRefused(f"values of type {column.type} cannot name groups", where=where) from error
    # Two values may have one text (a text that is null's own name): they are one group, nobody could tell them apart.
    place = {text: k for k, text in enumerate(dict.fromkeys(texts))}
    missing = len(codes) > 0 and bool((codes == len(distinct)).any())
    if missing:
        place.setdefault(MISSING, len(place))
    lookup = np.zeros(len(distinct) + 1, np.int32)
    lookup[held] = [place[text] for text in texts]
    lookup[-1] = place.get(MISSING, 0)
    return Attribute(name, tuple(place), lookup[codes])


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _encoded(chunk: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Indices, null where a value is missing, and the values that they point to."""
    if pa.types.is_floating(chunk.type):
        chunk = pc.if_else(pc.is_nan(chunk), None, chunk)
    coded = chunk if pa.types.is_dictionary(chunk.type) else pc.dictionary_encode(chunk)
    values = coded.dictionary
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    return coded.indices, values


def _among(distinct: pa.Array, indices: pa.Array, values: pa.Array) -> np.ndarray:
    """(n,) int32 places in `distinct`; its length where a value is missing."""
    lookup = pc.index_in(values, distinct).fill_null(len(distinct)).to_numpy(zero_copy_only=False).astype(np.int32)
    lookup = np.append(lookup, np.int32(len(distinct)))
    return lookup[indices.cast(pa.int64()).fill_null(len(lookup) - 1).to_numpy(zero_copy_only=False)]


def _refuse_many(name: str, groups: int) -> None:
    if groups > MAX_GROUPS:
        raise DataRefused(
            f"{name} has {groups:,} groups, and {MAX_GROUPS:,} is the limit", where="data.sensitive",
            hint="bin the numbers, or name a coarser column", code="too_many_groups",
        )  # fmt: skip


def binned(
    name: str, column: pa.ChunkedArray, edges: Sequence[float], where: str = "", *, apart: Sequence[float] = ()
) -> Attribute:
    """A group for each interval between edges, closed on the left.

    Args:
        apart: numbers that are no quantity (999 for "not asked"): each is a group of its own.
    """
    kind = _plain(column.type)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataRefused(
            f"bins need numbers, and the column has the type {column.type}", where=where, hint="remove bins"
        )
    names = [*bin_names(edges), *(_text(number) for number in apart), MISSING]
    codes = np.empty(len(column), np.int32)
    start = 0
    for chunk in column.chunks:
        plain = chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk
        numbers = plain.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)  # null becomes NaN
        own = np.where(np.isnan(numbers), len(names) - 1, np.searchsorted(edges, numbers, side="right"))
        for k, number in enumerate(apart):
            own[numbers == number] = len(edges) + 1 + k
        codes[start : start + len(own)] = own
        start += len(own)
    return _only_occupied(name, names, len(edges) + 1, codes)


def bin_names(edges: Sequence[float]) -> list[str]:
    """`< 25`, `[25, 40)`, `≥ 60`."""
    text = [_text(edge) for edge in edges]
    inner = [f"[{low}, {high})" for low, high in pairwise(text)]
    return [f"< {text[0]}", *inner, f"≥ {text[-1]}"]


def _text(number: float) -> str:
    return np.format_float_positional(number, trim="-")


def _only_occupied(name: str, names: list[str], bins: int, codes: np.ndarray) -> Attribute:
    held = np.bincount(codes, minlength=len(names)) > 0
    groups = tuple(n for n, some in zip(names, held, strict=True) if some)
    empty = tuple(n for n, some in zip(names[:bins], held, strict=False) if not some)
    return Attribute(name, groups, (np.cumsum(held, dtype=np.int32) - np.int32(1))[codes], empty)


# ---------------------------------------------------------------- crossings


def crossed(parts: Sequence[Attribute]) -> Attribute:
    """The crossing of attributes: a group for each combination that occurs, as `Female × Black`.

    Its reference is the combination of those that all its parts name, the largest where all say so, else the best-off;
    a combination is unknown where one of its parts is.

    Raises:
        DataRefused: more combinations occur than MAX_GROUPS.
    """
    codes, cells = parts[0].codes, np.arange(len(parts[0].groups))[:, None]
    for part in parts[1:]:
        held, codes = _paired(codes, len(cells), part.codes, len(part.groups))
        first, second = np.divmod(held, len(part.groups))
        cells = np.column_stack([cells[first], second])
    name = CROSSING.join(part.name or "" for part in parts)
    _refuse_many(name, len(cells))
    groups = tuple(_joined(part.groups[place] for part, place in zip(parts, cell, strict=True)) for cell in cells)
    known = np.all([part.known[cells[:, k]] for k, part in enumerate(parts)], axis=0)
    wanted = {part.reference for part in parts}
    reference = LARGEST if wanted == {LARGEST} else None
    empty: tuple[str, ...] = ()
    if not wanted & {None, LARGEST}:
        named = _joined(str(part.reference) for part in parts)
        # Nobody can be held against people who are not there.
        reference, empty = (named, ()) if named in groups else (None, (named,))
    unknown = tuple(group for group, fine in zip(groups, known, strict=True) if not fine)
    return Attribute(name, groups, codes, empty, reference, unknown)


def _joined(words: Iterable[str]) -> str:
    # A value that holds the joining sign itself is quoted, so that no two combinations share a name.
    return CROSSING.join(f'"{word}"' if CROSSING in word else word for word in words)


def _paired(first: np.ndarray, many: int, second: np.ndarray, more: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of codes that occur, as first · more + second in rising order, and (n,) int32 which one a row has."""
    key = first.astype(np.int64) * more + second
    size = many * more
    if size > max(_SMALL, 4 * len(key)):  # a table with more cells than rows is mostly empty
        held, place = np.unique(key, return_inverse=True)
        return held, place.astype(np.int32)
    held = np.flatnonzero(np.bincount(key, minlength=size))
    lookup = np.zeros(size, np.int32)
    lookup[held] = np.arange(len(held))
    return held, lookup[key]
