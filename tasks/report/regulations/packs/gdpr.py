"""GDPR Articles 13(2)(f), 15(1)(h) and 22, read with the Court of Justice in C-203/22.

By that judgment a bare formula or the name of an algorithm is no explanation: what counts is why this decision came out
so, in words, and what would have changed it. So importances alone never satisfy a control here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.numbers import count
from tasks.report.regulations.base import Findings, Pack
from tasks.report.regulations.evidenced import Ruling, control, listed, named, sensitive_inputs, short, stated, together
from tasks.report.regulations.evidenced_explanations import changes_told, explained, reasons_given, validated

if TYPE_CHECKING:
    from tasks.report.reading import Reading


def judge(reading: Reading) -> Findings:
    """Logic and reasons by the run; consequences, intervention and contest by people."""
    return Findings(
        (
            control(
                reading, "gdpr-logic", "Art. 13(2)(f), logic",
                "Meaningful information about the logic involved in an automated decision.",
                together(explained(reading), validated(reading)),
            ),
            stated(
                reading, "gdpr-consequences", "Art. 13(2)(f), consequences",
                "What the decision means for the person, and what may follow from it.", "consequences",
                "What follows from a decision is not recorded.", beside=_decided(reading),
            ),
            control(
                reading, "gdpr-explanation", "Art. 15(1)(h), C-203/22",
                "Why a single decision came out so, in words a person can use; a bare formula does not do.",
                together(reasons_given(reading), changes_told(reading)), source="S",
            ),
            stated(
                reading, "gdpr-automated", "Art. 22(1)–(2)",
                "No decision with legal or like effect by automation alone, unless contract, law or consent allow it.",
                "automated_decision", "Whether people take part in the decision, and what allows it, is not recorded.",
            ),
            stated(
                reading, "gdpr-intervention", "Art. 22(3), intervention",
                "Whoever is decided about can have a human step in.", "human_intervention",
                "Who steps in, and how, is not recorded.",
            ),
            stated(
                reading, "gdpr-contest", "Art. 22(3), contest",
                "Whoever is decided about can give their view and contest the decision.", "contest",
                "How a decision is contested is not recorded.", beside=reasons_given(reading),
            ),
            stated(
                reading, "gdpr-special", "Art. 22(4), with Art. 9",
                "No such decision on special categories of data, unless Article 9 allows it and safeguards are there.",
                "special_category_data", "What allows it, and which safeguards there are, is not recorded.",
                beside=special_inputs(reading),
            ),
        )
    )  # fmt: skip


def _decided(reading: Reading) -> Ruling:
    """What was decided how often."""
    decided = reading.decided
    if not decided:
        return Ruling("insufficient_data", "No decisions were counted.")
    top = sorted(decided, key=lambda outcome: (-decided[outcome], outcome))
    told = listed([f"{short(outcome)} ({count(decided[outcome])})" for outcome in top])
    return Ruling("satisfied", f"Outcomes, and how often each was decided: {told}.", ("predictions",))


def special_inputs(reading: Reading) -> Ruling:
    """Which sensitive columns were used, and which the model takes: a fact, for people to weigh."""
    declared, taken = sensitive_inputs(reading)
    if not declared:
        return Ruling("insufficient_data", "No sensitive attribute was declared, so none can be looked for.")
    why = f"Declared for comparing groups: {named(declared)}; inputs of the model: {named(taken) or 'none of them'}."
    return Ruling("satisfied", why, ("groups", "validation"))


PACK = Pack(
    id="gdpr",
    title="GDPR, Articles 13, 15 and 22",
    legal_status="In force. C-203/22 of the Court of Justice: a bare formula is no explanation.",
    source="P",
    judge=judge,
)
