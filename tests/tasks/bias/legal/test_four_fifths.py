from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.bias import four_fifths


@pytest.mark.parametrize(
    ("counts", "ratio", "fisher_p", "z", "flagged", "significant"),
    [
        ((12, 40, 48, 80), 0.5, 0.0034092217678, -3.0984, True, True),
        ((170, 390, 412, 797), 0.8432, 0.00943, -2.6233, False, True),
        ((7, 17, 215, 412), 0.7891, 0.4605, -0.890, True, False),
        ((3, 5, 6, 8), 0.8, None, None, False, False),
        ((40, 100, 60, 100), 0.667, None, -2.8284271247, True, True),
    ],
)
def test_the_table_of_the_law_page(counts, ratio, fisher_p, z, flagged, significant) -> None:
    found = four_fifths(*counts)
    assert float(found.ratio) == pytest.approx(ratio, abs=5e-4)
    assert found.flagged is flagged
    assert found.significant is significant
    if fisher_p is not None:
        assert found.fisher_p == pytest.approx(fisher_p, abs=5e-5)
    if z is not None:
        assert found.z == pytest.approx(z, abs=2e-4)


def test_exactly_four_fifths_is_not_below() -> None:
    assert four_fifths(3, 5, 6, 8).ratio == Fraction(4, 5)
    assert (3 / 5) / (6 / 8) < 0.8  # why integers decide


def test_nobody_selected_in_the_reference_is_no_ratio() -> None:
    found = four_fifths(3, 5, 0, 8)
    assert found.ratio is None
    assert not found.flagged
    assert found.shortfall == 0


@pytest.mark.parametrize("counts", [(6, 5, 1, 2), (-1, 5, 1, 2), (1, 2, 3, 2)])
def test_impossible_counts(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="selected of"):
        four_fifths(*counts)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_the_shortfall_is_the_least_that_lifts_the_flag(n: int, m: int, data: st.DataObject) -> None:
    s, r = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    found = four_fifths(s, n, r, m)
    assert found.flagged is (found.shortfall > 0)
    assert not four_fifths(s + found.shortfall, n, r, m).flagged
    if found.shortfall:
        assert four_fifths(s + found.shortfall - 1, n, r, m).flagged
