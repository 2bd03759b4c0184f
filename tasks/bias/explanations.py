"""Explanations beside the groups: measured for every attribute, compared, and told where a disparity comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from configs.schema import AuditConfig
from tasks.bias.disparities import Gap
from tasks.bias.families.attributions import MAX_CELLS, MAX_GROUPS, mean_attributions, techniques_of
from tasks.bias.families.explained import GAPS
from tasks.bias.families.fidelity import mean_faithfulness
from tasks.bias.measure import MAX_CLASSES, Adjusted, Compared, Found, Of, Settings, asked_of, situation_of
from tasks.bias.rows.evidence import Evidence
from tasks.bias.statistics.moments import Means
from tasks.bias.statistics.resampling import Resampler
from tasks.bias.wording import listed, number
from tasks.contracts import Finding
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.persist import Workspace

#: techniques whose attributions add up to the output, the one to go by first
ADDITIVE = ("shap", "integrated_gradients")
#: comparisons by which groups are said to fare differently
_OUTCOMES = ("demographic_parity_difference", "mean_prediction_difference")
#: so many features are named at the most, and with them at least such a share of the difference
_NAMED, _MOST = 3, 0.5
_GAP_OF = {gap.bases[0]: gap for gap in GAPS.values()}


@dataclass(frozen=True, eq=False)
class Explained:
    """What was found, with the explanations in it."""

    overall: Found
    compared: tuple[Compared, ...]
    limitations: tuple[str, ...]


def with_explanations(
    workspace: Workspace,
    evidence: Evidence,
    overall: Found,
    compared: Sequence[Compared],
    settings: Settings,
    watch: Watch,
) -> Explained:
    """Adds mean attributions and faithfulness to what was measured, and their gaps to what was compared.

    Nothing is added where no technique explained single rows.

    Raises:
        Incomplete: an explained row was not predicted.
        Stopped, DeadlinePassed: as the watch says.
    """
    found = [overall, *(one.found for one in compared)]
    attributes = [one.attribute for one in found]
    own: list[dict[Of, Means]] = [{} for _ in found]
    crowded: dict[str, list[str]] = {}
    limitations = []
    for technique in techniques_of(workspace):
        told = mean_attributions(
            workspace, technique, evidence.row_id, attributes, evidence.weight, settings.confidence,
            lambda: watch.advance(0),
        )  # fmt: skip
        for entry, values in zip(own, told.values, strict=True):
            entry |= values
        for name in told.left_out:
            crowded.setdefault(name, []).append(technique)
        if told.outputs:
            limitations.append(
                f"{technique}: the attributions of {told.outputs:,} outputs past the first {MAX_CLASSES} are not"
                " compared between groups."
            )
    few = [k for k, attribute in enumerate(attributes) if len(attribute.groups) <= MAX_GROUPS]
    judged = mean_faithfulness(
        workspace, evidence.row_id, [attributes[k] for k in few], evidence.weight, settings.confidence
    )
    for k, values in zip(few, judged, strict=True):
        own[k] |= values
    limitations += [
        f"{name}: with more than {MAX_GROUPS} groups, or {MAX_CELLS:,} groups and features, attributions are not"
        f" compared ({listed(techniques)})."
        for name, techniques in crowded.items()
    ]
    whole, *parts = (
        replace(one, values={**one.values, **added}) if added else one for one, added in zip(found, own, strict=True)
    )
    return Explained(
        whole,
        tuple(
            replace(one, found=part, beside={**one.beside, **_gaps(part, added, settings)}) if added else one
            for one, part, added in zip(compared, parts, own[1:], strict=True)
        ),
        tuple(limitations),
    )


def _gaps(found: Found, values: dict[Of, Means], settings: Settings) -> dict[str, list[Gap]]:
    """Comparison → its rows of every technique, output and feature."""
    gaps: dict[str, list[Gap]] = {}
    situation = situation_of(found, settings)
    for of, means in values.items():
        entry = _GAP_OF[of.metric]
        # A resampler keeps what it drew, and nobody asks for a feature's draws again.
        fresh = Resampler(situation.resampler.draws, situation.resampler.seed)
        rows = entry.compare(replace(situation, measured={of.metric: means}, resampler=fresh))
        gaps.setdefault(entry.name, []).extend(
            replace(row, output=of.output, feature=of.feature, technique=of.technique) for row in rows
        )
    return gaps


# ---------------------------------------------------------------- findings


def carriers(config: AuditConfig, compared: Sequence[Compared], adjusted: Adjusted) -> Iterator[Finding]:
    """For each attribute whose groups fare differently by more than chance: the features that carry it.

    Between the reference group and the group whose mean output lies farthest from its own, by the first technique whose
    attributions add up to the output.
    """
    level = 1 - config.bias.confidence
    for one in compared:
        name = one.found.attribute.name
        ps = [adjusted.p.get(asked_of(name, one.gaps[metric][-1]), 1.0) for metric in _OUTCOMES if metric in one.gaps]
        rows = [gap for gap in one.beside.get("attribution_gap", []) if gap.group not in (None, gap.reference)]
        technique = next((t for t in ADDITIVE if any(gap.technique == t for gap in rows)), None)
        if not any(p < level for p in ps) or technique is None:
            continue
        output = _output(one.found.view.evidence, {gap.output for gap in rows if gap.technique == technique})
        pairs: dict[int, list[Gap]] = {}
        for gap in rows:
            if (gap.technique, gap.output) == (technique, output) and gap.group is not None:
                pairs.setdefault(gap.group, []).append(gap)
        sums = {
            group: sum(gap.value for gap in gaps)
            for group, gaps in pairs.items()
            if all(gap.status == "ok" for gap in gaps)
        }
        if sums:
            widest = max(sums, key=lambda group: abs(sums[group]))
            sentence = _sentence(one, pairs[widest], sums[widest], technique)
            if sentence:
                yield Finding("info", "features_carry_disparity", sentence, evidence="disparities", stage="bias")


def _output(evidence: Evidence, outputs: set[str | None]) -> str | None:
    """The output that speaks of the favourable outcome; where none does alone, the only one, or none."""
    wanted = [evidence.classes[k] for k in evidence.favorable or evidence.positive]
    of_wanted = sorted(str(o) for o in outputs if o is not None and o.rpartition("/")[2] in wanted)
    if len(of_wanted) == 1:
        return of_wanted[0]
    return next(iter(outputs)) if len(outputs) == 1 else None


def _sentence(one: Compared, gaps: list[Gap], total: float, technique: str) -> str | None:
    """The fewest features, three at the most, that make up most of the difference between two groups."""
    if not np.isfinite(total) or total == 0:
        return None
    ahead = sorted((gap for gap in gaps if gap.value * total > 0), key=lambda gap: -abs(gap.value))[:_NAMED]
    parts = [sum(gap.value for gap in ahead[: k + 1]) / total for k in range(len(ahead))]
    enough = next((k + 1 for k, share in enumerate(parts) if share >= _MOST), None)
    named = ahead[: enough or _NAMED]
    names, values = [str(gap.feature) for gap in named], [number(gap.value) for gap in named]
    groups = one.found.attribute.groups
    assert gaps[0].group is not None
    assert gaps[0].reference is not None
    means = one.found.values[Of("mean_attribution", named[0].output, named[0].feature, technique)]
    rows = [f"{means.n[g]:,}" for g in (gaps[0].group, gaps[0].reference)]
    carry = "carry" if len(named) > 1 else "carries"
    much = "most of the difference" if enough else "the largest parts of the difference"
    return (
        f"Between {groups[gaps[0].group]} and {groups[gaps[0].reference]} ({one.found.attribute.name}),"
        f" {listed(names)} {carry} {much} in the model's output for {named[0].output}, by {technique}: attribution"
        f" gap{'s' if len(named) > 1 else ''} {listed(values)} of {number(total)}, over {rows[0]} and {rows[1]}"
        " explained rows."
    )
