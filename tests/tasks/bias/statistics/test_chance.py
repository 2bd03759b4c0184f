"""What gaps come to with no disparity: against every table that there is, and against labels that are shuffled."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest

from tasks.bias import DISPARITIES, find, no_disparity
from tasks.bias.statistics.chance import Estimates, no_disparity_of_estimates, no_disparity_of_table

RATE = DISPARITIES["demographic_parity_difference"]


def _stratum(x: list[int], n: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(x, float), np.array(n, float)


@pytest.mark.parametrize("name", ["demographic_parity_difference", "impact_ratio"])
def test_the_expected_gap_is_that_over_all_tables(name: str) -> None:
    x, n = [5, 3, 4], [8, 6, 7]
    total = expected = 0.0
    for hits in product(*(range(size + 1) for size in n)):
        if sum(hits) == sum(x):
            chance = np.prod([comb(size, hit) for hit, size in zip(hits, n, strict=True)])
            rates = np.array(hits) / n
            total += chance
            gap = np.ptp(rates) if name.endswith("difference") else rates.min() / rates.max()
            expected += chance * gap
    found = no_disparity(DISPARITIES[name], {"selection_rate": _stratum(x, n)}, "g", seed=0, draws=40_000)
    assert found is not None
    assert found.expected == pytest.approx(expected / total, abs=0.004)
    assert (found.p95 > found.expected) == name.endswith("difference")


@pytest.mark.parametrize("name", ["equalized_odds_difference", "average_odds_difference"])
def test_two_rates_are_shuffled_label_by_label(name: str) -> None:
    positives, negatives = _stratum([30, 25, 20], [50, 45, 40]), _stratum([12, 10, 9], [60, 50, 30])
    counts = {"true_positive_rate": positives, "false_positive_rate": negatives}
    found = no_disparity(DISPARITIES[name], counts, "g", seed=0, draws=4000)
    rng = np.random.default_rng(1)
    gaps = []
    for _ in range(4000):
        rates = []
        for x, n in (positives, negatives):
            rows = rng.permutation(np.repeat([1.0, 0.0], [int(x.sum()), int(n.sum() - x.sum())]))
            rates.append([part.mean() for part in np.split(rows, np.cumsum(n).astype(int)[:-1])])
        both = np.array(rates)
        gaps.append(np.ptp(both, axis=1).max() if name.startswith("equalized") else np.ptp(both.mean(0)))
    assert found is not None
    assert found.expected == pytest.approx(np.mean(gaps), abs=0.006)
    assert found.p95 == pytest.approx(np.quantile(gaps, 0.95), abs=0.015)


def test_what_does_not_follow_from_counts_has_none() -> None:
    one, two = _stratum([5], [10]), _stratum([5, 4], [10, 12])
    assert no_disparity(RATE, {"selection_rate": one}, "g", seed=0, draws=100) is None
    assert no_disparity(RATE, {"selection_rate": two}, "g", seed=0, draws=0) is None
    assert no_disparity(DISPARITIES["class_imbalance"], {"count": two}, "g", seed=0, draws=100) is None
    auc = find("roc_auc_difference")
    assert no_disparity(auc, {"roc_auc": two}, "g", seed=0, draws=100) is None
    nobody = _stratum([0, 0], [10, 12])
    assert no_disparity(DISPARITIES["impact_ratio"], {"selection_rate": nobody}, "g", seed=0, draws=100) is None


def test_the_same_seed_gives_the_same_whatever_is_asked_before() -> None:
    counts = {"selection_rate": _stratum([5, 4, 9], [10, 12, 20])}
    alone = no_disparity(RATE, counts, "g", seed=3, draws=500)
    known: dict = {}
    no_disparity(DISPARITIES["impact_ratio"], counts, "g", seed=3, draws=500, known=known)
    assert no_disparity(RATE, counts, "g", seed=3, draws=500, known=known) == alone
    assert no_disparity(RATE, counts, "h", seed=3, draws=500) != alone


def test_the_stage_says_it_of_every_attribute(audit_cells) -> None:
    cells = {"a": (80, 20, 30, 70), "b": (50, 50, 10, 90), "c": (40, 60, 20, 80), "tiny": (1, 1, 1, 1)}
    facts = audit_cells(cells, least=30).done.facts["no_disparity"]
    assert set(facts) == {"g"}
    assert {"demographic_parity_difference", "impact_ratio", "equalized_odds_ratio", "accuracy_difference"} <= set(
        facts["g"]
    )
    assert "class_imbalance" not in facts["g"]
    counts = {"selection_rate": _stratum([110, 60, 60], [200, 200, 200])}  # without the tiny one
    alone = no_disparity(RATE, counts, "g", seed=0, draws=2000)
    assert alone is not None
    assert facts["g"]["demographic_parity_difference"] == {
        "expected": alone.expected, "p95": alone.p95, "p": alone.p,
    }  # fmt: skip


@pytest.mark.parametrize(("x", "n"), [([5, 3, 4], [8, 6, 7]), ([9, 3, 4], [12, 12, 12]), ([6, 1], [8, 9])])
def test_the_p_value_is_that_over_all_tables_ties_ranked_by_chi_squared(x: list[int], n: list[int]) -> None:
    size, total = np.array(n), sum(x)

    def order(hits: np.ndarray) -> tuple[float, float]:
        return round(float(np.ptp(hits / size)), 10), round(float((hits**2 / size).sum()), 10)

    mass = as_wide = 0.0
    for hits in product(*(range(k + 1) for k in n)):
        if sum(hits) == total:
            chance = float(np.prod([comb(k, hit) for hit, k in zip(hits, n, strict=True)]))
            mass += chance
            as_wide += chance * (order(np.array(hits)) >= order(np.array(x)))
    draws = 40_000
    found = no_disparity(RATE, {"selection_rate": _stratum(x, n)}, "g", seed=0, draws=draws)
    p = as_wide / mass
    assert found is not None
    assert found.observed == np.ptp(np.array(x) / size)
    assert found.p == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / draws) + 1 / draws)


def test_the_widest_gap_that_there_can_be_is_as_rare_as_can_be() -> None:
    found = no_disparity(RATE, {"selection_rate": _stratum([50, 0, 25], [50, 50, 50])}, "g", seed=0, draws=999)
    assert found is not None
    assert found.p == 0.001
    alike = no_disparity(RATE, {"selection_rate": _stratum([25, 25, 25], [50, 50, 50])}, "g", seed=0, draws=999)
    assert alike is not None
    assert alike.p == 1


AREA = find("roc_auc_difference")


def test_estimates_are_drawn_around_one_value() -> None:
    value, error = np.array([0.7, 0.75, 0.8]), np.array([0.03, 0.05, 0.04])
    asked = {"roc_auc": Estimates(value, error, np.array([100, 40, 60]), on_logits=True)}
    found = no_disparity_of_estimates(AREA, asked, "g", seed=0, draws=20_000)
    scale = error / (value * (1 - value))
    common = np.average(np.log(value / (1 - value)), weights=scale**-2.0)
    drawn = 1 / (1 + np.exp(-common - scale * np.random.default_rng(1).standard_normal((20_000, 3))))
    gaps = np.ptp(drawn, axis=1)
    assert found is not None
    assert found.expected == pytest.approx(gaps.mean(), rel=0.02)
    assert found.p95 == pytest.approx(np.quantile(gaps, 0.95), rel=0.03)
    assert found.p == pytest.approx(np.mean(gaps >= 0.1), abs=0.015)
    flat = {"roc_auc": Estimates(np.array([1.0, 0.9]), np.array([0.0, 0.05]), np.array([50, 50]))}
    assert no_disparity_of_estimates(AREA, flat, "g", seed=0, draws=100) is None


def test_weighted_shares_of_equal_weights_are_as_counts() -> None:
    x, n = _stratum([60, 45, 50], [200, 180, 220])
    counts = no_disparity(RATE, {"selection_rate": (x, n)}, "g", seed=0, draws=8000)
    weights = {"selection_rate": Estimates(x / n, np.full(3, np.nan), n, share=True)}
    found = no_disparity_of_estimates(RATE, weights, "g", seed=0, draws=8000)
    assert counts is not None
    assert found is not None
    assert (found.expected, found.p95) == pytest.approx((counts.expected, counts.p95), rel=0.03)
    assert found.p == pytest.approx(counts.p, abs=0.03)


def test_a_function_of_all_labels_is_shuffled_too() -> None:
    from tasks.bias.families.labels import farthest, total_variation

    table = np.array([[30.0, 20, 10], [25, 25, 20], [10, 5, 15], [0, 0, 0]])

    def statistic(drawn: np.ndarray) -> np.ndarray:
        return farthest(drawn, 0, total_variation)

    found = no_disparity_of_table(statistic, table, "total_variation", "g", seed=0, draws=3000)
    rng, gaps = np.random.default_rng(1), []
    labels, sizes = np.repeat(np.arange(3), table.sum(0).astype(int)), np.cumsum(table.sum(1).astype(int))[:-1]
    for _ in range(3000):
        parts = np.split(rng.permutation(labels), sizes)
        gaps.append(float(statistic(np.array([np.bincount(part, minlength=3) for part in parts], float))))
    assert found is not None
    assert found.expected == pytest.approx(np.mean(gaps), abs=0.006)
    assert found.p == pytest.approx(np.mean(np.array(gaps) >= statistic(table) - 1e-12), abs=0.02)
    weighted = no_disparity_of_table(
        statistic, table * 3, "total_variation", "g", seed=0, draws=3000, effective=table.sum(1)
    )
    assert weighted is not None
    assert weighted.expected == pytest.approx(found.expected, rel=0.05)
    one_class = np.array([[3.0, 0], [4, 0]])
    assert no_disparity_of_table(lambda t: t.sum((-1, -2)), one_class, "x", "g", seed=0, draws=10) is None
