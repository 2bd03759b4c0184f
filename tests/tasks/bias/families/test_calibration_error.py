from __future__ import annotations

import numpy as np
import pytest

from tasks.bias import DISPARITIES, METRICS
from tasks.bias.families.calibration_error import BINS, binned, by_chance
from tests.tasks.bias.bias_views import situation_of, view_of

NAME = "expected_calibration_error"


def _rows(n: int, rng: np.random.Generator, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    p = rng.beta(2, 2, n)
    return p, (rng.random(n) < np.clip(p + shift, 0, 1)).astype(int)


def test_error_by_hand() -> None:
    # bin [.2, .3): mean .25, none of two; bin [.9, 1]: mean .95, one of two: (2 · .25 + 2 · .45) / 4
    found = METRICS[NAME].measure(view_of([0.2, 0.3 - 1e-9, 0.9, 1.0], [0, 0, 1, 0]))
    assert found.value[0] == pytest.approx(0.35)
    assert (found.numerator[0], found.denominator[0]) == (pytest.approx(1.4), 4)


@pytest.mark.parametrize("weighted", [False, True])
def test_error_by_definition(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    p, y = _rows(500, rng)
    y[::20] = -1
    codes, weight = rng.integers(0, 3, 500), rng.random(500) if weighted else None
    found = METRICS[NAME].measure(view_of(p, y, codes=codes, weight=weight))
    w = np.ones(500) if weight is None else weight
    for g in range(3):
        own = (codes == g) & (y >= 0)
        bins = [own & (p >= k / BINS) & (p < (k + 1) / BINS) for k in range(BINS)]
        parts = [
            w[b].sum() * abs(np.average(p[b], weights=w[b]) - np.average(y[b], weights=w[b])) for b in bins if any(b)
        ]
        assert found.value[g] == pytest.approx(sum(parts) / w[own].sum(), rel=1e-12)
        assert found.low[g] <= found.value[g] <= found.high[g]
        assert found.n[g] == own.sum()


def test_what_chance_gives_is_the_mean_of_perfectly_calibrated_groups() -> None:
    rng = np.random.default_rng(1)
    p = np.round(rng.beta(1, 3, 150), 1) + 0.05  # one score a bin, so that de Moivre's formula is exact
    view = view_of(p, np.zeros(150, int))
    expected = by_chance(binned(view))[0]
    drawn = [
        METRICS[NAME].measure(view_of(p, (rng.random(150) < p).astype(int), draws=0)).value[0] for _ in range(2000)
    ]
    assert expected == pytest.approx(np.mean(drawn), rel=0.02)
    assert f"{expected:.4f} by chance" in METRICS[NAME].measure(view).notes[0]


def test_scores_that_are_no_probabilities_have_no_error() -> None:
    found = METRICS[NAME].measure(view_of([-2.0, 3.0], [0, 1]))
    assert found.status(0, 1) == ("undefined", "scores outside 0 to 1 are no probabilities")
    rows = DISPARITIES["calibration_gap"].compare(situation_of(view_of([-2.0, 3.0], [0, 1], codes=[0, 1]), NAME))
    assert rows[-1].status == "undefined"


def test_no_labels_no_error() -> None:
    assert METRICS[NAME].measure(view_of([0.2, 0.3], [-1, -1])).status(0, 1)[0] == "undefined"


def test_draws_are_the_same_twice_and_none_give_no_interval() -> None:
    p, y = _rows(200, np.random.default_rng(2))
    one, two = (METRICS[NAME].measure(view_of(p, y)) for _ in range(2))
    assert one.low.tolist() == two.low.tolist()
    assert np.isnan(METRICS[NAME].measure(view_of(p, y, draws=0)).low[0])


@pytest.mark.parametrize("shift", [0.0, 0.1])
@pytest.mark.parametrize("n", [100, 1000])
def test_intervals_cover(shift: float, n: int) -> None:
    """At least 95 %, as the triangle inequality promises: of 400 intervals of a method at 95 % more than 90.6 % hold,
    99.99 % of the time."""
    rng = np.random.default_rng([n, int(100 * shift)])
    groups = 400
    p, y = _rows(groups * n, rng, shift)
    many = _rows(400_000, rng)[0]
    truth = np.abs(np.bincount((many * BINS).astype(int), np.clip(many + shift, 0, 1) - many)).sum() / len(many)
    parts = []
    for codes in np.split(np.repeat(np.arange(groups), n), 2):  # of more than 250 groups there are no draws
        rows = slice(len(parts) * len(codes), (len(parts) + 1) * len(codes))
        parts.append(METRICS[NAME].measure(view_of(p[rows], y[rows], codes=codes - codes[0])))
    assert np.mean([(part.low <= truth) & (truth <= part.high) for part in parts]) >= 0.906


def test_very_many_groups_have_no_draws() -> None:
    p, y = _rows(600, np.random.default_rng(0))
    found = METRICS[NAME].measure(view_of(p, y, codes=np.arange(600) % 300))
    assert np.isfinite(found.value).all()
    assert np.isnan(found.low).all()


# ---------------------------------------------------------------- between groups


def test_gaps_are_from_the_reference() -> None:
    rng = np.random.default_rng(3)
    (p, y), (q, z) = _rows(800, rng), _rows(800, rng, 0.25)
    view = view_of(np.append(p, q), np.append(y, z), codes=np.repeat([0, 1], 800))
    own, other, whole = DISPARITIES["calibration_gap"].compare(situation_of(view, NAME))
    errors = METRICS[NAME].measure(view).value
    assert (own.value, own.reason) == (0.0, "the reference group")
    assert other.value == pytest.approx(errors[1] - errors[0])
    assert whole.value == pytest.approx(abs(other.value))
    assert 0 < other.low < other.value < other.high
    assert (other.p, other.test) == (pytest.approx(1 / 201), "redrawn labels")
    assert "with groups calibrated alike it would be" in whole.reason


def test_a_small_group_is_not_miscalibrated_by_being_small() -> None:
    """50 rows have seven times the error of 5,000 by chance alone; at the level of 5 % the test rejects 2–8.5 % of the
    time (a perfect one, 99.9 % of the time)."""
    rng = np.random.default_rng(4)
    rejected = 0
    for k in range(400):
        (p, y), (q, z) = _rows(1500, rng), _rows(60, rng)
        view = view_of(np.append(p, q), np.append(y, z), codes=np.repeat([0, 1], [1500, 60]), draws=199)
        rows = DISPARITIES["calibration_gap"].compare(situation_of(view, NAME, seed=(k,)))
        rejected += rows[-1].p < 0.05
    assert 0.02 <= rejected / 400 <= 0.085


def test_three_groups_small_ones_left_out() -> None:
    rng = np.random.default_rng(5)
    p, y = _rows(320, rng)
    codes = np.repeat([0, 1, 2], [150, 150, 20])
    *pairs, whole = DISPARITIES["calibration_gap"].compare(situation_of(view_of(p, y, codes=codes), NAME, least=30))
    assert [row.status for row in pairs] == ["ok", "ok", "insufficient_data"]
    assert whole.status == "ok"
    assert "leaves out g2 (20 rows)" in whole.reason
    all_small = DISPARITIES["calibration_gap"].compare(situation_of(view_of(p, y, codes=codes), NAME, least=1000))[-1]
    assert all_small.status == "insufficient_data"
    assert all_small.low <= all_small.value <= all_small.high


def test_one_group_has_nobody_to_differ_from() -> None:
    rows = DISPARITIES["calibration_gap"].compare(situation_of(view_of([0.5, 0.2], [0, 1]), NAME))
    assert (rows[-1].status, rows[-1].reason) == ("undefined", "there is only one group")


def test_weights_do_not_matter_in_scale() -> None:
    rng = np.random.default_rng(6)
    p, y = _rows(300, rng)
    codes, weight = np.arange(300) % 2, rng.random(300)
    one, other = (
        DISPARITIES["calibration_gap"].compare(situation_of(view_of(p, y, codes=codes, weight=w), NAME))[-1]
        for w in (weight, 5 * weight)
    )
    assert other.value == pytest.approx(one.value)
    assert other.p == one.p
