"""Rows of the `agreement` table: every two techniques, output by output, measure by measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tasks.agreement import maps, measures
from tasks.agreement.explanations import Explained, Mapped, Ranked, common_rows, pairs

#: how many of the largest attributions are compared
TOP_K = (3, 5)
#: below it two techniques are said to disagree
DISAGREE = 0.5
_NAMED = 3


@dataclass(frozen=True)
class Agreement:
    """One row of the table.

    Attributes:
        output: None where importances of the model as a whole are compared, or each row's decided output.
        k: for measures of the k largest.
        value: None where no row has one.
        ci_low, ci_high: of the mean over rows; None where there is nothing to average.
        n_rows: rows in which the measure is defined (importances: rows that the smaller one rests on).
        excluded: rows in which it is not.
    """

    technique_a: str
    technique_b: str
    output: str | None
    measure: str
    k: int | None
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_rows: int
    excluded: int = 0


@dataclass(frozen=True)
class Disagreement:
    """Two techniques that tell different stories about an output.

    Attributes:
        rank_correlation, shared: mean Spearman; mean share of the k largest that both have (None for maps).
        most: the features whose ranks differ most, with their mean ranks (1 is the largest) in a and in b.
    """

    technique_a: str
    technique_b: str
    output: str | None
    n_rows: int
    rank_correlation: float | None
    shared: float | None = None
    k: int | None = None
    most: tuple[tuple[str, float, float], ...] = field(default_factory=tuple)

    @property
    def worth(self) -> float:
        """The smaller of the two means: how little they agree."""
        return min(v for v in (self.rank_correlation, self.shared, np.inf) if v is not None)


def compare_attributions(
    explained: Sequence[Explained], confidence: float, tick: Callable[[], None] = lambda: None
) -> tuple[list[Agreement], list[Disagreement]]:
    """Every two techniques on the rows and features that both explained.

    Args:
        explained: entries of several techniques and outputs.
        confidence: of the interval of a mean over rows.
        tick: called once a pair and output.
    """
    found: list[Agreement] = []
    apart: list[Disagreement] = []
    for a, b in _matches(explained):
        rows_a, rows_b = common_rows(a.row_id, b.row_id)
        features = tuple(name for name in a.features if name in b.features)
        x, y = a.at(rows_a, features), b.at(rows_b, features)
        known = np.all(np.isfinite(x) & np.isfinite(y), axis=1)
        lost = len(known) - int(known.sum())
        x, y = x[known], y[known]
        for name, k, values in _measured(x, y):
            found.append(_mean(a, b, name, k, values, confidence, lost))
        disagreement = _disagreement(a, b, features, x, y)
        if disagreement is not None:
            apart.append(disagreement)
        tick()
    return found, apart


def compare_maps(
    mapped: Sequence[Mapped], confidence: float, tick: Callable[[], None] = lambda: None
) -> tuple[list[Agreement], list[Disagreement]]:
    """Every two techniques on the images that both explained.

    At the coarser of their resolutions, so that neither is credited with detail that it does not have. Where one of
    them has no negative values in its maps, only what speaks for the output is compared.
    """
    found: list[Agreement] = []
    apart: list[Disagreement] = []
    by_output: dict[str | None, list[Mapped]] = {}
    for one in mapped:
        by_output.setdefault(one.output, []).append(one)
    for entries in by_output.values():
        prepared: dict[tuple[str, tuple[int, int], bool], tuple[np.ndarray, np.ndarray]] = {}

        def at(
            one: Mapped, size: tuple[int, int], signed: bool, kept: dict[Any, Any] = prepared
        ) -> tuple[np.ndarray, np.ndarray]:
            """Maps and the standardised ranks of their cells; made once for all pairs."""
            key = (one.technique, size, signed)
            if key not in kept:
                grid = maps.resized(one.maps, size)
                grid = grid if signed else np.maximum(grid, 0)
                kept[key] = grid, measures.standard_ranks(grid.reshape(len(grid), -1))
            return kept[key]

        for a, b in _matches(entries):
            rows_a, rows_b = common_rows(a.row_id, b.row_id)
            size = min(a.maps.shape[1], b.maps.shape[1]), min(a.maps.shape[2], b.maps.shape[2])
            signed = bool(np.any(a.maps < 0) and np.any(b.maps < 0))
            (x, ranks_x), (y, ranks_y) = at(a, size, signed), at(b, size, signed)
            correlation = (ranks_x[rows_a] * ranks_y[rows_b]).sum(axis=1)
            found.append(_mean(a, b, "spearman", None, np.clip(correlation, -1, 1), confidence))
            found.append(_mean(a, b, "ssim", None, maps.structural_similarity(x[rows_a], y[rows_b]), confidence))
            mean = found[-2].value
            if mean is not None and mean < DISAGREE:
                apart.append(Disagreement(a.technique, b.technique, a.output, found[-2].n_rows, mean))
            tick()
    return found, apart


def compare_importances(ranked: Sequence[Ranked]) -> list[Agreement]:
    """Every two techniques' importances over features: one number each, so without an interval.

    An importance of the model as a whole is compared with the mean over the outputs of one that has several.
    """
    by_technique: dict[str, list[Ranked]] = {}
    for one in ranked:
        by_technique.setdefault(one.technique, []).append(one)
    found = []
    for first, second in pairs(sorted(by_technique)):
        ours, theirs = by_technique[first], by_technique[second]
        named_a, named_b = ({r.output: r for r in group if r.output is not None} for group in (ours, theirs))
        matched: list[tuple[Ranked, Ranked, str | None]]
        matched = [(named_a[o], named_b[o], o) for o in named_a if o in named_b]
        if not matched:
            a, b = _overall(ours), _overall(theirs)
            matched = [(a, b, a.output if a.output == b.output else None)]
        for a, b, output in matched:
            found += _importances(a, b, output)
    return found


def _matches(entries: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Entries of two techniques about one output."""
    by_technique: dict[str, dict[str | None, Any]] = {}
    for entry in entries:
        by_technique.setdefault(entry.technique, {})[entry.output] = entry
    return [
        (entry, by_technique[b][output])
        for a, b in pairs(sorted(by_technique))
        for output, entry in by_technique[a].items()
        if output in by_technique[b]
    ]


def _measured(x: np.ndarray, y: np.ndarray) -> list[tuple[str, int | None, np.ndarray]]:
    """Every measure of every row: name, k, (n,) values."""
    sizes = list(dict.fromkeys(min(k, x.shape[1]) for k in TOP_K)) if x.shape[1] else []
    found: list[tuple[str, int | None, np.ndarray]] = [
        (name, k, measure(x, y, k)) for name, measure in measures.TOP.items() for k in sizes
    ]
    return found + [(name, None, measure(x, y)) for name, measure in measures.WHOLE.items()]


def _mean(a: Any, b: Any, name: str, k: int | None, values: np.ndarray, confidence: float, lost: int = 0) -> Agreement:
    known = values[np.isfinite(values)]
    mean, low, high = measures.mean_interval(known, confidence, measures.LOWEST.get(name, 0.0), 1.0)
    return Agreement(
        a.technique, b.technique, a.output, name, k,
        _or_none(mean), _or_none(low), _or_none(high), len(known), len(values) - len(known) + lost,
    )  # fmt: skip


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _disagreement(
    a: Explained, b: Explained, features: tuple[str, ...], x: np.ndarray, y: np.ndarray
) -> Disagreement | None:
    """What is said where the rank correlation or the share of common top features is low; None where neither is."""
    if len(features) < 2 or not len(x):
        return None
    k = min(TOP_K[0], len(features))
    means = []
    for values in (measures.spearman(x, y), measures.feature_agreement(x, y, k)):
        known = values[np.isfinite(values)]
        means.append(float(known.mean()) if len(known) else None)
    if all(mean is None or mean >= DISAGREE for mean in means):
        return None
    ranks_a, ranks_b = measures.ranks(x) + 1.0, measures.ranks(y) + 1.0
    gap = np.abs(ranks_a - ranks_b).mean(axis=0)
    largest = np.argsort(-gap, kind="stable")[:_NAMED]
    most = tuple((features[j], float(ranks_a[:, j].mean()), float(ranks_b[:, j].mean())) for j in largest)
    return Disagreement(a.technique, b.technique, a.output, len(x), means[0], means[1], k, most)


def _overall(group: Sequence[Ranked]) -> Ranked:
    """A technique's importance of the model as a whole: its own, or the mean over its outputs."""
    whole = next((one for one in group if one.output is None), None)
    if whole is not None:
        return whole
    if len(group) == 1:
        return group[0]
    features = tuple(name for name in group[0].features if all(name in one.features for one in group))
    values = np.mean([[one.values[one.features.index(name)] for name in features] for one in group], axis=0)
    return Ranked(group[0].technique, None, features, values, min(one.n_rows for one in group))


def _importances(a: Ranked, b: Ranked, output: str | None) -> list[Agreement]:
    features = [name for name in a.features if name in b.features]
    x = np.array([[a.values[a.features.index(name)] for name in features]])
    y = np.array([[b.values[b.features.index(name)] for name in features]])
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known][None, :], y[known][None, :]
    if not x.size:
        return []
    results: list[tuple[str, int | None, np.ndarray]] = [
        ("importance_spearman", None, measures.spearman(x, y)),
        ("importance_kendall", None, measures.kendall(x, y)),
    ]
    sizes = dict.fromkeys(min(k, x.shape[1]) for k in TOP_K)
    results += [("importance_feature_agreement", k, measures.feature_agreement(x, y, k)) for k in sizes]
    n_rows = min(a.n_rows, b.n_rows)
    return [
        Agreement(a.technique, b.technique, output, name, k, _or_none(float(values[0])), None, None, n_rows)
        for name, k, values in results
    ]
