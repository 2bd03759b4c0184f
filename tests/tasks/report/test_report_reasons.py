"""The section on principal reasons: counts, protected attributes, examples that respect what a report may print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.contracts import Done, NotApplicable
from tasks.report.compose import document_of
from tasks.report.document import Bullets, Callout, Facts, FindingNote, Paragraph, Section, Table
from tasks.report.html import render_html
from tasks.report.markdown import render_markdown
from tasks.report.reading import Reading
from tasks.report.sections.reasons import reasons
from tests.tasks.report.report_builder import config_of, record_of, table, workspace_of

FACTS: dict[str, Any] = {
    "adverse": 4, "stated": 4, "background": "the rows decided in favour that lie nearest the cut-off",
    "background_rows": 50, "background_sha256": "ab" * 32, "protected": {"sex": 2}, "protected_decisions": 2, "most": 4,
    "unsettled": 1, "codes_version": "7", "language": "en-US", "language_path": "words.yaml",
    "language_sha256": "cd" * 32, "letter": "Dear $id, $decision.\n\n$reasons\n\n$changes",
    "changeable": {"features": {"income": "multiples of 1 from 0 to 9"}, "one": 2, "two": 1, "none": 1},
}  # fmt: skip


def line(row: Any, rank: int, code: str, text: str, *features: str) -> dict[str, Any]:
    return {"row_id": row, "rank": rank, "code": code, "text": text, "features": list(features), "contribution": -1.0}


LINES = [
    line(0, 1, "INC", "Income", "income"), line(0, 2, "SEX", "Sex", "sex"),
    line(1, 1, "SEX", "Sex", "sex"),
    line(2, 1, "INC", "Income", "income"),
    line(3, 1, "INC", "Income", "income"),
]  # fmt: skip
CHANGES = [
    {"row_id": 0, "rank": 1, "feature": "income", "from": "1", "to": "5", "score": 0.6, "crosses": True,
     "text": "If income were 5 instead of 1, the decision would be >50K."},
    {"row_id": 1, "rank": 1, "feature": None, "from": None, "to": None, "score": 0.1, "crosses": False,
     "text": "No change was found."},
]  # fmt: skip


def reading_of(
    folder: Path, lines=LINES, changes=CHANGES, facts: dict[str, Any] | None = None, policy: Any = None, **config: Any
) -> Reading:
    workspace = workspace_of(folder)
    rows = sorted({r["row_id"] for r in lines}) if lines else []
    predictions = [
        {"row_id": row, "output": ">50K", "y_true": "<=50K", "score": 0.1, "decision": "<=50K"} for row in rows
    ]
    workspace.write_table("predictions", table("predictions", predictions))
    tables = [workspace.write_table("reason_codes", table("reason_codes", lines))]
    if changes:
        tables.append(workspace.write_table("counterfactuals", table("counterfactuals", changes)))
    done = [Done("reasons", tuple(tables), facts={**FACTS, **(facts or {})})]
    if policy is not None:
        done.append(Done("policy", facts={"checks": [], "reasons": policy}))
    return Reading(config_of(**config), workspace, record_of(done, "satisfied"))


def text_of(section: Section) -> str:
    """All text of a section, a line a piece."""
    found: list[str] = []
    for block in section.blocks:
        match block:
            case Paragraph(content=content) | FindingNote(content=content):
                found.append("".join(span.text for span in content))
            case Bullets(items=items) | Callout(items=items):
                found += ["".join(span.text for span in item) for item in items]
            case Facts(pairs=pairs):
                found += [f"{label}: {''.join(span.text for span in content)}" for label, content in pairs]
            case Table(rows=rows):
                found += [" | ".join("".join(span.text for span in cell) for cell in row) for row in rows]
    return "\n".join([*found, *(text_of(child) for child in section.sections)])


def test_reasons_are_counted_by_code(tmp_path: Path) -> None:
    text = text_of(reasons(reading_of(tmp_path)))
    assert "4 decisions are adverse; principal reasons are stated for all of them." in text
    assert "INC | Income | 3 | 75.0 % | 75.0 %" in text.replace("\u00a0", " ").replace("\u202f", " ")
    assert "SEX | Sex | 2 | 50.0 % | 25.0 %" in text.replace("\u00a0", " ").replace("\u202f", " ")
    assert f"Digest of these rows: {'ab' * 32}" in text
    assert f"words.yaml, SHA-256 {'cd' * 32}" in text
    assert "Order of the reasons: within the error of estimation in 1 decision" in text
    sure = text_of(reasons(reading_of(tmp_path / "sure", facts={"unsettled": 0})))
    assert "Order of the reasons: beyond the error of estimation in every decision" in sure


def test_protected_attributes_and_proxies_are_told(tmp_path: Path) -> None:
    policy = {"proxies": {"height": 3}, "of": {"height": ["sex", "race"]}}
    section = reasons(reading_of(tmp_path / "a", policy=policy))
    (callout,) = [block for block in section.blocks if isinstance(block, Callout)]
    assert callout.tone == "bad"
    text = text_of(section)
    assert "sex, a sensitive attribute, is a principal reason of 2 of 4 decisions." in text
    assert "height, a strong proxy of sex and race, is a principal reason of 3 of 4 decisions." in text
    none = text_of(reasons(reading_of(tmp_path / "b", facts={"protected": {}}, policy={"proxies": {}, "of": {}})))
    assert "No sensitive attribute is among the principal reasons, and no strong proxy of one." in none


def test_a_sample_is_called_one(tmp_path: Path) -> None:
    text = text_of(reasons(reading_of(tmp_path, facts={"adverse": 900})))
    assert "900 decisions are adverse; principal reasons are stated for a random sample of 4." in text


def test_what_would_alter_the_result(tmp_path: Path) -> None:
    text = text_of(reasons(reading_of(tmp_path)))
    assert "Of 4 decisions, 2 would be favourable after a change of one of the features" in text
    assert "1 more after a change of two, and for 1 none was found" in text
    assert "income | multiples of 1 from 0 to 9 | 1" in text


def test_examples_are_the_letters_with_what_may_be_printed(tmp_path: Path) -> None:
    text = text_of(reasons(reading_of(tmp_path / "a")))
    assert "Dear 0, <=50K." in text
    assert "1. Income" in text
    letters = [block for block in reasons(reading_of(tmp_path / "l")).sections[-1].blocks if isinstance(block, Callout)]
    assert [letter.bullets for letter in letters] == [False, False]
    assert text.count("All letters are in the table") == 1
    assert "If income were 5 instead of 1" in text
    hidden = text_of(reasons(reading_of(tmp_path / "b", report={"rows": {"redact": ["income"]}})))
    assert "instead of 1" not in hidden
    assert "A change of income, whose values are not printed." in hidden
    none = text_of(reasons(reading_of(tmp_path / "c", report={"rows": {"show": 0}})))
    assert "report.rows.show is 0" in none
    assert "Dear" not in none


def test_ids_are_printed_as_the_rest_of_the_report_prints_them(tmp_path: Path) -> None:
    lines = [{**row, "row_id": row["row_id"] + 987_654_321} for row in LINES]
    text = text_of(reasons(reading_of(tmp_path, lines=lines, changes=(), data={"id": "person"})))
    assert "987654321" not in text
    redacted = reading_of(tmp_path / "x", lines=lines, changes=(), data={"id": "person"},
                          report={"rows": {"redact": ["person"]}})  # fmt: skip
    assert "Dear redacted" in text_of(reasons(redacted))


def test_without_reasons_the_section_says_why(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)
    absent = NotApplicable("reasons", "unfit", "the model takes images")
    reading = Reading(config_of(), workspace, record_of([absent], "satisfied"))
    assert text_of(reasons(reading)) == "Not applicable: the model takes images."


def test_no_adverse_decision_is_nothing_to_state(tmp_path: Path) -> None:
    text = text_of(reasons(reading_of(tmp_path, lines=[], changes=[], facts={"adverse": 0, "stated": 0})))
    assert "No decision is adverse" in text


HOSTILE = "<script>alert(1)</script> |#` \u202etxt 😀 " + "x" * 200


@pytest.mark.parametrize("render", [render_html, render_markdown], ids=["html", "markdown"])
def test_hostile_names_are_escaped(tmp_path: Path, render: Any) -> None:
    lines = [line(0, 1, "C", HOSTILE, HOSTILE)]
    facts = {
        "adverse": 1, "stated": 1, "language_path": HOSTILE, "letter": f"{HOSTILE} $id $reasons",
        "protected": {HOSTILE: 1}, "changeable": {"features": {HOSTILE: "every observed category"}, "one": 1, "two": 0,
        "none": 0},
    }  # fmt: skip
    changes = [{**CHANGES[0], "feature": HOSTILE, "text": HOSTILE}]
    page = render(document_of(reading_of(tmp_path, lines=lines, changes=changes, facts=facts)))
    text = page if isinstance(page, str) else page.decode()
    assert "<script>alert(1)" not in text
    assert "alert(1)" in text
