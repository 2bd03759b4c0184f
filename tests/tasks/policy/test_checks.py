"""The rules, one line each."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from configs.schema import PolicyCheck
from tasks.policy import Number, audit_verdict, judged, worst
from tasks.policy.checks import urgency


def _judge(number: dict, *, signed: bool = False, **check):
    declared = PolicyCheck(metric="accuracy", **check)
    return judged(declared, Number(group="g", **number), level=0.05, signed=signed)


#: (check, number) → verdict
RULES = [
    # breached, and the interval excludes the threshold
    ({"min": 0.8}, {"value": 0.7, "low": 0.65, "high": 0.75}, "not_satisfied"),
    ({"max": 0.1}, {"value": 0.2, "low": 0.15, "high": 0.25}, "not_satisfied"),
    # breached, the interval reaches it, but the test of no difference rejects
    ({"min": 0.8}, {"value": 0.7, "low": 0.5, "high": 0.9, "p_value": 0.01}, "not_satisfied"),
    # breached otherwise
    ({"min": 0.8}, {"value": 0.7, "low": 0.5, "high": 0.9, "p_value": 0.05}, "insufficient_data"),
    ({"min": 0.8}, {"value": 0.7, "low": 0.5, "high": 0.8}, "insufficient_data"),
    ({"min": 0.8}, {"value": 0.7}, "insufficient_data"),
    ({"max": 0.8}, {"value": 0.9, "low": None, "high": 0.95}, "insufficient_data"),
    # an open end excludes nothing
    ({"min": 0.8}, {"value": 0.7, "low": 0.5, "high": None}, "insufficient_data"),
    # else
    ({"min": 0.8}, {"value": 0.8}, "satisfied"),
    ({"min": 0.8}, {"value": 0.85, "low": 0.7, "high": 0.9, "p_value": 0.001}, "satisfied"),
    ({"min": 0.1, "max": 0.3}, {"value": 0.2}, "satisfied"),
    ({"min": 0.1, "max": 0.3}, {"value": 0.4, "low": 0.35, "high": 0.5}, "not_satisfied"),
    ({"min": 0.1, "max": 0.3}, {"value": 0.05, "low": 0.01, "high": 0.09}, "not_satisfied"),
    # confidence: interval
    ({"min": 0.8, "confidence": "interval"}, {"value": 0.85, "low": 0.79, "high": 0.9}, "insufficient_data"),
    ({"min": 0.8, "confidence": "interval"}, {"value": 0.85, "low": 0.8, "high": 0.9}, "satisfied"),
    ({"max": 0.8, "confidence": "interval"}, {"value": 0.7, "low": 0.6, "high": None}, "insufficient_data"),
    ({"min": 0.8, "confidence": "interval"}, {"value": 0.85, "low": 0.8, "high": None}, "satisfied"),
    ({"min": 30, "confidence": "interval"}, {"value": 30.0, "certain": True}, "satisfied"),
    # small and undefined
    ({"min": 0.8}, {"value": 0.1, "low": 0.05, "high": 0.2, "too_small": True}, "insufficient_data"),
    ({"min": 0.8}, {"value": 1.0, "too_small": True}, "insufficient_data"),
    ({"min": 0.8}, {"value": None, "status": "undefined"}, "insufficient_data"),
    # of several groups, neither the interval nor a test of a pair named beforehand is enough
    ({"min": 0.8}, {"value": 0.7, "low": 0.65, "high": 0.75, "compared": 3}, "insufficient_data"),
    ({"min": 0.8}, {"value": 0.7, "low": 0.65, "high": 0.75, "compared": 3, "p_value": 0.06}, "insufficient_data"),
    ({"min": 0.8}, {"value": 0.7, "p_value": 0.03, "p_family": 0.06, "compared": 3}, "insufficient_data"),
    ({"min": 0.8}, {"value": 0.7, "p_value": 0.02, "p_family": 0.04, "compared": 3}, "not_satisfied"),
    ({"max": 0.1}, {"value": 0.3, "low": 0.2, "high": 0.4, "p_value": 0.01, "compared": 3}, "not_satisfied"),
    # an aggregate that leaves a group out never passes, but can fail
    ({"max": 0.1}, {"value": 0.05, "left_out": ("x (12 rows)",)}, "insufficient_data"),
    ({"max": 0.1}, {"value": 0.2, "low": 0.15, "high": 0.3, "left_out": ("x (12 rows)",)}, "not_satisfied"),
]


@pytest.mark.parametrize(("check", "number", "verdict"), RULES)
def test_rules(check: dict, number: dict, verdict: str) -> None:
    assert _judge(number, **check).verdict == verdict


def test_counts_are_compared_as_integers() -> None:
    exact = Fraction(3, 5) / Fraction(6, 8)
    rounded = (3 / 5) / (6 / 8)
    assert rounded < 0.8
    assert _judge({"value": rounded, "exact": exact}, min=0.8).breached is None
    assert _judge({"value": 0.1 + 1e-17, "exact": Fraction(1, 10)}, max=0.1).breached is None
    assert _judge({"value": 0.8, "exact": Fraction(8 * 10**20 - 1, 10**21)}, min=0.8).breached == "min"


def test_signed_metrics_are_compared_by_absolute_value() -> None:
    number = {"value": -0.2, "low": -0.3, "high": -0.15}
    assert _judge(number, max=0.1, signed=True).verdict == "not_satisfied"
    assert _judge(number, max=0.1).verdict == "satisfied"
    across = {"value": -0.05, "low": -0.2, "high": 0.1}
    assert _judge(across, max=0.1, signed=True).verdict == "satisfied"
    assert _judge(across, max=0.1, signed=True, confidence="interval").verdict == "insufficient_data"


def test_the_worst_group_decides() -> None:
    def one(value: float | None, verdict_of: dict | None = None):
        return _judge(
            {"value": value, **(verdict_of or {}), **({} if value is not None else {"status": "undefined"})}, min=0.8
        )

    fine, better = one(0.85), one(0.95)
    small = one(0.9, {"too_small": True})
    failed = one(0.7, {"low": 0.6, "high": 0.75})
    failed_more = one(0.5, {"low": 0.4, "high": 0.6})
    unknown = one(None)
    assert worst([better, fine]) is fine
    assert worst([fine, small]) is small
    assert worst([unknown, small]) is small  # a number says more than none
    assert worst([small, failed, failed_more, unknown, fine]) is failed_more
    assert math.isnan(unknown.margin)
    listed = sorted([unknown, small, fine, unknown, failed, failed_more], key=urgency)
    assert listed == [failed_more, failed, small, unknown, unknown, fine]


@pytest.mark.parametrize(
    ("verdicts", "of_audit"),
    [
        ([], "satisfied"),
        (["satisfied"], "satisfied"),
        (["satisfied", "insufficient_data"], "inconclusive"),
        (["insufficient_data", "not_satisfied", "satisfied"], "not_satisfied"),
    ],
)
def test_the_audits_verdict(verdicts: list[str], of_audit: str) -> None:
    assert audit_verdict(verdicts) == of_audit
