"""Labels against decisions: Clarify's DCA, DCR, DAR, DRR and TE by hand, score intervals, coverage and size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.bias.disparities import Gap
from tasks.bias.families.acceptance import paired_ratio
from tasks.bias.statistics.intervals import normal_quantile
from tasks.bias.statistics.significance import fisher

NAMES = (
    "conditional_acceptance", "conditional_rejection", "acceptance_rate_difference", "rejection_rate_difference",
    "treatment_equality",
)  # fmt: skip
Cells = tuple[int, int, int, int]
#: (TP, FN, FP, TN)
A, B = (80, 20, 30, 70), (50, 50, 10, 90)


def of(found, name: str, group: int | None = None) -> Gap:
    return next(gap for gap in found.gaps[name] if gap.group == group)


#: METRICS.md's formulas, a − d or d − a as there
HAND = {
    "conditional_acceptance": 100 / 110 - 100 / 60,
    "conditional_rejection": 100 / 140 - 100 / 90,
    "acceptance_rate_difference": 80 / 110 - 50 / 60,
    "rejection_rate_difference": 90 / 140 - 70 / 90,
    "treatment_equality": 50 / 10 - 20 / 30,
}


def test_two_groups_by_hand(comparing_cells) -> None:
    found = comparing_cells([A, B], NAMES)
    assert found.reference == 0
    for name, expected in HAND.items():
        gap = of(found, name, 1)
        assert gap.value == pytest.approx(expected, rel=1e-12), name
        assert (gap.status, gap.reference) == ("ok", 0), name
        assert gap.low < expected < gap.high, name
        assert of(found, name).value == pytest.approx(abs(expected)), name  # the attribute's row has no sign


def test_from_rows_and_each_groups_own_numbers(audit_cells) -> None:
    found = audit_cells({"a": A, "b": B}, bias={"resamples": 50})
    for name, expected in HAND.items():
        assert found.gap(name, "g", "b")["value"] == pytest.approx(expected, rel=1e-12), name
    for metric, top, bottom in (
        ("acceptance_coefficient", 100, 60), ("rejection_coefficient", 100, 140), ("error_ratio", 50, 10),
        ("acceptance_rate", 50, 60), ("rejection_rate", 90, 140),
    ):  # fmt: skip
        row = found.metric(metric, "g", "b")
        assert (row["value"], row["numerator"], row["denominator"]) == (top / bottom, top, bottom), metric
        assert row["ci_low"] < row["value"] < row["ci_high"], metric


def test_they_count_the_favourable_outcome_not_the_positive_one(audit) -> None:
    rows = {"g": ["a"] * 100 + ["b"] * 100}
    label = (["good"] * 60 + ["bad"] * 40) * 2
    decision = ["good"] * 50 + ["bad"] * 40 + ["good"] * 10 + ["bad"] * 60 + ["good"] * 40
    found = audit(rows, label=label, decision=decision, classes=["good", "bad"], favorable="good",
                  score=[0.5] * 200, bias={"resamples": 20}, data={"target": {"positive": "bad"}})  # fmt: skip
    assert found.metric("acceptance_rate", "g", "a")["value"] == 50 / 60
    assert found.metric("precision", "g", "a")["value"] == 30 / 40


def test_nothing_to_divide_by_is_undefined(comparing_cells) -> None:
    found = comparing_cells([A, (0, 50, 0, 50)], NAMES)
    for name in ("conditional_acceptance", "acceptance_rate_difference", "treatment_equality"):
        assert of(found, name, 1).status == "undefined", name
        assert of(found, name, 1).reason.startswith("b: "), name
        assert of(found, name).status == "undefined", name
    assert of(found, "conditional_rejection", 1).value == pytest.approx(50 / 100 - 100 / 90)
    none = comparing_cells([(50, 0, 0, 50), (40, 0, 0, 60)], ["treatment_equality"])
    assert {gap.status for gap in none.gaps["treatment_equality"]} == {"undefined"}


def test_the_tests_are_made_on_their_own_scales(comparing_cells) -> None:
    found = comparing_cells([A, B], NAMES)
    errors = of(found, "treatment_equality", 1)
    assert (errors.p, errors.test) == (fisher(50, 60, 20, 50), "fisher")
    precise = of(found, "acceptance_rate_difference", 1)
    assert (precise.p, precise.test) == (fisher(50, 60, 80, 110), "fisher")
    z = (np.log(100.5 / 110.5) - np.log(100.5 / 60.5)) / np.hypot(
        np.sqrt(51 / (100.5 * 110.5)), np.sqrt(61 / (100.5 * 60.5))
    )
    from scipy.stats import norm

    assert of(found, "conditional_acceptance", 1).p == pytest.approx(2 * norm.sf(abs(z)))
    assert of(found, "conditional_acceptance", 1).test == "wald"


def test_more_groups(comparing_cells) -> None:
    found = comparing_cells([A, B, (40, 60, 20, 80)], NAMES, resamples=300)
    ratios = [100 / 110, 100 / 60, 100 / 60]
    assert of(found, "conditional_acceptance").value == pytest.approx(max(ratios) - min(ratios))
    for name in NAMES:
        whole = of(found, name)
        assert whole.low <= whole.value <= whole.high, name
        assert whole.test in {"chi_squared", "wald"}, name


# ---------------------------------------------------------------- the interval of a ratio of paired shares


def test_the_limits_solve_the_score_equation() -> None:
    """By a search over the likelihood itself, where x10, x01 and x11 are multinomial and the ratio is θ."""
    from scipy.optimize import minimize_scalar

    both, first, second = 12.0, 3.0, 7.0
    total = both + first + second
    low, high = paired_ratio(np.array(both), np.array(first), np.array(second), 0.95)
    for theta, sign in ((float(low), 1), (float(high), -1)):

        def first_alone(alone: float, theta: float = theta) -> float:
            return (theta - 1 + alone) / theta  # (1 − alone)/(1 − first alone) is θ

        def unlikely(alone: float) -> float:
            other = first_alone(alone)  # shares of the rows that have either property
            rest = 1 - alone - other
            if min(other, rest, alone) <= 0:
                return np.inf
            return -(both * np.log(rest) + first * np.log(other) + second * np.log(alone))

        bounds = (max(0.0, 1 - theta), 1 / (1 + theta))
        best = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        other = first_alone(best)
        spread = np.sqrt(total * theta * (best + other))
        z = ((both + first) - theta * (both + second)) / spread
        assert z == pytest.approx(sign * normal_quantile(0.95), abs=1e-4)


def test_mirrored_and_at_the_edges() -> None:
    both, first, second = np.array([15, 15, 0, 40]), np.array([0, 1, 2, 5]), np.array([0, 4, 3, 9])
    low, high = paired_ratio(both, first, second, 0.9)
    turned = paired_ratio(both, second, first, 0.9)
    assert low * turned[1] == pytest.approx(np.ones(4))
    assert high * turned[0] == pytest.approx(np.ones(4))
    # No row differs: 1 ± what z² rows could hide.
    z = normal_quantile(0.9)
    assert high[0] == pytest.approx(1 + z * z / 15)
    nothing = paired_ratio(np.array([0, 0]), np.array([0, 3]), np.array([3, 0]), 0.95)
    assert nothing[0][0] == 0
    assert 0 < nothing[1][0] < np.inf
    assert np.isnan([nothing[0][1], nothing[1][1]]).all()


@pytest.mark.parametrize("n", [30, 100])
def test_coverage_by_enumeration(n: int) -> None:
    """Every table of n rows, weighted with its chance: rows that have neither property have a share of their own."""
    first, second, both = (part.ravel() for part in np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij"))
    kept = first + second + both <= n
    first, second, both = first[kept], second[kept], both[kept]
    low, high = paired_ratio(both, first, second, 0.95)
    from scipy.special import gammaln, xlogy

    ways = gammaln(n + 1) - sum(gammaln(k + 1) for k in (first, second, both, n - first - second - both))
    covered = []
    for p11, p10, p01 in [(0.25, 0.05, 0.05), (0.1, 0.1, 0.1), (0.4, 0.1, 0.1), (0.3, 0.05, 0.1), (0.6, 0.05, 0.05),
                          (0.45, 0.05, 0.02), (0.5, 0.2, 0.05), (0.2, 0.05, 0.25)]:  # fmt: skip
        rest = 1 - p11 - p10 - p01
        chance = np.exp(
            ways + xlogy(both, p11) + xlogy(first, p10) + xlogy(second, p01) + xlogy(n - first - second - both, rest)
        )
        truth = (p11 + p10) / (p11 + p01)
        inside = (low - 1e-12 <= truth) & (truth <= high + 1e-12)
        defined = both + second > 0
        covered.append(float(chance[inside & defined].sum() / chance[defined].sum()))
    assert 0.94 <= np.mean(covered) <= 0.975, covered
    assert min(covered) >= 0.93, covered


@pytest.mark.parametrize("sizes", [(60, 60), (40, 300)])
def test_size_of_the_logarithms_test(comparing_cells, sizes: tuple[int, int]) -> None:
    """600 pairs of groups that are alike: 52 or fewer are rejected in 99.9 % of such tests of a test of size .06."""
    rng = np.random.default_rng(20_261_122)
    rejected = 0
    for _ in range(600):
        cells = [tuple(rng.multinomial(n, (0.25, 0.08, 0.08, 0.59))) for n in sizes]
        rejected += (
            of(comparing_cells(cells, ["conditional_acceptance"], resamples=0), "conditional_acceptance").p < 0.05
        )
    assert rejected <= 52


# ---------------------------------------------------------------- properties

cell = st.integers(0, 12)
table = st.tuples(cell, cell, cell, cell).filter(any)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(st.lists(table, min_size=1, max_size=4), st.integers(1, 20), st.booleans())
def test_any_table_gives_numbers_or_reasons(comparing_cells, cells: list[Cells], least: int, weighted: bool) -> None:
    weight = np.linspace(0, 2, sum(map(sum, cells))) if weighted else None
    found = comparing_cells(cells, NAMES, least=least, resamples=20, weight=weight)
    for name in NAMES:
        for gap in found.gaps[name]:
            assert np.isnan(gap.value) == (gap.status == "undefined"), name
            assert not np.isinf(gap.value)
            assert gap.status == "ok" or gap.reason, name
            assert np.isnan(gap.p) or 0 <= gap.p <= 1, name
            if gap.group is not None:
                for end, side in ((gap.low, -1), (gap.high, 1)):
                    assert np.isnan(end) or side * (end - gap.value) >= -1e-9, (name, gap)


@quick
@given(table, table)
def test_swapping_groups_mirrors(comparing_cells, a: Cells, b: Cells) -> None:
    one, other = comparing_cells([a, b], NAMES), comparing_cells([b, a], NAMES)
    if one.reference is None or one.reference == other.reference:
        return  # a tie: the first group is the reference both times
    for name in NAMES:
        for group in (0, 1):
            mine, theirs = of(one, name, group), of(other, name, 1 - group)
            assert (mine.value, mine.low, mine.high) == pytest.approx(
                (theirs.value, theirs.low, theirs.high), nan_ok=True
            ), name


def test_scaling_weights_changes_nothing(comparing_cells) -> None:
    weight = np.random.default_rng(0).exponential(size=600)
    cells = [A, B, (40, 60, 20, 80)]
    one, other = (comparing_cells(cells, NAMES, weight=w) for w in (weight, weight * 1024))
    for name in NAMES:
        for mine, theirs in zip(one.gaps[name], other.gaps[name], strict=True):
            assert (mine.value, mine.low, mine.high, mine.p) == pytest.approx(
                (theirs.value, theirs.low, theirs.high, theirs.p), nan_ok=True, rel=1e-9
            ), name
            assert mine.test is None or mine.test.startswith("wald"), name
