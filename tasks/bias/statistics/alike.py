"""What each aggregate of an attribute would be if its groups were alike: which draws serve which comparison."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np

from tasks.bias.base import Metric
from tasks.bias.disparities import Disparity, included
from tasks.bias.families.labels import DIVERGENCES, farthest
from tasks.bias.measure import Compared, Settings
from tasks.bias.registry import DERIVED, DISPARITIES, METRICS
from tasks.bias.statistics.chance import (
    Chance,
    Estimates,
    no_disparity,
    no_disparity_of_estimates,
    no_disparity_of_table,
)


def chances(one: Compared, settings: Settings) -> dict[str, Chance]:
    """Comparison → what its row of the attribute would be with no disparity, and the p-value of what it is.

    Not there: comparisons that are no widest gap between groups (sizes of groups are no matter of chance), that have
    no value, or whose groups rest on too few rows for their standard errors.
    """
    known: dict[Hashable, Any] = {}
    found = {}
    for name, rows in one.gaps.items():
        entry = DISPARITIES.get(name) or DERIVED.get(name)
        if entry is None or not np.isfinite(rows[-1].value):
            continue
        chance = _of_labels(one, settings, name) if name in DIVERGENCES else _of_metrics(one, settings, entry, known)
        # What was drawn must be the very statistic that the row holds.
        if chance is not None and math.isclose(chance.observed, rows[-1].value, rel_tol=1e-9, abs_tol=1e-12):
            found[name] = chance
    return found


def _of_metrics(one: Compared, settings: Settings, entry: Disparity, known: dict) -> Chance | None:
    seed, draws = settings.seed, settings.resamples
    found, name = one.found, str(one.found.attribute.name)
    if not all(found.has(base) for base in entry.bases):
        return None
    rates = {base: found.of(base) for base in entry.bases}
    groups = {base: included(rate, settings.least) for base, rate in rates.items()}
    weighted = found.view.counts.weighted
    if not weighted and all(METRICS[base].proportion for base in entry.bases):
        counts = {base: (rate.numerator[groups[base]], rate.denominator[groups[base]]) for base, rate in rates.items()}
        return no_disparity(entry, counts, name, seed=seed, draws=draws, known=known)
    if any(not rate.sufficient(settings.least)[groups[base]].all() for base, rate in rates.items()):
        return None
    estimates = {
        base: Estimates.of(rate, groups[base], effective_rows(one, METRICS[base]) if weighted else None)
        for base, rate in rates.items()
    }
    return no_disparity_of_estimates(entry, estimates, name, seed=seed, draws=draws, known=known)


def effective_rows(one: Compared, metric: Metric) -> np.ndarray | None:
    """(groups,) Kish's number of the rows that a share is of; None for what is no share of a table of counts."""
    if not metric.proportion or metric.of is None:
        return None
    return one.found.view.tables[metric.of].effective(metric.shares[0][1])


def _of_labels(one: Compared, settings: Settings, name: str) -> Chance | None:
    counts, reference = one.found.view.counts, one.reference
    if reference is None:
        return None
    labelled = counts.label >= 0
    classes, label = np.unique(counts.label[labelled], return_inverse=True)
    shape = (counts.groups, len(classes))
    key = counts.group[labelled] * len(classes) + label
    rows, weight, square = (
        np.bincount(key, values[labelled], counts.groups * len(classes)).reshape(shape)
        for values in (counts.rows, counts.weight, counts.square)
    )
    enough = rows.sum(1) >= settings.least
    groups = np.flatnonzero(enough)
    if not enough[reference] or len(groups) < 2:
        groups = np.flatnonzero(rows.sum(1) > 0)
    if reference not in groups:
        return None
    anchor = int(np.searchsorted(groups, reference))
    effective = weight.sum(1) ** 2 / np.maximum(square.sum(1), 1e-300) if counts.weighted else None
    return no_disparity_of_table(
        lambda table: farthest(table, anchor, DIVERGENCES[name]),
        weight[groups], name, str(one.found.attribute.name), seed=settings.seed, draws=settings.resamples,
        effective=None if effective is None else effective[groups],
    )  # fmt: skip
