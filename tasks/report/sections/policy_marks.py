"""What the policy draws into charts: its line, and the marks that breach it."""

from __future__ import annotations

from tasks.report.figures import Mark
from tasks.report.figures.charts import MarkTone
from tasks.report.numbers import limit
from tasks.report.reading import Reading, Row
from tasks.report.sections.shared import bounds, breaches, checks_on, value_text


def policy_line(
    reading: Reading, attribute: str, metric: str, found: dict[str, Row]
) -> tuple[float | None, str, set[str]]:
    """Where the policy cuts a metric's panel, what is written there, and the groups on the wrong side."""
    for check in checks_on(reading.checks, attribute, metric):
        cut = bounds(check)[0]
        broken = {g for g, r in found.items() if (r["status"] or "ok") == "ok" and breaches(r["value"], check)}
        return cut, f"policy {limit(cut)}", broken
    if metric != "selection_rate":
        return None, "", set()
    # An impact ratio has its line among the selection rates: the limit times the rate of the reference group.
    ratios = {
        r["group"]: r for r in reading.disparities if r["attribute"] == attribute and r["metric"] == "impact_ratio"
    }
    for check in checks_on(reading.checks, attribute, "impact_ratio"):
        reference = next((r["reference"] for r in ratios.values() if r["reference"] in found), None)
        rate = found[reference]["value"] if reference is not None else None
        if rate is None or check.get("min") is None:
            continue
        broken = {g for g, r in ratios.items() if g in found and r["status"] == "ok" and breaches(r["value"], check)}
        return check["min"] * rate, f"{limit(check['min'])} of the highest", broken
    return None, "", set()


def beyond(reading: Reading, row: Row) -> bool:
    """Whether a comparison that can be judged lies beyond the policy's limits."""
    checks = checks_on(reading.checks, row["attribute"], row["metric"])
    return row["status"] == "ok" and any(breaches(row["value"], c) for c in checks)


def mark(row: Row, broken: bool) -> Mark:
    """A group's mark: hollow where it cannot be judged, dark where it breaches."""
    state = row["status"] or "ok"
    tone: MarkTone = "unsure" if state != "ok" else "bad" if broken else "plain"
    value = row["value"] if state != "undefined" else None
    low, high = (row["ci_low"], row["ci_high"]) if value is not None else (None, None)
    return Mark(row["group"], value_text(row), value, low, high, tone)


def decision_threshold(reading: Reading) -> float | None:
    """Where scores become the favourable decision, if a threshold decides."""
    rule = reading.config.bias.decision
    if reading.config.model.task != "binary" or rule.top_k is not None or rule.column is not None:
        return None
    return 0.5 if rule.threshold is None else rule.threshold
