from __future__ import annotations

from tests.tasks.report.pack_runs import RUNS, PackStatuses, clauses, controls

PACK = "sr_26_2"
#: control → clause, and its status in each of RUNS: tabular, full, plain (no policy, reference, groups), regression,
#: weighted, image, refused, unreadable, incomplete. s: satisfied, n: not, i: insufficient data, h: human required.
TABLE = {
    "sr-26-2-challenge": ("III Effective challenge (SR 11-7 III)", "hhhhhhhhh"),
    "sr-26-2-soundness": ("V Conceptual soundness (SR 11-7 V.1)", "issiiiiii"),
    "sr-26-2-baseline": ("V Conceptual soundness: benchmark (SR 11-7 V.1, V.3)", "ssssisiis"),
    "sr-26-2-outcomes": ("V Outcomes analysis (SR 11-7 V.3)", "nsisniiin"),
    "sr-26-2-monitoring": ("V Ongoing monitoring (SR 11-7 V.2)", "isiiiiiii"),
    "sr-26-2-inventory": ("VI Model inventory (SR 11-7 VI)", "hhhhhhhih"),
    "sr-26-2-documentation": ("VI Documentation (SR 11-7 VI)", "ihhiiiiii"),
    "sr-26-2-vendor": ("VII Vendor models (SR 11-7 V, third-party products)", "hhhhhhiih"),
}


class TestStatuses(PackStatuses):
    pack, table = PACK, TABLE


def test_outcomes_are_held_against_the_thresholds_of_the_bank(tmp_path) -> None:
    found = controls(PACK, RUNS["tabular"](tmp_path))["sr-26-2-outcomes"]
    assert "2 do not hold (impact ratio by sex, impact ratio by race)" in found.rationale
    assert {p.table for p in found.evidence} == {"group_metrics", "disparities", "predictions"}


def test_headings_of_the_guidance_before_it_are_named(tmp_path) -> None:
    assert all("SR 11-7" in clause for clause in clauses(PACK, RUNS["full"](tmp_path)).values())
