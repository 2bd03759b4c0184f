"""Faithfulness: every measure by hand, closed forms of sums, the best order, and an attribution that knows nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.agreement import faithfulness, masked
from tasks.agreement.masked import Masked

NAN = float("nan")
WEIGHTS = np.array([3.0, -2.0, 0.5, 1.0])
NONE = np.zeros(1, int)


def additive(rows: np.ndarray) -> np.ndarray:
    """Two outputs: a weighted sum, and its negative."""
    total = rows @ WEIGHTS
    return np.stack([total, -total], axis=1)


def game(background: np.ndarray, predict: masked.Predict = additive, players: int | None = None) -> Masked:
    """Every column a player of its own."""
    return masked.masked_table(predict, background, np.eye(background.shape[1], dtype=bool))


# ---------------------------------------------------------------- masked outputs


def test_a_table_with_players_away_by_hand() -> None:
    background = np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    of_groups = masked.masked_table(additive, background, np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]], bool))
    rows = np.array([[1.0, 1.0, 2.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    present = np.array([[[1, 1, 1], [0, 1, 1], [1, 0, 1], [0, 0, 0]]] * 2, bool)
    # row 0: 3 − 2 + 1 + 1; without columns 0 and 3: −2 + 1; without column 1, whose mean is 1: the same as with it
    assert of_groups(rows, present, np.array([0, 0]))[0] == pytest.approx([3, -1, 3, -2])
    # the second output of row 1, which is −1
    assert of_groups(rows, present, np.array([0, 1]))[1] == pytest.approx([-1, 0, 1, 2])


def test_an_image_with_cells_away_by_hand() -> None:
    cells, size = masked.grid_cells(4, 6, 2)
    assert size == (2, 2)
    assert cells.tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2
    assert masked.grid_cells(1, 3, 8)[1] == (1, 3)  # never more cells than pixels
    image, behind = np.ones((1, 4, 6, 1), np.float32), np.full((4, 6, 1), 0.5, np.float32)
    of_cells = masked.masked_image(lambda x: x.sum(axis=(1, 2, 3))[:, None], behind, cells)
    present = np.array([[[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]], bool)
    assert of_cells(image, present, NONE).tolist() == [[24.0, 21.0, 12.0]]


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    rows, background = generator.normal(size=(23, 4)), generator.normal(size=(3, 4))
    present, output = generator.random((23, 5, 4)) < 0.5, generator.integers(0, 2, 23)
    whole = game(background)(rows, present, output)
    monkeypatch.setattr(masked, "_ROWS", 40)
    assert np.array_equal(game(background)(rows, present, output), whole)


# ---------------------------------------------------------------- curves


def test_the_curves_by_hand() -> None:
    rows, background = np.array([[1.0, 1.0, 2.0, 1.0]]), np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    order, steps = np.array([[0, 3, 1, 2]]), np.arange(5)
    # f = 3; without feature 0: 0; without 3: −1; feature 1 goes to its mean of 1, so nothing changes; then −2.
    curve = faithfulness.curves(game(background), rows, NONE, order, steps)
    assert curve == pytest.approx(np.array([[3.0, 0.0, -1.0, -1.0, -2.0]]))
    assert faithfulness.area(curve, steps) == pytest.approx([(1.5 + 0 - 1 - 1 - 1) / 4])
    other = faithfulness.curves(game(background), rows, NONE + 1, order, steps)
    assert other == pytest.approx(-curve)
    # Nothing is −2; feature 0 comes: 1; then 3: 2; then 1: as it was; then 2: the row itself.
    curve = faithfulness.curves(game(background), rows, NONE, order, steps, insert=True)
    assert curve == pytest.approx(np.array([[-2.0, 1.0, 2.0, 2.0, 3.0]]))
    # Fewer points: widths of a half each.
    few = faithfulness.curves(game(background), rows, NONE, order, np.array([0, 2, 4]))
    assert faithfulness.area(few, np.array([0, 2, 4])) == pytest.approx([(3 - 1) / 4 + (-1 - 2) / 4])


def test_no_order_beats_the_exact_attributions_of_a_sum() -> None:
    generator = np.random.default_rng(0)
    rows, background = generator.normal(size=(5, 4)), generator.normal(size=(6, 4))
    output, steps = np.zeros(5, int), np.arange(5)

    def areas(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        both = (faithfulness.curves(game(background), rows, output, order, steps, insert=i) for i in (False, True))
        deleted, inserted = (faithfulness.area(curve, steps) for curve in both)
        return deleted, inserted

    exact = WEIGHTS * (rows - background.mean(axis=0))
    deleted, inserted = areas(faithfulness.largest_first(exact))
    for permutation in itertools.permutations(range(4)):
        other_deleted, other_inserted = areas(np.tile(permutation, (5, 1)))
        assert np.all(deleted <= other_deleted + 1e-12)
        assert np.all(inserted >= other_inserted - 1e-12)


def test_steps_and_orders() -> None:
    assert faithfulness.steps_of(4, 32).tolist() == [0, 1, 2, 3, 4]
    assert faithfulness.steps_of(64, 16).tolist() == list(range(0, 65, 4))
    assert faithfulness.steps_of(1, 32).tolist() == [0, 1]
    steps = faithfulness.steps_of(1000, 32)
    assert (len(steps), steps[0], steps[-1]) == (33, 0, 1000)
    assert faithfulness.largest_first(np.array([[0.1, -5.0, 0.1, 2.0]])).tolist() == [[3, 0, 2, 1]]


# ---------------------------------------------------------------- subsets


@given(st.integers(1, 30), st.integers(1, 70), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_random_subsets_are_different_and_of_one_size(players: int, count: int, seed: int) -> None:
    from math import comb

    found = faithfulness.random_subsets(players, count, np.random.default_rng(seed))
    size = max(1, round(players / 5))
    assert len(found) == min(count, comb(players, size))
    assert set(found.sum(axis=1)) == {size}
    assert len({row.tobytes() for row in found}) == len(found)


SUBSETS = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]], bool)


def test_mu_fidelity_and_infidelity_by_hand() -> None:
    attributions = np.array([[1.0, 2.0, 4.0]])
    # sums 3, 5, 6 (mean 14/3); falls 1, 2, 4 (mean 7/3)
    fallen = np.array([[1.0, 2.0, 4.0]])
    x, y = np.array([3, 5, 6]) - 14 / 3, np.array([1, 2, 4]) - 7 / 3
    expected = (x @ y) / np.sqrt((x @ x) * (y @ y))
    assert faithfulness.mu_fidelity(attributions, SUBSETS, fallen) == pytest.approx([expected])
    assert np.corrcoef([3, 5, 6], [1, 2, 4])[0, 1] == pytest.approx(expected)
    beta = (3 * 1 + 5 * 2 + 6 * 4) / (9 + 25 + 36)
    misses = [(3 * beta - 1) ** 2, (5 * beta - 2) ** 2, (6 * beta - 4) ** 2]
    assert faithfulness.infidelity(attributions, SUBSETS, fallen) == pytest.approx([np.mean(misses)])
    # The wrong sign is not forgiven: no β ≥ 0 is better than 0.
    assert faithfulness.infidelity(-attributions, SUBSETS, fallen) == pytest.approx([(1 + 4 + 16) / 3])
    assert faithfulness.mu_fidelity(-attributions, SUBSETS, fallen) == pytest.approx([-expected])


@given(st.integers(2, 12), st.integers(0, 1000), st.floats(0.01, 100))
@settings(deadline=None, max_examples=60)
def test_closed_forms_of_a_linear_model(d: int, seed: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=d)
    rows, background = generator.normal(size=(4, d)), generator.normal(size=(3, d))
    of_line = game(background, lambda x: (x @ weights)[:, None])
    output, own = np.zeros(4, int), rows @ weights
    exact = weights * (rows - background.mean(axis=0))
    subsets = faithfulness.random_subsets(d, 20, generator)
    fallen = faithfulness.falls(of_line, rows, output, subsets, own)
    assert fallen == pytest.approx(exact @ subsets.T)
    assert faithfulness.mu_fidelity(scale * exact, subsets, fallen) == pytest.approx(1)
    assert faithfulness.infidelity(scale * exact, subsets, fallen) == pytest.approx(0, abs=1e-12)
    single = faithfulness.falls(of_line, rows, output, np.eye(d, dtype=bool), own)
    assert faithfulness.monotonicity(scale * exact, single) == pytest.approx(1)


def test_what_has_no_value() -> None:
    attributions, flat = np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0], [0.1, 0.1, 0.1]]), np.full((3, 3), 0.25)
    assert np.isnan(faithfulness.mu_fidelity(attributions, SUBSETS, flat)).all()
    varied = np.tile([1.0, 2.0, 4.0], (3, 1))
    assert np.isnan(faithfulness.mu_fidelity(attributions, SUBSETS, varied)).tolist() == [False, True, True]
    # An explanation of nothing predicts no fall at all.
    assert faithfulness.infidelity(attributions, SUBSETS, varied)[1] == pytest.approx((1 + 4 + 16) / 3)
    assert np.isnan(faithfulness.monotonicity(attributions, 0 * flat)).all()
    one = np.array([[2.0]])
    assert np.isnan(faithfulness.mu_fidelity(one, np.array([[True]]), one)).all()
    assert faithfulness.infidelity(one, np.array([[True]]), one).tolist() == [0.0]


def test_monotonicity_by_hand() -> None:
    attributions = np.array([[1.0, -3.0, 2.0], [1.0, -3.0, 2.0]])
    single = np.array([[0.1, 0.3, -0.2], [0.3, 0.1, 0.2]])  # the same order of sizes; the reverse
    assert faithfulness.monotonicity(attributions, single) == pytest.approx([1, -1])


def test_null_share_by_hand() -> None:
    attributions = np.array([[1.0, -2.0, 1.0], [1.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    null = np.array([False, True, False])
    assert faithfulness.null_share(attributions, null) == pytest.approx([0.5, 0, NAN], nan_ok=True)
