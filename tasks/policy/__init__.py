"""The policy stage: verdicts on the checks that were declared before the run, and the audit's verdict."""

from tasks.policy.checks import Judged, Number, audit_verdict, judged, worst
from tasks.policy.stage import judge, judge_check
from tasks.policy.tables import Tables

__all__ = ["Judged", "Number", "Tables", "audit_verdict", "judge", "judge_check", "judged", "worst"]
