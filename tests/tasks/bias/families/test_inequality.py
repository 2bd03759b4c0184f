"""Entropy of benefits: against the formulas over rows, by hand, coverage, and what becomes of empty cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.bias import METRICS
from tasks.bias.base import View
from tasks.bias.disparities import Gap
from tasks.bias.families.inequality import _interval, between_groups, entropy_of, theil_of
from tasks.bias.rows.counts import CELLS, Confusion

BETWEEN = "between_group_generalized_entropy"
Cells = tuple[int, int, int, int]
A, B, C = (80, 20, 30, 70), (50, 50, 10, 90), (60, 15, 25, 80)


def benefits(cells: Cells) -> np.ndarray:
    """b = ŷ − y + 1 of each row of (TP, FN, FP, TN)."""
    tp, fn, fp, tn = cells
    return np.repeat([1.0, 0.0, 2.0, 1.0], [tp, fn, fp, tn])


def entropy(b: np.ndarray) -> float:
    """METRICS.md's formula with α = 2, over rows."""
    return float(((b / b.mean()) ** 2 - 1).sum() / (len(b) * 2))


def theil(b: np.ndarray) -> float:
    share = b / b.mean()
    return float(np.mean(np.where(share > 0, share * np.log(np.where(share > 0, share, 1)), 0)))


def of(found, group: int | None = None) -> Gap:
    return next(gap for gap in found.gaps[BETWEEN] if gap.group == group)


def test_by_hand() -> None:
    # b = 0, 1, 1, 2: mean 1, mean square 1.5
    assert entropy_of(np.array(0.25), np.array(0.25)) == 0.25
    assert theil_of(np.array(0.25), np.array(0.25)) == pytest.approx(0.5 * np.log(2))
    assert entropy_of(np.array(0.0), np.array(0.0)) == theil_of(np.array(0.0), np.array(0.0)) == 0
    assert entropy_of(np.array(0.0), np.array(1.0)) == 0  # all have the same benefit, 2
    assert np.isnan(entropy_of(np.array(1.0), np.array(0.0)))
    assert np.isnan(theil_of(np.array(1.0), np.array(0.0)))


def test_of_groups_and_of_all_rows(audit_cells) -> None:
    found = audit_cells({"a": A, "b": B}, bias={"resamples": 50})
    for group, rows in (("a", benefits(A)), ("b", benefits(B)), (None, np.concatenate([benefits(A), benefits(B)]))):
        for name, formula in (("generalized_entropy", entropy), ("theil", theil)):
            row = found.metric(name, None if group is None else "g", group)
            assert row["value"] == pytest.approx(formula(rows), rel=1e-12), (name, group)
            assert row["ci_low"] < row["value"] < row["ci_high"]
            assert (row["n"], row["method"]) == (len(rows), "wilson, mover")


def test_between_groups_is_the_entropy_of_group_means(comparing_cells) -> None:
    found = comparing_cells([A, B, C], [BETWEEN], resamples=500)
    rows = [benefits(cells) for cells in (A, B, C)]
    means = np.concatenate([np.full(len(b), b.mean()) for b in rows])
    gap = of(found)
    assert gap.value == pytest.approx(entropy(means), rel=1e-9)
    assert gap.low < gap.value < gap.high
    # Within and between add up to the whole, weighted as Shorrocks 1980 has it for α = 2.
    everyone = np.concatenate(rows)
    within = sum(len(b) / len(everyone) * (b.mean() / everyone.mean()) ** 2 * entropy(b) for b in rows)
    assert within + gap.value == pytest.approx(entropy(everyone))
    assert found.gaps[BETWEEN] == [gap]  # no row of a group


def test_the_test_of_two_groups_is_walds_of_their_mean_benefits(comparing_cells) -> None:
    from scipy.stats import norm

    gap = of(comparing_cells([A, B], [BETWEEN]))
    a, b = benefits(A), benefits(B)
    z = (a.mean() - b.mean()) / np.sqrt(a.var() / len(a) + b.var() / len(b))
    assert gap.p == pytest.approx(2 * norm.sf(abs(z)))


def test_equal_groups_have_nothing_between_them(comparing_cells) -> None:
    gap = of(comparing_cells([A, A, A], [BETWEEN], resamples=300))
    assert gap.value == 0
    assert gap.low == 0
    assert gap.high > 0
    assert gap.p > 0.9


def test_between_needs_two_groups_and_ten_rows_of_a_kind(comparing_cells) -> None:
    alone = of(comparing_cells([A], [BETWEEN]))
    assert (alone.status, alone.reason) == ("undefined", "there is only one group")
    few = of(comparing_cells([A, (90, 5, 3, 102)], [BETWEEN]))
    assert few.status == "insufficient_data"
    assert "fewer than 10 rows in a cell" in few.reason
    assert few.value > 0
    denied = of(comparing_cells([A, (0, 50, 0, 0)], [BETWEEN]))
    assert denied.status == "undefined"


def test_nobody_with_a_benefit_is_undefined(audit_cells) -> None:
    found = audit_cells({"a": A, "b": (0, 50, 0, 0)}, bias={"resamples": 10})
    for name in ("generalized_entropy", "theil"):
        row = found.metric(name, "g", "b")
        assert (row["value"], row["status"]) == (None, "undefined")
        assert row["reason"].startswith("0/0")


@pytest.mark.parametrize("n", [30, 60])
def test_coverage_by_enumeration(n: int) -> None:
    """Every number of rows denied and granted, weighted with its chance."""
    from scipy.special import gammaln, xlogy

    none, twice = (part.ravel() for part in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    none, twice = none[none + twice <= n], twice[none + twice <= n]
    ways = gammaln(n + 1) - gammaln(none + 1) - gammaln(twice + 1) - gammaln(n - none - twice + 1)
    shares = [0.05, 0.1, 0.2, 0.3, 0.45]
    for index in (entropy_of, theil_of):
        low, high = _interval(index, none / n, twice / n, np.full(len(none), float(n)), 0.95)
        defined, covered = ~np.isnan(low), []
        for p0 in shares:
            for p2 in shares:
                chance = np.exp(ways + xlogy(none, p0) + xlogy(twice, p2) + xlogy(n - none - twice, 1 - p0 - p2))
                truth = float(index(np.array(p0), np.array(p2)))
                inside = (low - 1e-12 <= truth) & ((truth <= high + 1e-12) | np.isnan(high))
                covered.append(float(chance[inside & defined].sum() / chance[defined].sum()))
        assert 0.94 <= np.mean(covered) <= 0.97, covered
        assert min(covered) >= 0.915, covered


def test_standard_errors_are_those_of_resampled_rows() -> None:
    rng = np.random.default_rng(0)
    rows = benefits((300, 100, 60, 200))
    drawn = rng.choice(rows, (4000, len(rows)))
    counts = np.zeros((1, 9), int)
    counts[0, [CELLS.index(c) for c in ("11", "10", "01", "00")]] = 300, 100, 60, 200
    table = Confusion(counts, counts.astype(float), counts.astype(float), False)

    class Tables:
        tables = {"favorable": table}
        size, confidence = 1, 0.95

    for name, index in (("generalized_entropy", entropy_of), ("theil", theil_of)):
        spread = index((drawn == 0).mean(1), (drawn == 2).mean(1)).std()
        view: View = Tables()  # type: ignore[assignment]
        assert METRICS[name].measure(view).std_error[0] == pytest.approx(spread, rel=0.06), name


# ---------------------------------------------------------------- properties

cell = st.integers(0, 30)
table = st.tuples(cell, cell, cell, cell).filter(any)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(st.lists(table, min_size=1, max_size=4), st.integers(1, 20), st.booleans())
def test_any_table_gives_numbers_or_reasons(comparing_cells, cells: list[Cells], least: int, weighted: bool) -> None:
    weight = np.linspace(0, 2, sum(map(sum, cells))) if weighted else None
    found = comparing_cells(cells, [BETWEEN], least=least, resamples=30, weight=weight)
    gap = of(found)
    assert np.isnan(gap.value) == (gap.status == "undefined")
    assert gap.status == "ok" or gap.reason
    assert np.isnan(gap.value) or gap.value >= 0
    assert np.isnan(gap.low) or gap.low - 1e-9 <= gap.value <= gap.high + 1e-9
    measured = found.found.of("generalized_entropy")
    assert not np.isinf(measured.value).any()
    both = measured.defined
    assert (measured.low[both] <= measured.value[both] + 1e-9).all()
    assert (np.isnan(measured.high[both]) | (measured.high[both] >= measured.value[both] - 1e-9)).all()


@quick
@given(st.lists(table, min_size=2, max_size=4))
def test_the_order_of_groups_changes_nothing(comparing_cells, cells: list[Cells]) -> None:
    one, other = (of(comparing_cells(c, [BETWEEN], resamples=0)) for c in (cells, cells[::-1]))
    assert one.value == pytest.approx(other.value, nan_ok=True, abs=1e-12)
    assert one.p == pytest.approx(other.p, nan_ok=True)


def test_scaling_weights_changes_nothing(comparing_cells) -> None:
    weight = np.random.default_rng(0).exponential(size=600)
    one, other = (comparing_cells([A, B, A], [BETWEEN], weight=w) for w in (weight, weight * 1024))
    mine, theirs = of(one), of(other)
    assert (mine.value, mine.low, mine.high, mine.p) == pytest.approx(
        (theirs.value, theirs.low, theirs.high, theirs.p), rel=1e-9
    )
    assert mine.low < mine.value < mine.high


def test_the_between_part_of_equal_means_is_nothing() -> None:
    assert between_groups(np.array([3.0, 5.0]), np.array([0.7, 0.7])) == pytest.approx(0, abs=1e-30)
    assert np.isnan(between_groups(np.array([3.0, 5.0]), np.zeros(2)))
