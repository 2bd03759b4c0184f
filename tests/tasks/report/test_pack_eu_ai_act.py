from __future__ import annotations

import pytest

from tasks.report.compose import document_of
from tasks.report.document import Table
from tasks.report.reading import Reading
from tasks.report.regulations import REGULATIONS
from tests.tasks.report.pack_runs import (
    RUNS,
    SIGNED,
    PackStatuses,
    attested_by_all,
    attesting,
    changed,
    controls,
    judge,
    statuses,
)

PACK = "eu_ai_act"
#: control → clause, and its status in each of RUNS: tabular, full, plain (no policy, reference, groups), regression,
#: weighted, image, refused, unreadable, incomplete. s: satisfied, n: not, i: insufficient data, h: human required.
TABLE = {
    "eu-4a-1": ("Art. 4a(1)", "hhhihhhih"),
    "eu-9-6": ("Art. 9(6)", "nsisniiin"),
    "eu-9-8": ("Art. 9(8)", "nsisniiin"),
    "eu-10-2-b": ("Art. 10(2)(b)", "hhiihhhih"),
    "eu-10-2-c": ("Art. 10(2)(c)", "ihhiiinni"),
    "eu-10-2-e": ("Art. 10(2)(e)", "isiiiinni"),
    "eu-10-2-f": ("Art. 10(2)(f)", "ssiissiis"),
    "eu-10-2-g": ("Art. 10(2)(g)", "hhiihiiih"),
    "eu-10-2-h": ("Art. 10(2)(h)", "ssisssiis"),
    "eu-10-3": ("Art. 10(3)", "isiiiinni"),
    "eu-11-1": ("Art. 11(1), Annex IV", "ihiiiiiii"),
    "eu-annex-iv-1-a": ("Annex IV 1(a)", "hhhhhhhih"),
    "eu-annex-iv-1-c": ("Annex IV 1(c)", "hhhhhhhhh"),
    "eu-annex-iv-2-b": ("Annex IV 2(b)", "hhhihhiii"),
    "eu-annex-iv-2-c": ("Annex IV 2(c)", "hhhhhhhhh"),
    "eu-annex-iv-2-d": ("Annex IV 2(d)", "ihiiiinni"),
    "eu-annex-iv-2-e": ("Annex IV 2(e)", "hhhihhiii"),
    "eu-annex-iv-2-g": ("Annex IV 2(g)", "hhiihhiih"),
    "eu-annex-iv-3": ("Annex IV 3", "hhihhhiih"),
    "eu-annex-iv-4": ("Annex IV 4", "hhhhhhiih"),
    "eu-annex-iv-6": ("Annex IV 6", "hhhhhhhhh"),
    "eu-annex-iv-9": ("Annex IV 9", "hhiihiiih"),
    "eu-12": ("Art. 12(1)–(2)", "hhhhhhhih"),
    "eu-18-1": ("Art. 18(1)", "hhhhhhhih"),
    "eu-19-1": ("Art. 19(1)", "hhhhhhhih"),
    "eu-26-6": ("Art. 26(6)", "hhhhhhhih"),
    "eu-13-3-b-ii": ("Art. 13(3)(b)(ii)", "ihhiiiiii"),
    "eu-13-3-b-iv": ("Art. 13(3)(b)(iv)", "sssissiii"),
    "eu-13-3-b-v": ("Art. 13(3)(b)(v)", "ssisssiis"),
    "eu-13-3-b-vi": ("Art. 13(3)(b)(vi)", "isiiiinni"),
    "eu-13-3-b-vii": ("Art. 13(3)(b)(vii)", "issiiiiii"),
    "eu-13-3-d": ("Art. 13(3)(d)", "hhhihhiii"),
    "eu-14-4-a": ("Art. 14(4)(a)", "ssisssiis"),
    "eu-14-4-c": ("Art. 14(4)(c)", "issiiiiii"),
    "eu-15-1": ("Art. 15(1)", "ssissiiis"),
    "eu-15-3": ("Art. 15(3)", "hhihhiiih"),
    "eu-15-4": ("Art. 15(4)", "ihhiiiiii"),
    "eu-26-4": ("Art. 26(4)", "nsiiniiin"),
    "eu-26-5": ("Art. 26(5)", "isiiiiiii"),
    "eu-27-1-c": ("Art. 27(1)(c)", "hhiihhiih"),
    "eu-27-1-d": ("Art. 27(1)(d)", "hhiihhiih"),
    "eu-72-2": ("Art. 72(2)", "isiiiiiii"),
    "eu-72-3": ("Art. 72(3)", "hhiihiiih"),
    "eu-86-1": ("Art. 86(1)", "issiiiiii"),
}


class TestStatuses(PackStatuses):
    pack, table = PACK, TABLE


#: attributed to the wrong date, a duty is overlooked or feared too early
LATER_OR_EARLIER = {
    "eu-4a-1": "Article 10(5)",
    "eu-72-2": "2 August 2026",
    "eu-72-3": "2 August 2026",
    "eu-86-1": "2 August 2026",
}


def test_clauses_that_apply_at_another_time_say_so(tmp_path) -> None:
    found = controls(PACK, RUNS["full"](tmp_path))
    told = {id: c.legal_status for id, c in found.items() if c.legal_status is not None}
    assert told.keys() == LATER_OR_EARLIER.keys()
    assert all(LATER_OR_EARLIER[id] in text for id, text in told.items())
    assert "for counsel to confirm" in told["eu-86-1"]
    for words in ("2 December 2027", "2 August 2028", "2026/1744"):
        assert words in REGULATIONS[PACK].legal_status


def _tables(reading: Reading) -> dict[str, Table]:
    return {block.id: block for block in judge(PACK, reading).blocks if isinstance(block, Table)}


@pytest.mark.parametrize("run", RUNS)
def test_every_anchor_of_the_index_is_in_the_report(tmp_path, run: str) -> None:
    reading = changed(RUNS[run](tmp_path), report={"regulations": [PACK]})
    anchors = set(document_of(reading).anchors())
    index = _tables(reading)["annex-iv"]
    links = [span.href for row in index.rows for span in row[2] if span.kind == "link"]
    assert len(links) >= len(index.rows)
    assert {href[1:] for href in links} <= anchors
    assert all(href.startswith("#") for href in links)


def test_the_index_names_the_points_that_an_audit_touches(tmp_path) -> None:
    index = _tables(RUNS["full"](tmp_path))["annex-iv"]
    points = [row[0][0].text for row in index.rows]
    assert points == ["1(a)", "1(c)", "2(b)", "2(c)", "2(d)", "2(e)", "2(g)", "3", "4", "6", "9"]


def test_the_index_says_by_which_evidence_and_what_is_to_be_supplied(tmp_path) -> None:
    reading = attesting(RUNS["full"](tmp_path), known_risks=SIGNED)
    rows = {row[0][0].text: row for row in _tables(reading)["annex-iv"].rows}
    evidence = {span.text for span in rows["2(g)"][3]}
    artifact = reading.artifact("disparities")
    assert {"disparities", artifact.sha256[:12]} <= evidence
    assert [s.text for s in rows["2(g)"][4]] == ["to be supplied", " ", "test_signature"]
    assert [s.text for s in rows["3"][4]] == ["supplied"]
    refused = {row[0][0].text: row for row in _tables(RUNS["refused"](tmp_path / "r"))["annex-iv"].rows}
    assert refused["2(g)"][4][0].text == "insufficient data"
    assert refused["2(g)"][3][0].text == "none"


def test_documentation_counts_its_points(tmp_path) -> None:
    reading = RUNS["full"](tmp_path)
    assert controls(PACK, reading)["eu-11-1"].rationale.startswith(
        "Of 11 points in the index below, 0 are supplied; 11 are for people to supply (1(a), 1(c), 2(b) and 8 more)."
    )
    assert "11 are supplied." in controls(PACK, attested_by_all(PACK, reading))["eu-11-1"].rationale


@pytest.mark.parametrize(
    ("term", "eu_18", "eu_19"),
    [
        ({"logs_months": 6, "documents_years": 10}, "satisfied", "satisfied"),
        ({"logs_months": 5, "documents_years": 9}, "not_satisfied", "not_satisfied"),
        ({"logs_months": 24, "documents_years": "long"}, "human_required", "satisfied"),
    ],
)
def test_logs_and_documents_have_terms_of_their_own(tmp_path, term: dict, eu_18: str, eu_19: str) -> None:
    found = statuses(PACK, attesting(RUNS["full"](tmp_path), retention={**SIGNED, **term}))
    assert (found["eu-18-1"], found["eu-19-1"], found["eu-26-6"]) == (eu_18, eu_19, eu_19)


def test_small_cells_and_missing_values_are_counted(tmp_path) -> None:
    found = controls(PACK, RUNS["full"](tmp_path))
    assert "2 of them below 30 rows (Other, Male × Other)" in found["eu-10-2-f"].rationale
    assert "966 values are missing (occupation)" in found["eu-10-3"].rationale
    assert "(interval 0.850 to 0.861; 13,296 of 15,540)" in found["eu-13-3-b-ii"].rationale
