from __future__ import annotations

from tasks.report.regulations import REGULATIONS
from tests.tasks.report.pack_runs import (
    RUNS,
    SIGNED,
    PackStatuses,
    attesting,
    controls,
    judge,
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


class TestStatuses(PackStatuses):
    pack, table = PACK, TABLE


def test_records_of_less_than_three_years_do_not_do(tmp_path) -> None:
    reading = attesting(RUNS["full"](tmp_path), retention={**SIGNED, "records_years": 2})
    found = controls(PACK, reading)["colorado-records"]
    assert (found.status, "fewer than 3" in found.rationale) == ("not_satisfied", True)


def test_it_is_known_from_secondary_sources_only(tmp_path) -> None:
    assert REGULATIONS[PACK].source == "S"
    assert {c.source for c in judge(PACK, RUNS["full"](tmp_path)).controls} == {"S"}
    assert "1 January 2027" in REGULATIONS[PACK].legal_status
