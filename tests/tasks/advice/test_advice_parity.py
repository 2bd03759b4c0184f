"""fairlearn's lotteries, held against fairlearn's own predictions."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.advice.curves import LOWER, UPPER
from tasks.advice.parity import Parity, _optimizer, constraint_of, expected_moves, parity_of
from tests.tasks.advice.advice_cases import aim, cut

CONSTRAINTS = {
    "impact_ratio": "demographic_parity",
    "demographic_parity_difference": "demographic_parity",
    "equal_opportunity_difference": "true_positive_rate_parity",
    "specificity_difference": "true_negative_rate_parity",
    "equalized_odds_difference": "equalized_odds",
    "average_odds_difference": "equalized_odds",
    "accuracy_difference": None,
    "true_positive_rate": None,
}


@pytest.mark.parametrize(("metric", "constraint"), CONSTRAINTS.items())
def test_an_aim_has_the_constraint_of_its_rate(metric, constraint):
    assert constraint_of(aim(metric)) == constraint


def rows(seed: int = 4, n: int = 600, **options):
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, 3, n)
    score = np.clip(generator.normal(0.5 - 0.1 * codes, 0.2), 0, 1).round(2)
    return cut(score, (generator.random(n) < score).astype(int), **options), codes


@pytest.mark.parametrize("favorable", [(False, True), (True, False)])
@pytest.mark.parametrize("metric", [name for name, constraint in CONSTRAINTS.items() if constraint])
def test_chances_are_those_that_fairlearn_predicts_with(metric, favorable):
    of, codes = rows(favorable=favorable)
    parity = parity_of(aim(metric), of, codes, np.arange(3), 0)
    assert isinstance(parity, Parity)
    upward = favorable[1]
    score = of.score if upward else -of.score
    wanted = (of.label == (UPPER if upward else LOWER)).astype(int)
    theirs = _optimizer(CONSTRAINTS[metric], score, wanted, codes)._pmf_predict(
        score[:, None], sensitive_features=codes
    )
    np.testing.assert_allclose(parity.chances(of, codes), theirs[:, 1 if upward else 0], atol=1e-12)


def test_what_is_expected_is_what_drawing_comes_to():
    of, codes = rows()
    parity = parity_of(aim("equalized_odds_difference"), of, codes, np.arange(3), 0)
    optimizer = _optimizer("equalized_odds", of.score, of.label, codes)
    drawn = np.mean(
        [optimizer.predict(of.score[:, None], sensitive_features=codes, random_state=seed) for seed in range(400)], 0
    )
    expected = expected_moves(parity, of, codes, 3, np.ones(len(codes), bool))
    assert expected.sum() == pytest.approx(len(codes))
    selected = np.bincount(codes, drawn, 3)
    spread = 4 * np.sqrt(np.bincount(codes, minlength=3) * 0.25 / 400)
    assert (np.abs(expected[..., UPPER].sum((1, 2)) - selected) < spread).all()
    # both rates are equal in all groups
    cells = expected.sum(2)
    for label in (LOWER, UPPER):
        rate = cells[:, label, UPPER] / cells[:, label].sum(1)
        assert np.ptp(rate) < 1e-9


def test_groups_without_a_rule_and_rows_without_a_score_keep_their_decisions():
    of, codes = rows()
    of.score[:5] = np.nan
    parity = parity_of(aim("impact_ratio"), of, codes, np.array([0, 1]), 0)
    chances = parity.chances(of, codes)
    assert (chances[codes == 2] == (of.now[codes == 2] == UPPER)).all()
    assert (chances[:5] == (of.now[:5] == UPPER)).all()


def test_what_fairlearn_cannot_do_is_said():
    weighted, codes = rows(weight=np.ones(600))
    assert "weights" in parity_of(aim("impact_ratio"), weighted, codes, np.arange(3), 0)
    one_kind, _ = rows()
    one_kind.label[codes == 1] = 1
    assert "both kinds" in parity_of(aim("impact_ratio"), one_kind, codes, np.arange(3), 0)
    assert "no constraint" in parity_of(aim("accuracy_difference"), one_kind, codes, np.arange(3), 0)


def test_many_rows_are_sampled_with_the_seed(monkeypatch):
    of, codes = rows()
    monkeypatch.setattr("tasks.advice.parity.MAX_ROWS", 200)
    first, again, other = (parity_of(aim("impact_ratio"), of, codes, np.arange(3), seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first.rows == 200
