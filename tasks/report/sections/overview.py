"""Verdict, policy checks, and the audit in plain language: the page that everyone reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tasks.report.document import (
    Block,
    Bullets,
    Column,
    Content,
    Paragraph,
    Section,
    Table,
    line,
    link,
    name,
    num,
    said,
    status,
    strong,
)
from tasks.report.numbers import interval, limit, number, percent
from tasks.report.reading import Reading, Row
from tasks.report.sections.advice import advice_in_brief
from tasks.report.sections.agreement import OF_IMPORTANCE
from tasks.report.sections.quality import marked, verdicts
from tasks.report.sections.shared import (
    CHECKS,
    check_name,
    dash,
    joined,
    left_out,
    limit_text,
    nearest_bound,
    plural,
    severities,
    top,
)
from tasks.report.sections.sources import sources_in_brief

#: verdict of the audit → its sentence, where no numbers are needed
HEADLINES = {
    "inconclusive": "No policy check is breached beyond doubt, but the data do not suffice to decide all of them.",
    "refused": "The data did not pass the gate, so the model was not examined.",
    "incomplete": "Something that was planned is missing. What is there is in its place and can be read.",
}
_MOST_IMPORTANT = 3
_TECHNIQUES = 8  # whose first features are named


def headline(reading: Reading) -> Content:
    """The verdict of the audit in one sentence."""
    verdict, checks = reading.record.verdict, reading.checks
    if verdict == "satisfied" and not checks:
        return line("The audit is complete. No policy was declared, so there was nothing to breach.")
    if verdict == "satisfied":
        return line(f"Every policy check is satisfied ({len(checks)} of {len(checks)}).")
    if verdict == "not_satisfied":
        broken = sum(c.get("verdict") == "not_satisfied" for c in checks)
        return line(f"{broken} of {len(checks)} policy checks {'is' if broken == 1 else 'are'} not satisfied.")
    return line(HEADLINES.get(verdict, "The audit ended without a verdict."))


def overview(reading: Reading) -> Section:
    """The first section."""
    return Section(
        "summary",
        "Summary",
        (*_policy(reading), Paragraph(line(strong("In plain language"))), _plain(reading)),
    )


def _policy(reading: Reading) -> list[Block]:
    checks = reading.checks
    declared = reading.config.policy
    if not checks and not declared:
        return [Paragraph(line("No policy was declared for this audit: it measures, and judges nothing."), lead=True)]
    columns = (
        Column("Policy check", weight=2),
        Column("Verdict", weight=1.3),
        Column("Value", "right"),
        Column("Limit", weight=1.2),
        Column("Interval", weight=1.2),
        Column("Decided by", weight=1.3),
    )
    if not checks:
        rows = tuple(
            (
                check_name(c.model_dump()),
                (status("not_evaluated"),),
                dash(),
                line(limit_text(c.model_dump())),
                dash(),
                dash(),
            )
            for c in declared
        )
        why = f"The policy was declared, but not judged. {reading.why_absent('policy')}"
        return [Paragraph((said(why),), lead=True), Table("policy-checks", "Policy checks", columns, rows)]
    shown, more = top(checks, CHECKS)
    rows = tuple(
        (
            check_name(c),
            (status(str(c.get("verdict"))),),
            _value(c),
            line(limit_text(c)),
            (num(interval(c.get("ci_low"), c.get("ci_high"))),),
            (name(c["group"]),) if c.get("group") else dash(),
        )
        for c in shown
    )
    counted = Counter(str(c.get("verdict")) for c in checks)
    parts = [f"{n} {status(v).text}" for v, n in sorted(counted.items(), key=lambda item: -item[1])]
    of_its = plural(len(checks), "check", "checks")
    lead = f"The policy was declared before the run. Of its {of_its}: {', '.join(parts)}."
    told = [(status(str(c["verdict"])), *line(": "), said(c["sentence"])) for c in shown if c.get("sentence")]
    table = Table(
        "policy-checks",
        "Policy checks",
        columns,
        rows,
        left_out(more, "checks"),
        sources=_policy_sources(reading),
    )
    return [Paragraph(line(lead), lead=True), table, *([Bullets(tuple(told))] if told else [])]


def _value(check: Mapping[str, Any]) -> Content:
    value = check.get("value")
    if value is None:
        return (status("undefined"),)
    return (num(number(value, beside=nearest_bound(value, check))),)


def _policy_sources(reading: Reading) -> tuple[str, ...]:
    return tuple(n for n in ("group_metrics", "disparities") if reading.artifact(n))


def _plain(reading: Reading) -> Bullets:
    """What happened, what stands out and where to read on, one sentence each."""
    items = [
        _subject(reading),
        *_performance(reading),
        *_gaps(reading),
        *sources_in_brief(reading),
        *advice_in_brief(reading),
        *_drivers(reading),
        *_trust(reading),
        _gate(reading),
        _found(reading),
    ]
    return Bullets(tuple(item for item in items if item))


def _subject(reading: Reading) -> Content:
    rows = reading.rows_audited
    counted = f" on {rows:,} rows" if rows is not None else ""
    techniques = [r for r in reading.record.done if r.stage.startswith("explain/")]
    parts = [f"The model was examined{counted}"] if reading.record.result("predict") in reading.record.done else []
    if not parts:
        return line("The model was not examined: ", said(reading.why_absent("predict")))
    if techniques:
        parts.append(f"explained with {len(techniques)} technique{'s' * (len(techniques) != 1)}")
    if reading.attributes and reading.group_metrics:
        parts.append(
            f"and its outcomes compared for {len(reading.attributes)} attribute{'s' * (len(reading.attributes) != 1)}"
        )
    return line(
        ", ".join(parts).replace(", and", " and"),
        " (",
        link("what was examined, and what was not", "#examined"),
        ").",
    )


def _performance(reading: Reading) -> list[Content]:
    overall = [r for r in reading.group_metrics if r["attribute"] is None and r["output"] is None]
    row = next((r for r in overall if r["metric"] == "accuracy" and r["status"] == "ok"), None)
    if row is None:
        return []
    counts = f" of {row['denominator']:,.0f} labelled rows" if row.get("denominator") else ""
    between = ""
    if row.get("ci_low") is not None and row.get("ci_high") is not None:
        level = f"{limit(100 * reading.config.bias.confidence)} %"
        between = f" ({level} interval {percent(row['ci_low'])} to {percent(row['ci_high'])})"
    return [line("It decides ", num(percent(row["value"])), f"{counts} as their labels say{between}.")]


def _gaps(reading: Reading) -> list[Content]:
    """Per attribute, the group with the lowest impact ratio."""
    found = []
    judged = {c.get("attribute") for c in reading.checks if c.get("metric") == "impact_ratio" and c.get("sentence")}
    for attribute in [a for a in reading.attributes if a not in judged][:4]:  # the policy's sentence says it already
        rows = [
            r
            for r in reading.disparities
            if r["attribute"] == attribute and r["metric"] == "impact_ratio" and r["group"] is not None
        ]
        ratios = [r for r in rows if r["status"] == "ok" and r["value"] is not None]
        if not ratios:
            continue
        worst = min(ratios, key=lambda r: r["value"])
        rates = {
            r["group"]: r["value"]
            for r in reading.group_metrics
            if r["attribute"] == attribute and r["metric"] == "selection_rate" and r["output"] == worst["output"]
        }
        mine, theirs = rates.get(worst["group"]), rates.get(worst["reference"])
        if mine is None or theirs is None or worst["group"] == worst["reference"]:
            continue
        unsure = sum(r["status"] != "ok" for r in rows)
        left = f" {unsure} group{'s have' if unsure > 1 else ' has'} too few rows to be judged." if unsure else ""
        found.append(
            line(
                "Groups of ", name(attribute), ": the favourable outcome goes to ", num(percent(mine)), " of ",
                name(worst["group"]), " and to ", num(percent(theirs)), " of ", name(worst["reference"]),
                ": an impact ratio of ", num(number(worst["value"], beside=0.8)), f".{left}",
            )
        )  # fmt: skip
    return found


def _drivers(reading: Reading) -> list[Content]:
    """The features ranked first: techniques that rank the same ones first share a sentence."""
    by_technique: dict[str, list[Row]] = {}
    for row in reading.importance:
        by_technique.setdefault(row["technique"], []).append(row)
    said_by: dict[tuple[str | None, tuple[str, ...]], list[str]] = {}
    for technique, rows in list(by_technique.items())[:_TECHNIQUES]:
        first = rows[0]["output"]
        ranked = sorted((r for r in rows if r["output"] == first and r["rank"] is not None), key=lambda r: r["rank"])
        features = tuple(r["feature"] for r in ranked[:_MOST_IMPORTANT])
        about = first if len({r["output"] for r in rows}) > 1 else None
        if features:
            said_by.setdefault((about, features), []).append(marked(reading, technique))
    found = []
    for (output, features), techniques in said_by.items():
        about = [" for ", name(output)] if output is not None else []
        listed = [part for feature in features for part in (name(feature), ", ")][:-1]
        verb = "ranks" if len(techniques) == 1 else "rank"
        found.append(line(f"{joined(techniques)} {verb} these features first", *about, ": ", *listed, "."))
    return found


def _trust(reading: Reading) -> list[Content]:
    """Whether the explanations hold: which techniques fail, and how many pairs of them disagree."""
    states = {t: state for t, state in verdicts(reading).items() if state != "not_judged"}
    failing = [reading.technique(t) for t, state in states.items() if state == "fails"]
    found: list[Content] = []
    if states:
        told = "Every technique that was judged explains better than chance does"
        if failing:
            told = f"Not to be relied on, as marked: {joined(failing)}"
        found.append(line(told, " (", link("how good the explanations are", "#quality"), ")."))
    single = [r for r in reading.rows("agreement") if not r["measure"].startswith(OF_IMPORTANCE)]
    pairs = {(r["technique_a"], r["technique_b"]) for r in single}
    if pairs:
        apart = {tuple(d["techniques"]) for d in reading.record.fact("agreement", "disagreements", []) or []}
        apart_told = plural(len(apart), "disagrees", "disagree") if apart else "none disagrees"
        told = f"Of {plural(len(pairs), 'pair', 'pairs')} of techniques, {apart_told}"
        if len(pairs) == 1:
            told = f"The two techniques that were compared {'disagree' if apart else 'do not disagree much'}"
        found.append(line(told, " (", link("whether the techniques agree", "#agreement"), ")."))
    return found


def _gate(reading: Reading) -> Content:
    rows = reading.rows("validation")
    if not rows:
        return ()
    failed = [r for r in rows if r["success"] is False]
    worst = Counter(r["severity"] for r in failed)
    if not failed:
        return line(
            f"The data gate asked {len(rows)} things of the data, and all hold (",
            link("the data gate", "#gate"),
            ").",
        )
    parts = severities(worst)
    broken = plural(len(failed), "does", "do")
    told = f"The data gate asked {len(rows)} things of the data; {broken} not hold ({parts}): "
    return line(told, link("the data gate", "#gate"), ".")


def _found(reading: Reading) -> Content:
    counted: Counter[str] = Counter(f.severity for f in reading.findings)
    if not counted:
        return line("The stages recorded no findings.")
    return line(f"Findings: {severities(counted)} (", link("all findings", "#findings"), ").")
