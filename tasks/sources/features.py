"""Features and attributes as small integer codes: a number in bins, a category with its rare values pooled.

Codes depend on what a column holds, never on labels or decisions: whatever is found with them and tested on other rows
is tested as if the bins had been given beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tasks.bias import Attribute, bin_names
from tasks.contracts import MISSING

if TYPE_CHECKING:
    from tasks.load import Feature

#: rare values of a category together
OTHER = "(other)"


@dataclass(frozen=True, eq=False)
class Part:
    """A feature or an attribute that parts the rows.

    Attributes:
        name: of the feature, or the attribute's key.
        kind: attribute or feature.
        column: of the data that it is read from.
        values: names of the codes; every one of them has a row.
        codes: (n,) int32 index into values.
        ordered: whether the codes of known values rise with a number.
        missing: the code of missing values, where some are.
        known: (values,) bool: not a group that is declared unknown, nor missing.
    """

    name: str
    kind: Literal["attribute", "feature"]
    column: str
    values: tuple[str, ...]
    codes: np.ndarray
    ordered: bool
    missing: int | None
    known: np.ndarray

    @property
    def size(self) -> int:
        return len(self.values)


def coded_feature(feature: Feature, codes: np.ndarray, *, bins: int, most: int) -> Part:
    """A feature in bins (a number) or in its commonest values (a category).

    Args:
        codes: (n,) its column of the coded matrix.
        bins: of a number, about so many, each of about as many rows.
        most: values of a category that keep their own code; the others are pooled.
    """
    if feature.kind == "category":
        whole = codes.astype(np.int64)
        names = [*(_own(text) for text in feature.categories), MISSING]
        return _pooled(feature.name, "feature", feature.name, names, whole, feature.null_code, most)
    gone = np.isnan(codes)
    names, edges = number_bins(np.sort(codes[~gone]), bins)
    found = np.where(gone, len(names), np.searchsorted(edges, codes, side="right"))
    return _occupied(feature.name, "feature", feature.name, [*names, MISSING], found, len(names), ordered=True)


def coded_attribute(attribute: Attribute, column: str, rows: np.ndarray, *, most: int) -> Part:
    """An attribute's groups as they are declared; beyond `most` the smaller ones are pooled.

    Args:
        column: that it is read from.
        rows: (m,) the rows wanted.
    """
    codes = attribute.codes[rows].astype(np.int64)
    gone = attribute.groups.index(MISSING) if MISSING in attribute.groups else None
    unknown = frozenset(attribute.unknown)
    return _pooled(attribute.name or "", "attribute", column, list(attribute.groups), codes, gone, most, unknown)


def number_bins(ordered: np.ndarray, bins: int) -> tuple[list[str], np.ndarray]:
    """Names and inner edges of bins, closed on the left, that hold about as many rows each.

    A value that would fill a bin alone has one for itself; as few values as bins have one each. Edges are values of
    the data, so that none depends on rounding.

    Args:
        ordered: (n,) rising, without NaN.

    Returns:
        names; rising edges, one fewer than names.
    """
    if not len(ordered):
        return [], np.empty(0)
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    if new.sum() <= bins:
        distinct = ordered[new]
        return [np.format_float_positional(value, trim="-") for value in distinct], distinct[1:]
    n = len(ordered)
    cuts = ordered[np.ceil(np.arange(1, bins) / bins * n).astype(np.int64) - 1]
    ends = np.searchsorted(ordered, cuts, side="right")
    alone = (ends - np.searchsorted(ordered, cuts, side="left") >= n / bins) & (ends < n)
    edges = np.unique(np.concatenate([cuts, ordered[ends[alone]]]))
    edges = edges[edges > ordered[0]]
    return bin_names(edges.tolist()), edges


def _own(text: str) -> str:
    """A value that is spelt like a pool of ours is quoted."""
    return f'"{text}"' if text in (OTHER, MISSING) else text


def _pooled(
    name: str, kind: Literal["attribute", "feature"], column: str, names: list[str], codes: np.ndarray,
    gone: int | None, most: int, unknown: frozenset[str] = frozenset(),
) -> Part:  # fmt: skip
    rows = np.bincount(codes, minlength=len(names))
    if gone is not None:
        rows[gone] = 0
    common = np.argsort(-rows, kind="stable")[:most]
    keeps = np.zeros(len(names), bool)
    keeps[common] = True
    keeps[[k for k, text in enumerate(names) if k == gone or text in unknown]] = True
    lookup = np.where(keeps, np.arange(len(names)), len(names))
    return _occupied(name, kind, column, [*names, OTHER], lookup[codes], gone, unknown=unknown)


def _occupied(
    name: str, kind: Literal["attribute", "feature"], column: str, names: Sequence[str], codes: np.ndarray,
    gone: int | None, *, ordered: bool = False, unknown: frozenset[str] = frozenset(),
) -> Part:  # fmt: skip
    held = np.bincount(codes, minlength=len(names)) > 0
    lookup = (np.cumsum(held) - 1).astype(np.int32)
    known = np.array([k != gone and text not in unknown for k, text in enumerate(names)], bool)
    return Part(
        name=name, kind=kind, column=column, values=tuple(t for t, some in zip(names, held, strict=True) if some),
        codes=lookup[codes], ordered=ordered, missing=int(lookup[gone]) if gone is not None and held[gone] else None,
        known=known[held],
    )  # fmt: skip
