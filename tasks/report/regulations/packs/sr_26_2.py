"""SR 26-2, OCC Bulletin 2026-13, FDIC FIL-15-2026: guidance on model risk, with the headings of SR 11-7 as aliases.

Outcomes are held against the bank's own thresholds, which are the policy's: the guidance has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.regulations.base import Findings, Pack
from tasks.report.regulations.evidenced import better_than_baseline, control, performance, policy_kept, stated, together
from tasks.report.regulations.evidenced_data import identified, watched
from tasks.report.regulations.evidenced_explanations import sound

if TYPE_CHECKING:
    from tasks.report.reading import Reading


def judge(reading: Reading) -> Findings:
    """Validation by the run, governance by people."""
    return Findings(
        (
            stated(
                reading, "sr-26-2-challenge", "III Effective challenge (SR 11-7 III)",
                "People who did not build the model, and can change its fate, question it.", "effective_challenge",
                "Who challenged the model, and what came of it, is not recorded.",
            ),
            control(
                reading, "sr-26-2-soundness", "V Conceptual soundness (SR 11-7 V.1)",
                "Design and reasoning of the model hold up: what drives its output is known and makes sense.",
                sound(reading),
            ),
            control(
                reading, "sr-26-2-baseline", "V Conceptual soundness: benchmark (SR 11-7 V.1, V.3)",
                "The model does better than a simpler alternative.", better_than_baseline(reading),
            ),
            control(
                reading, "sr-26-2-outcomes", "V Outcomes analysis (SR 11-7 V.3)",
                "Outputs are compared with what came true, against thresholds that the bank set itself.",
                together(policy_kept(reading), performance(reading)),
            ),
            control(
                reading, "sr-26-2-monitoring", "V Ongoing monitoring (SR 11-7 V.2)",
                "Whether the model still meets what it was built for is watched as data and use change.",
                watched(reading),
            ),
            stated(
                reading, "sr-26-2-inventory", "VI Model inventory (SR 11-7 VI)",
                "An inventory tells each model’s identity, version, purpose and state.", "intended_use",
                "Its purpose is not recorded.", beside=identified(reading),
            ),
            stated(
                reading, "sr-26-2-documentation", "VI Documentation (SR 11-7 VI)",
                "Whoever does not know the model can learn how it works, its limits and its assumptions.", "design",
                "Development and assumptions are for the developer to describe.", beside=sound(reading),
            ),
            stated(
                reading, "sr-26-2-vendor", "VII Vendor models (SR 11-7 V, third-party products)",
                "A bought model is held to the same: understood, tested on the bank’s own cases, watched.",
                "vendor_model", "Whether a vendor made the model, and what it disclosed, is not recorded.",
                beside=performance(reading),
            ),
        )
    )  # fmt: skip


PACK = Pack(
    id="sr_26_2",
    title="SR 26-2: model risk management",
    legal_status="Guidance since 17 April 2026 (with OCC 2026-13, FDIC FIL-15-2026); replaces SR 11-7.",
    source="P",
    judge=judge,
)
