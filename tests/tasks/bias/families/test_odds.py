"""Mean size of the gaps in true and false positive rate: by hand, for many groups, its limits, mirrored."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.bias.disparities import Gap

NAME = "average_absolute_odds_difference"
Cells = tuple[int, int, int, int]
#: (TP, FN, FP, TN): TPR .8, .5, .4; FPR .3, .1, .35
A, B, C = (80, 20, 30, 70), (50, 50, 10, 90), (40, 60, 35, 65)


def of(found, name: str, group: int | None = None) -> Gap:
    return next(gap for gap in found.gaps[name] if gap.group == group)


def absolute(a: Cells, b: Cells) -> float:
    """AIF360's formula on the four counts."""
    tpr, fpr = (x[0] / (x[0] + x[1]) - y[0] / (y[0] + y[1]) for x, y in ((a[:2], b[:2]), (a[2:], b[2:])))
    return (abs(tpr) + abs(fpr)) / 2


def test_by_hand(comparing_cells) -> None:
    found = comparing_cells([A, C], [NAME, "average_odds_difference", "equalized_odds_difference"])
    gap = of(found, NAME, 1)
    assert gap.value == pytest.approx((0.4 + 0.05) / 2)  # the false positive rates differ the other way
    assert of(found, "average_odds_difference", 1).value == pytest.approx((0.4 - 0.05) / 2)
    assert gap.low < gap.value < gap.high
    odds = of(found, "equalized_odds_difference", 1)
    assert (gap.p, gap.test, gap.hypothesis) == (odds.p, odds.test, odds.hypothesis)
    assert of(found, NAME).value == gap.value


def test_of_more_groups_the_widest_pair(comparing_cells) -> None:
    cells = [A, B, C, (60, 40, 60, 40)]
    found = comparing_cells(cells, [NAME], resamples=500)
    whole = of(found, NAME)
    assert whole.value == pytest.approx(max(absolute(a, b) for a, b in combinations(cells, 2)))
    assert whole.low < whole.value < whole.high
    assert whole.test == "chi_squared"


def test_a_group_without_one_of_the_rates_is_left_out_and_said(comparing_cells) -> None:
    found = comparing_cells([A, B, (0, 0, 50, 50)], [NAME])
    assert of(found, NAME, 2).status == "undefined"
    assert "leaves out c" in of(found, NAME).reason
    assert of(found, NAME).value == pytest.approx(absolute(A, B))
    assert of(comparing_cells([A], [NAME]), NAME).reason == "there is only one group"


@pytest.mark.parametrize("rates", [((0.6, 0.3), (0.6, 0.3)), ((0.6, 0.3), (0.4, 0.3)), ((0.7, 0.2), (0.5, 0.35))])
def test_its_limits_cover(comparing_cells, rates) -> None:
    """400 samples: at a coverage of 95 %, 365 or more are covered in 99.9 % of such tests."""
    rng = np.random.default_rng(20_261_122)
    truth = (abs(rates[0][0] - rates[1][0]) + abs(rates[0][1] - rates[1][1])) / 2
    covered = 0
    for _ in range(400):
        cells = []
        for tpr, fpr in rates:
            tp, fp = rng.binomial(60, tpr), rng.binomial(80, fpr)
            cells.append((tp, 60 - tp, fp, 80 - fp))
        gap = of(comparing_cells(cells, [NAME], resamples=0), NAME)
        covered += gap.low - 1e-12 <= truth <= gap.high + 1e-12
    assert covered >= 365


cell = st.integers(0, 12)
table = st.tuples(cell, cell, cell, cell).filter(any)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(table, table)
def test_swapping_groups_changes_nothing(comparing_cells, a: Cells, b: Cells) -> None:
    one, other = (of(comparing_cells(cells, [NAME]), NAME) for cells in ([a, b], [b, a]))
    assert (one.value, one.low, one.high, one.p) == pytest.approx(
        (other.value, other.low, other.high, other.p), nan_ok=True
    )
    if all(x + y for cells in (a, b) for x, y in (cells[:2], cells[2:])):
        assert one.value == pytest.approx(absolute(a, b), abs=1e-12)
    else:
        assert one.status == "undefined"


@quick
@given(st.lists(table, min_size=1, max_size=5), st.integers(1, 20))
def test_any_table_gives_numbers_or_reasons(comparing_cells, cells: list[Cells], least: int) -> None:
    for gap in comparing_cells(cells, [NAME], least=least, resamples=20).gaps[NAME]:
        assert np.isnan(gap.value) == (gap.status == "undefined")
        assert gap.status == "ok" or gap.reason
        assert np.isnan(gap.value) or 0 <= gap.value <= 1
        if gap.group is not None:
            assert np.isnan(gap.low) or gap.low - 1e-9 <= gap.value <= gap.high + 1e-9


def test_scaling_weights_changes_nothing(comparing_cells) -> None:
    weight = np.random.default_rng(0).exponential(size=600)
    one, other = (comparing_cells([A, B, C], [NAME], weight=w) for w in (weight, weight * 1024))
    for mine, theirs in zip(one.gaps[NAME], other.gaps[NAME], strict=True):
        assert (mine.value, mine.low, mine.high, mine.p) == pytest.approx(
            (theirs.value, theirs.low, theirs.high, theirs.p), nan_ok=True, rel=1e-9
        )
