"""ECOA, Regulation B: reasons for adverse action on credit, 12 CFR 1002.9 with its official commentary.

A protected attribute among the principal reasons stays there, since no principal reason may be left out: that it is one
is what breaks § 1002.4(a), not that it is told. CFPB circulars 2022-03 and 2023-03 were withdrawn in May 2025; the
regulation's text, which this pack reads, was not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.errors import one_line
from tasks.report.regulations.base import Control, Findings, Pack, inputs
from tasks.report.regulations.credit_reasons import (
    age_columns,
    at_most,
    complete,
    in_decisions,
    in_order,
    lacking,
    read_reasons,
    scored_only,
    specific,
    unprotected,
)
from tasks.report.regulations.evidenced import (
    Ruling,
    bias_examined,
    control,
    kept,
    named,
    on_groups,
    performance,
    policy_kept,
    sensitive_inputs,
    stated,
    together,
)

if TYPE_CHECKING:
    from tasks.report.reading import Reading
    from tasks.report.regulations.credit_reasons import Reasons

RECORDS_MONTHS = 25
_NO_EFFECTS = "In force; the effects test was removed from Regulation B on 21 July 2026 (secondary source)."


def judge(reading: Reading) -> Findings:
    """Reasons by the table that states them; notices, deadlines and the soundness of the system by people too."""
    from tasks.reasons import LIKELY

    found = read_reasons(reading)
    return Findings(
        (
            _specific(reading, found),
            control(
                reading, "ecoa-stated", "12 CFR 1002.9(a)(2)(i)",
                "Every adverse decision has a statement of its principal reasons.", complete(reading, found),
            ),
            control(
                reading, "ecoa-four", "Commentary 9(b)(2)-1",
                "More than four reasons are not likely to help the applicant.", at_most(reading, found, LIKELY),
            ),
            control(
                reading, "ecoa-scored", "Commentary 9(b)(2)-4",
                "Reasons are factors that were scored, and no others.", scored_only(reading, found),
            ),
            control(
                reading, "ecoa-none-left-out", "Commentary 9(b)(2)-4",
                "No factor that was a principal reason is left out, whatever it is.",
                _nothing_filtered(reading, found),
            ),
            control(
                reading, "ecoa-how", "Commentary 9(b)(2)-5",
                "How the principal factors of a scoring system are selected is told: against whom an applicant is"
                " compared.", _background(reading, found),
            ),
            control(
                reading, "ecoa-basis", "12 CFR 1002.4(a), 1002.6(b)",
                "No prohibited basis is a reason for a decision; of age see § 1002.6(b)(2).",
                unprotected(reading, found, apart=age_columns(reading)),
            ),
            _age(reading, found),
            control(
                reading, "ecoa-groups", "12 CFR 1002.4(a)",
                "Applicants are not treated less favourably on a prohibited basis.",
                together(bias_examined(reading), policy_kept(reading, on_groups)), source="S",
                legal_status=_NO_EFFECTS,
            ),
            stated(
                reading, "ecoa-sound", "12 CFR 1002.2(p)",
                "A scoring system is empirically derived, demonstrably and statistically sound, and validated anew.",
                "credit_system_soundness", "How the system was developed and is revalidated is not recorded.",
                beside=performance(reading),
            ),
            stated(
                reading, "ecoa-applicants", "12 CFR 1002.2(e)–(f), 1002.2(z)",
                "It is told what credit is decided on, and which of the prohibited bases the data hold.",
                "credit_decided", "What kind of credit is decided on, and for whom, is not recorded.",
            ),
            stated(
                reading, "ecoa-deadline", "12 CFR 1002.9(a)(1)",
                "The applicant is told within 30 days of a completed application, 90 of a counteroffer.",
                "adverse_notice", "Whether and when notices are sent is not recorded.",
            ),
            stated(
                reading, "ecoa-notice", "12 CFR 1002.9(a)(2), (b)(1)",
                "The notice names the action, the creditor and its address, the agency, and the applicant’s rights.",
                "notice_content", "What the notice says beside the reasons is not recorded.",
            ),
            kept(
                reading, "ecoa-records", "12 CFR 1002.12(b)(1)",
                "Applications and what was used to decide them are kept for 25 months.", "records_months",
                RECORDS_MONTHS, beside=_recorded(reading, found),
            ),
        )
    )  # fmt: skip


def _specific(reading: Reading, found: Reasons | None) -> Control:
    ask = "Reasons are specific; “internal standards” or “failed to achieve a qualifying score” do not do."
    made = control(reading, "ecoa-specific", "12 CFR 1002.9(b)(2)", ask, specific(reading, found))
    return replace(made, evidence=(*made.evidence, *inputs(reading, "reasons_language")))


def _nothing_filtered(reading: Reading, found: Reasons | None) -> Ruling:
    """Ranked without a hole, and which sensitive columns could have been reasons: those that the model takes."""
    ordered = in_order(reading, found)
    if found is None:
        return ordered
    declared, taken = sensitive_inputs(reading)
    if not declared:
        return ordered
    why = f"{ordered.why} Sensitive columns among the model’s inputs, never filtered: {named(taken) or 'none'}."
    return replace(ordered, why=why)


def _age(reading: Reading, found: Reasons | None) -> Control:
    """Age may count in a sound system; whether it does so within the limits is for people to say."""
    id, clause = "ecoa-age", "12 CFR 1002.6(b)(2)"
    ask = "Age counts in a sound scoring system only, and never against an elderly applicant."
    columns = age_columns(reading)
    if not columns:
        why = "No sensitive attribute is declared to be age."
        return Control(id, clause, ask, "not_applicable", why)
    times = {column: 0 if found is None else found.features.get(column, 0) for column in columns}
    why = f"Among the principal reasons: {in_decisions(times)}."
    beside = lacking(reading) if found is None else Ruling("satisfied", why, ("reason_codes",))
    wanted = "Against whom age counts, and within which limits, is not recorded."
    return stated(reading, id, clause, ask, "age_in_scoring", wanted, beside=beside)


def _background(reading: Reading, found: Reasons | None) -> Ruling:
    if found is None:
        return lacking(reading)
    told, digest = (reading.record.fact("reasons", key) for key in ("background", "background_sha256"))
    if not told or not digest:
        why = "With whom declined applicants are compared is not recorded."
        return Ruling("insufficient_data", why, ("reason_codes",))
    rows = reading.record.fact("reasons", "background_rows")
    many = f", {rows:,} rows" if isinstance(rows, int) else ""
    return Ruling(
        "satisfied", f"Compared with {one_line(told, 200)}{many}, SHA-256 {str(digest)[:12]}.", ("reason_codes",)
    )


def _recorded(reading: Reading, found: Reasons | None) -> Ruling:
    """What the run itself keeps of the decisions."""
    if found is None or reading.artifact("predictions") is None:
        return lacking(reading)
    why = "The run keeps scores, decisions and reasons of every row, and their digests."
    return Ruling("satisfied", why, ("predictions", "reason_codes"))


PACK = Pack(
    id="ecoa_reg_b",
    title="ECOA, Regulation B: reasons for adverse action",
    legal_status="In force (12 CFR 1002). CFPB circulars 2022-03 and 2023-03 were withdrawn in May 2025.",
    source="P",
    judge=judge,
)
