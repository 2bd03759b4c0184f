"""The stage: thresholds that meet the policy, their price, and whom they concern. It judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig
from tasks.advice.aims import aims_of
from tasks.advice.curves import MAX_STEPS, NONE, Cut, curves_of, cut_of, uncut
from tasks.advice.outcomes import Case, Outcome, Plan, outcomes_of
from tasks.advice.search import MAX_PAIR, MAX_SINGLE
from tasks.advice.telling import LABEL, LIMITATION, WARNING, facts_of, finite
from tasks.advice.tradeoff import Point, tradeoff_of
from tasks.bias import Attribute, Evidence, Settings, attributes_of, evidence_of, sensitive_columns
from tasks.contracts import Done, Finding, NotApplicable, schema_of
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.persist import Workspace


class Tried(NamedTuple):
    """One attribute and aim: what every plan comes to, or a plan that there is not; and the trade-off."""

    case: Case
    outcomes: list[Outcome | Plan]
    points: list[Point]


def advise(config: AuditConfig, workspace: Workspace, watch: Watch) -> Done | NotApplicable:
    """Tries other thresholds and writes `thresholds` and `tradeoffs`.

    Thresholds are chosen on all rows, and once more on a seeded half, to be evaluated on the other half: what was
    chosen to look well on some rows looks worse on others.

    Raises:
        DataRefused: a sensitive column or a weight cannot be used.
        Incomplete: the predictions do not fit the data.
        StorageError, Stopped, DeadlinePassed: as the workspace and the watch say.
    """
    from tasks.load import open_data

    reason = uncut(config)
    if reason is not None:
        return reason
    data = open_data(config)
    evidence = evidence_of(config, workspace.table_path("predictions"), data)
    cut = cut_of(config, evidence)
    if isinstance(cut, NotApplicable):
        return cut
    attributes = attributes_of(config, sensitive_columns(config, data, evidence.position))
    data.forget()
    settings = Settings(config.bias.confidence, config.bias.min_group_size, config.bias.resamples, config.explain.seed)
    half = np.random.default_rng([config.explain.seed, *b"halves"]).integers(0, 2, evidence.rows, np.int8).astype(bool)
    watch.expect(len(attributes))
    tried: list[Tried] = []
    skipped: list[str] = []
    for attribute in attributes:
        cases, others = _cases(config, evidence, cut, attribute, settings, half)
        skipped += others
        tried += [Tried(case, list(outcomes_of(case, watch)), tradeoff_of(case, watch)) for case in cases]
        watch.advance()
    return Done(
        stage="advice",
        tables=(
            workspace.write_table("thresholds", _threshold_table(tried)),
            workspace.write_table("tradeoffs", _tradeoff_table(tried)),
        ),
        findings=tuple(_findings(tried)),
        limitations=(LIMITATION, *_limitations(config, cut)),
        facts={
            "label": LABEL, "warning": WARNING, "rows": evidence.rows, "weighted": cut.weight is not None,
            "threshold": finite(cut.threshold),
            "upper_class": evidence.classes[cut.classes[1]] if cut.classes[1] < len(evidence.classes) else None,
            "objective": "accuracy" if (cut.label != NONE).any() else "fewest changed decisions",
            "chosen_on": int((~half).sum()), "evaluated_on": int(half.sum()), "seed": config.explain.seed,
            "aims": [facts_of(case, outcomes) for case, outcomes, _ in tried], "skipped": skipped,
        },
    )  # fmt: skip


def _cases(
    config: AuditConfig, evidence: Evidence, cut: Cut, attribute: Attribute, settings: Settings, half: np.ndarray
) -> tuple[list[Case], list[str]]:
    aims, others = aims_of(config, str(attribute.name), attribute.groups, cut)
    whole, first, second = curves_of(cut, attribute.codes, len(attribute.groups), half)
    return [Case(evidence, cut, attribute, aim, settings, whole, first, second, half) for aim in aims], others


def _findings(tried: Sequence[Tried]) -> list[Finding]:
    """A finding for each aim that is not met now."""
    found = []
    for case, outcomes, _ in tried:
        facts = facts_of(case, outcomes)
        if facts["met"] is False:
            text = f"{facts['sentence']} Thresholds by group may be unlawful."
            found.append(Finding("info", "advice_thresholds", text, evidence="thresholds", stage="advice"))
    return found


def _limitations(config: AuditConfig, cut: Cut) -> list[str]:
    told = []
    if len(cut.score) > MAX_STEPS:
        told.append(
            f"Thresholds are tried at up to {MAX_STEPS:,} steps of the score, those by group at up to"
            f" {MAX_SINGLE:,} steps in all groups together ({MAX_PAIR:,} for equalized odds)."
        )
    if config.bias.decision.top_k is not None:
        told.append(
            f"The audit selects the {config.bias.decision.top_k:,} highest scores; other thresholds select another"
            " number of rows, which the table of thresholds gives."
        )
    return told


def _threshold_table(tried: Sequence[Tried]) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for case, outcomes, _ in tried:
        for one in outcomes:
            if isinstance(one, Outcome):
                rows += _rows(case, one)
    return pa.Table.from_pylist(rows, schema_of("thresholds"))


def _rows(case: Case, one: Outcome) -> list[dict[str, Any]]:
    shared = {
        "attribute": case.aim.attribute, "aim": case.aim.text, "kind": one.plan.kind, "sample": one.sample,
    }  # fmt: skip
    found = []
    for g, group in enumerate(case.attribute.groups):
        value, low, high = one.by_group[g]
        found.append({
            **shared, "group": group, "threshold": finite(one.thresholds[g]), "n": int(one.rows[g]),
            **{key: finite(number) for key, number in one.rates(case.cut, g).items()},
            "value": finite(value), "ci_low": finite(low), "ci_high": finite(high), "met": None,
        })  # fmt: skip
    same = one.plan.kind in ("current", "common")
    found.append({
        **shared, "group": None, "threshold": finite(one.thresholds[0]) if same else None, "n": int(one.rows.sum()),
        **{key: finite(number) for key, number in one.rates(case.cut, None).items()},
        "value": finite(one.value), "ci_low": finite(one.low), "ci_high": finite(one.high),
        "met": None if case.aim.example else one.met,
    })  # fmt: skip
    return found


def _tradeoff_table(tried: Sequence[Tried]) -> pa.Table:
    rows = [
        {
            "attribute": case.aim.attribute, "aim": case.aim.text, "kind": point.kind, "point": number,
            "threshold": point.threshold, "limit": point.limit, "value": finite(point.value),
            "accuracy": finite(point.accuracy), "selection_rate": finite(point.selection_rate),
            "changed": point.changed,
        }
        for case, _, points in tried
        for number, point in enumerate(points)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema_of("tradeoffs"))
