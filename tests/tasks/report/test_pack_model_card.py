from __future__ import annotations

from tasks.report.document import Table
from tasks.report.reading import Reading
from tasks.report.regulations import REGULATIONS
from tests.tasks.report.pack_runs import (
    RUNS,
    SIGNED,
    PackStatuses,
    attesting,
    clauses,
    judge,
)
from tests.tasks.report.report_runs import large_run

PACK = "model_card"
#: control → clause, and its status in each of RUNS: tabular, full, plain (no policy, reference, groups), regression,
#: weighted, image, refused, unreadable, incomplete. s: satisfied, n: not, i: insufficient data, h: human required.
TABLE = {
    "model-card-details": ("1 Model details", "hhhhhhhih"),
    "model-card-use": ("2 Intended use", "hhhhhhhhh"),
    "model-card-factors": ("3 Factors", "ssiissiis"),
    "model-card-metrics": ("4 Metrics", "ssssssiis"),
    "model-card-evaluation": ("5 Evaluation data", "issiiinni"),
    "model-card-training": ("6 Training data", "hhiihhhih"),
    "model-card-unitary": ("7 Quantitative analyses, unitary", "ssisssiis"),
    "model-card-intersectional": ("7 Quantitative analyses, intersectional", "ssiisiiis"),
    "model-card-ethics": ("8 Ethical considerations", "hhhhhhhhh"),
    "model-card-caveats": ("9 Caveats and recommendations", "ssssssiis"),
}


class TestStatuses(PackStatuses):
    pack, table = PACK, TABLE


def _tables(reading: Reading) -> dict[str, Table]:
    return {block.id.removeprefix("model-card-"): block for block in judge(PACK, reading).blocks}


def _texts(table: Table) -> list[list[str]]:
    return [[" ".join(span.text for span in cell) for cell in row] for row in table.rows]


def test_the_card_has_its_nine_parts(tmp_path) -> None:
    parts = {clause.partition(" ")[0] for clause in clauses(PACK, RUNS["full"](tmp_path)).values()}
    assert parts == set("123456789")
    assert REGULATIONS[PACK].source == "M"


def test_metrics_come_with_their_intervals(tmp_path) -> None:
    rows = {row[0]: row for row in _texts(_tables(RUNS["full"](tmp_path))["metrics"])}
    assert rows["accuracy"] == ["accuracy", "0.856 0.850 to 0.861", "13,296 of 15,540"]


def test_results_stand_by_group_and_by_crossing(tmp_path) -> None:
    tables = _tables(RUNS["full"](tmp_path))
    unitary = {(row[1], row[0]): row for row in _texts(tables["unitary"])}
    assert unitary["sex", "Female"][2:4] == ["5,153", "0.916 0.908 to 0.923"]
    assert unitary["race", "Other"][3] == "insufficient data"
    assert ("race", "(missing)  not known") in unitary
    crossed = {(row[1], row[0]) for row in _texts(tables["intersectional"])}
    assert ("sex × race", "Male × White") in crossed
    assert not {a for a, _ in crossed} & {a for a, _ in unitary}


def test_what_people_state_is_told_from_what_the_maker_says(tmp_path) -> None:
    reading = attesting(RUNS["full"](tmp_path), intended_use=SIGNED)
    rows = [(row[0], row[1], row[2]) for row in _texts(_tables(reading)["details"])]
    assert ("Intended use", "It is so", "attested") in rows
    assert ("Intended use", "Tests.", "the maker’s card") in rows
    assert ("Owner", "to be supplied", "report.attestations.owner") in rows
    caveats = _texts(_tables(reading)["caveats"])
    assert ["the maker’s card", "Incomes of 1994."] in caveats


def test_a_card_of_many_groups_stays_short_and_says_so(tmp_path) -> None:
    reading = Reading(*large_run(tmp_path, features=3))
    tables = _tables(reading)
    assert len(tables["unitary"].rows) == 40
    assert tables["unitary"].note[0].text == "22 more groups are in the table."


def test_a_run_without_groups_leaves_their_tables_out(tmp_path) -> None:
    assert set(_tables(RUNS["plain"](tmp_path))) == {"details", "metrics", "caveats"}
