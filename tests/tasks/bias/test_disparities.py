"""Comparisons of groups: by hand, against fairlearn, and what becomes of small and empty groups."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.bias import DISPARITIES, METRICS
from tasks.bias.disparities import Gap
from tasks.bias.families.labels import class_imbalance
from tasks.bias.measure import (
    Compared,
    Settings,
    adjust,
    asked_of,
    check_with_fairlearn,
    compare,
    measure,
    with_fairlearn,
)
from tasks.bias.rows.evidence import Evidence
from tasks.bias.rows.groups import Attribute
from tasks.bias.statistics.significance import fisher
from tasks.errors import Incomplete

BINARY = [m for m in METRICS.values() if "binary" in m.tasks]
COUNTS_ONLY = [m for m in BINARY if not m.scores]
Cells = tuple[int, int, int, int]

#: TPR a .8, b .5; FPR a .3, b .1; selection a 110/200, b 60/200
A, B = (80, 20, 30, 70), (50, 50, 10, 90)
HAND = {
    "demographic_parity_difference": (0.25, 0.25),
    "demographic_parity_ratio": (60 / 110, 60 / 110),
    "impact_ratio": (60 / 110, 60 / 110),
    "predicted_rate_difference": (0.25, 0.25),
    "disparate_impact": (60 / 110, 60 / 110),
    "equalized_odds_difference": (0.3, 0.3),
    "equalized_odds_ratio": (1 / 3, 1 / 3),
    "average_odds_difference": (0.25, 0.25),
    "equal_opportunity_difference": (0.3, 0.3),
    "equal_opportunity_ratio": (0.625, 0.625),
    "predictive_parity_difference": (50 / 60 - 80 / 110, 80 / 110),  # b's precision is the higher one
    "accuracy_difference": (0.05, 0.05),
    "recall_difference": (0.3, 0.3),
    "specificity_difference": (0.2, 0.2),
    "class_imbalance": (0.0, 0.0),
    "label_rate_difference": (0.0, 0.0),
    "label_impact_ratio": (1.0, 1.0),
}
GAPS = [DISPARITIES[name] for name in HAND]


def compared(cells: list[Cells], *, least: int = 1, weight=None, resamples: int = 200, gaps=GAPS) -> Compared:
    """Groups from their counts of (TP, FN, FP, TN)."""
    counts = np.array(cells)
    label = np.repeat(np.tile([1, 1, 0, 0], len(cells)), counts.ravel())
    decision = np.repeat(np.tile([1, 0, 1, 0], len(cells)), counts.ravel())
    codes = np.repeat(np.arange(len(cells)), counts.sum(1))
    n = len(codes)
    found = Evidence(
        task="binary", row_id=np.arange(n), position=np.arange(n), classes=("no", "yes"), label=label,
        decision=decision, outputs=("yes",), scores=decision[:, None] * 0.5, truth=None, weight=weight,
        favorable=(1,), positive=(1,),
    )  # fmt: skip
    attribute = Attribute("g", tuple("abcdefgh"[: len(cells)]), codes)
    chosen = Settings(least=least, resamples=resamples)
    return compare(measure(found, attribute, COUNTS_ONLY, chosen), gaps, chosen)


def value(found: Compared, name: str, group: int | None = None) -> float:
    return next(gap.value for gap in found.gaps[name] if gap.group == group)


def test_two_groups_by_hand() -> None:
    found = compared([A, B])
    assert found.reference == 0
    for name, (whole, _) in HAND.items():
        assert value(found, name) == pytest.approx(whole, abs=1e-15), name
    for name, (_, of_b) in HAND.items():
        if name != "predictive_parity_difference":
            assert value(found, name, 1) == pytest.approx(of_b, abs=1e-15), name
    assert value(found, "predictive_parity_difference", 0) == pytest.approx(50 / 60 - 80 / 110)


def test_signs_follow_the_best_off_group() -> None:
    # b is selected less, but has the better accuracy, recall and specificity
    found = compared([(60, 40, 60, 40), (70, 30, 10, 90)])
    assert found.reference == 0
    assert value(found, "accuracy_difference", 1) == pytest.approx(0.5 - 0.8)
    assert value(found, "recall_difference", 1) == pytest.approx(-0.1)
    assert value(found, "specificity_difference", 1) == pytest.approx(0.9 - 0.4)
    assert value(found, "average_odds_difference", 1) == pytest.approx(((0.6 - 0.7) + (0.6 - 0.1)) / 2)
    assert value(found, "accuracy_difference") == pytest.approx(0.3)  # the attribute's row has no sign


def test_ratios_of_counts_are_rounded_once() -> None:
    found = compared([(3, 0, 0, 2), (6, 0, 0, 2)])
    assert value(found, "impact_ratio", 0) == 0.8
    assert value(compared([(4, 0, 0, 6), (3, 0, 0, 7)]), "demographic_parity_difference") == 0.1


def test_a_tiny_group_is_not_the_reference() -> None:
    found = compared([(20, 0, 20, 60), (30, 0, 30, 40), (3, 0, 0, 0)], least=30)
    assert found.reference == 1
    rows = {gap.group: gap for gap in found.gaps["impact_ratio"]}
    assert rows[0].value == pytest.approx(40 / 60)
    assert rows[2].value == pytest.approx(1 / 0.6)  # kept, above 1
    assert rows[2].status == "insufficient_data"
    assert rows[2].reason == "c: rests on 3 rows; 30 are needed"
    assert rows[None].value == pytest.approx(40 / 60)
    assert "leaves out c (3 rows)" in rows[None].reason
    assert {gap.reference for gap in rows.values()} == {1, None}


def test_where_all_groups_are_tiny_values_are_kept_and_said_to_be_insufficient() -> None:
    found = compared([(3, 0, 0, 2), (6, 0, 0, 2)], least=30)
    for gap in found.gaps["impact_ratio"]:
        assert gap.status == "insufficient_data"
    assert value(found, "impact_ratio") == 0.8


def test_one_group_is_compared_with_nobody() -> None:
    found = compared([A])
    for name, gaps in found.gaps.items():
        assert np.isnan(gaps[-1].value), name
        assert (gaps[-1].status, gaps[-1].reason) == ("undefined", "there is only one group"), name


def test_nobody_selected_anywhere() -> None:
    found = compared([(0, 50, 0, 50), (0, 40, 0, 60)])
    assert value(found, "demographic_parity_difference") == 0
    for name in ("impact_ratio", "demographic_parity_ratio", "disparate_impact"):
        for gap in found.gaps[name]:
            assert gap.status == "undefined", name
            assert gap.reason.startswith("0/0"), name
    assert all(gap.status == "undefined" for gap in found.gaps["predictive_parity_difference"])


def test_a_group_without_positives_has_no_part_in_the_true_positive_rate() -> None:
    found = compared([A, B, (0, 0, 50, 50)])
    gaps = {gap.group: gap for gap in found.gaps["equal_opportunity_difference"]}
    assert gaps[None].value == pytest.approx(0.3)
    assert "leaves out c (0/0: no positive labels)" in gaps[None].reason
    assert (gaps[2].status, gaps[2].reason) == ("undefined", "c: 0/0: no positive labels")
    odds = found.gaps["equalized_odds_difference"][-1]
    assert odds.value == pytest.approx(0.4)  # its false positive rate .5 counts all the same
    assert "true positive rate: leaves out c" in odds.reason


def test_the_tests_and_their_corrections() -> None:
    found = compared([A, B])
    adjusted = adjust([found])
    gap = next(g for g in found.gaps["impact_ratio"] if g.group == 1)
    assert (gap.p, gap.test) == (fisher(60, 200, 110, 200), "fisher")
    # Selection, odds, average odds, TPR, precision, accuracy, TNR, label rate: eight questions about one pair.
    asked = {g.hypothesis for gaps in found.gaps.values() for g in gaps if not np.isnan(g.p)}
    assert len(asked) == 8
    assert adjusted.p[asked_of("g", gap)] == pytest.approx(
        max(p * (8 - rank) for rank, p in enumerate(sorted(_ps(found))) if p <= gap.p), rel=1e-12
    )
    for key, q in adjusted.q.items():
        assert q <= adjusted.p[key] + 1e-15


def _ps(found: Compared) -> list[float]:
    return list({g.hypothesis: g.p for gaps in found.gaps.values() for g in gaps if not np.isnan(g.p)}.values())


def test_equal_groups_are_not_told_apart() -> None:
    found = compared([A, A])
    for name, gaps in found.gaps.items():
        ideal = 1.0 if DISPARITIES[name].comparison == "ratio" else 0.0
        assert value(found, name) == ideal, name
        for gap in gaps:
            assert np.isnan(gap.p) or gap.p > 0.9, name


def test_the_bootstrap_needs_ten_in_each_cell() -> None:
    enough = compared([A, B, (40, 60, 20, 80)], resamples=500)
    gap = enough.gaps["demographic_parity_difference"][-1]
    assert gap.status == "ok"
    assert gap.low < gap.value < gap.high
    assert gap.test == "chi_squared"
    few = compared([A, B, (9, 91, 0, 100)], resamples=500).gaps["demographic_parity_difference"][-1]
    assert few.status == "insufficient_data"
    assert few.value == pytest.approx(0.55 - 0.045)
    assert np.isnan(few.low)
    assert "fewer than 10 rows in a cell" in few.reason


def test_the_far_end_is_the_percentile_of_the_row_bootstrap() -> None:
    cells = [A, B, (40, 60, 20, 80)]
    found = compared(cells, resamples=4000)
    rng = np.random.default_rng(0)
    counts = np.array(cells)
    rows = np.repeat(np.arange(12), counts.ravel())
    drawn = np.array([np.bincount(rng.choice(rows, len(rows)), minlength=12) for _ in range(2000)]).reshape(-1, 3, 4)
    tpr, fpr = (drawn[..., k] / (drawn[..., k] + drawn[..., m]) for k, m in ((0, 1), (2, 3)))
    spread = np.maximum(np.ptp(tpr, axis=1), np.ptp(fpr, axis=1))
    gap = found.gaps["equalized_odds_difference"][-1]
    assert gap.high == pytest.approx(np.quantile(spread, 0.975), abs=0.012)
    # The near end allows for having looked for the widest: it is below the percentile, and below a single pair's.
    assert 0 < gap.low < np.quantile(spread, 0.025)
    pair = next(g for g in found.gaps["equal_opportunity_difference"] if g.group == 2)
    assert gap.low < pair.low


def test_the_widest_gap_of_groups_that_are_alike_may_be_none() -> None:
    alike = compared([A, A, (78, 22, 33, 67), (81, 19, 29, 71)], resamples=500)
    for name in ("demographic_parity_difference", "equalized_odds_difference", "average_odds_difference"):
        assert alike.gaps[name][-1].low == 0, name
        assert alike.gaps[name][-1].value > 0, name
    assert alike.gaps["impact_ratio"][-1].high == 1


def test_no_resamples_no_interval() -> None:
    gap = compared([A, B, A], resamples=0).gaps["demographic_parity_difference"][-1]
    assert np.isnan(gap.low)
    assert "bias.resamples is 0" in gap.reason


def test_weights_bring_walds_test_and_the_same_values_at_any_scale() -> None:
    rng = np.random.default_rng(0)
    weight = rng.exponential(size=600)
    one, other = (compared([A, B, (40, 60, 20, 80)], weight=w) for w in (weight, weight * 7))
    for name, gaps in one.gaps.items():
        for gap, scaled in zip(gaps, other.gaps[name], strict=True):
            assert (gap.value, gap.low, gap.high, gap.p) == pytest.approx(
                (scaled.value, scaled.low, scaled.high, scaled.p), nan_ok=True
            ), name
            assert gap.test is None or gap.test.startswith("wald"), name
    whole = one.gaps["demographic_parity_difference"][-1]
    assert whole.low < whole.value < whole.high


def test_class_imbalance_of_counts() -> None:
    assert class_imbalance(37, 963) == -0.926
    assert np.isnan(class_imbalance(0, 0))


# ---------------------------------------------------------------- properties

cell = st.integers(0, 12)
tables = st.lists(st.tuples(cell, cell, cell, cell).filter(any), min_size=1, max_size=5)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(tables, st.integers(1, 20))
def test_any_table_gives_numbers_or_reasons(cells: list[Cells], least: int) -> None:
    found = compared(cells, least=least, resamples=20)
    for name, gaps in found.gaps.items():
        for gap in gaps:
            assert np.isnan(gap.value) == (gap.status == "undefined"), name
            assert not np.isinf(gap.value)
            assert gap.status == "ok" or gap.reason, name
            assert np.isnan(gap.p) or 0 <= gap.p <= 1, name
            if gap.group is None and not np.isnan(gap.value) and name != "class_imbalance":
                assert 0 <= gap.value <= 1, name
            if gap.group is not None:
                for end, side in ((gap.low, -1), (gap.high, 1)):
                    assert np.isnan(end) or side * (end - gap.value) >= -1e-9, name


@quick
@given(st.tuples(cell, cell, cell, cell).filter(any), st.tuples(cell, cell, cell, cell).filter(any))
def test_swapping_groups_mirrors(a: Cells, b: Cells) -> None:
    one, other = compared([a, b]), compared([b, a])
    for name, entry in DISPARITIES.items():
        if name not in one.gaps:
            continue
        if one.reference is not None and other.reference == one.reference:
            continue  # a tie: the first group is the reference both times
        for group in (0, 1):
            mine = [g.value for g in one.gaps[name] if g.group == group]
            theirs = [g.value for g in other.gaps[name] if g.group == 1 - group]
            assert mine == pytest.approx(theirs, nan_ok=True), entry.name


@quick
@given(tables)
def test_values_are_those_of_fractions(cells: list[Cells]) -> None:
    found = compared(cells)
    rates = [Fraction(tp + fp, tp + fn + fp + tn) for tp, fn, fp, tn in cells]
    if len(rates) > 1:
        assert value(found, "demographic_parity_difference") == float(max(rates) - min(rates))
        if max(rates):
            assert value(found, "impact_ratio") == float(min(rates) / max(rates))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables)
def test_fairlearn_agrees_wherever_it_has_a_number(cells: list[Cells]) -> None:
    found = compared(cells, resamples=0)
    again = with_fairlearn(found.found, COUNTS_ONLY)
    for metric, values in again.values.items():
        before = found.found.values[metric].value
        assert values.value == pytest.approx(before, nan_ok=True, rel=1e-12)
        assert np.array_equal(np.isnan(values.value), np.isnan(before))  # their 0.0 for 0/0 is not taken over
    check_with_fairlearn(found, 1)


def test_a_disagreement_gives_out_no_number() -> None:
    found = compared([A, B])
    wrong = replace(found, gaps={**found.gaps, "demographic_parity_difference": [Gap(None, None, 0.24, "ok")]})
    with pytest.raises(Incomplete, match="disagree on demographic_parity_difference"):
        check_with_fairlearn(wrong, 1)


@pytest.mark.parametrize("seed", range(20))
def test_random_tables_equal_fairlearn(seed: int) -> None:
    """Where nothing is 0/0; weights and a group of missing values included."""
    import fairlearn.metrics as fair

    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 6))
    cells = [tuple(int(x) for x in rng.integers(1, 30, 4)) for _ in range(k)]
    n = sum(map(sum, cells))
    weight = rng.exponential(size=n) if seed % 2 else None
    found = compared(cells, weight=weight, resamples=0)
    counts = np.array(cells)
    label = np.repeat(np.tile([1, 1, 0, 0], k), counts.ravel())
    decision = np.repeat(np.tile([1, 0, 1, 0], k), counts.ravel())
    group = np.repeat(np.arange(k), counts.sum(1))
    for name in (
        "demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference",
        "equalized_odds_ratio", "equal_opportunity_difference", "equal_opportunity_ratio",
    ):  # fmt: skip
        theirs = getattr(fair, name)(label, decision, sensitive_features=group, sample_weight=weight)
        assert value(found, name) == pytest.approx(theirs, abs=1e-12), name
