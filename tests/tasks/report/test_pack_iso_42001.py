from __future__ import annotations

import re

from tests.tasks.report.pack_runs import (
    RUNS,
    PackStatuses,
    clauses,
    judge,
)

PACK = "iso_42001"
#: control → clause, and its status in each of RUNS: tabular, full, plain (no policy, reference, groups), regression,
#: weighted, image, refused, unreadable, incomplete. s: satisfied, n: not, i: insufficient data, h: human required.
TABLE = {
    "iso-a-5-4": ("A.5.4", "hhiihhiih"),
    "iso-a-6-2-3": ("A.6.2.3", "hhhhhhhih"),
    "iso-a-6-2-4": ("A.6.2.4", "nsisniiin"),
    "iso-a-6-2-5": ("A.6.2.5", "hhhhhhhhh"),
    "iso-a-6-2-6": ("A.6.2.6", "isiiiiiii"),
    "iso-a-6-2-7": ("A.6.2.7", "hhhihhiii"),
    "iso-a-6-2-8": ("A.6.2.8", "hhhhhhhhh"),
    "iso-a-7-4": ("A.7.4", "issiiinni"),
    "iso-a-7-5": ("A.7.5", "hhiihhhih"),
    "iso-a-8-2": ("A.8.2", "hhhhhhiih"),
}


class TestStatuses(PackStatuses):
    pack, table = PACK, TABLE


def test_controls_are_cited_by_number_alone(tmp_path) -> None:
    assert all(re.fullmatch(r"A\.\d(\.\d)+", clause) for clause in clauses(PACK, RUNS["full"](tmp_path)).values())
    assert {c.source for c in judge(PACK, RUNS["full"](tmp_path / "b")).controls} == {"S"}
