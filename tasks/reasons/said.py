"""What the stage says of its work: facts, limitations and findings."""

from __future__ import annotations

from typing import Any

from tasks.contracts import Finding
from tasks.reasons.parts import Tally, Work
from tasks.reasons.texts import Language

STAGE = "reasons"
#: more are not likely to help (commentary to 12 CFR 1002.9(b)(2))
LIKELY = 4
#: fallbacks that a limitation names
NAMED = 5


def language_facts(language: Language | None) -> dict[str, Any]:
    if language is None:
        return {"codes_version": None, "language": None, "language_path": None, "language_sha256": None, "letter": None}
    return {
        "codes_version": language.version, "language": language.language, "language_path": language.path,
        "language_sha256": language.sha256, "letter": language.letter,
    }  # fmt: skip


def changeable_facts(work: Work, tally: Tally) -> dict[str, Any] | None:
    if work.cut is None:
        return None
    return {
        "features": {feature.name: feature.resolution for feature in work.changeable},
        "one": tally.changes["1"],
        "two": tally.changes["2"],
        "none": tally.changes["none"],
    }


def limitations(work: Work, tally: Tally, stated: int, adverse: int) -> list[str]:
    told, most = [], work.config.reasons.most
    if stated < adverse:
        told.append(
            f"Reasons are stated for {stated:,} of the {adverse:,} adverse decisions, a simple random sample"
            " (reasons.rows)."
        )
    if most > LIKELY:
        told.append(
            f"Up to {most} principal reasons are stated of a decision; by the commentary to Regulation B more than"
            " four are not likely to help the applicant."
        )
    if tally.unsettled:
        told.append(
            f"In {tally.unsettled:,} of {stated:,} decisions two reasons next to each other in rank, or the last one"
            " and the next after it, contribute so nearly the same that their order is within the error of estimation."
        )
    if tally.without:
        told.append(
            f"{tally.without:,} of {stated:,} adverse decisions have no principal reason: nothing speaks against them"
            " more than against those with whom they are compared."
        )
    language = work.language
    if language is None:
        told.append(
            "No language file is given (reasons.language): reasons bear the names of features in the place of texts,"
            " and no letters are written."
        )
    elif tally.plain:
        listed = ", ".join(sorted(tally.plain)[:NAMED])
        more = f" and {len(tally.plain) - NAMED} more" if len(tally.plain) > NAMED else ""
        told.append(f"The language file has no text for reasons of {listed}{more}: their plain names stand for one.")
    if language is not None and not language.english:
        told.append(
            f"Texts in {language.language} were not held against the list of insufficient reasons, which is English."
        )
    if work.changeable and work.cut is None:
        told.append(
            "What change would alter the result is not told: no score decides, since decisions are a record or none"
            " was favourable."
        )
    if work.cut is not None:
        told.append(
            "What change would alter the result is looked for in one feature, then in two by a greedy search; a change"
            " is what the model would answer to, and no promise of a decision."
        )
    return told


def finding(name: str, count: int, stated: int, most: int) -> Finding:
    return Finding(
        "warning",
        "protected_reason",
        f"{name}, a sensitive attribute, is among the {most} principal reasons of {count:,} of {stated:,} adverse"
        " decisions.",
        evidence="reason_codes",
        stage=STAGE,
    )
