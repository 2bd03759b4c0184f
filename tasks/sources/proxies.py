"""Proxies: how well each feature alone, and all of them together, tell the groups of a sensitive attribute.

A model without a sensitive attribute among its features can still tell the groups apart when other features stand for
them. A row says how well one does: the area under the ROC curve of a group against the rest, and the mean over the
attribute's groups, which does not depend on how large they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.bias import Settings, significance
from tasks.contracts import ValueStatus
from tasks.sources.areas import FOLDS, Area, Areas, cell_areas, cramers_v, folds_of, model_areas
from tasks.sources.features import Part

#: a feature whose area is surely above this is called a strong proxy: a convention, no law
STRONG = 0.7
#: groups of an attribute, the largest, that are told from the rest
MOST_GROUPS = 20
#: rows, drawn at random, that the classifier of all features together sees
MOST_ROWS = 20_000
#: bins of a number at most, rows that one should hold, and values of a category
BINS, ROWS_A_BIN, VALUES = 32, 50, 50
NAN = float("nan")


@dataclass(frozen=True)
class Proxy:
    """A row of the table: how well a feature (None: all together) tells a group (None: all of the attribute)."""

    attribute: str
    group: str | None
    feature: str | None
    measure: str
    value: float
    status: ValueStatus
    reason: str | None
    low: float
    high: float
    p: float
    n: int
    method: str | None
    p_adjusted: float = NAN


@dataclass(frozen=True, eq=False)
class Found:
    """One attribute's proxies.

    Attributes:
        attribute: its name.
        rows: its table's rows.
        own: features that are the attribute's own column: they tell it by being it.
        joint_rows: rows that all features together were tried on.
        left_out: groups beyond the largest, and unknown ones, which have no row of their own.
    """

    attribute: str
    rows: tuple[Proxy, ...]
    own: tuple[str, ...]
    joint_rows: int
    left_out: int


def proxies_of(
    attribute: Part, features: Sequence[Part], weight: np.ndarray | None, settings: Settings,
    advance: Callable[[], None] = lambda: None,
) -> Found:  # fmt: skip
    """Every feature alone, then all together, for every group of an attribute and for the attribute.

    Rows whose group is not known are left out; so are rows of weight 0.

    Args:
        attribute: its groups.
        features: coded on the same n rows.
        weight: (n,) ≥ 0, or None.
        settings: confidence, min_group_size and seed.
        advance: called after each feature.
    """
    used = np.flatnonzero(attribute.known[attribute.codes] & (True if weight is None else weight > 0))
    groups = attribute.codes[used].astype(np.int64)
    w = None if weight is None else weight[used]
    size = np.bincount(groups, minlength=attribute.size)
    told = np.zeros(attribute.size, bool)
    told[np.argsort(-size, kind="stable")[:MOST_GROUPS]] = True
    told &= attribute.known
    asked = told & (size >= settings.least)
    unit = 1.0 if w is None or not len(w) else float(w.mean())
    folds = folds_of(groups, [settings.seed, 1])
    here = _Attribute(attribute, told, asked, size, len(used), settings)
    own = tuple(feature.name for feature in features if feature.column == attribute.column)
    rows: list[Proxy] = []
    for feature in features:
        codes = feature.codes[used]
        cells, square = _cells(folds, codes, groups, (FOLDS, feature.size, attribute.size), w)
        areas = cell_areas(cells, square, unit, asked, settings.confidence)
        reason = "the attribute's own column" if feature.name in own else None
        method = f"{FOLDS}-fold, share of the bin; delong, raised, logit"
        rows += here.rows(feature.name, areas, len(used), reason, method)
        table = cells.sum(0) * (1.0 if w is None or not len(w) else w.sum() / (w @ w))  # Kish's effective number
        rows.append(here.v_row(feature.name, table[:, told], reason))
        advance()
    joint = [feature for feature in features if feature.name not in own]
    sample = _sample(len(used), [settings.seed, 2])
    together: Areas | None = None
    if joint and len(np.unique(groups[sample])) > 1 and asked.any():
        together = _together(
            joint, used[sample], groups[sample], told, None if w is None else w[sample], asked, settings
        )
    rows += here.rows(
        None, together, len(sample), None if joint else "there is no feature beside its own column",
        f"{FOLDS}-fold, gradient boosting; delong, raised, logit",
    )  # fmt: skip
    advance()
    return Found(attribute.name, _adjusted(rows, own), own, len(sample), int((~told).sum()))


def _cells(
    folds: np.ndarray, codes: np.ndarray, groups: np.ndarray, shape: tuple[int, int, int], w: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """(folds, bins, groups) Σw and Σw²."""
    key = (folds * np.int64(shape[1]) + codes) * shape[2] + groups
    length = int(np.prod(shape))
    total = np.bincount(key, w, length).astype(float).reshape(shape)
    return total, total if w is None else np.bincount(key, w * w, length).reshape(shape)


def _sample(rows: int, seed: Sequence[int]) -> np.ndarray:
    if rows <= MOST_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(list(seed)).choice(rows, MOST_ROWS, replace=False))


def _together(
    features: Sequence[Part], rows: np.ndarray, groups: np.ndarray, told: np.ndarray, w: np.ndarray | None,
    asked: np.ndarray, settings: Settings,
) -> Areas:  # fmt: skip
    """The classifier's areas; groups beyond the largest are one class."""
    inputs = np.empty((len(rows), len(features)))
    for j, feature in enumerate(features):
        codes = feature.codes[rows]
        inputs[:, j] = codes if feature.missing is None else np.where(codes == feature.missing, np.nan, codes)
    categories = np.array([not feature.ordered for feature in features])
    rest = int(np.argmin(told))  # one of those that are not told, if there is one
    pooled = np.where(told[groups], groups, rest)
    folds = folds_of(pooled, [settings.seed, 3])
    return model_areas(inputs, categories, pooled, len(told), folds, w, asked, settings.confidence)


@dataclass(frozen=True, eq=False)
class _Attribute:
    """What the rows of one attribute's predictors have in common."""

    part: Part
    told: np.ndarray  # (groups,) bool: have a row
    asked: np.ndarray  # (groups,) bool: are large enough
    size: np.ndarray  # (groups,) rows
    n: int
    settings: Settings

    def rows(self, feature: str | None, areas: Areas | None, n: int, reason: str | None, method: str) -> list[Proxy]:
        """A row for each group, and one for the attribute."""
        nothing = Area(NAN, NAN, NAN, NAN)
        groups = [nothing] * len(self.told) if areas is None else areas.groups
        found = []
        for g in np.flatnonzero(self.told):
            status, why = self._status(groups[g].value, int(g))
            found.append(self._row(self.part.values[g], feature, groups[g], status, reason or why, n, method))
        mean = nothing if areas is None else areas.mean
        status, why = ("ok", None) if np.isfinite(mean.value) else ("undefined", self._lacking())
        if status == "ok" and self.asked.sum() < self.told.sum():
            why = f"over {self.asked.sum()} of {self.told.sum()} groups; the others have too few rows"
        return [*found, self._row(None, feature, mean, status, reason or why, n, method)]

    def v_row(self, feature: str, table: np.ndarray, reason: str | None) -> Proxy:
        value, p = cramers_v(table)
        status: ValueStatus = "ok" if np.isfinite(value) else "undefined"
        why = reason or (None if status == "ok" else "0/0: the feature or the attribute has one value only")
        method = "without bias; chi_squared" if status == "ok" else None
        return Proxy(self.part.name, None, feature, "cramers_v", value, status, why, NAN, NAN, p, self.n, method)

    def _row(
        self, group: str | None, feature: str | None, area: Area, status: ValueStatus, reason: str | None, n: int,
        method: str,
    ) -> Proxy:  # fmt: skip
        told = method if np.isfinite(area.value) else None
        return Proxy(
            self.part.name, group, feature, "auc", area.value, status, reason, area.low, area.high, area.p, n, told
        )

    def _status(self, value: float, group: int) -> tuple[ValueStatus, str | None]:
        rows, least = int(self.size[group]), self.settings.least
        if not np.isfinite(value):
            few = 0 < rows < least
            return ("insufficient_data", f"rests on {rows} rows; {least} are needed") if few else (
                "undefined", self._lacking())  # fmt: skip
        if rows < least:
            return "insufficient_data", f"rests on {rows} rows; {least} are needed"
        return "ok", None

    def _lacking(self) -> str:
        if np.count_nonzero(self.size[self.part.known]) < 2:
            return "0/0: there is only one group"
        return "no group has enough rows" if not self.asked.any() else "0/0: a side is empty"


def _adjusted(rows: Sequence[Proxy], own: Sequence[str]) -> tuple[Proxy, ...]:
    """Holm within the attribute and measure. With two groups, their areas and their mean are one question."""
    found = list(rows)
    for measure in ("auc", "cramers_v"):
        groups = {row.group for row in rows if row.group is not None}
        asked: dict[tuple, float] = {}
        keys: dict[int, tuple] = {}
        for i, row in enumerate(rows):
            if row.measure == measure and row.feature not in own and np.isfinite(row.p):
                keys[i] = (row.feature, None if len(groups) <= 2 else row.group)
                asked[keys[i]] = row.p  # the mean's row comes last
        strict = dict(zip(asked, significance.holm(np.array(list(asked.values()))).tolist(), strict=True))
        for i, key in keys.items():
            found[i] = replace(found[i], p_adjusted=strict[key])
    return tuple(found)
