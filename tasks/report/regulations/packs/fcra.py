"""FCRA, 15 USC 1681g(f): what a consumer is told about a credit score. Known from secondary sources.

A score here is the model's. Whether it is a "credit score" in the sense of the statute, and how it is scaled before
anyone sees it, is for people to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.numbers import moment, number
from tasks.report.regulations.base import Findings, Pack
from tasks.report.regulations.credit_reasons import at_most, complete, in_order, read_reasons
from tasks.report.regulations.evidenced import Ruling, absent, control, stated, together

if TYPE_CHECKING:
    from tasks.report.reading import Reading

#: key factors at most; inquiries beside them, where they are one (15 USC 1681g(f)(9))
KEY_FACTORS = 4


def judge(reading: Reading) -> Findings:
    """Scores, their range and key factors by the run; provider, scale and disclosure by people."""
    found = read_reasons(reading)
    return Findings(
        (
            stated(
                reading, "fcra-score", "15 USC 1681g(f)(1)(A)", "The consumer’s current or latest score.",
                "score_scale", "Whether the model’s score is the one disclosed, and how it is scaled, is not recorded.",
                beside=_scores(reading), source="S",
            ),
            stated(
                reading, "fcra-range", "15 USC 1681g(f)(1)(B)", "The range of possible scores under the model.",
                "score_range", "The range of the disclosed score is not recorded.",
                beside=_range(reading), source="S",
            ),
            control(
                reading, "fcra-factors", "15 USC 1681g(f)(1)(C), (f)(2)(B)",
                "The key factors that adversely affected the score, by their importance.",
                together(complete(reading, found), in_order(reading, found)), source="S",
            ),
            control(
                reading, "fcra-four", "15 USC 1681g(f)(1)(C), (f)(9)",
                "No more than four key factors; inquiries are told beside them, where they are one.",
                at_most(reading, found, KEY_FACTORS), source="S",
            ),
            stated(
                reading, "fcra-date", "15 USC 1681g(f)(1)(D)", "The date on which the score was created.", "score_date",
                "When the disclosed score was created is not recorded.", beside=_dated(reading), source="S",
            ),
            stated(
                reading, "fcra-provider", "15 USC 1681g(f)(1)(E)", "Who provided the score or its file.",
                "score_provider", "The provider is not recorded.", source="S",
            ),
            stated(
                reading, "fcra-disclosure", "15 USC 1681g(f)(1)",
                "A statement that the information and the model may differ from what a lender uses, and the notice to"
                " home loan applicants where it is due.", "score_disclosure",
                "Whether and how scores are disclosed is not recorded.", source="S",
            ),
        )
    )  # fmt: skip


def _extent(reading: Reading) -> tuple[float, float, int] | None:
    """(lowest, highest, how many) of the scores."""
    import pyarrow.compute as pc

    table = reading.table("predictions", columns=["score"])
    found = None if table is None else table["score"].drop_null()
    if not found:
        return None
    ends = pc.min_max(found).as_py()
    return ends["min"], ends["max"], len(found)


def _scores(reading: Reading) -> Ruling:
    found = _extent(reading)
    if found is None:
        return Ruling("insufficient_data", f"No score is there. {absent(reading, 'predict')}")
    return Ruling("satisfied", f"The run holds {found[2]:,} scores.", ("predictions",))


def _range(reading: Reading) -> Ruling:
    found = _extent(reading)
    if found is None:
        return Ruling("insufficient_data", f"No score is there. {absent(reading, 'predict')}")
    observed = f"{number(found[0])} to {number(found[1])} in these data"
    if reading.config.model.task == "regression":
        why = f"The model’s value has no bounds of its own; {observed}."
        return Ruling("insufficient_data", why, ("predictions",))
    return Ruling("satisfied", f"The model’s score is a probability, 0 to 1; {observed}.", ("predictions",))


def _dated(reading: Reading) -> Ruling:
    if _extent(reading) is None:
        return Ruling("insufficient_data", f"No score is there. {absent(reading, 'predict')}")
    return Ruling(
        "satisfied", f"The scores of this run were computed on {moment(reading.record.finished)}.", ("predictions",)
    )


PACK = Pack(
    id="fcra",
    title="FCRA: disclosure of credit scores",
    legal_status="In force (15 USC 1681g(f)).",
    source="S",
    judge=judge,
)
