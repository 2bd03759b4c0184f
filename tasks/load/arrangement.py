"""From coded rows to what the model takes, in the compiled graph.

An arrangement says how one row of codes becomes the model's input: a table row a category, a line a number. Beside
the graph's form each has the same in numpy (`matrix`), which probing compares with the preprocessor itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tasks.load.encoding import Encoder
from tasks.load.preprocessors import Preprocessor


class Arrangement(Protocol):
    """How coded rows become the model's input.

    Attributes:
        owners: (width,) the feature that each encoded column comes from, -1 for a constant; None where a column
            mixes features or there are no columns.
        in_graph: whether TensorFlow computes it; else it calls back into Python, slower.
    """

    @property
    def owners(self) -> np.ndarray | None: ...

    @property
    def in_graph(self) -> bool: ...

    def refused(self, encoder: Encoder) -> tuple[np.ndarray, ...]:
        """What the model cannot take, a feature: (1,) whether null of a number, (categories + 1,) which codes."""
        ...

    def __call__(self, rows: Any) -> Any:
        """Tensor of coded rows (n, d) float64, or of images (n, h, w, c) float32, → the model's input tensors."""
        ...


@dataclass(frozen=True, eq=False)
class Lines:
    """Encoded columns that are straight lines of one number each: slope · x + offset, and `null` where x is NaN.

    All arrays have the length of `columns`; float64.
    """

    columns: np.ndarray  # encoded columns, int64
    sources: np.ndarray  # features, int64
    slope: np.ndarray
    offset: np.ndarray
    null: np.ndarray


@dataclass(frozen=True, eq=False)
class Table:
    """Encoded columns that depend on one category: `rows[code]`, (number of categories + 1, len(columns)) float64."""

    columns: np.ndarray
    source: int
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Blocks:
    """Every encoded column comes from one feature: the pieces stand side by side."""

    width: int
    lines: Lines
    tables: tuple[Table, ...]
    in_graph = True

    @property
    def owners(self) -> np.ndarray:
        owners = np.full(self.width, -1, np.int64)
        owners[self.lines.columns] = self.lines.sources
        for table in self.tables:
            owners[table.columns] = table.source
        return owners

    def refused(self, encoder: Encoder) -> tuple[np.ndarray, ...]:
        found = _accepted(encoder)
        for j in np.unique(self.lines.sources[np.isnan(self.lines.null)]):
            found[j][0] = True
        for table in self.tables:
            found[table.source][:] = np.isnan(table.rows).any(axis=1)
        return tuple(found)

    def matrix(self, codes: np.ndarray) -> np.ndarray:
        """(n, d) codes → (n, width) float64."""
        matrix = np.zeros((len(codes), self.width))
        matrix[:, self.lines.columns] = _on_lines(self.lines, codes)
        for table in self.tables:
            matrix[:, table.columns] = table.rows[codes[:, table.source].astype(np.int64)]
        return matrix

    def __call__(self, rows: Any) -> Any:
        import tensorflow as tf

        pieces: list[tuple[int, Any]] = []
        for run in _runs(self.lines.columns):
            part = Lines(*(getattr(self.lines, name)[run] for name in Lines.__dataclass_fields__))
            pieces.append((int(part.columns[0]), _lines_in_graph(tf, part, rows)))
        for table in self.tables:
            found = tf.cast(rows[:, table.source], tf.int32)
            for run in _runs(table.columns):
                part = tf.constant(table.rows[:, run], tf.float32)
                pieces.append((int(table.columns[run][0]), tf.gather(part, found)))
        pieces.sort(key=lambda piece: piece[0])
        return pieces[0][1] if len(pieces) == 1 else tf.concat([piece for _, piece in pieces], axis=1)


@dataclass(frozen=True, eq=False)
class Sums:
    """Encoded columns are sums of what each feature adds (a rotation after one-hot columns, say).

    Attributes:
        slopes: (number of Lines' sources, width); nulls: the same, added instead where the number is NaN.
        tables: one a category, over all columns.
        constant: (width,).
    """

    width: int
    sources: np.ndarray
    slopes: np.ndarray
    nulls: np.ndarray
    tables: tuple[Table, ...]
    constant: np.ndarray
    owners = None
    in_graph = True

    def refused(self, encoder: Encoder) -> tuple[np.ndarray, ...]:
        found = _accepted(encoder)
        for j, null in zip(self.sources, self.nulls, strict=True):
            found[j][0] = bool(np.isnan(null).any())
        for table in self.tables:
            found[table.source][:] = np.isnan(table.rows).any(axis=1)
        return tuple(found)

    def matrix(self, codes: np.ndarray) -> np.ndarray:
        """(n, d) codes → (n, width) float64."""
        numbers = codes[:, self.sources]
        gone = np.isnan(numbers)
        matrix = self.constant + np.where(gone, 0.0, numbers) @ self.slopes
        for j in np.flatnonzero(gone.any(axis=0)):
            matrix[gone[:, j]] += self.nulls[j]
        for table in self.tables:
            matrix += table.rows[codes[:, table.source].astype(np.int64)]
        return matrix

    def __call__(self, rows: Any) -> Any:
        import tensorflow as tf

        total = tf.constant(self.constant)
        if len(self.sources):
            numbers = tf.gather(rows, self.sources, axis=1)
            gone = tf.math.is_nan(numbers)
            total += tf.matmul(tf.where(gone, tf.zeros_like(numbers), numbers), tf.constant(self.slopes))
            # What a null adds may itself be NaN, and 0 · NaN would spread it to every row.
            for j in range(len(self.sources)):
                null = tf.constant(self.nulls[j])
                total += tf.where(gone[:, j, None], null, tf.zeros_like(null))
        for table in self.tables:
            total += tf.gather(tf.constant(table.rows), tf.cast(rows[:, table.source], tf.int32))
        return tf.cast(tf.broadcast_to(total, [tf.shape(rows)[0], self.width]), tf.float32)


@dataclass(frozen=True, eq=False)
class Frames:
    """The preprocessor itself, on a frame built by columns: for what is neither blocks nor sums. Slow."""

    width: int
    encoder: Encoder
    preprocessor: Preprocessor
    not_taken: tuple[np.ndarray, ...] = ()  # as `refused` tells
    owners = None
    in_graph = False

    def refused(self, encoder: Encoder) -> tuple[np.ndarray, ...]:
        return self.not_taken

    def matrix(self, codes: np.ndarray) -> np.ndarray:
        """(n, d) codes → (n, width) float64."""
        return self.preprocessor.transform(self.encoder.frame(codes))

    def __call__(self, rows: Any) -> Any:
        import tensorflow as tf

        def encoded(codes: np.ndarray) -> np.ndarray:
            return self.matrix(codes).astype(np.float32)

        matrix = tf.numpy_function(encoded, [rows], tf.float32)
        return tf.ensure_shape(matrix, [rows.shape[0], self.width])


@dataclass(frozen=True, eq=False)
class Named:
    """One input a feature.

    Attributes:
        dtypes: of the inputs, in the order of the features.
        ranks: 1 for (n,), 2 for (n, 1).
        texts: for a string input its strings by code, else None.
        numbers: for a number made from a category (a boolean) its numbers by code, else None.
    """

    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    ranks: tuple[int, ...]
    texts: tuple[np.ndarray | None, ...]
    numbers: tuple[np.ndarray | None, ...]
    owners = None
    in_graph = True

    def refused(self, encoder: Encoder) -> tuple[np.ndarray, ...]:
        found = _accepted(encoder)
        for own in found:
            own[-1] = True  # there is no null string and no null integer, and NaN is no number
        return tuple(found)

    def __call__(self, rows: Any) -> list[Any]:
        import tensorflow as tf

        inputs = []
        for j, dtype in enumerate(self.dtypes):
            column, texts, numbers = rows[:, j], self.texts[j], self.numbers[j]
            if texts is not None:
                column = tf.gather(tf.constant(texts.tolist(), tf.string), tf.cast(column, tf.int32))
            elif numbers is not None:
                column = tf.cast(tf.gather(tf.constant(numbers), tf.cast(column, tf.int32)), dtype)
            else:
                column = tf.cast(column, dtype)
            inputs.append(column if self.ranks[j] == 1 else column[:, None])
        return inputs


@dataclass(frozen=True, eq=False)
class Pixels:
    """An image: its pixels, 0–255, times a scale."""

    scale: float
    owners = None
    in_graph = True

    def refused(self, encoder: Encoder) -> tuple[np.ndarray, ...]:
        return ()

    def __call__(self, rows: Any) -> Any:
        import tensorflow as tf

        return rows if self.scale == 1.0 else rows * tf.constant(self.scale, tf.float32)


def identity(count: int, flags: Mapping[int, np.ndarray] | None = None) -> Blocks:
    """The features themselves, in order.

    Args:
        flags: for a category that has numbers (a boolean) its numbers by code; its null becomes NaN.
    """
    flags = flags or {}
    plain = np.array([j for j in range(count) if j not in flags], np.int64)
    ones, zeros = np.ones(len(plain)), np.zeros(len(plain))
    lines = Lines(plain, plain, ones, zeros, np.full(len(plain), np.nan))
    tables = tuple(Table(np.array([j]), j, np.append(v, np.nan)[:, None]) for j, v in sorted(flags.items()))
    return Blocks(count, lines, tables)


def _accepted(encoder: Encoder) -> list[np.ndarray]:
    return [np.zeros(1 if f.kind == "number" else f.null_code + 1, bool) for f in encoder.features]


def _on_lines(lines: Lines, codes: np.ndarray) -> np.ndarray:
    numbers = codes[:, lines.sources]
    return np.where(np.isnan(numbers), lines.null, numbers * lines.slope + lines.offset)


def _lines_in_graph(tf: Any, lines: Lines, rows: Any) -> Any:
    sources = lines.sources
    together = len(sources) == 1 or bool(np.all(np.diff(sources) == 1))
    numbers = rows[:, sources[0] : sources[-1] + 1] if together else tf.gather(rows, sources, axis=1)
    if np.all(lines.slope == 1) and np.all(lines.offset == 0) and np.all(np.isnan(lines.null)):
        return tf.cast(numbers, tf.float32)
    # In float64, as the preprocessor computes; the model's precision only at the end.
    values = tf.cast(numbers * tf.constant(lines.slope) + tf.constant(lines.offset), tf.float32)
    if np.all(np.isnan(lines.null) & (lines.slope != 0)):
        return values  # a NaN stays one by itself
    return tf.where(tf.math.is_nan(numbers), tf.constant(lines.null, tf.float32), values)


def _runs(columns: np.ndarray) -> list[slice]:
    """Slices of `columns` (ascending) in which each is the one before plus one."""
    if not len(columns):
        return []
    breaks = np.flatnonzero(np.diff(columns) != 1) + 1
    return [slice(a, b) for a, b in zip([0, *breaks], [*breaks, len(columns)], strict=True)]
