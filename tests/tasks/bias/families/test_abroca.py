from __future__ import annotations

import numpy as np
import pytest

from tasks.bias import DISPARITIES
from tasks.bias.families.abroca import area_between
from tasks.bias.families.ranking import ranked
from tests.tasks.bias.bias_views import situation_of, view_of


def _compare(score, label, codes, **more):
    view = {key: more.pop(key) for key in ("weight", "draws") if key in more}
    return DISPARITIES["abroca"].compare(situation_of(view_of(score, label, codes=codes, **view), "roc_auc", **more))


def _flags(score: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ranked(score, hit.astype(np.int8), None).flags, np.zeros(0)


def _on_a_grid(score: np.ndarray, hit: np.ndarray, weight: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The curve as scikit-learn finds it, between its corners a straight line."""
    from sklearn.metrics import roc_curve

    x, y, _ = roc_curve(hit, score, sample_weight=weight, drop_intermediate=False)
    k = np.searchsorted(x, grid, side="right") - 1  # of an upright piece its upper end
    return y[k] + (y[k + 1] - y[k]) * (grid - x[k]) / (x[k + 1] - x[k])


def test_areas_by_hand() -> None:
    up, down = np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1])
    score = np.array([0.9, 0.8, 0.2, 0.1])
    # a perfect order against its reverse: the whole square; against no order at all, all scores equal: half of it
    assert area_between(_flags(score, up), _flags(score, down)) == pytest.approx(1.0)
    assert area_between(_flags(score, up), _flags(np.full(4, 0.5), up)) == pytest.approx(0.5)
    assert area_between(_flags(score, up), _flags(score + 7, up)) == 0.0


def test_curves_that_cross_do_not_cancel() -> None:
    """Two curves of equal area .5: ABROCA sees what the difference of areas does not."""
    ordered, flat = np.array([0.9, 0.6, 0.5, 0.1]), np.full(4, 0.5)
    hit = np.array([1, 0, 0, 1])  # up, across, up again: the height is ½ all along
    # |½ − x| from 0 to 1
    assert area_between(_flags(ordered, hit), _flags(flat, hit)) == pytest.approx(0.25)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("digits", [1, 9])
def test_area_is_the_integral_of_scikit_learns_curves(weighted: bool, digits: int) -> None:
    rng = np.random.default_rng(digits)
    n = 400
    codes, label = rng.integers(0, 3, n), rng.integers(0, 2, n)
    score = np.round(rng.random(n) * (1 + codes) / 3 + label * 0.2, digits)
    weight = rng.random(n) + 0.1 if weighted else np.ones(n)
    rows = _compare(score, label, codes, weight=weight if weighted else None)
    grid = (np.arange(200_000) + 0.5) / 200_000
    curves = [_on_a_grid(score[codes == g], label[codes == g], weight[codes == g], grid) for g in range(3)]
    for g in (1, 2):
        assert rows[g].value == pytest.approx(np.abs(curves[g] - curves[0]).mean(), abs=2e-5)
    assert rows[-1].value == max(rows[1].value, rows[2].value)
    assert (rows[0].value, rows[0].reason) == (0.0, "the reference group")


def test_an_interval_reaches_0_where_curves_are_the_same_and_not_where_they_differ() -> None:
    rng = np.random.default_rng(2)
    n = 1500
    label, codes = rng.integers(0, 2, n), np.arange(n) % 3
    score = rng.normal(size=n) + label * np.array([1.0, 1.0, 2.5])[codes]
    _, same, other, whole = _compare(score, label, codes)
    assert same.low == 0.0
    assert same.p > 0.05
    assert 0 < other.low < other.value < other.high
    assert (other.p, other.test) == (pytest.approx(1 / 201), "redrawn rows")
    assert whole.low <= other.low
    assert whole.reason.startswith("of g2; biased upward: with one curve for all groups it would be 0.0")


def test_the_test_holds_its_level_and_intervals_cover_0() -> None:
    """Of 300 pairs of groups with one curve a perfect test at 5 % rejects 1.3–10 %, 99.9 % of the time."""
    rng = np.random.default_rng(3)
    rejected = covered = 0
    for k in range(300):
        label, codes = rng.integers(0, 2, 240), np.repeat([0, 1], [160, 80])
        row = _compare(rng.normal(size=240) + label, label, codes, seed=(k,))[1]
        rejected += row.p < 0.05
        covered += row.low == 0.0
    assert 0.013 <= rejected / 300 <= 0.10
    assert covered / 300 >= 0.91


def test_groups_without_a_curve_are_named() -> None:
    rows = _compare([0.1, 0.9, 0.3, 0.8, 0.5], [0, 1, 0, 1, 1], np.array([0, 0, 1, 1, 2]))
    assert (rows[2].status, rows[2].reason) == ("undefined", "g2: 0/0: positive or negative labels are lacking")
    assert rows[-1].reason.startswith("of g1; leaves out g2")


def test_small_groups_are_too_few_to_judge() -> None:
    rng = np.random.default_rng(4)
    label, codes = np.arange(110) % 2, np.repeat([0, 1], [100, 10])
    rows = _compare(rng.random(110), label, codes, least=30)
    assert rows[1].status == rows[-1].status == "insufficient_data"
    assert rows[1].reason == "g1: rests on 5 rows; 30 are needed"


@pytest.mark.parametrize(
    ("codes", "reference", "said"),
    [([0, 0, 0], 0, "only one group"), ([0, 0, 1], 0, "lacking"), ([1, 0, 0], 0, "lacking"), ([0, 0, 1], None, "")],
)
def test_nobody_to_compare_with(codes: list[int], reference: int | None, said: str) -> None:
    rows = _compare([0.2, 0.4, 0.6], [0, 1, 1], np.array(codes), reference=reference)
    assert rows[-1].status == "undefined"
    assert said in rows[-1].reason


def test_without_draws_there_is_a_value_and_no_interval() -> None:
    row = _compare([0.1, 0.9, 0.8, 0.3], [0, 1, 0, 1], np.array([0, 0, 1, 1]), draws=0)[1]
    assert row.value == pytest.approx(1.0)
    assert np.isnan([row.low, row.high, row.p]).all()


def test_weights_do_not_matter_in_scale() -> None:
    rng = np.random.default_rng(5)
    label, codes, weight = rng.integers(0, 2, 200), np.arange(200) % 2, rng.random(200)
    score = rng.random(200)
    one, other = (_compare(score, label, codes, weight=w)[1] for w in (weight, 3 * weight))
    assert other.value == pytest.approx(one.value)
    assert (other.p, other.low) == (one.p, pytest.approx(one.low))
