"""The stage: holds the declared checks against the measured numbers, and says what becomes of the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from configs.schema import AuditConfig, PolicyCheck
from tasks.bias import Chance, Disparity, Metric, find, four_fifths
from tasks.contracts import Done, Finding, Severity
from tasks.policy.checks import Number, audit_verdict, judged, urgency, worst
from tasks.policy.numbers import chance_of, numbers_for
from tasks.policy.reasons import judge_reasons, proxy_reason_findings, seen_in_reasons
from tasks.policy.seen import smallest_seen
from tasks.policy.sentences import sentence
from tasks.policy.tables import Tables

if TYPE_CHECKING:
    from tasks.persist import Workspace

#: single groups listed under a check, the worst first
SHOWN = 100


def judge(config: AuditConfig, workspace: Workspace, adverse: int = 0) -> Done:
    """Judges every check of the policy from the tables `group_metrics`, `disparities`, `reason_codes` and `proxies`.

    Args:
        adverse: decisions that are adverse, as the stage `reasons` counted them.

    Raises:
        ConfigError: a check names a metric that is not known.
    """
    checks: list[dict[str, Any]] = []
    seen = seen_in_reasons(config, workspace, adverse)
    if config.policy:
        tables = Tables.of(
            workspace.read_table("group_metrics"),
            workspace.read_table("disparities"),
            [check.metric for check in config.policy if check.kind == "metric"],
        )
        checks = [
            judge_reasons(check, seen) if check.kind == "reasons" else judge_check(config, check, tables)
            for check in config.policy
        ]
    return Done(
        stage="policy",
        findings=(*(finding for check in checks if (finding := _finding(check))), *proxy_reason_findings(seen)),
        facts={
            "checks": checks,
            "verdict": audit_verdict([check["verdict"] for check in checks]),
            "reasons": None if seen is None else seen.facts(),
        },
    )


def judge_check(config: AuditConfig, check: PolicyCheck, tables: Tables) -> dict[str, Any]:
    """One check as JSON values: what was declared, what was found, the verdict, and the sentence."""
    numbers = numbers_for(config, check, tables)
    entry = find(check.metric)
    assert entry is not None
    bases = entry.bases if isinstance(entry, Disparity) else (entry.name,)
    base = find(bases[0]) if bases else None
    signed = entry.signed and not (isinstance(entry, Disparity) and entry.comparison == "ratio")
    level = 1 - config.bias.confidence
    found = [judged(check, number, level=level, signed=signed) for number in numbers]
    deciding = worst(found)
    chance = chance_of(config, check, entry, tables) if isinstance(entry, Disparity) else None
    number = deciding.number
    seen = None
    if isinstance(entry, Disparity) and deciding.verdict != "not_satisfied":
        seen = smallest_seen(entry, number, level=level, weighted=config.data.weight is not None)
    flags = [_flag(entry, one.number, config.bias.confidence) for one in found]
    flagged = [flag["flag"] for flag in flags if flag is not None]
    listed = sorted(zip(found, flags, strict=True), key=lambda pair: urgency(pair[0]))
    return {
        "metric": check.metric,
        "attribute": check.attribute,
        "group": number.group,
        "feature": number.feature or check.feature,
        "technique": number.technique or check.technique,
        "output": number.output,
        "min": check.min,
        "max": check.max,
        "severity": check.severity,
        "confidence": check.confidence,
        "verdict": deciding.verdict,
        **_facts(number),
        "sentence": sentence(
            check, entry, base if isinstance(base, Metric) else None, deciding, found,
            confidence=config.bias.confidence, chance=chance, seen=seen,
        ),
        "no_disparity": None if chance is None else _chance(chance),
        "detectable": None if seen is None else seen.value,
        "flag": any(flagged) if flagged else None,
        "four_fifths": flags[found.index(deciding)],
        "groups": [
            {
                "group": one.number.group, **_part(one.number), "verdict": one.verdict, **_facts(one.number),
                "four_fifths": flag,
            }
            for one, flag in listed[:SHOWN]
        ] if check.attribute is not None else [],
    }  # fmt: skip


def _chance(chance: Chance) -> dict[str, float]:
    return {"expected": chance.expected, "p95": chance.p95, "p": chance.p}


def _part(number: Number) -> dict[str, Any]:
    """What a number is of beside its group, where it is of anything."""
    named = {"feature": number.feature, "technique": number.technique, "output": number.output}
    return {key: value for key, value in named.items() if value is not None}


def _facts(number: Number) -> dict[str, Any]:
    return {
        "value": number.value, "status": number.status, "reason": number.reason, "ci_low": number.low,
        "ci_high": number.high, "numerator": number.numerator, "denominator": number.denominator, "n": number.n,
        "reference": number.reference, "reference_numerator": number.reference_numerator,
        "reference_denominator": number.reference_denominator, "reference_n": number.reference_n,
        "p_value": number.p_value, "p_adjusted": number.p_adjusted, "p_family": number.p_family,
        "family": number.family, "test": number.test,
    }  # fmt: skip


def _flag(entry: object, number: Number, confidence: float) -> dict[str, Any] | None:
    """The four-fifths rule on the counts, where selection rates of two groups are compared."""
    if not (isinstance(entry, Disparity) and entry.bases == ("selection_rate",)) or number.reference is None:
        return None
    counts = (number.numerator, number.denominator, number.reference_numerator, number.reference_denominator)
    if any(count is None or count != int(count) for count in counts):
        return None
    result = four_fifths(*(int(count) for count in counts if count is not None), confidence=confidence)
    return {
        "flag": result.flagged, "significant": result.significant, "shortfall": result.shortfall,
        "fisher_p": _real(result.fisher_p), "z": _real(result.z),
    }  # fmt: skip


def _real(value: float) -> float | None:
    return value if value == value else None  # NaN is no JSON value


def _finding(check: dict[str, Any]) -> Finding | None:
    if check["verdict"] == "satisfied":
        return None
    declared: Severity = check["severity"]
    # What could not be judged is no violation: it is said, but not as loud.
    severity = "warning" if check["verdict"] == "insufficient_data" and declared == "critical" else declared
    return Finding(
        severity, f"policy_{check['verdict']}", check["sentence"], evidence=_evidence(check), stage="policy",
    )  # fmt: skip


def _evidence(check: dict[str, Any]) -> str:
    if check.get("kind") == "reasons":
        return "reason_codes"
    return "disparities" if isinstance(find(check["metric"]), Disparity) else "group_metrics"
