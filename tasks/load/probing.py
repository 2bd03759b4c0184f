"""Finding out what a preprocessor does by asking it, so that the same can be done by arithmetic in the graph.

One row of the data is taken as a base, and each feature in turn is set to each of its values: every category, and a
few numbers. What changes in the answer is that feature's part. Whether the parts make the whole (no interactions)
and whether numbers lie on straight lines is then checked on real rows; where not, the preprocessor itself is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.errors import ModelError
from tasks.load.arrangement import Blocks, Frames, Lines, Sums, Table
from tasks.load.encoding import Encoder
from tasks.load.preprocessors import KEY, Preprocessor
from tasks.load.spill import pieces, taken

#: largest difference from the preprocessor, relative to values beyond 1
TOLERANCE = 1e-6
SAMPLE_ROWS = 2048
#: encoded numbers that the tables may hold together; beyond it probing costs more than it saves
MAX_TABLE_CELLS = 50_000_000
_NUMBERS_TRIED = 64
#: rows that are taken together of a table in a file
_FEW = 32
_CATEGORIES_TRIED = 1000


@dataclass(frozen=True)
class _Probes:
    """Rows to ask for: `rows[i]` is the base with feature `feature[i]` set to another value."""

    rows: np.ndarray
    feature: np.ndarray


def arrange(
    encoder: Encoder,
    preprocessor: Preprocessor,
    codes: np.ndarray,
    tables: Sequence[pa.Table],
    forget: Callable[[], object] | None = None,
) -> tuple[Blocks | Sums | Frames, tuple[str, ...]]:
    """The fastest arrangement that gives the preprocessor's own matrix, and what to say about it.

    Args:
        codes: (n, d) coded rows of the data and of the reference.
        tables: the same rows, raw, one table after the other.
        forget: gives back the memory of what was read of large tables; None where they are in memory.

    Raises:
        ModelError: the preprocessor fails on the data, or its answer for a row depends on the other rows.
    """
    sample = np.sort(np.random.default_rng(0).choice(len(codes), min(len(codes), SAMPLE_ROWS), replace=False))
    drawn = taken(codes, sample)
    base = base_row(codes, encoder)
    found = _asked(preprocessor, encoder, base[None])
    if found is None:
        raise ModelError("fails on a row of the data", where=KEY, hint=_reason(preprocessor, encoder, base))
    width = found.shape[1]
    truth = _transformed(preprocessor, encoder, _taken_of(tables, sample, forget), drawn, width)
    cells = sum(len(feature.categories) + 1 for feature in encoder.features if feature.kind == "category") * width
    if cells > MAX_TABLE_CELLS:
        why = "its categories are too many for tables"
    else:
        fast, why = _parts(encoder, preprocessor, codes, base, found[0])
        if fast is not None:
            if _same_rows(fast.matrix(drawn), truth):
                return fast, ()
            why = "columns interact in it"
    slow = Frames(width, encoder, preprocessor, _refused(encoder, preprocessor, base, width))
    answered = ~np.isnan(truth).all(axis=1)
    _check_rows_stand_alone(slow, drawn[answered])
    if not _same_rows(_row_by_row(preprocessor, encoder, drawn, width), truth):
        raise ModelError(
            "gives other numbers for the same values read from a file than for plain columns",
            where=KEY,
            hint="let it not depend on a column's pandas type",
        )
    said = (
        f"The preprocessor cannot be followed column by column ({why}): it runs outside the compiled graph,"
        " many times slower, and gradient techniques do not see through it."
    )
    return slow, (said,)


def base_row(codes: np.ndarray, encoder: Encoder) -> np.ndarray:
    """A row of the data without nulls where there is one, else each feature's first value that is not null."""
    if not len(codes):
        return np.zeros(codes.shape[1])
    categories = {j: feature.null_code for j, feature in enumerate(encoder.features) if feature.kind == "category"}
    first: dict[int, float] = {}  # feature → its first value that is not null
    for rows in pieces(codes):
        nulls = np.isnan(codes[rows])
        for j, null in categories.items():
            nulls[:, j] = codes[rows, j] == null
        whole = np.flatnonzero(~nulls.any(axis=1))
        if len(whole):
            return codes[rows.start + whole[0]].copy()
        for j in range(codes.shape[1]):
            given = np.flatnonzero(~nulls[:, j])
            if j not in first and len(given):
                first[j] = codes[rows.start + given[0], j]
    return np.array([first.get(j, 0.0) for j in range(codes.shape[1])])


def _asked(preprocessor: Preprocessor, encoder: Encoder, codes: np.ndarray) -> np.ndarray | None:
    """The preprocessor's answer, or None where it raises."""
    try:
        matrix = preprocessor.transform(encoder.frame(codes))
    except Exception:  # noqa: BLE001 - whatever a transformer may raise, it refuses these rows
        return None
    return matrix if matrix.ndim == 2 and len(matrix) == len(codes) else None


def _reason(preprocessor: Preprocessor, encoder: Encoder, base: np.ndarray) -> str:
    try:
        matrix = preprocessor.transform(encoder.frame(base[None]))
    except Exception as error:  # noqa: BLE001 - told to the user
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
    return f"it answered with the shape {matrix.shape} for one row"


def _row_by_row(preprocessor: Preprocessor, encoder: Encoder, codes: np.ndarray, width: int) -> np.ndarray:
    """The answers, NaN for the rows that the preprocessor refuses."""
    together = _asked(preprocessor, encoder, codes)
    if together is not None:
        return together
    if len(codes) == 1:
        return np.full((1, width), np.nan)
    half = len(codes) // 2
    return np.concatenate([_row_by_row(preprocessor, encoder, part, width) for part in (codes[:half], codes[half:])])


def _parts(
    encoder: Encoder, preprocessor: Preprocessor, codes: np.ndarray, base: np.ndarray, at_base: np.ndarray
) -> tuple[Blocks | Sums | None, str]:
    """Each feature's part in the encoded columns; None, with the reason, where a number is not on a line."""
    probes = _probes(encoder, codes, base)
    answers = _row_by_row(preprocessor, encoder, probes.rows, len(at_base))
    tables: list[Table] = []
    sources, slopes, nulls = [], [], []
    for j, feature in enumerate(encoder.features):
        asked = probes.rows[probes.feature == j, j]
        delta = answers[probes.feature == j] - at_base
        if feature.kind == "category":
            tables.append(Table(np.arange(len(at_base)), j, delta))
            continue
        given = ~np.isnan(asked)
        line = _line(asked[given], delta[given], base[j], at_base)
        if line is None:
            return None, f"{feature.name} is not scaled on a straight line"
        sources.append(j)
        slopes.append(line)
        nulls.append(delta[~given][0])
    numbers = np.array(sources, np.int64)
    slope = np.array(slopes).reshape(len(sources), len(at_base))
    null = np.array(nulls).reshape(len(sources), len(at_base))
    return _side_by_side(numbers, slope, null, tables, base, at_base) or _summed(
        numbers, slope, null, tables, base, at_base
    ), ""


def _probes(encoder: Encoder, codes: np.ndarray, base: np.ndarray) -> _Probes:
    rows, owner = [], []
    for j, feature in enumerate(encoder.features):
        if feature.kind == "category":
            values = np.arange(len(feature.categories) + 1, dtype=np.float64)
        else:
            values = np.append(_numbers_to_try(codes, j, feature.integer), np.nan)
        changed = np.repeat(base[None], len(values), axis=0)
        changed[:, j] = values
        rows.append(changed)
        owner.append(np.full(len(values), j))
    return _Probes(np.concatenate(rows), np.concatenate(owner))


def _numbers_to_try(codes: np.ndarray, j: int, integer: bool) -> np.ndarray:
    """Values of the column over its whole range, and some beyond it: techniques go there too."""
    parts = [np.unique(codes[rows, j][np.isfinite(codes[rows, j])]) for rows in pieces(codes)]
    values = parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
    if not len(values):
        return np.array([0.0, 1.0, 2.0, -1.0])
    low, high = values[0], values[-1]
    span = high - low or 1.0
    picked = values[np.linspace(0, len(values) - 1, min(len(values), _NUMBERS_TRIED)).astype(np.int64)]
    between = np.array([low - span, low + span / 3, low + span / 2, high + span])
    return np.concatenate([[low, high + (high == low)], picked, np.round(between) if integer else between])


def _line(asked: np.ndarray, delta: np.ndarray, base: float, at_base: np.ndarray) -> np.ndarray | None:
    """(width,) slopes of the lines through base and the probes, or None where they are no lines."""
    low, high = asked.argmin(), asked.argmax()
    slope = (delta[high] - delta[low]) / (asked[high] - asked[low])
    on_line = at_base + (asked - base)[:, None] * slope
    return slope if _equal(on_line, at_base + delta) and np.all(np.isfinite(slope)) else None


def _side_by_side(
    numbers: np.ndarray,
    slope: np.ndarray,
    null: np.ndarray,
    tables: list[Table],
    base: np.ndarray,
    at_base: np.ndarray,
) -> Blocks | None:
    """Blocks, where no encoded column is moved by two features."""
    # A value that the preprocessor refuses is NaN throughout: that says nothing about which columns are its own.
    moves = {table.source: np.any(_told(table.rows) != 0, axis=0) for table in tables}
    moves |= {int(j): (slope[i] != 0) | np.any(_told(null[i : i + 1]) != 0, axis=0) for i, j in enumerate(numbers)}
    moved = np.array(list(moves.values())).sum(axis=0)
    if np.any(moved > 1):
        return None
    owned = [(i, j, np.flatnonzero(moves[int(j)])) for i, j in enumerate(numbers)]
    columns = np.concatenate([np.flatnonzero(moved == 0), *(c for _, _, c in owned)]).astype(np.int64)
    still = int((moved == 0).sum())
    slopes = np.concatenate([np.zeros(still), *(slope[i, c] for i, _, c in owned)])
    offsets = np.concatenate([at_base[moved == 0], *(at_base[c] - slope[i, c] * base[j] for i, j, c in owned)])
    nulls = np.concatenate([at_base[moved == 0], *((at_base + null[i])[c] for i, _, c in owned)])
    # A constant column is a flat line of the first feature, whichever that is.
    sources = np.concatenate([np.zeros(still, np.int64), *(np.full(len(c), j) for _, j, c in owned)]).astype(np.int64)
    order = np.argsort(columns)
    lines = Lines(*(part[order] for part in (columns, sources, slopes, offsets, nulls)))
    kept = []
    for table in tables:
        own = np.flatnonzero(moves[table.source])
        if len(own):
            kept.append(Table(own, table.source, (at_base + table.rows)[:, own]))
    return Blocks(len(at_base), lines, tuple(kept))


def _told(deltas: np.ndarray) -> np.ndarray:
    """The probes that were answered."""
    return deltas[~np.isnan(deltas).all(axis=1)] if deltas.shape[1] > 1 else deltas


def _summed(
    numbers: np.ndarray,
    slope: np.ndarray,
    null: np.ndarray,
    tables: list[Table],
    base: np.ndarray,
    at_base: np.ndarray,
) -> Sums:
    constant = at_base - base[numbers] @ slope
    # A null adds its own part in place of slope · x, which the sum leaves out for it.
    nulls = null + base[numbers, None] * slope
    return Sums(len(at_base), numbers, slope, nulls, tuple(tables), constant)


def _transformed(
    preprocessor: Preprocessor,
    encoder: Encoder,
    tables: Sequence[pa.Table],
    codes: np.ndarray,
    width: int,
) -> np.ndarray:
    """The preprocessor's matrix of real rows, read as pandas reads them; NaN for rows that it refuses."""
    answers = []
    for frame in [table.to_pandas() for table in tables]:
        for name, missing in preprocessor.missing.items():
            if missing is None and name in frame.columns:  # pandas reads a null as NaN; it was fitted with None
                frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
        try:
            answers.append(preprocessor.transform(frame))
        except Exception:  # noqa: BLE001 - a value that it refuses: the rows are asked for in ever smaller parts
            return _row_by_row(preprocessor, encoder, codes, width)
    return np.concatenate(answers)


def _taken_of(tables: Sequence[pa.Table], rows: np.ndarray, forget: Callable[[], object] | None) -> list[pa.Table]:
    """Of each table the rows at these positions, counted through all of them."""
    found, start = [], 0
    for table in tables:
        own = rows[(rows >= start) & (rows < start + len(table))] - start
        start += len(table)
        if forget is None:
            found.append(table.take(pa.array(own)))
            continue
        parts = [table.slice(0, 0)]
        for few in np.array_split(own, -(-len(own) // _FEW) or 1):
            # One by one: Arrow's take would first copy the whole column.
            parts.append(pa.concat_tables([table.slice(0, 0), *(table.slice(row, 1) for row in few)]).combine_chunks())
            forget()
        found.append(pa.concat_tables(parts))
    return found


def _refused(encoder: Encoder, preprocessor: Preprocessor, base: np.ndarray, width: int) -> tuple[np.ndarray, ...]:
    """For each feature the null of a number, or the codes of a category, for which there is no answer."""
    found = []
    for j, feature in enumerate(encoder.features):
        categories = np.arange(feature.null_code + 1, dtype=np.float64)
        values = np.array([np.nan]) if feature.kind == "number" else categories
        if len(values) > _CATEGORIES_TRIED:
            values = categories[-1:]
        asked = np.repeat(base[None], len(values), axis=0)
        asked[:, j] = values
        refused = np.zeros(1 if feature.kind == "number" else len(categories), bool)
        refused[-len(values) :] = np.isnan(_row_by_row(preprocessor, encoder, asked, width)).any(axis=1)
        found.append(refused)
    return tuple(found)


def _check_rows_stand_alone(slow: Frames, codes: np.ndarray) -> None:
    """A preprocessor that standardises each batch by itself has no answer for a row."""
    few = codes[:16]
    if len(few) and not _equal(slow.matrix(few)[:1], slow.matrix(few[:1])):
        raise ModelError(
            "its answer for a row depends on the other rows",
            where=KEY,
            hint="fit it on the training data and save it fitted",
        )


def _same_rows(found: np.ndarray, truth: np.ndarray) -> bool:
    """Equal, where a row that the preprocessor refuses (all NaN) need only have a NaN in what is found."""
    refused = np.isnan(truth).all(axis=1)
    return _equal(found[~refused], truth[~refused]) and bool(np.isnan(found[refused]).any(axis=1).all())


def _equal(found: np.ndarray, truth: np.ndarray) -> bool:
    if found.shape != truth.shape:
        return False
    close = np.abs(found - truth) <= TOLERANCE * np.maximum(1.0, np.abs(truth))
    return bool(np.all(close | (np.isnan(found) & np.isnan(truth))))
