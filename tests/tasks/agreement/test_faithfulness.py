"""Deletion: the curve by hand, its best order, and an attribution that knows nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tasks.agreement import faithfulness

WEIGHTS = np.array([3.0, -2.0, 0.5, 1.0])


def additive(rows: np.ndarray) -> np.ndarray:
    """Two outputs: a weighted sum, and its negative."""
    total = rows @ WEIGHTS
    return np.stack([total, -total], axis=1)


def test_the_curve_by_hand() -> None:
    rows, background = np.array([[1.0, 1.0, 2.0, 1.0]]), np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    order = np.array([[0, 3, 1, 2]])
    # f = 3; without feature 0: 0; without 3: −1; feature 1 goes to its mean of 1, so nothing changes; then −2.
    curves = faithfulness.deletion_curves(additive, rows, order, background, 0)
    assert curves == pytest.approx(np.array([[3.0, 0.0, -1.0, -1.0, -2.0]]))
    assert faithfulness.deletion_area(curves) == pytest.approx([(1.5 + 0 - 1 - 1 - 1) / 4])
    assert faithfulness.deletion_curves(additive, rows, order, background, 1) == pytest.approx(-curves)


def test_no_order_beats_the_exact_attributions_of_a_sum() -> None:
    generator = np.random.default_rng(0)
    rows, background = generator.normal(size=(5, 4)), generator.normal(size=(6, 4))
    exact = WEIGHTS * (rows - background.mean(axis=0))
    best = faithfulness.deletion_area(
        faithfulness.deletion_curves(additive, rows, faithfulness.deletion_order(exact), background, 0)
    )
    for permutation in itertools.permutations(range(4)):
        order = np.tile(permutation, (5, 1))
        area = faithfulness.deletion_area(faithfulness.deletion_curves(additive, rows, order, background, 0))
        assert np.all(best <= area + 1e-12)


def test_batches_change_nothing_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    rows, background = generator.normal(size=(23, 4)), generator.normal(size=(3, 4))
    order = faithfulness.random_order(23, 4, generator)
    whole = faithfulness.deletion_curves(additive, rows, order, background, 0)
    monkeypatch.setattr(faithfulness, "_AT_ONCE", 40)
    ticks: list[int] = []
    assert np.array_equal(faithfulness.deletion_curves(additive, rows, order, background, 0, ticks.append), whole)
    assert sum(ticks) == 23 + 3 + 23 * 3 * 3


def test_edges() -> None:
    background = np.array([[0.0]])
    one = faithfulness.deletion_curves(lambda rows: rows, np.array([[2.0]]), np.array([[0]]), background, 0)
    assert one.tolist() == [[2.0, 0.0]]
    assert faithfulness.deletion_area(one).tolist() == [1.0]
    none = faithfulness.deletion_curves(additive, np.empty((0, 4)), np.empty((0, 4), int), np.zeros((1, 4)), 0)
    assert none.shape == (0, 5)


def test_orders() -> None:
    assert faithfulness.deletion_order(np.array([[0.1, -5.0, 0.1, 2.0]])).tolist() == [[3, 0, 2, 1]]
    order = faithfulness.random_order(1000, 5, np.random.default_rng(0))
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(5), (1000, 1)))
    # Each feature is first in a fifth of 1000 rows: within 5 standard errors (0.0126).
    assert np.bincount(order[:, 0]) / 1000 == pytest.approx(0.2, abs=0.064)
