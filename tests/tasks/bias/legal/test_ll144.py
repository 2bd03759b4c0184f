"""The worked examples of the rule, to the digits that it prints."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.bias import above_median, cross_foot, impact_table

SELECTION_SEX = {"Male": (1390, 667), "Female": (1181, 555)}
SELECTION_RACE = {
    "Hispanic or Latino": (408, 204),
    "White": (797, 412),
    "Black": (390, 170),
    "NHPI": (119, 52),
    "Asian": (616, 302),
    "AIAN": (41, 18),
    "Two or more": (213, 96),
}
SCORING_SEX = {"Male": (92, 50), "Female": (76, 34)}
SCORING_RACE = {
    "Hispanic or Latino": (28, 18),
    "White": (40, 15),
    "Black": (32, 16),
    "NHPI": (8, 5),
    "Asian": (24, 10),
    "AIAN": (16, 10),
    "Two or more": (20, 10),
}


@pytest.mark.parametrize(
    ("counts", "digits", "ratios"),
    [
        (SELECTION_SEX, 3, [1.0, 0.979]),
        (SELECTION_RACE, 2, [0.97, 1.0, 0.84, 0.85, 0.95, 0.85, 0.87]),
        (SCORING_SEX, 2, [1.0, 0.82]),
        (SCORING_RACE, 2, [1.0, 0.58, 0.78, 0.97, 0.65, 0.97, 0.78]),
        ({("Male", "White"): (412, 215), ("Female", "AIAN"): (17, 7)}, 3, [1.0, 0.789]),
        ({("Male", "Hispanic"): (16, 12), ("Female", "Asian"): (12, 3)}, 2, [1.0, 0.33]),
    ],
)
def test_impact_ratios(counts, digits: int, ratios: list[float]) -> None:
    table = impact_table(counts, unknown=250)
    assert [round(float(row.impact_ratio), digits) for row in table.rows] == ratios
    assert [row.category for row in table.rows] == list(counts)
    assert table.unknown == 250


def test_cross_footing() -> None:
    scoring = {"sex": impact_table(SCORING_SEX, kind="scoring"), "race": impact_table(SCORING_RACE, kind="scoring")}
    assert [(sum(r.n for r in t.rows), sum(r.counted for r in t.rows)) for t in scoring.values()] == [(168, 84)] * 2
    assert cross_foot(scoring) == []
    selection = {"sex": impact_table(SELECTION_SEX), "race": impact_table(SELECTION_RACE)}
    assert cross_foot(selection) == [
        "The table by sex adds up to 2,571 assessed and 1,222 selected.",
        "The table by race adds up to 2,584 assessed and 1,254 selected.",
    ]


def test_small_categories_leave_before_the_maximum() -> None:
    counts = {"A": (490, 245), "B": (500, 200), "tiny": (10, 10)}
    whole = impact_table(counts)
    assert [float(row.impact_ratio) for row in whole.rows] == [0.5, 0.4, 1.0]
    without = impact_table(counts, small_share="0.02")
    assert [None if r.impact_ratio is None else float(r.impact_ratio) for r in without.rows] == [1.0, 0.8, None]
    tiny = without.rows[2]
    assert (tiny.n, tiny.counted, float(tiny.rate)) == (10, 10, 1.0)  # published all the same
    assert tiny.excluded == "under 2 % of the known categories"


def test_what_two_per_cent_are_of_is_a_setting() -> None:
    counts = {"A": (980, 490), "B": (20, 10)}
    assert impact_table(counts, small_share="0.02").rows[1].excluded is None  # exactly 2 % is not under it
    with_unknown = impact_table(counts, unknown=1, small_share="0.02", share_of="all")
    assert with_unknown.rows[1].excluded == "under 2 % of the data"
    assert with_unknown.rows[0].impact_ratio == 1


def test_nothing_to_divide_is_no_number() -> None:
    nobody = impact_table({"A": (10, 0), "B": (0, 0)})
    assert [row.impact_ratio for row in nobody.rows] == [None, None]
    assert nobody.rows[1].rate is None
    assert nobody.rows[1].excluded == "nobody was assessed"
    assert impact_table({}).rows == ()


@pytest.mark.parametrize("counts", [{"A": (1, 2)}, {"A": (1, -1)}])
def test_impossible_counts(counts: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="of 1"):
        impact_table(counts)
    with pytest.raises(ValueError, match="unknown"):
        impact_table({}, unknown=-1)


def test_the_median_is_of_the_known_or_of_all() -> None:
    scores, known = np.array([1.0, 2.0, 3.0, 9.0, 9.0]), np.array([True, True, True, False, False])
    assert above_median(scores, known).tolist() == [False, False, True, True, True]
    assert above_median(scores, known, median_of="all").tolist() == [False, False, False, True, True]
    assert above_median(np.array([5.0, 5.0]), np.array([True, True])).tolist() == [False, False]  # strictly above
