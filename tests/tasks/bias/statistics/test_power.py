"""The smallest disparity that could have been seen: against every table there is, and against simulated tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from tasks.bias import METRICS
from tasks.bias.base import Measured
from tasks.bias.statistics.power import POWER, detectable, rejected_from, smallest_difference
from tasks.bias.statistics.significance import fisher, two_proportions


def power(n: int, m: int, lower: float, rate: float) -> float:
    """Chance that Fisher's test at 5 % finds the first group's rate to be lower, table by table."""
    rejected = np.array([[fisher(x, n, y, m) < 0.05 and y / m > x / n for y in range(m + 1)] for x in range(n + 1)])
    return float(binom.pmf(np.arange(n + 1), n, lower) @ rejected @ binom.pmf(np.arange(m + 1), m, rate))


@pytest.mark.parametrize(
    ("n", "m", "rate"), [(10, 12, 0.5), (30, 20, 0.5), (12, 60, 0.9), (60, 12, 0.9), (37, 41, 0.95), (5, 5, 0.95)]
)
def test_small_groups_are_enumerated(n: int, m: int, rate: float) -> None:
    found = smallest_difference(np.array([n]), m, rate, level=0.05)[0]
    assert power(n, m, rate - found, rate) == pytest.approx(POWER, abs=1e-4)
    assert power(n, m, rate - found + 0.002, rate) < POWER


def test_where_nothing_could_be_seen_there_is_no_number() -> None:
    assert power(30, 30, 0.0, 0.1) < POWER
    assert np.isnan(smallest_difference(np.array([30, 0, 1]), 30, 0.1, level=0.05)).all()
    assert np.isnan(smallest_difference(np.array([2000]), 2000, 0.0, level=0.05)).all()


def test_the_first_rejected_count_is_fishers() -> None:
    for few, many in ((8, 20), (15, 15)):
        first = rejected_from(few, many, 0.05)
        for x, y in enumerate(first):
            assert y == many + 1 or fisher(x, few, y, many) < 0.05
            assert y <= x * many / few + 1 or fisher(x, few, y - 1, many) >= 0.05


@pytest.mark.parametrize(("n", "m", "rate"), [(2000, 5000, 0.3), (300, 90_000, 0.7)])
def test_large_groups_by_the_formula_have_the_power_too(n: int, m: int, rate: float) -> None:
    found = smallest_difference(np.array([n]), m, rate, level=0.05)[0]
    rng = np.random.default_rng(0)
    x, y = rng.binomial(n, rate - found, 1500), rng.binomial(m, rate, 1500)
    seen = np.mean([two_proportions(a, n, b, m)[0] < 0.05 for a, b in zip(x, y, strict=True)])
    assert seen == pytest.approx(POWER, abs=0.034)  # a perfect formula is in there in 99.9 % of simulations


def test_formula_and_enumeration_meet() -> None:
    exact, formula = (smallest_difference(np.array([n]), 1000, 0.3, level=0.05)[0] for n in (1000, 1001))
    assert formula == pytest.approx(exact, rel=0.02)


def test_more_rows_see_less_and_ten_thousand_groups_are_no_matter() -> None:
    n = np.random.default_rng(0).integers(30, 100_000, 10_000)
    found = smallest_difference(n, 5000, 0.3, level=0.05)
    order = np.argsort(n)
    assert not np.isnan(found).any()
    steps = np.diff(found[order])
    assert (steps <= 0.002).all()  # falls, but for the teeth of small tables and the seam of both ways
    assert found[order[-1]] < found[order[0]] / 3


def share(hits: list[int], n: list[int]) -> Measured:
    top, size = np.array(hits, float), np.array(n, float)
    none = np.full(len(hits), np.nan)
    with np.errstate(invalid="ignore"):
        value = top / size
    return Measured(value, top, size, size, size, none, none, none, "wilson", "0/0")


def test_less_is_worse_unless_it_is_an_error() -> None:
    selected = share([300, 100], [600, 200])
    found = detectable(METRICS["selection_rate"], selected, 0, level=0.05)
    assert found[0].reason == "the reference group"
    gap = smallest_difference(np.array([200]), 600, 0.5, level=0.05)[0]
    assert (found[1].difference, found[1].ratio) == (pytest.approx(gap), pytest.approx((0.5 - gap) / 0.5))
    wrong = detectable(METRICS["false_negative_rate"], share([60, 40], [600, 200]), 0, level=0.05)
    rise = smallest_difference(np.array([200]), 600, 0.9, level=0.05)[0]  # of the rows that are not wrong
    assert (wrong[1].difference, wrong[1].ratio) == (pytest.approx(rise), pytest.approx((0.1 + rise) / 0.1))


def test_every_missing_number_has_its_reason() -> None:
    rate = METRICS["selection_rate"]
    assert "no reference" in str(detectable(rate, share([1], [2]), None, level=0.05)[0].reason)
    assert "none can be worse" in str(detectable(rate, share([0, 5], [50, 50]), 0, level=0.05)[1].reason)
    assert "less than 80%" in str(detectable(rate, share([3, 5], [30, 30]), 0, level=0.05)[1].reason)


def test_weights_count_effective_rows() -> None:
    selected = share([300, 100], [600, 200])
    whole = detectable(METRICS["selection_rate"], selected, 0, level=0.05)[1]
    half = detectable(METRICS["selection_rate"], selected, 0, level=0.05, effective=np.array([300.0, 100.0]))[1]
    assert whole.difference is not None
    assert half.difference is not None
    assert half.difference > whole.difference


def test_the_stage_says_it_of_every_group(audit_cells) -> None:
    facts = audit_cells({"a": (80, 20, 30, 70), "b": (50, 50, 10, 90), "tiny": (3, 1, 1, 2)}, least=30).done.facts
    groups = {row["group"]: row["detectable"] for row in facts["attributes"][0]["groups"]}
    gap = smallest_difference(np.array([200]), 200, 0.55, level=0.05)[0]
    assert groups["b"]["selection_rate"]["difference"] == pytest.approx(gap, abs=1e-6)
    assert groups["b"]["selection_rate"]["ratio"] == pytest.approx((0.55 - gap) / 0.55, abs=1e-6)
    assert groups["b"]["true_positive_rate"]["difference"] > gap  # of half the rows
    assert (
        groups["tiny"]["true_positive_rate"]["difference"] is None
        or groups["tiny"]["true_positive_rate"]["difference"] > 2 * gap
    )
    assert groups["a"]["selection_rate"] == {"difference": None, "ratio": None, "reason": "the reference group"}
