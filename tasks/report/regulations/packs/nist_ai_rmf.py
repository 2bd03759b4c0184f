"""NIST AI Risk Management Framework 1.0, the MEASURE subcategories that a run can speak to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.numbers import limit
from tasks.report.regulations.base import Findings, Pack
from tasks.report.regulations.evidenced import (
    Ruling,
    absent,
    bias_examined,
    control,
    on_groups,
    policy_kept,
    some,
    stated,
    together,
)
from tasks.report.regulations.evidenced_data import identified
from tasks.report.regulations.evidenced_explanations import explained, validated

if TYPE_CHECKING:
    from tasks.report.reading import Reading


def judge(reading: Reading) -> Findings:
    """Accountability by people, the rest by measurements."""
    return Findings(
        (
            stated(
                reading, "nist-2-8", "MEASURE 2.8",
                "Risks to transparency and accountability are examined and written down.", "owner",
                "Who answers for the system is not recorded.", beside=identified(reading),
            ),
            control(
                reading, "nist-2-9", "MEASURE 2.9",
                "The model is explained, validated and documented, and its output is read in context.",
                together(explained(reading), validated(reading)),
            ),
            control(
                reading, "nist-2-11", "MEASURE 2.11", "Fairness and bias are evaluated, and the results written down.",
                _fair(reading),
            ),
            control(
                reading, "nist-2-13", "MEASURE 2.13", "Whether the metrics and the way of measuring work is evaluated.",
                together(_uncertain(reading), validated(reading)),
            ),
        )
    )  # fmt: skip


def _fair(reading: Reading) -> Ruling:
    """Groups are compared, and no threshold of the policy on groups is broken."""
    examined = bias_examined(reading)
    if not any(check.attribute is not None for check in reading.config.policy):
        return examined
    return together(examined, policy_kept(reading, on_groups))


def _uncertain(reading: Reading) -> Ruling:
    """How many measured values come with an interval: the least that a metric must say of itself."""
    rows = [r for r in reading.group_metrics if r["value"] is not None]
    if not rows:
        return Ruling("insufficient_data", f"Nothing was measured. {absent(reading, 'bias')}")
    known = [r for r in rows if r["ci_low"] is not None or r["ci_high"] is not None]
    confidence = limit(100 * reading.config.bias.confidence)
    why = f"{len(known):,} of {some(len(rows), 'measured value')} have a {confidence}\u00a0% interval."
    return Ruling("satisfied" if known else "insufficient_data", why, ("group_metrics", "disparities"))


PACK = Pack(
    id="nist_ai_rmf",
    title="NIST AI Risk Management Framework",
    legal_status="Voluntary.",
    source="P",
    judge=judge,
)
