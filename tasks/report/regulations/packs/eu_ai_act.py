"""EU AI Act, Regulation (EU) 2024/1689 as amended by Regulation (EU) 2026/1744: clauses that a run can speak to.

Annex IV is in `eu_annex_iv.py`. Logs here are the audit's; those of the system in use are the operator's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.document import Column, Paragraph, Table, line
from tasks.report.regulations.base import Control, Findings, Pack
from tasks.report.regulations.eu_annex_iv import documented, index, points
from tasks.report.regulations.evidenced import (
    Ruling,
    accuracy_declared,
    bias_examined,
    control,
    groups_counted,
    kept,
    named,
    performance,
    performance_by_group,
    policy_kept,
    sensitive_inputs,
    stated,
    together,
)
from tasks.report.regulations.evidenced_data import (
    data_identified,
    drift_measured,
    gaps_told,
    gate_passed,
    identified,
    like_reference,
    thresholds_tried,
    watched,
)
from tasks.report.regulations.evidenced_explanations import agreed, explained, reasons_given, robust, validated

if TYPE_CHECKING:
    from tasks.report.reading import Reading

#: of articles outside Chapter III
OUTSIDE = "Outside Chapter III: by the text it applies since 2 August 2026; for counsel to confirm."
ROBUSTNESS = "How the system itself bears errors, faults and attacks is not tested here, and not recorded."
MOVED = "Article 10(5) until Regulation (EU) 2026/1744."
LOGS_MONTHS = 6
DOCUMENTS_YEARS = 10


def judge(reading: Reading) -> Findings:
    """The clauses in the order of the Act, when each part applies, and the index of Annex IV."""
    annex = points(reading)
    controls = (
        *_risk_and_data(reading),
        *_documents_and_logs(reading, annex),
        *_transparency_and_oversight(reading),
        *_accuracy(reading),
        *_use(reading),
        *_after_market(reading),
    )
    note = "Whether the system is a high-risk one, and whose duties these are, is not judged here."
    return Findings(controls, (Paragraph(line(note)), _dates(), index(annex)))


def _risk_and_data(reading: Reading) -> tuple[Control, ...]:
    """Articles 4a, 9 and 10."""
    return (
        stated(
            reading, "eu-4a-1", "Art. 4a(1)",
            "Special categories of data are used to find and correct bias only where strictly necessary, and guarded.",
            "special_category_data", "Necessity and safeguards are not recorded.", beside=_special(reading),
            legal_status=MOVED,
        ),
        control(
            reading, "eu-9-6", "Art. 9(6)", "Tests show that the system does what it is meant to.",
            policy_kept(reading),
        ),
        control(
            reading, "eu-9-8", "Art. 9(8)", "Tests are made against metrics and thresholds that were set beforehand.",
            together(policy_kept(reading), performance(reading)),
        ),
        stated(
            reading, "eu-10-2-b", "Art. 10(2)(b)", "How data were collected, where they come from, and what for.",
            "data_source", "Collection and first purpose are not recorded.", beside=data_identified(reading),
        ),
        stated(
            reading, "eu-10-2-c", "Art. 10(2)(c)", "How data were prepared: labelled, cleaned, enriched.",
            "data_preparation", "Preparation is not recorded.", beside=gate_passed(reading),
        ),
        control(
            reading, "eu-10-2-e", "Art. 10(2)(e)", "Whether the data needed are there, in number and fitness.",
            together(gate_passed(reading), groups_counted(reading)),
        ),
        control(
            reading, "eu-10-2-f", "Art. 10(2)(f)", "Data are examined for bias that may harm people or discriminate.",
            bias_examined(reading),
        ),
        stated(
            reading, "eu-10-2-g", "Art. 10(2)(g)", "Bias is found, prevented and narrowed by fitting measures.",
            "bias_mitigation", "Which measures were taken is not recorded.", beside=thresholds_tried(reading),
        ),
        control(
            reading, "eu-10-2-h", "Art. 10(2)(h)", "Gaps and shortcomings of the data are named.", gaps_told(reading),
        ),
        control(
            reading, "eu-10-3", "Art. 10(3)",
            "Data are relevant, representative, and as free of errors and as complete as can be.",
            together(gate_passed(reading), groups_counted(reading)),
        ),
    )  # fmt: skip


def _documents_and_logs(reading: Reading, annex: tuple[Control, ...]) -> tuple[Control, ...]:
    """Articles 11 with Annex IV, 12, 18, 19 and 26(6)."""
    found = identified(reading)
    return (
        control(
            reading, "eu-11-1", "Art. 11(1), Annex IV", "Technical documentation with Annex IV’s content is drawn up.",
            documented(annex),
        ),
        *annex,
        stated(
            reading, "eu-12", "Art. 12(1)–(2)", "Events are recorded over the system’s lifetime.",
            "event_logs", "What the system logs in use is not recorded.", beside=found,
        ),
        kept(
            reading, "eu-18-1", "Art. 18(1)", "Documentation is kept for ten years.", "documents_years",
            DOCUMENTS_YEARS, beside=found,
        ),
        kept(
            reading, "eu-19-1", "Art. 19(1)", "The provider keeps logs for six months at least.", "logs_months",
            LOGS_MONTHS, beside=found,
        ),
        kept(
            reading, "eu-26-6", "Art. 26(6)", "The deployer keeps logs for six months at least.", "logs_months",
            LOGS_MONTHS, beside=found,
        ),
    )  # fmt: skip


def _transparency_and_oversight(reading: Reading) -> tuple[Control, ...]:
    """Articles 13 and 14."""
    return (
        stated(
            reading, "eu-13-3-b-ii", "Art. 13(3)(b)(ii)", "Instructions tell accuracy and robustness, as tested.",
            "robustness", ROBUSTNESS, beside=together(performance(reading), robust(reading)),
        ),
        control(
            reading, "eu-13-3-b-iv", "Art. 13(3)(b)(iv)", "They tell what the system can say to explain its output.",
            explained(reading),
        ),
        control(
            reading, "eu-13-3-b-v", "Art. 13(3)(b)(v)", "They tell how it performs for persons and groups.",
            performance_by_group(reading),
        ),
        control(
            reading, "eu-13-3-b-vi", "Art. 13(3)(b)(vi)", "They tell of input data, and of training and test data.",
            together(data_identified(reading), gate_passed(reading)),
        ),
        control(
            reading, "eu-13-3-b-vii", "Art. 13(3)(b)(vii)", "They help to interpret output and use it rightly.",
            together(explained(reading), validated(reading)),
        ),
        stated(
            reading, "eu-13-3-d", "Art. 13(3)(d)", "They tell how people oversee the system, and with what help.",
            "human_oversight", "Measures of oversight are not recorded.", beside=explained(reading),
        ),
        control(
            reading, "eu-14-4-a", "Art. 14(4)(a)", "Who oversees it can grasp what it can do, and where it ends.",
            together(performance(reading), gaps_told(reading)),
        ),
        control(
            reading, "eu-14-4-c", "Art. 14(4)(c)", "Who oversees it can interpret its output, with tools for that.",
            together(validated(reading), agreed(reading)),
        ),
    )  # fmt: skip


def _accuracy(reading: Reading) -> tuple[Control, ...]:
    """Article 15."""
    return (
        control(
            reading, "eu-15-1", "Art. 15(1)", "Accuracy and robustness reach a level that fits the purpose.",
            accuracy_declared(reading),
        ),
        stated(
            reading, "eu-15-3", "Art. 15(3)", "The level of accuracy and its metrics are declared in the instructions.",
            "instructions_for_use", "What the instructions declare is not recorded.", beside=accuracy_declared(reading),
        ),
        stated(
            reading, "eu-15-4", "Art. 15(4)", "The system withstands errors, faults and inconsistencies.",
            "robustness", ROBUSTNESS, beside=robust(reading),
        ),
    )  # fmt: skip


def _use(reading: Reading) -> tuple[Control, ...]:
    """Articles 26(4), 26(5) and 27."""
    return (
        control(
            reading, "eu-26-4", "Art. 26(4)", "Input data are relevant and representative of what the system is for.",
            like_reference(reading),
        ),
        control(
            reading, "eu-26-5", "Art. 26(5)", "The deployer watches how the system runs.", watched(reading),
        ),
        stated(
            reading, "eu-27-1-c", "Art. 27(1)(c)", "Which persons and groups the use is likely to affect.",
            "impact_assessment", "The deployer’s assessment is not recorded.", beside=groups_counted(reading),
        ),
        stated(
            reading, "eu-27-1-d", "Art. 27(1)(d)", "Which harms are likely to hit them.", "impact_assessment",
            "The deployer’s assessment is not recorded.", beside=bias_examined(reading),
        ),
    )  # fmt: skip


def _after_market(reading: Reading) -> tuple[Control, ...]:
    """Articles 72 and 86, outside Chapter III."""
    return (
        control(
            reading, "eu-72-2", "Art. 72(2)", "Data on performance are gathered through the system’s lifetime.",
            watched(reading), legal_status=OUTSIDE,
        ),
        stated(
            reading, "eu-72-3", "Art. 72(3)", "Monitoring follows a plan.", "monitoring_plan",
            "The plan is not recorded.", beside=drift_measured(reading), legal_status=OUTSIDE,
        ),
        control(
            reading, "eu-86-1", "Art. 86(1)",
            "Who is decided about can have the system’s part and the main elements of the decision explained.",
            reasons_given(reading), legal_status=OUTSIDE,
        ),
    )  # fmt: skip


def _special(reading: Reading) -> Ruling:
    """Which sensitive columns the audit used, and where they went."""
    declared, taken = sensitive_inputs(reading)
    if not declared:
        return Ruling("not_applicable", "No sensitive attribute was declared, so this audit used none.")
    why = f"Declared for comparing groups: {named(declared)}; inputs of the model: {named(taken) or 'none of them'}."
    return Ruling("satisfied", why, ("groups", "validation"))


def _dates() -> Table:
    """When each part applies."""
    rows = (
        ("Chapter III, high-risk systems of Annex III", "from 2 December 2027"),
        ("Chapter III, products of Annex I", "from 2 August 2028"),
        ("Articles 72 and 86, outside Chapter III", "by the text since 2 August 2026; for counsel to confirm"),
        ("Article 4a(1), special categories of data", "was Article 10(5) until Regulation (EU) 2026/1744"),
    )
    columns = (Column("Part", weight=1.6), Column("Applies", weight=1.6))
    return Table(
        "eu-ai-act-dates", "When each part applies", columns, tuple((line(a), line(b)) for a, b in rows)
    )  # fmt: skip


PACK = Pack(
    id="eu_ai_act",
    title="EU AI Act",
    legal_status=(
        "Regulation (EU) 2024/1689 as amended by 2026/1744. The chapter on high-risk systems applies from 2 December"
        " 2027 (Annex III) and 2 August 2028 (Annex I)."
    ),
    source="P",
    judge=judge,
)
