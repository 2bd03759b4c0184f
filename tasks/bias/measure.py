"""From rows to numbers: every metric of every group, every comparison of groups, and the p-values corrected."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from tasks.bias.base import Measured, Metric, View
from tasks.bias.disparities import Disparity, Gap, Situation, best_group, included
from tasks.bias.frames import GAPS, agreed, fairlearn_gaps, fairlearn_values
from tasks.bias.registry import BY_CLASS
from tasks.bias.rows.counts import Counts
from tasks.bias.rows.evidence import Evidence
from tasks.bias.rows.groups import LARGEST, Attribute
from tasks.bias.statistics.resampling import Resampler
from tasks.bias.statistics.significance import benjamini_hochberg, holm

#: with more classes than this, single classes are held against the rest over all rows only, not by group
MAX_CLASSES = 50
#: with more classes than this, groups are not compared in single classes
MAX_COMPARED = 10


@dataclass(frozen=True, eq=False)
class Settings:
    """What the config says on uncertainty."""

    confidence: float = 0.95
    least: int = 30  # min_group_size
    resamples: int = 2000
    seed: int = 0


class Of(NamedTuple):
    """What a number is of: a metric of the declared outcomes, or of one class, one feature, one technique."""

    metric: str
    output: str | None = None
    feature: str | None = None
    technique: str | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """One attribute, measured: what → its values by group."""

    attribute: Attribute
    view: View
    values: dict[Of, Measured]

    def of(self, metric: str) -> Measured:
        """The metric of the declared outcomes."""
        return self.values[Of(metric)]

    def has(self, metric: str) -> bool:
        return Of(metric) in self.values


@dataclass(frozen=True, eq=False)
class Compared:
    """One attribute, its groups compared.

    Attributes:
        found: their metrics.
        reference: the group that others are held against, or None.
        gaps: comparison of the declared outcomes → its rows, that of the attribute last.
        beside: comparison → its rows of single classes, features and techniques.
    """

    found: Found
    reference: int | None
    gaps: dict[str, list[Gap]]
    beside: dict[str, list[Gap]] = field(default_factory=dict)


def measure(evidence: Evidence, attribute: Attribute, metrics: Sequence[Metric], settings: Settings) -> Found:
    """Every metric of every group of one attribute; of several classes, each against the rest too."""
    counts = Counts.of(attribute.codes, len(attribute.groups), evidence.label, evidence.decision, evidence.weight)
    seed = (settings.seed, *(attribute.name or "").encode())
    view = View(evidence, attribute.codes, counts, settings.confidence, draws=settings.resamples, seed=seed)
    values = {Of(m.name): m.measure(view) for m in metrics}
    if evidence.task == "multiclass" and (attribute.name is None or len(evidence.classes) <= MAX_CLASSES):
        for index, name in enumerate(evidence.classes):
            rest = replace(view, of_class=index)
            values.update({Of(m.name, name): m.measure(rest) for m in metrics if m.per_class})
    return Found(attribute, view, values)


def with_fairlearn(found: Found, metrics: Sequence[Metric]) -> Found:
    """The same, with the values that fairlearn's MetricFrame computes for those metrics that it has.

    Raises:
        Incomplete: fairlearn and the table of counts disagree.
    """
    values = dict(found.values)
    for name, theirs in fairlearn_values(found.view, metrics).items():
        ours = values[Of(name)]
        values[Of(name)] = replace(ours, value=agreed(name, ours.value, theirs))
    return replace(found, values=values)


def compare(found: Found, disparities: Sequence[Disparity], settings: Settings) -> Compared:
    """Every comparison of one attribute's groups; of several classes, some of each class against the rest too."""
    situation = situation_of(found, settings)
    gaps = {entry.name: entry.compare(situation) for entry in disparities}
    beside: dict[str, list[Gap]] = {}
    evidence = found.view.evidence
    if evidence.task == "multiclass" and len(evidence.classes) <= MAX_COMPARED:
        for index, name in enumerate(evidence.classes):
            single = situation_of(found, settings, of_class=index)
            for entry in BY_CLASS:
                if all(base in single.measured for base in entry.bases):
                    rows = [replace(gap, output=name) for gap in entry.compare(single)]
                    beside.setdefault(entry.name, []).extend(rows)
    return Compared(found, situation.reference, gaps, beside)


def situation_of(found: Found, settings: Settings, *, of_class: int | None = None) -> Situation:
    """What comparisons of one attribute's groups are given.

    Args:
        of_class: index of the class that is held against the rest; None: the declared outcomes.
    """
    output = None if of_class is None else found.view.evidence.classes[of_class]
    name = found.attribute.name or ""
    return Situation(
        view=found.view if of_class is None else replace(found.view, of_class=of_class),
        measured={of.metric: values for of, values in found.values.items() if of == Of(of.metric, output)},
        names=found.attribute.groups,
        least=settings.least,
        reference=reference_group(found, settings.least, output=output),
        resampler=Resampler(settings.resamples, (settings.seed, *name.encode())),
        known=found.attribute.known,
    )


def check_with_fairlearn(compared: Compared, least: int) -> None:
    """Holds our aggregates against fairlearn's, where they are over the same groups and nothing is 0/0.

    Ours are the ones given out: they are rounded once, so that 0.4 − 0.3 is 0.1.

    Raises:
        Incomplete: they differ.
    """
    groups = {}
    for name, rates in GAPS.items():
        if name in compared.gaps and np.isfinite(compared.gaps[name][-1].value):
            over = [included(compared.found.of(rate), least) for rate in rates]
            if all(np.array_equal(over[0], other) for other in over):
                groups[name] = over[0]
    for name, theirs in fairlearn_gaps(compared.found.view, groups).items():
        agreed(name, np.array([compared.gaps[name][-1].value]), np.array([theirs]))


def reference_group(found: Found, least: int, *, output: str | None = None) -> int | None:
    """The group that others are held against: the one that is named, the largest, or (the default) the best-off.

    The best-off has the highest selection rate (of a single class: is most often decided to be it); where nothing is
    selected, as in a regression, it is the largest. Groups that are not known are never chosen, only named.
    """
    attribute = found.attribute
    if attribute.reference in attribute.groups:
        return attribute.groups.index(str(attribute.reference))
    rate = found.values.get(Of("selection_rate", output))
    if rate is None or attribute.reference == LARGEST:
        rate = found.of("count")
    return best_group(rate, least, known=attribute.known)


@dataclass(frozen=True, eq=False)
class Adjusted:
    """p-values corrected for their number: `asked_of` an attribute's gap → Holm's p and Benjamini and Hochberg's q."""

    p: dict[Hashable, float]
    q: dict[Hashable, float]


def asked_of(attribute: str | None, gap: Gap) -> Hashable:
    """What a row tests; rows with the same one test the same thing."""
    return attribute, gap.output, gap.feature, gap.technique, gap.hypothesis


def adjust(compared: Sequence[Compared]) -> Adjusted:
    """Holm within an attribute, Benjamini–Hochberg over the audit. A hypothesis that several rows test counts once.

    Comparisons of single classes, and of what a technique says, are families of their own within the attribute.
    """
    families: dict[Hashable, dict[Hashable, float]] = {}
    for one in compared:
        name = one.found.attribute.name
        for rows in (*one.gaps.values(), *one.beside.values()):
            for gap in rows:
                if gap.hypothesis is not None and not np.isnan(gap.p):
                    families.setdefault((name, gap.output, gap.technique), {})[asked_of(name, gap)] = gap.p
    strict: dict[Hashable, float] = {}
    asked: dict[Hashable, float] = {}
    for own in families.values():
        strict.update(zip(own, holm(np.array(list(own.values()))).tolist(), strict=True))
        asked.update(own)
    false_discovery = benjamini_hochberg(np.array(list(asked.values())))
    return Adjusted(strict, dict(zip(asked, false_discovery.tolist(), strict=True)))
