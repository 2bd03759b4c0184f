from __future__ import annotations

from tests.tasks.report.pack_runs import (
    RUNS,
    PackStatuses,
    changed,
    controls,
)

PACK = "nist_ai_rmf"
#: control → clause, and its status in each of RUNS: tabular, full, plain (no policy, reference, groups), regression,
#: weighted, image, refused, unreadable, incomplete. s: satisfied, n: not, i: insufficient data, h: human required.
TABLE = {
    "nist-2-8": ("MEASURE 2.8", "hhhhhhhih"),
    "nist-2-9": ("MEASURE 2.9", "issiiiiii"),
    "nist-2-11": ("MEASURE 2.11", "nsiinsiin"),
    "nist-2-13": ("MEASURE 2.13", "issiiiiii"),
}


class TestStatuses(PackStatuses):
    pack, table = PACK, TABLE


def test_fairness_needs_its_declared_thresholds_kept(tmp_path) -> None:
    broken = controls(PACK, RUNS["tabular"](tmp_path / "a"))["nist-2-11"]
    assert (broken.status, "2 do not hold" in broken.rationale) == ("not_satisfied", True)
    undeclared = changed(RUNS["full"](tmp_path / "b"), policy=[{"metric": "accuracy", "min": 0.8}])
    assert controls(PACK, undeclared)["nist-2-11"].status == "satisfied"


def test_values_with_an_interval_are_counted(tmp_path) -> None:
    reading = RUNS["full"](tmp_path)
    valued = [r for r in reading.group_metrics if r["value"] is not None]
    told = controls(PACK, reading)["nist-2-13"].rationale
    assert f"{len(valued)} of {len(valued)} measured values have a 95\u00a0% interval." in told
