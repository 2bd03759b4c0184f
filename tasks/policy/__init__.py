"""The policy stage: verdicts on the checks that were declared before the run, and the audit's verdict."""

from tasks.policy.checks import Judged, Number, audit_verdict, judged, worst
from tasks.policy.stage import judge

__all__ = ["Judged", "Number", "audit_verdict", "judge", "judged", "worst"]
