from __future__ import annotations

import pytest

from tasks.report.regulations import REGULATIONS
from tests.tasks.report.pack_runs import (
    RUNS,
    SIGNED,
    attested_by_all,
    attesting,
    clauses,
    controls,
    expected,
    judge,
    letters,
)

PACK = "colorado"
#: control → clause, and its status in each of RUNS: tabular, full, plain (no policy, reference, groups), regression,
#: weighted, image, refused, unreadable, incomplete. s: satisfied, n: not, i: insufficient data, h: human required.
TABLE = {
    "colorado-uses": ("§ 6-1-1702(1)(a)", "hhhhhhhhh"),
    "colorado-training": ("§ 6-1-1702(1)(b)", "hhiihhhih"),
    "colorado-limits": ("§ 6-1-1702(1)(c)", "hhiihhiih"),
    "colorado-instructions": ("§ 6-1-1702(1)(d)", "hhhhhhhhh"),
    "colorado-deployer": ("§ 6-1-1702(1)(e)", "hhhihhiii"),
    "colorado-records": ("§ 6-1-1702(4)", "hhhhhhhih"),
    "colorado-notice": ("§ 6-1-1704, notice", "hhhhhhhhh"),
    "colorado-description": ("§ 6-1-1704, adverse outcome", "ihhiiiiii"),
}


@pytest.mark.parametrize("run", RUNS)
def test_statuses(tmp_path, run: str) -> None:
    assert letters(PACK, RUNS[run](tmp_path)) == expected(TABLE, run)


def test_clauses(tmp_path) -> None:
    assert clauses(PACK, RUNS["full"](tmp_path)) == {id: clause for id, (clause, _) in TABLE.items()}


def test_what_people_state_is_taken_with_who_role_and_date(tmp_path) -> None:
    found = controls(PACK, attested_by_all(PACK, RUNS["full"](tmp_path)))
    assert {c.status for c in found.values()} == {"satisfied"}
    for control in found.values():
        if control.attestation is not None:
            assert "Attested by A. Person, head of models, 2026-11-20: It is so. Not checked" in control.rationale


def test_records_of_less_than_three_years_do_not_do(tmp_path) -> None:
    reading = attesting(RUNS["full"](tmp_path), retention={**SIGNED, "records_years": 2})
    found = controls(PACK, reading)["colorado-records"]
    assert (found.status, "fewer than 3" in found.rationale) == ("not_satisfied", True)


def test_it_is_known_from_secondary_sources_only(tmp_path) -> None:
    assert REGULATIONS[PACK].source == "S"
    assert {c.source for c in judge(PACK, RUNS["full"](tmp_path)).controls} == {"S"}
    assert "1 January 2027" in REGULATIONS[PACK].legal_status
