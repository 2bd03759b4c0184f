"""What gaps come to with no disparity: against every table that there is, and against labels that are shuffled."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest

from tasks.bias import DISPARITIES, find, no_disparity

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
    assert facts["g"]["demographic_parity_difference"] == {"expected": alone.expected, "p95": alone.p95}
