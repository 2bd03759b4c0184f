"""Comparisons of what explanations say of groups: which features carry a disparity, and for whom explanations are worth
less. The numbers come from `attributions.py` and `fidelity.py`; names, tests and intervals are here.

Their metrics have a technique, those of attributions a feature and an output too; nothing of them is measured where no
technique explained anything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from configs.schema import AuditConfig, PolicyCheck
from tasks.bias.base import ALL_TASKS, Better, Measured, Metric, View, nothing
from tasks.bias.disparities import Disparity, Gap, Situation, against_reference, included
from tasks.bias.statistics.moments import Means
from tasks.errors import ConfigError

if TYPE_CHECKING:
    from tasks.explain import Technique


def _elsewhere(view: View) -> Measured:
    """Labels and decisions do not hold these metrics: they are read from the explanations' tables."""
    return nothing(view, "0/0: no explained row")


def _metric(name: str, title: str, better: Better, lowest: float, highest: float, *, signed: bool) -> Metric:
    return Metric(
        name, title, _elsewhere, tasks=ALL_TASKS, better=better, labels=False, lowest=lowest, highest=highest,
        signed=signed,
    )  # fmt: skip


_ANY = float("inf")
#: id → metric of a group's explanations
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        # Σwφ/Σw of a feature over the explained rows, in the unit of the output; no direction.
        _metric("mean_attribution", "mean attribution", None, -_ANY, _ANY, signed=True),
        # Mean insertion area − deletion area over the judged rows (Petsiuk et al. 2018), in the unit of the output.
        _metric("faithfulness", "faithfulness of explanations", "higher", -_ANY, _ANY, signed=False),
        # Mean µ-fidelity over the judged rows (Bhatt et al. 2020).
        _metric("mu_fidelity", "µ-fidelity of explanations", "higher", -1, 1, signed=False),
        # Mean |base value + Σφ − prediction| over the explained rows: what a local line misses its own row by.
        _metric("completeness_error", "completeness error of explanations", "lower", 0, _ANY, signed=False),
    )
}


def _gap(name: str, title: str, metric: Metric) -> Disparity:
    """The group's mean − the reference group's, Welch's interval and test; for the attribute max − min, ≥ 0.

    Below 0 the group's mean is lower: a feature with a negative attribution gap speaks more against the group, or less
    for it, than for the reference group. Of a technique whose attributions add up to the output, the gaps of all
    features add up to the gap in the mean output. No direction; 0 is the ideal.

    Source: METRICS.md; explanation_fidelity_gap after Balagopalan et al. 2022 (FAccT), who ask for it between groups.
    """

    def compare(situation: Situation) -> list[Gap]:
        measured = situation.measured[metric.name]
        *pairs, whole = against_reference(situation, metric, measured, "difference", from_reference=False)
        return [*(_welch(situation, measured, gap) for gap in pairs), _widest(situation, measured, whole)]

    return Disparity(name, title, "difference", (metric.name,), compare, attained=False, signed=True)


#: id → comparison of groups in those metrics
GAPS: dict[str, Disparity] = {
    gap.name: gap
    for gap in (
        _gap("attribution_gap", "gap in mean attribution", METRICS["mean_attribution"]),
        _gap("explanation_fidelity_gap", "gap in the faithfulness of explanations", METRICS["faithfulness"]),
        _gap("mu_fidelity_gap", "gap in the µ-fidelity of explanations", METRICS["mu_fidelity"]),
        _gap("completeness_error_gap", "gap in the completeness error of explanations", METRICS["completeness_error"]),
    )
}
#: ids that have a feature too
OF_FEATURES = frozenset({"mean_attribution", "attribution_gap"})


# ---------------------------------------------------------------- Welch


def _welch(situation: Situation, measured: Measured, gap: Gap) -> Gap:
    """The row of a group against another with Welch's interval and p-value."""
    if gap.group is None or gap.group == gap.reference or gap.reference is None or not np.isfinite(gap.value):
        return gap
    low, high, p = welch(measured, gap.group, gap.reference, situation.view.confidence)
    return replace(gap, low=low, high=high, p=p, test=None if np.isnan(p) else "welch")


def welch(measured: Measured, i: int, j: int, confidence: float) -> tuple[float, float, float]:
    """(low, high, p-value) of mean i − mean j by Welch's t with Satterthwaite's degrees of freedom.

    Without a spread in either group the interval is the difference itself and nothing can be tested (p is NaN).
    """
    from scipy.special import stdtr, stdtrit

    variances = np.array([measured.std_error[i], measured.std_error[j]], float) ** 2
    degrees = measured.degrees[[i, j]] if isinstance(measured, Means) else measured.n[[i, j]] - 1.0
    difference, spread = float(measured.value[i] - measured.value[j]), float(np.sqrt(variances.sum()))
    if not np.isfinite(spread):  # a group of a single row
        return float("nan"), float("nan"), float("nan")
    if spread == 0:
        return difference, difference, float("nan")
    freedom = variances.sum() ** 2 / float((variances**2 / degrees).sum())
    half = float(stdtrit(freedom, 0.5 + confidence / 2)) * spread
    return difference - half, difference + half, float(2 * stdtr(freedom, -abs(difference) / spread))


def _widest(situation: Situation, measured: Measured, gap: Gap) -> Gap:
    """The attribute's row; of two groups with Welch's interval, without the sign, and p-value."""
    groups = included(measured, situation.least)
    if len(groups) != 2 or not np.isfinite(gap.value):
        return gap
    lower, higher = (int(g) for g in groups[np.argsort(measured.value[groups], kind="stable")])
    low, high, p = welch(measured, higher, lower, situation.view.confidence)
    return replace(gap, low=max(low, 0.0), high=high, p=p, test=None if np.isnan(p) else "welch")


# ---------------------------------------------------------------- what an audit has


def why_not(config: AuditConfig, name: str) -> str | None:
    """Why an audit cannot have one of these metrics or comparisons; None where it can."""
    if name in OF_FEATURES and _modality(config) == "image":
        return f"{name} is of features, and explanations of images have none"
    if not _explaining(config):
        known = ", ".join(technique.name for technique in _local(config))
        return f"{name} needs a technique that explains single rows under explain.techniques; available: {known}"
    return None


def check_names(config: AuditConfig, check: PolicyCheck, where: str) -> None:
    """Whether a check's technique and feature fit its metric; `where` is the check's place in the config.

    Raises:
        ConfigError: they belong to another metric, or the technique is not one of this audit's.
    """
    explained = check.metric in METRICS or check.metric in GAPS
    if check.technique is not None and not explained:
        raise ConfigError(
            f"{check.metric} has no technique", where=f"{where}.technique", code="technique_not_applicable",
            hint="remove it", available=[*METRICS, *GAPS],
        )  # fmt: skip
    if check.feature is not None and check.metric not in OF_FEATURES:
        raise ConfigError(
            f"{check.metric} has no feature", where=f"{where}.feature", code="feature_not_applicable",
            hint="remove it", available=sorted(OF_FEATURES),
        )  # fmt: skip
    names = [technique.name for technique in _explaining(config)]
    if check.technique is not None and check.technique not in names:
        raise ConfigError(
            f"{check.technique} is not a technique of this audit that explains single rows",
            where=f"{where}.technique", code="unknown_technique", available=names,
        )  # fmt: skip


def _modality(config: AuditConfig) -> str:
    return "image" if config.model.inputs == "image" or config.data.image is not None else "table"


def _local(config: AuditConfig) -> list[Technique]:
    from tasks.explain import TECHNIQUES

    return [t for t in TECHNIQUES if t.modality == _modality(config) and t.scope == "local"]


def _explaining(config: AuditConfig) -> list[Technique]:
    """The techniques of this audit that explain single rows."""
    named = config.explain.techniques
    return [t for t in _local(config) if named is None or t.name in named]
