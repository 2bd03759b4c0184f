"""ISO/IEC 42001:2023, annex A: the controls that a run can speak to, cited by number.

The standard's text is not reproduced; what a control asks is told from secondary sources, in our own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.regulations.base import Findings, Pack
from tasks.report.regulations.evidenced import bias_examined, control, performance, policy_kept, stated, together
from tasks.report.regulations.evidenced_data import data_identified, gate_passed, identified, watched
from tasks.report.regulations.evidenced_explanations import explained

if TYPE_CHECKING:
    from tasks.report.reading import Reading


def judge(reading: Reading) -> Findings:
    """Impact, life cycle, data and information for others."""
    return Findings(
        (
            stated(
                reading, "iso-a-5-4", "A.5.4", "Effects on persons and groups are assessed.", "impact_assessment",
                "The assessment itself is not recorded.", beside=bias_examined(reading), source="S",
            ),
            stated(
                reading, "iso-a-6-2-3", "A.6.2.3", "Design and development are documented.", "design",
                "Design and development are not recorded.", beside=identified(reading), source="S",
            ),
            control(
                reading, "iso-a-6-2-4", "A.6.2.4", "The system is verified and validated against set criteria.",
                together(policy_kept(reading), performance(reading)), source="S",
            ),
            stated(
                reading, "iso-a-6-2-5", "A.6.2.5", "Deployment is planned, and its conditions are met beforehand.",
                "deployment", "Plan and conditions of deployment are not recorded.", source="S",
            ),
            control(
                reading, "iso-a-6-2-6", "A.6.2.6", "The system is watched in operation.", watched(reading),
                source="S",
            ),
            stated(
                reading, "iso-a-6-2-7", "A.6.2.7", "Those who need technical documentation get it.",
                "instructions_for_use", "Who gets which documentation is not recorded.", beside=explained(reading),
                source="S",
            ),
            stated(
                reading, "iso-a-6-2-8", "A.6.2.8", "It is settled when events are logged.", "event_logs",
                "What the system logs in use is not recorded.", source="S",
            ),
            control(
                reading, "iso-a-7-4", "A.7.4", "Quality of data is set out, and data meet it.", gate_passed(reading),
                source="S",
            ),
            stated(
                reading, "iso-a-7-5", "A.7.5", "Where data come from is recorded.", "data_source",
                "Their origin is not recorded.", beside=data_identified(reading), source="S",
            ),
            stated(
                reading, "iso-a-8-2", "A.8.2", "Users get documentation and information that serve them.",
                "instructions_for_use", "What users are given is not recorded.", beside=performance(reading),
                source="S",
            ),
        )
    )  # fmt: skip


PACK = Pack(
    id="iso_42001",
    title="ISO/IEC 42001:2023, annex A",
    legal_status="Voluntary standard, cited by number.",
    source="S",
    judge=judge,
)
