"""What LIME draws its neighbours from: bins, features bound together, numbers around a row; and what is the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.explain.base import Player
from tasks.explain.engine.lime_neighbours import Neighbourhood, _places, draw_neighbourhood

#: one-hot columns of three kinds, and a number that goes with the first of them
KINDS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])


def reference(n: int = 400) -> np.ndarray:
    generator = np.random.default_rng(0)
    kinds = KINDS[generator.choice(3, n, p=[0.5, 0.3, 0.2])]
    return np.column_stack([kinds, kinds[:, 0] * 3 + generator.normal(size=n)])


def drawn(values: np.ndarray, groups: list[tuple[int, ...]], **options: object) -> Neighbourhood:
    given = {"categories": np.zeros(values.shape[1], bool), "discretize": "quartile", "around": False} | options
    return draw_neighbourhood(
        values, players=[Player(str(group), group) for group in groups], count=3000, repair=True,
        state=np.random.RandomState(0), **given,
    )  # fmt: skip


def test_bound_columns_are_drawn_as_they_occur_together() -> None:
    """Each by itself makes rows of no kind or of two; bound, there are the three kinds by their frequency."""
    kinds = reference()
    apart, bound = drawn(kinds, [(0,), (1,), (2,), (3,)]), drawn(kinds, [(0, 1, 2), (3,)])
    assert np.mean(apart.codes[:, :3].sum(axis=1) == 1) < 0.7
    np.testing.assert_allclose(np.sort(bound.codes[:, :3], axis=1), [[0, 0, 1]] * 3000, atol=1e-9)
    np.testing.assert_allclose(bound.codes[:, :3].mean(axis=0), kinds[:, :3].mean(axis=0), atol=0.04)
    assert [c.features for c in bound.compared] == [(0, 1, 2), (3,)]
    assert bound.first_features.tolist() == [0, 3]
    # what the regression is told is what the model is given
    same, _ = bound.compared_with(bound.codes)
    np.testing.assert_array_equal(same.T, bound.same)


def test_bound_numbers_keep_their_dependence() -> None:
    generator = np.random.default_rng(1)
    first = generator.normal(size=500)
    values = np.column_stack([first, first + 0.1 * generator.normal(size=500), generator.normal(size=500)])
    apart, bound = drawn(values, [(0,), (1,), (2,)]), drawn(values, [(0, 1), (2,)])
    assert abs(np.corrcoef(apart.codes[:, 0], apart.codes[:, 1])[0, 1]) < 0.1
    assert np.corrcoef(bound.codes[:, 0], bound.codes[:, 1])[0, 1] > 0.8
    assert abs(np.corrcoef(bound.codes[:, 0], bound.codes[:, 2])[0, 1]) < 0.1


def test_same_only_where_every_bound_column_is() -> None:
    """Two columns of two categories, bound: the places are those of (0, 0), (0, 1), (1, 1); (1, 0) never occurs."""
    values = np.array([[0, 0], [0, 1], [1, 1], [1, 1.0]])
    around = drawn(values, [(0, 1)], categories=np.ones(2, bool))
    assert around.compared[0].bins.tolist() == [[0, 0], [0, 1], [1, 1]]
    assert around.compared[0].frequencies.tolist() == [0.25, 0.25, 0.5]
    same, numbers = around.compared_with(np.array([[1, 1], [0, 1], [1, 0], [7, 1], [0, -1.0]]))
    assert same[:, 0].tolist() == [2, 1, -1, -1, -1]
    assert numbers.shape == (5, 0)
    shared = around.shared_by(same)[:, 0]
    assert shared[2:].tolist() == [0, 0, 0]
    assert shared[0] == (around.same == 2).sum()


def test_nulls_of_bound_numbers_are_a_value_of_their_own() -> None:
    values = reference()
    values[::4, 3] = np.nan
    around = drawn(values, [(0, 3), (1,), (2,)])
    null = np.isnan(around.codes[:, 3])
    assert null.mean() == pytest.approx(0.25, abs=0.04)
    assert around.codes[null, 0].mean() == pytest.approx(values[::4, 0].mean(), abs=0.06)
    same, _ = around.compared_with(around.codes)
    np.testing.assert_array_equal(same.T, around.same)


def test_a_number_without_bins_unbinds_its_group() -> None:
    around = drawn(reference(), [(0, 3), (1, 2)], categories=np.array([True, True, True, False]), discretize="none")
    assert [c.features for c in around.compared] == [(0,), (1, 2)]
    assert around.numeric.tolist() == [3]


@pytest.mark.parametrize("discretize", ["quartile", "none"])
def test_numbers_around_rows(discretize: str) -> None:
    """Only numbers without bins move: normal around the row, with the reference's spread; the first is the row."""
    values = reference()
    categories = np.array([True, True, True, False])
    around = drawn(values, [(j,) for j in range(4)], categories=categories, discretize=discretize, around=True)
    assert around.around == (discretize == "none")
    if not around.around:
        return
    rows = np.array([[1, 0, 0, 50.0], [0, 1, 0, np.nan]])
    codes = around.codes_around(rows)
    np.testing.assert_array_equal(codes[:, 0], rows)
    np.testing.assert_array_equal(codes[0, 1:, :3], codes[1, 1:, :3])
    np.testing.assert_array_equal(codes[0, 1:, :3], around.codes[:, :3])
    assert codes[0, 1:, 3].mean() == pytest.approx(50, abs=0.2)
    assert codes[0, 1:, 3].std() == pytest.approx(values[:, 3].std(), rel=0.05)
    assert codes[1, 1:, 3].mean() == pytest.approx(values[:, 3].mean(), abs=0.2)  # a null is at the mean


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(-3, 3)), st.data())
def test_places_are_those_of_a_search_one_by_one(rows: np.ndarray, data: st.DataObject) -> None:
    known = np.unique(rows, axis=0)
    asked = data.draw(arrays(np.int32, (8, rows.shape[1]), elements=st.integers(-4, 4)))
    asked = np.vstack([asked, known])
    expected = [next(itertools.chain((i for i, one in enumerate(known) if (one == row).all()), [-1])) for row in asked]
    assert _places(known, asked).tolist() == expected
