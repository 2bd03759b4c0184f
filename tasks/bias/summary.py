"""What the summary and the report say of the groups: facts as JSON values, findings as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from configs.schema import AuditConfig
from tasks.bias.base import Measured, Metric
from tasks.bias.families.conditional import NAMES as CONDITIONAL
from tasks.bias.legal.four_fifths import four_fifths
from tasks.bias.measure import Adjusted, Compared, Found, Of, Settings, asked_of
from tasks.bias.registry import DISPARITIES, METRICS, why_not
from tasks.bias.rows.evidence import Evidence
from tasks.bias.rows.groups import LARGEST, Attribute
from tasks.bias.statistics.alike import chances, effective_rows
from tasks.bias.statistics.power import detectable
from tasks.bias.wording import TESTS, listed, number, p_value, percent, share_of
from tasks.contracts import Finding

#: how intervals of comparisons are made: their table has no column for it
INTERVALS = {
    "difference of two groups": "MOVER on the groups' intervals; for rates Newcombe's",
    "ratio of two groups": "MOVER on the groups' intervals; open above where the reference's rate may be 0",
    "equalized odds of two groups": "the worse limit of both rates, each at half the error (Bonferroni)",
    "attribute with two groups": "that of the two groups, without the sign",
    "attribute with more groups": "bootstrap by multinomial draws on the table of counts (with weights by gamma draws):"
    " near end simultaneous over the pairs of groups, far end a percentile",
    "attribute with more groups, not of counts": "the same, with draws from the groups' estimates and standard errors",
    "labels of two classes": "that of the difference of label rates, without the sign; of divergences as for more",
    "labels of more classes": "above percentile bootstrap, below the least disparity that makes it no surprise",
    "conditional acceptance, conditional rejection": "MOVER on the groups' score intervals of paired shares",
    "treatment equality": "MOVER on Wilson's of the misses among errors, transformed",
    "conditional demographic disparity": "MOVER on Wilson's of both averaged shares, and what strata vary by",
    "class_imbalance": "Wilson's of nₐ/(nₐ + n_d), stretched",
}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _cell(measured: Measured, group: int, least: int) -> dict[str, Any]:
    status, reason = measured.status(group, least)
    return {
        "value": _number(measured.value[group]),
        "ci": [_number(measured.low[group]), _number(measured.high[group])],
        "n": int(measured.n[group]),
        "numerator": _number(measured.numerator[group]),
        "denominator": _number(measured.denominator[group]),
        "status": status,
        "reason": reason,
    }


def facts_of(
    config: AuditConfig, evidence: Evidence, overall: Found, compared: Sequence[Compared], metrics: Sequence[Metric]
) -> dict[str, Any]:
    """JSON values for the summary and the report."""
    least = config.bias.min_group_size
    absent: dict[str, list[str]] = {}
    for metric in METRICS.values():
        reason = why_not(config, metric)
        if reason is not None and evidence.task in metric.tasks:
            absent.setdefault(reason.removeprefix(metric.name).strip(), []).append(metric.name)
    for name in CONDITIONAL if config.data.sensitive else ():
        reason = why_not(config, DISPARITIES[name])
        if reason is not None and reason.startswith(name):
            absent.setdefault(reason.removeprefix(name).strip(), []).append(name)
    return {
        "confidence": config.bias.confidence,
        "min_group_size": least,
        "resamples": config.bias.resamples,
        "favorable": [evidence.classes[k] for k in evidence.favorable],
        "positive": [evidence.classes[k] for k in evidence.positive],
        "weight": config.data.weight,
        "rows": {
            "total": evidence.rows,
            "without_label": int(np.count_nonzero(~evidence.labelled)),
            "without_decision": int(np.count_nonzero(evidence.decision < 0)) if evidence.decides else None,
        },
        "performance": {metric.name: _cell(overall.of(metric.name), 0, least) for metric in metrics},
        "not_applicable": [{"metrics": names, "reason": reason} for reason, names in absent.items()],
        "intervals": INTERVALS,
        "attributes": [_attribute(one, least, config.bias.confidence) for one in compared],
        "no_disparity": {str(one.found.attribute.name): _no_disparity(config, one) for one in compared},
    }


def _no_disparity(config: AuditConfig, one: Compared) -> dict[str, dict[str, float]]:
    """Comparison → what its aggregate would be if all groups were alike, and the p-value of what it is."""
    settings = Settings(config.bias.confidence, config.bias.min_group_size, config.bias.resamples, config.explain.seed)
    return {
        name: {"expected": chance.expected, "p95": chance.p95, "p": chance.p}
        for name, chance in chances(one, settings).items()
    }


def _attribute(one: Compared, least: int, confidence: float) -> dict[str, Any]:
    attribute, found = one.found.attribute, one.found
    selects = found.has("selection_rate")
    rows = found.of("count").value
    seen = _detectable(one, 1 - confidence)
    groups = []
    for g, name in enumerate(attribute.groups):
        entry: dict[str, Any] = {"group": name, "n": int(rows[g])}
        if selects:
            entry["selection_rate"] = _cell(found.of("selection_rate"), g, least)
            entry["four_fifths"] = _four_fifths(found, g, one.reference, confidence)
            entry["detectable"] = {name: least_seen[g] for name, least_seen in seen.items()}
        groups.append(entry)
    small = [
        {"group": name, "n": int(rows[g]), "reason": f"fewer than {least} rows"}
        for g, name in enumerate(attribute.groups)
        if rows[g] < least
    ]
    empty = [{"group": name, "n": 0, "reason": "no rows"} for name in attribute.empty]
    return {
        "attribute": attribute.name,
        "reference": None if one.reference is None else attribute.groups[one.reference],
        "reference_rule": _reference_rule(attribute, selects=selects, least=least),
        "groups": groups,
        "unknown": [{"group": attribute.groups[g], "n": int(rows[g])} for g in np.flatnonzero(~attribute.known)],
        "left_out": [*small, *empty],
    }


def _reference_rule(attribute: Attribute, *, selects: bool, least: int) -> str:
    if attribute.reference in attribute.groups:
        return "named in the config"
    highest = "highest selection rate" if selects and attribute.reference != LARGEST else "most rows"
    return f"the {highest} of the groups with at least {least} rows; of all groups where none has"


def _detectable(one: Compared, level: float) -> dict[str, list[dict[str, Any]]]:
    """Rate → the smallest disparity of each group that would be found with 80 % power; see `power.py`."""
    return {
        name: [
            {"difference": found.difference, "ratio": found.ratio, "reason": found.reason}
            for found in detectable(
                METRICS[name], one.found.of(name), one.reference, level=level,
                effective=effective_rows(one, METRICS[name]) if one.found.view.counts.weighted else None,
            )
        ]
        for name in ("selection_rate", "true_positive_rate")
        if one.found.has(name)
    }  # fmt: skip


def _four_fifths(found: Found, group: int, reference: int | None, confidence: float) -> dict[str, Any] | None:
    """The rule's companions; None with weights, which have no counts, and for the reference itself."""
    if reference is None or group == reference or found.view.counts.weighted:
        return None
    rates = found.of("selection_rate")
    counts = [round(x) for g in (group, reference) for x in (rates.numerator[g], rates.denominator[g])]
    if not counts[1]:
        return None
    result = four_fifths(*counts, confidence=confidence)
    return {
        "ratio": None if result.ratio is None else float(result.ratio),
        "flag": result.flagged,
        "fisher_p": _number(result.fisher_p),
        "z": _number(result.z),
        "significant": result.significant,
        "ci": [_number(result.low), _number(result.high)],
        "shortfall": result.shortfall,
    }


def findings_of(
    config: AuditConfig, evidence: Evidence, compared: Sequence[Compared], adjusted: Adjusted
) -> tuple[Finding, ...]:
    """What a reader must know, the largest disparities first."""
    found = [*_gaps(config, compared, adjusted), *_label_rates(compared)]
    found += [*_small_groups(config, compared), *_unknown(compared), *_undefined(compared), *_missing(evidence)]
    return tuple(found)


def _gaps(config: AuditConfig, compared: Sequence[Compared], adjusted: Adjusted) -> Iterator[Finding]:
    level = 1 - config.bias.confidence
    for one in compared:
        told = [_rate_gap(one), _odds_gap(one), _mean_gap(one)]
        for sentence, metric in (pair for pair in told if pair):
            gap = one.gaps[metric][-1]
            p = adjusted.p.get(asked_of(one.found.attribute.name, gap), float("nan"))
            if p < level:
                judged = f"the groups differ by more than chance ({TESTS.get(gap.test or '', gap.test)}, {p_value(p)}"
                judged += " after Holm's correction)"
            elif np.isnan(p):
                judged = "no test could be made"
            else:
                judged = f"that could be chance ({TESTS.get(gap.test or '', gap.test)}, {p_value(p)} after Holm's"
                judged += " correction)"
            note = f" This {gap.reason}." if gap.reason and gap.reason.startswith("leaves out") else ""
            yield Finding(
                "warning" if p < level else "info", f"disparity_{metric}", f"{sentence}; {judged}.{note}",
                evidence="disparities", stage="bias",
            )  # fmt: skip


def _extremes(one: Compared, metric: str, disparity: str) -> tuple[Measured, int, int] | None:
    """The groups between which the widest gap in a metric lies: lowest, highest."""
    if disparity not in one.gaps:
        return None
    gap = one.gaps[disparity][-1]
    if gap.group is not None or not np.isfinite(gap.value):
        return None
    measured = one.found.of(metric)
    named = {row.group for row in one.gaps[disparity] if row.group is not None and row.status == "ok"}
    eligible = [g for g in range(len(measured.value)) if measured.defined[g] and (g in named or len(named) < 2)]
    if len(eligible) < 2:
        return None
    return measured, min(eligible, key=lambda g: measured.value[g]), max(eligible, key=lambda g: measured.value[g])


def _rate_gap(one: Compared) -> tuple[str, str] | None:
    found = _extremes(one, "selection_rate", "demographic_parity_ratio")
    if found is None:
        return None
    rates, low, high = found
    names = one.found.attribute.groups
    ratio = one.gaps["demographic_parity_ratio"][-1].value
    return (
        f"By {one.found.attribute.name}, the favourable decision is rarest for {names[low]},"
        f" {percent(rates.value[low])} ({share_of(rates.numerator[low], rates.denominator[low])}), and most frequent"
        f" for {names[high]}, {percent(rates.value[high])}"
        f" ({share_of(rates.numerator[high], rates.denominator[high])}): a ratio of {number(ratio)}",
        "demographic_parity_ratio",
    )


def _odds_gap(one: Compared) -> tuple[str, str] | None:
    if "equalized_odds_difference" not in one.gaps:
        return None
    gap = one.gaps["equalized_odds_difference"][-1]
    if gap.group is not None or not np.isfinite(gap.value):
        return None
    return (
        f"By {one.found.attribute.name}, true or false positive rates lie up to {100 * gap.value:.1f} percentage"
        " points apart (equalized odds)",
        "equalized_odds_difference",
    )


def _mean_gap(one: Compared) -> tuple[str, str] | None:
    found = _extremes(one, "mean_prediction", "mean_prediction_difference")
    if found is None:
        return None
    means, low, high = found
    names = one.found.attribute.groups
    return (
        f"By {one.found.attribute.name}, the mean prediction is lowest for {names[low]}, {number(means.value[low])},"
        f" and highest for {names[high]}, {number(means.value[high])}",
        "mean_prediction_difference",
    )


def _label_rates(compared: Sequence[Compared]) -> Iterator[Finding]:
    for one in compared:
        found = _extremes(one, "label_rate", "label_rate_difference")
        if found is None:
            continue
        rates, low, high = found
        names = one.found.attribute.groups
        yield Finding(
            "info", "label_rates",
            f"Before the model: by {one.found.attribute.name}, favourable labels are rarest for {names[low]},"
            f" {percent(rates.value[low])}, and most frequent for {names[high]}, {percent(rates.value[high])}.",
            evidence="group_metrics", stage="bias",
        )  # fmt: skip


def _small_groups(config: AuditConfig, compared: Sequence[Compared]) -> Iterator[Finding]:
    least = config.bias.min_group_size
    for one in compared:
        rows = one.found.of("count").value
        small = [f"{name} ({rows[g]:,.0f})" for g, name in enumerate(one.found.attribute.groups) if rows[g] < least]
        if small:
            yield Finding(
                "warning", "insufficient_groups",
                f"By {one.found.attribute.name}, {len(small):,} of {len(rows):,} groups have fewer than {least} rows,"
                f" too few to judge: {listed(small)}.",
                evidence="group_metrics", stage="bias",
            )  # fmt: skip


def _unknown(compared: Sequence[Compared]) -> Iterator[Finding]:
    for one in compared:
        attribute, rows = one.found.attribute, one.found.of("count").value
        unknown = np.flatnonzero(~attribute.known)
        if len(unknown):
            total = rows[unknown].sum()
            told = listed([f"{attribute.groups[g]} ({rows[g]:,.0f})" for g in unknown])
            yield Finding(
                "info", "unknown_groups",
                f"By {attribute.name}, the group of {total:,.0f} of {rows.sum():,.0f} rows is not known: {told}. They"
                " are counted and shown, and never what other groups are held against.",
                evidence="groups", stage="bias",
            )  # fmt: skip


def _undefined(compared: Sequence[Compared]) -> Iterator[Finding]:
    for one in compared:
        names = one.found.attribute.groups
        lacking: dict[str, set[int]] = {}
        for of, values in one.found.values.items():
            if of == Of(of.metric) and not values.undefined.startswith("not applicable"):
                for g in np.flatnonzero(~values.defined):
                    lacking.setdefault(values.undefined, set()).add(int(g))
        for reason, groups in lacking.items():
            told = listed([names[g] for g in sorted(groups)])
            yield Finding(
                "info", "undefined_values",
                f"By {one.found.attribute.name}, metrics are undefined ({reason}) for {told}.",
                evidence="group_metrics", stage="bias",
            )  # fmt: skip


def _missing(evidence: Evidence) -> Iterator[Finding]:
    unlabelled = int(np.count_nonzero(~evidence.labelled))
    if unlabelled:
        yield Finding(
            "warning", "rows_without_label",
            f"{unlabelled:,} of {evidence.rows:,} rows have no label; no metric that needs one counts them.",
            evidence="predictions", stage="bias",
        )  # fmt: skip
    undecided = int(np.count_nonzero(evidence.decision < 0)) if evidence.decides else 0
    if undecided:
        yield Finding(
            "warning", "rows_without_decision",
            f"{undecided:,} of {evidence.rows:,} rows have no decision; no metric of decisions counts them.",
            evidence="predictions", stage="bias",
        )  # fmt: skip
