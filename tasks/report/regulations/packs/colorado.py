"""Colorado SB 26-189 on automated decision-making technology, C.R.S. §§ 6-1-1702 and 6-1-1704; replaced SB 24-205.

Known from secondary sources only: clauses are to be checked against the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.regulations.base import Findings, Pack
from tasks.report.regulations.evidenced import bias_examined, kept, performance, stated, together
from tasks.report.regulations.evidenced_data import data_identified, identified
from tasks.report.regulations.evidenced_explanations import explained, reasons_given

if TYPE_CHECKING:
    from tasks.report.reading import Reading

RECORDS_YEARS = 3


def judge(reading: Reading) -> Findings:
    """What a developer hands to a deployer, and what a deployer tells a consumer."""
    return Findings(
        (
            stated(
                reading, "colorado-uses", "§ 6-1-1702(1)(a)",
                "Intended uses, and known harmful or inappropriate ones.", "intended_use",
                "Intended and harmful uses are not recorded.", source="S",
            ),
            stated(
                reading, "colorado-training", "§ 6-1-1702(1)(b)",
                "Categories of data that the system was trained on, personal data among them.", "training_data",
                "What the training data are is not recorded.", beside=data_identified(reading), source="S",
            ),
            stated(
                reading, "colorado-limits", "§ 6-1-1702(1)(c)",
                "Known limits and risks, and when not to use the system.", "known_risks",
                "When not to use it is not recorded.",
                beside=together(performance(reading), bias_examined(reading)), source="S",
            ),
            stated(
                reading, "colorado-instructions", "§ 6-1-1702(1)(d)",
                "Instructions for use, for watching the system, and for review by people.", "instructions_for_use",
                "Instructions are not recorded.", source="S",
            ),
            stated(
                reading, "colorado-deployer", "§ 6-1-1702(1)(e)",
                "What a deployer needs to explain decisions to those concerned.", "instructions_for_use",
                "Whether it was handed over is not recorded.", beside=explained(reading), source="S",
            ),
            kept(
                reading, "colorado-records", "§ 6-1-1702(4)",
                "Records such as versions and changes are kept for three years.", "records_years", RECORDS_YEARS,
                beside=identified(reading), source="S",
            ),
            stated(
                reading, "colorado-notice", "§ 6-1-1704, notice",
                "People are told before the system has a say in a consequential decision.", "consumer_notice",
                "Whether they are told is not recorded.", source="S",
            ),
            stated(
                reading, "colorado-description", "§ 6-1-1704, adverse outcome",
                "After an adverse outcome, within 30 days: the decision and the system’s part in it, in plain words.",
                "adverse_notice", "Whether and when it is sent is not recorded.", beside=reasons_given(reading),
                source="S",
            ),
        )
    )  # fmt: skip


PACK = Pack(
    id="colorado",
    title="Colorado SB 26-189",
    legal_status="Not yet in effect: from 1 January 2027. It replaced SB 24-205.",
    source="S",
    judge=judge,
)
