from __future__ import annotations

import re

import pytest

from tests.tasks.report.pack_runs import RUNS, attested_by_all, clauses, controls, expected, judge, letters

PACK = "iso_42001"
#: control → clause, and its status in each of RUNS: tabular, full, plain (no policy, reference, groups), regression,
#: weighted, image, refused, unreadable, incomplete. s: satisfied, n: not, i: insufficient data, h: human required.
TABLE = {
    "iso-a-5-4": ("A.5.4", "hhiihhiih"),
    "iso-a-6-2-3": ("A.6.2.3", "hhhhhhhih"),
    "iso-a-6-2-4": ("A.6.2.4", "nsisniiin"),
    "iso-a-6-2-5": ("A.6.2.5", "hhhhhhhhh"),
    "iso-a-6-2-6": ("A.6.2.6", "ssiisiiis"),
    "iso-a-6-2-7": ("A.6.2.7", "hhhihhiii"),
    "iso-a-6-2-8": ("A.6.2.8", "hhhhhhhhh"),
    "iso-a-7-4": ("A.7.4", "issiiinni"),
    "iso-a-7-5": ("A.7.5", "hhiihhhih"),
    "iso-a-8-2": ("A.8.2", "hhhhhhiih"),
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


def test_controls_are_cited_by_number_alone(tmp_path) -> None:
    assert all(re.fullmatch(r"A\.\d(\.\d)+", clause) for clause in clauses(PACK, RUNS["full"](tmp_path)).values())
    assert {c.source for c in judge(PACK, RUNS["full"](tmp_path / "b")).controls} == {"S"}
