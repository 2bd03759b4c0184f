"""Raw rows as numbers, and back: the coded matrix that everything which perturbs rows works on.

A table's features are a float64 matrix (n, d). A number is itself, NaN where it is null. A category is its code: an
index into `Feature.categories`, which are the values' texts; null has the code after the last. A perturbed row is
then a row of numbers, and making the model's input of it is arithmetic (see `arrangement.py`), not text handling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import ConfigError, DataRefused
from tasks.load.preprocessors import Preprocessor
from tasks.load.spill import pieces, room

if TYPE_CHECKING:
    import pandas as pd

#: integers beyond this are not all float64 numbers
EXACT = 2**53


@dataclass(frozen=True)
class Feature:
    """A raw column as a person knows it.

    Attributes:
        name: the column's name.
        kind: number or category.
        categories: texts of a category's values, by code; empty for a number.
        integer: whether a number's column holds integers only.
    """

    name: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] = ()
    integer: bool = False

    @property
    def null_code(self) -> int:
        """The code of null in a category."""
        return len(self.categories)


@dataclass(frozen=True, eq=False)
class Encoder:
    """Codes a table's features and reads codes back.

    Attributes:
        features: d features, in the order of the coded matrix's columns.
        values: for each category its values in the column's own type, by code; None for a number.
        missing: for each feature what stands for null in a frame: None or NaN.
        limitations: sentences for the report.
    """

    features: tuple[Feature, ...]
    values: tuple[pa.Array | None, ...]
    missing: tuple[Any, ...]
    limitations: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    def codes(self, table: pa.Table, what: str = "data.path", forget: Callable[[], object] | None = None) -> np.ndarray:
        """The coded matrix of a table, (n, d) float64, columns contiguous within a row; in a file where it is large.

        Args:
            table: has a column for each feature; further columns are ignored.
            what: the config's key of the table, for messages.
            forget: called now and then: gives back the memory of what was read of a large table.

        Raises:
            ConfigError: a column is missing or of another kind.
            DataRefused: a category that the encoder was not made with.
            StorageError: the temporary folder's disk has no room for it.
        """
        coded = room((table.num_rows, len(self.features)), np.float64)
        for rows in pieces(coded):
            part = table.slice(rows.start, rows.stop - rows.start)
            for j, (feature, values) in enumerate(zip(self.features, self.values, strict=True)):
                column = column_of(part, feature.name, what)
                if values is None:
                    coded[rows, j] = _numbers(column, feature.name, what)
                else:
                    coded[rows, j] = _category_codes(column, values, feature, what)
            if forget is not None:
                forget()
        return coded

    def texts(self, codes: np.ndarray) -> list[np.ndarray]:
        """Each feature's values as text, null as None: d arrays of n objects.

        Whole numbers of an integer column are written without a point.
        """
        return [self.column_texts(codes[:, j], j) for j in range(len(self.features))]

    def column_texts(self, codes: np.ndarray, feature: int) -> np.ndarray:
        """(n,) texts of one feature's codes, null as None."""
        about = self.features[feature]
        if about.kind == "category":
            return _lookup([*about.categories, None])[codes.astype(np.int64)]
        return np.array(self.column_words(codes, feature).to_pylist(), dtype=object)

    def column_words(self, codes: np.ndarray, feature: int) -> pa.Array:
        """(n,) the texts of `column_texts` as an Arrow array: quick where rows are many."""
        about = self.features[feature]
        if about.kind == "category":
            return pa.array([*about.categories, None], pa.string()).take(pa.array(codes.astype(np.int64)))
        texts = pa.array(codes, pa.float64(), from_pandas=True).cast(pa.string())
        if about.integer:
            whole = (np.abs(codes) < EXACT) & (codes == np.floor(codes))
            as_integers = pa.array(np.where(whole, codes, 0).astype(np.int64)).cast(pa.string())
            texts = pc.if_else(pa.array(whole), as_integers, texts)
        return texts

    def frame(self, codes: np.ndarray) -> pd.DataFrame:
        """The raw columns that codes stand for, as a preprocessor was fitted on them.

        Integers stay integers where no value of the batch is null or broken, as in a frame read from a file.
        """
        import pandas as pd

        columns = {}
        for j, (feature, values) in enumerate(zip(self.features, self.values, strict=True)):
            column = codes[:, j]
            if values is not None:
                column = _taken(values, column.astype(np.int64), self.missing[j])
            elif feature.integer and np.all(np.abs(column) < EXACT) and np.all(column == np.floor(column)):
                column = column.astype(np.int64)
            columns[j] = pd.Series(column)
        frame = pd.DataFrame(columns)
        frame.columns = pd.Index(self.names, dtype=object)
        return frame


def _taken(values: pa.Array, codes: np.ndarray, missing: Any) -> Any:
    """A category's values in the type that pandas reads them in; plain objects for text, which are quick to take."""
    if pa.types.is_string(values.type):
        return _lookup([*values.to_pylist(), missing])[codes]
    if np.any(codes == len(values)):
        values = pa.concat_arrays([values, pa.nulls(1, values.type)])
    return values.to_pandas().take(codes).reset_index(drop=True)


def _lookup(values: list[Any]) -> np.ndarray:
    """A one-dimensional array of objects, whatever the objects are."""
    table = np.empty(len(values), dtype=object)
    table[:] = values
    return table


# ---------------------------------------------------------------- making an encoder


def make_encoder(
    names: Sequence[str],
    table: pa.Table,
    reference: pa.Table | None,
    *,
    kinds: dict[str, Literal["number", "category"]] | None = None,
    preprocessor: Preprocessor | None = None,
    forget: Callable[[], object] | None = None,
) -> Encoder:
    """An encoder of these columns that knows every category of the data, the reference and the preprocessor.

    Args:
        names: the features, in order.
        kinds: what is known of a column's kind beside its type (a preprocessor one-hot encodes an integer).
        forget: called after each column: gives back the memory of what was read of large tables.

    Raises:
        ConfigError: a column is missing, or its type is not one that a feature can have.
    """
    known = preprocessor.known if preprocessor else {}
    missing = preprocessor.missing if preprocessor else {}
    features: list[Feature] = []
    values: list[pa.Array | None] = []
    limitations: list[str] = []
    for name in names:
        if forget is not None:
            forget()
        column = column_of(table, name, "data.path")
        other = None if reference is None else column_of(reference, name, "data.reference")
        kind = (kinds or {}).get(name) or kind_of(column.type, other)
        if kind is None:
            raise ConfigError(
                f"column {name!r} has the type {column.type}, which cannot be a feature",
                where="data.features",
                hint="name the features that the model takes",
            )
        if kind == "number":
            integer = pa.types.is_integer(column.type)
            if integer and _beyond_exact(column):
                limitations.append(f"Integers of {name} beyond 2^53 are rounded to the next double.")
            features.append(Feature(name, "number", integer=integer))
            values.append(None)
            continue
        own = _values(column, other, known.get(name, []), name)
        features.append(Feature(name, "category", tuple(own.cast(pa.string()).to_pylist())))
        values.append(own)
    return Encoder(
        tuple(features), tuple(values), tuple(missing.get(name, float("nan")) for name in names), tuple(limitations)
    )


def kind_of(kind: pa.DataType, other: pa.ChunkedArray | None = None) -> Literal["number", "category"] | None:
    """Whether a column of this Arrow type is a number or a category; None where it can be no feature.

    A column without any value takes its kind from the reference.
    """
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    if pa.types.is_null(kind):
        return "number" if other is None or pa.types.is_null(other.type) else kind_of(other.type)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "category"
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        return "category"
    return None


def column_of(table: pa.Table, name: str, what: str) -> pa.ChunkedArray:
    """A column, dictionaries decoded.

    Raises:
        ConfigError: the table has none of this name.
    """
    if name not in table.column_names:
        raise ConfigError(
            f"has no column {name!r}", where=what, available=table.column_names, hint="the model asks for it"
        )
    column = table.column(name)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _beyond_exact(column: pa.ChunkedArray) -> bool:
    ends = pc.min_max(column).as_py()
    return any(end is not None and abs(end) > EXACT for end in ends.values())


def _numbers(column: pa.ChunkedArray, name: str, what: str) -> np.ndarray:
    """(n,) float64, null as NaN."""
    try:
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise ConfigError(f"column {name!r} of type {column.type} holds no numbers", where=what) from error


def _plain(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.Array:
    """One array in the type of the encoder's values; a NaN is null."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    column = column.cast(kind)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
    return column


def _values(column: pa.ChunkedArray, other: pa.ChunkedArray | None, known: list[Any], name: str) -> pa.Array:
    """A category's values in its column's type: those the preprocessor knows, then the others in sorted order."""
    kind = column.type
    if pa.types.is_null(kind):
        kind = other.type if other is not None and not pa.types.is_null(other.type) else _type_of(known)
    if pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        kind = pa.string()
    found = [_known(known, kind)]
    for source, what in ((column, "data.path"), (other, "data.reference")):
        if source is not None:
            try:  # chunk by chunk: a column of a large table is not held whole
                found.extend(_plain(chunk, kind).unique() for chunk in source.chunks)
            except pa.ArrowException as error:
                raise ConfigError(
                    f"column {name!r} has the type {source.type} here and {kind} in the data", where=what
                ) from error
    seen = pa.concat_arrays([*found[1:], pa.array([], kind)]).unique().drop_null()
    fresh = seen.filter(pc.invert(pc.is_in(seen, value_set=found[0])))
    return pa.concat_arrays([found[0], fresh.take(pc.sort_indices(fresh))])


def _type_of(known: list[Any]) -> pa.DataType:
    try:
        return pa.array(known).type if known else pa.string()
    except pa.ArrowException:
        return pa.string()


def _known(known: list[Any], kind: pa.DataType) -> pa.Array:
    """The preprocessor's categories in the column's type; one that has no such value cannot occur in the data."""
    found = []
    for value in known:
        try:
            scalar = pa.scalar(value)
            # A number's text is not that number: 1 and "1" are two categories.
            if pa.types.is_string(scalar.type) == pa.types.is_string(kind):
                found.append(scalar.cast(kind).as_py())
        except (pa.ArrowException, NotImplementedError):
            continue
    return pa.array(list(dict.fromkeys(found)), kind)


def _category_codes(column: pa.ChunkedArray, values: pa.Array, feature: Feature, what: str) -> np.ndarray:
    """(n,) codes of a category column."""
    try:
        plain = _plain(column, values.type)
    except pa.ArrowException as error:
        raise ConfigError(
            f"column {feature.name!r} has the type {column.type}, not {values.type}", where=what
        ) from error
    codes = pc.index_in(plain, value_set=values)
    lost = codes.null_count - plain.null_count
    if lost:
        fresh = plain.filter(pc.and_(pc.is_null(codes), pc.is_valid(plain))).unique()
        raise DataRefused(
            f"column {feature.name!r} has values that are not known",
            where=what,
            values=fresh.cast(pa.string()).to_pylist(),
            code="unknown_category",
        )
    return pc.fill_null(codes, feature.null_code).to_numpy(zero_copy_only=False)
