"""Advice in words and as facts: what was found, what it costs, whom it concerns, and what the law has to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.advice.aims import named
from tasks.advice.outcomes import Case, Outcome, Plan
from tasks.bias import wording

LABEL = "advice"
WARNING = (
    "This is advice on what would happen, no recommendation and no verdict. Thresholds that differ by group may be"
    " unlawful: they treat people differently because of their group. In the United States 42 U.S.C. § 2000e-2(l)"
    " (Title VII, § 703(l)) forbids employers to adjust scores of, or to use different cutoff scores for,"
    " employment-related tests on the basis of race, color, religion, sex or national origin, and 15 U.S.C. § 1691(a)"
    " (ECOA) forbids creditors to discriminate against an applicant on a prohibited basis, which sex, race and age are"
    " among; in the European Union it may be direct discrimination (Directives 2000/43/EC, 2000/78/EC, 2004/113/EC,"
    " 2006/54/EC). A lawyer should see it before anybody acts on it."
)
LIMITATION = (
    "What other thresholds would do is worked out on the audited rows: it holds for applicants like these who do not"
    " change what they do, and says nothing of why groups score differently."
)
#: groups whose thresholds are spelled out in the facts
SHOWN = 20
_KINDS = {
    "common": "one threshold for all",
    "group": "a threshold for each group",
    "parity": "lots drawn between thresholds by group (fairlearn's ThresholdOptimizer)",
}


def facts_of(case: Case, outcomes: Sequence[Outcome | Plan]) -> dict[str, Any]:
    """One aim as JSON values: what is, every plan, what it comes to on rows that it was not chosen on, a sentence."""
    aim = case.aim
    found = {(one.plan.kind, one.sample): one for one in outcomes if isinstance(one, Outcome)}
    missing = {one.kind: one.missing for one in outcomes if isinstance(one, Plan)}
    now = found["current", "all"]
    plans = [
        _plan_facts(case, kind, now, found, missing.get(kind))
        for kind in _KINDS
        if (kind, "all") in found or kind in missing
    ]
    return {
        "attribute": aim.attribute, "metric": aim.metric, "aim": aim.text, "min": finite(aim.low),
        "max": finite(aim.high), "group": None if aim.group is None else case.attribute.groups[aim.group],
        "example": aim.example, "comparison": aim.comparison, "value": finite(now.value), "reason": now.reason,
        "met": None if aim.example else now.met, "accuracy": finite(now.rates(case.cut, None)["accuracy"]),
        "plans": plans, "sentence": sentence_of(case, found, missing),
    }  # fmt: skip


def _plan_facts(
    case: Case, kind: str, now: Outcome, found: dict[tuple[str, str], Outcome], missing: str | None
) -> dict[str, Any]:
    if missing is not None:
        return {"kind": kind, "title": _KINDS[kind], "missing": missing}
    one, held_out = found[kind, "all"], found.get((kind, "held_out"))
    rates, before = one.rates(case.cut, None), now.rates(case.cut, None)
    groups = case.attribute.groups[:SHOWN]
    facts = {
        "kind": kind, "title": _KINDS[kind], "missing": None, "met": one.met, "value": finite(one.value),
        "everyone_alike": _everyone_alike(one, case), **{key: finite(value) for key, value in rates.items()},
        "accuracy_change": finite(rates["accuracy"] - before["accuracy"]),
        "thresholds": {group: finite(one.thresholds[g]) for g, group in enumerate(groups)},
        "affected": {
            group: {key: finite(one.rates(case.cut, g)[key]) for key in ("gained", "lost")}
            for g, group in enumerate(groups)
        },
        "kept": [
            group for g, group in enumerate(groups) if one.plan.choice is not None and one.plan.choice[g] < 0
        ],
        "lottery": _lottery(one, groups), "held_out": None,
    }  # fmt: skip
    if held_out is not None:
        facts["held_out"] = {
            "n": int(held_out.rows.sum()), "value": finite(held_out.value), "ci_low": finite(held_out.low),
            "ci_high": finite(held_out.high), "met": held_out.met, "reason": held_out.reason,
            "accuracy": finite(held_out.rates(case.cut, None)["accuracy"]),
        }  # fmt: skip
    return facts


def _lottery(one: Outcome, groups: Sequence[str]) -> dict[str, Any] | None:
    """fairlearn's rule by group, in the direction of the outcome that it counts."""
    parity = one.plan.lottery
    if parity is None:
        return None
    return {
        "constraint": parity.constraint, "found_on": parity.rows,
        "rules": {
            group: {
                "ignored": rule.ignored, "constant": rule.constant, "shares": list(rule.shares),
                "above": [finite(limit) for limit in rule.above],
            }
            for g, group in enumerate(groups) if (rule := parity.rules.get(g)) is not None
        },
    }  # fmt: skip


def _everyone_alike(one: Outcome, case: Case) -> str | None:
    """`selected` or `rejected` where a plan decides all rows alike, which meets most aims and helps nobody."""
    then = one.moved.sum((0, 1, 2))[:2]
    if not then[1 - case.cut.wanted]:
        return "selected"
    return None if then[case.cut.wanted] else "rejected"


def sentence_of(case: Case, found: dict[tuple[str, str], Outcome], missing: dict[str, str | None]) -> str:
    """What a reader of the report reads."""
    aim, now = case.aim, found["current", "all"]
    who = named(aim.attribute)
    if np.isnan(now.value) and aim.example:
        return f"Advice on {who}: nothing can be compared ({now.reason or 'a rate is 0/0'})."
    is_now = "is not defined now" if np.isnan(now.value) else f"is {wording.number(now.value)} now"
    if aim.example:
        return (
            f"Advice on {who}: no check of the policy on it depends on the threshold, so there is nothing to meet; as"
            f" an example it is shown what other thresholds do to {aim.metric}, which {is_now}."
        )
    if now.met:
        start = f"Advice on {who}: {aim.text} is met ({_told(now.value)})"
    else:
        start = f"Advice on {who}: {aim.text} ({is_now})"
    parts = [
        _part(case, kind, found[kind, "all"], found.get((kind, "held_out")))
        if (kind, "all") in found
        else f"{title}: none, since {missing[kind]}".rstrip(".")
        for kind, title in _KINDS.items()
        if (kind, "all") in found or kind in missing
    ]
    before = now.rates(case.cut, None)["accuracy"]
    accuracy = "" if np.isnan(before) else f", accuracy {wording.percent(before)}"
    return f"{start}{accuracy}. {'. '.join(part[0].upper() + part[1:] for part in parts)}."


def _part(case: Case, kind: str, one: Outcome, held_out: Outcome | None) -> str:
    rates = one.rates(case.cut, None)
    where = ""
    if kind == "common" and np.isfinite(one.thresholds[0]):
        where = f" ({wording.number(float(one.thresholds[0]))})"
    reaches = f"would reach {_told(one.value)}" if one.met else f"meets it nowhere; the nearest is {_told(one.value)}"
    alike = _everyone_alike(one, case)
    reaches += f", but only because all are {alike}" if alike else ""
    accuracy = "" if np.isnan(rates["accuracy"]) else f", accuracy {wording.percent(rates['accuracy'])}"
    moved = f", {rates['gained']:,.0f} gain the favourable outcome and {rates['lost']:,.0f} lose it"
    again = ""
    if held_out is not None:
        limits = ""
        if np.isfinite(held_out.low) or np.isfinite(held_out.high):
            low, high = (wording.number(x) if np.isfinite(x) else "open" for x in (held_out.low, held_out.high))
            limits = f", interval {low} to {high}"
        again = (
            f"; chosen on one half, it comes to {_told(held_out.value)} on the other"
            f" ({int(held_out.rows.sum()):,} rows{limits})"
        )
    return f"{_KINDS[kind]}{where} {reaches}{accuracy}{moved}{again}"


def _told(value: float) -> str:
    return "no value" if np.isnan(value) else wording.number(value)


def finite(value: float) -> float | None:
    """NaN and infinity are no numbers of a table, nor of JSON."""
    return float(value) if np.isfinite(value) else None
