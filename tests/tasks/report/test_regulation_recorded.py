"""The examples that the law itself works out, fed as recorded decisions through the real stages."""

from __future__ import annotations

import pytest

from tests.tasks.report.recorded import Recorded, audited, save_model
from tests.tasks.report.report_pages import parsed, tables

#: the selection example of the rule: category → (assessed, selected, ratio as it prints it)
SEX = {"Male": (1390, 667, "1.000"), "Female": (1181, 555, ".979")}
RACE = {
    "Hispanic": (408, 204, ".97"), "White": (797, 412, "1.00"), "Black": (390, 170, ".84"), "NHPI": (119, 52, ".85"),
    "Asian": (616, 302, ".95"), "AIAN": (41, 18, ".85"), "Two or more": (213, 96, ".87"),
}  # fmt: skip
#: a table of cells behind it: race → (men, of them selected, women, of them selected); its example's race table adds up
#: to more people than its table by sex, so some have a race and no sex, and others a sex and no race
CELLS = {
    "Hispanic": (292, 146, 116, 58), "White": (412, 215, 385, 197), "Black": (195, 85, 195, 85),
    "NHPI": (59, 26, 60, 26), "Asian": (288, 134, 288, 133), "AIAN": (24, 11, 17, 7), "Two or more": (106, 48, 107, 48),
    None: (14, 2, 13, 1),
}  # fmt: skip
NO_SEX = {"Asian": (40, 35), None: (223, 100)}

#: the scoring example: category → (assessed, above the median, ratio)
SCORED_SEX = {"Male": (92, 50, "1.00"), "Female": (76, 34, ".82")}
SCORED_RACE = {
    "Hispanic": (28, 18, "1.00"), "White": (40, 15, ".58"), "Black": (32, 16, ".78"), "NHPI": (8, 5, ".97"),
    "Asian": (24, 10, ".65"), "AIAN": (16, 10, ".97"), "Two or more": (20, 10, ".78"),
}  # fmt: skip
SCORED_CELLS = {
    "Hispanic": (16, 12, 12, 6), "White": (22, 8, 18, 7), "Black": (18, 9, 14, 7), "NHPI": (4, 3, 4, 2),
    "Asian": (12, 7, 12, 3), "AIAN": (9, 6, 7, 4), "Two or more": (11, 5, 9, 5),
}  # fmt: skip
UNKNOWN = 15

#: the four-fifths cases: (selected, n) of the focal group and of the reference → cells of the report's table
CASES = {
    "one": ((12, 40), (48, 80), "0.500", "flagged", "0.003409", "−3.0984 p 0.001946", "not_satisfied"),
    "two": ((170, 390), (412, 797), "0.843", "not flagged", "0.009430", "−2.6233 p 0.008707", "satisfied"),
    "three": ((7, 17), (215, 412), "0.789", "flagged", "0.4605", "−0.8901 p 0.3734", "insufficient_data"),
    "four": ((3, 5), (6, 8), "0.800", "not flagged", "1.000", "−0.5701 p 0.5686", "insufficient_data"),
    "five": ((40, 100), (60, 100), "0.667", "flagged", "0.007060", "−2.8284 p 0.004678", "not_satisfied"),
}


def people(*groups: tuple[int, int, dict]) -> dict[str, list]:
    """Columns of rows: (how many, of them decided `yes` or scored above, what they are)."""
    keys = sorted({key for _, _, own in groups for key in own})
    columns: dict[str, list] = {key: [] for key in (*keys, "decided")}
    for n, selected, own in groups:
        for key in keys:
            columns[key] += [own.get(key)] * n
        columns["decided"] += ["yes"] * selected + ["no"] * (n - selected)
    return columns


def of_cells(cells: dict) -> list[tuple[int, int, dict]]:
    found = []
    for race, (men, men_yes, women, women_yes) in cells.items():
        found += [(men, men_yes, {"sex": "Male", "race": race}), (women, women_yes, {"sex": "Female", "race": race})]
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def selection(tmp_path_factory, model) -> Recorded:
    groups = of_cells(CELLS) + [(n, yes, {"race": race}) for race, (n, yes) in NO_SEX.items()]
    return audited(tmp_path_factory.mktemp("selection"), model, people(*groups), ("sex", "race"))


@pytest.fixture(scope="module")
def scoring(tmp_path_factory, model) -> Recorded:
    columns = people(*of_cells(SCORED_CELLS), (UNKNOWN, 7, {}))
    above = columns.pop("decided")
    place = {"yes": 1.0, "no": -1.0}
    columns["x"] = [place[side] * (1 + position / 1000) for position, side in enumerate(above)]
    # All decided alike, so that selection rates say nothing.
    settings = {"nyc_ll144": {"median_of": "known", "decimals": 2}}
    changes = {"report": {"regulations": ["nyc_ll144"], "formats": ["html"], "settings": settings}}
    return audited(tmp_path_factory.mktemp("scoring"), model, columns, ("sex", "race"), **changes)


@pytest.mark.parametrize(("table", "wanted", "decimals"), [("ll144-sex", SEX, 3), ("ll144-race", RACE, 2)])
def test_the_selection_example_prints_the_rules_own_table(
    selection: Recorded, table: str, wanted: dict, decimals: int
) -> None:
    rows = selection.with_settings(nyc_ll144={"decimals": decimals}).shown("nyc_ll144", table)
    found = {row[0]: (row[1], row[2], row[4].removeprefix("0")) for row in rows}
    assert found == {group: (f"{n:,}", f"{yes:,}", ratio) for group, (n, yes, ratio) in wanted.items()}


def test_its_crossing(selection: Recorded) -> None:
    rows = {row[0]: row for row in selection.shown("nyc_ll144", "ll144-crossing")}
    assert rows["Male × White"][1:] == ["412", "215", "0.522", "1.000"]
    assert rows["Female × AIAN"][1:] == ["17", "7", "0.412", "0.789"]
    assert len(rows) == 14


def test_the_unknown_are_counted_and_tables_that_do_not_add_up_are_told(selection: Recorded) -> None:
    why = selection.why("ll144-unknown")
    assert "race: 250" in why
    assert "The tables do not add up to the same." in why
    assert "The table by sex adds up to 2,571 assessed and 1,222 selected." in why
    assert "The table by race adds up to 2,584 assessed and 1,254 selected." in why
    assert "The tables do not add up to the same." in selection.files["report.html"].decode()


@pytest.mark.parametrize(("table", "wanted"), [("ll144-scores-sex", SCORED_SEX), ("ll144-scores-race", SCORED_RACE)])
def test_the_scoring_example_prints_the_rules_own_table(scoring: Recorded, table: str, wanted: dict) -> None:
    rows = scoring.shown("nyc_ll144", table)
    found = {row[0]: (row[1], row[2], row[4].removeprefix("0")) for row in rows}
    assert found == {group: (str(n), str(above), ratio) for group, (n, above, ratio) in wanted.items()}


def test_its_crossing_and_its_sums(scoring: Recorded) -> None:
    rows = {row[0]: row for row in scoring.shown("nyc_ll144", "ll144-scores-crossing")}
    assert rows["Male × Hispanic"][1:] == ["16", "12", "0.75", "1.00"]
    assert rows["Female × Asian"][1:] == ["12", "3", "0.25", "0.33"]
    assert sum(int(row[1]) for row in rows.values()) == 168
    assert sum(int(row[2]) for row in rows.values()) == 84
    assert scoring.status("ll144-scores") == "satisfied"
    assert "The tables do not add up" not in scoring.why("ll144-unknown")
    assert f"sex: {UNKNOWN}" in scoring.why("ll144-unknown")


def test_the_page_has_what_is_to_be_published(scoring: Recorded) -> None:
    page = parsed(scoring.files["nyc_ll144.html"].decode())
    text = " ".join(page.text.split())
    for wanted in ("22 November 2026", "to be stated", "Serves until", "22 November 2027", "15", "no threshold"):
        assert wanted in text
    printed = {row[0]: row[-1] for rows in tables(page) for row in rows}
    assert (printed["Hispanic"], printed["White"]) == ("1.00", "0.58")
    assert 'href="artifacts' not in scoring.files["nyc_ll144.html"].decode()
    assert "nyc_ll144.html" in scoring.files["report.html"].decode()


@pytest.fixture(scope="module")
def four_fifths(tmp_path_factory, model) -> Recorded:
    groups = [
        (n, yes, {case: group})
        for case, own in CASES.items()
        for group, (yes, n) in (("focal", own[0]), ("reference", own[1]))
    ]
    return audited(tmp_path_factory.mktemp("cases"), model, people(*groups), tuple(CASES))


@pytest.mark.parametrize("case", CASES)
def test_the_four_fifths_cases(four_fifths: Recorded, case: str) -> None:
    (yes, n), _, ratio, flag, fisher, z, status = CASES[case]
    row = next(row for row in four_fifths.shown("eeoc_four_fifths", "eeoc-table") if row[0] == case)
    assert row[1] == "focal"
    assert row[2].endswith(f" {yes} of {n}")
    assert [row[3].split()[0], *row[4:7]] == [ratio, flag, fisher, z]
    assert four_fifths.status(f"eeoc-4d-{list(CASES).index(case) + 1}") == status


def test_a_tool_that_sorts_into_classes_repeats_the_tables(tmp_path) -> None:
    held = {"M": {"a": 30, "b": 50, "c": 20}, "F": {"a": 40, "b": 35, "c": 45}}
    rows = [(sex, outcome) for sex, own in held.items() for outcome, n in own.items() for _ in range(n)]
    columns = {
        "sex": [sex for sex, _ in rows], "decided": [outcome for _, outcome in rows],
        "label": ["a", "b", "c", "a"] * (len(rows) // 4),
    }  # fmt: skip
    run = audited(
        tmp_path, save_model(tmp_path, classes=3), columns, ("sex",),
        model={"task": "multiclass", "classes": ["a", "b", "c"]},
        data={"target": {"column": "label", "favorable": "a"}},
    )  # fmt: skip
    for position, outcome in enumerate("abc", 1):
        shown = {row[0]: row[1:3] for row in run.shown("nyc_ll144", f"ll144-class-{position}-sex")}
        assert shown == {sex: [str(sum(own.values())), str(own[outcome])] for sex, own in held.items()}
    assert run.status("ll144-scores") == "not_applicable"
