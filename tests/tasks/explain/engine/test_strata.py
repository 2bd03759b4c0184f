"""Associations against scipy's, and strata of data whose structure is known."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.explain.engine.strata import associations
from tasks.load import Feature

NUMBER, COLOUR = Feature("n", "number"), Feature("c", "category", ("a", "b", "c"))


def test_numbers_have_spearmans_correlation() -> None:
    from scipy.stats import spearmanr

    rows = np.random.default_rng(0).normal(size=(200, 3)).round(1)  # ties
    rows[:, 2] -= rows[:, 0] ** 3
    found = associations(rows, (NUMBER,) * 3)
    np.testing.assert_allclose(found, np.abs(spearmanr(rows).statistic), atol=1e-12)


def test_a_number_and_a_category_have_the_correlation_ratio() -> None:
    from scipy.stats import rankdata

    generator = np.random.default_rng(1)
    codes = generator.integers(0, 3, 300)
    number = codes**2 + generator.normal(size=300)
    ranks = rankdata(number)
    means = np.array([ranks[codes == c].mean() for c in range(3)])[codes]
    found = associations(np.stack([number, codes], axis=1), (NUMBER, COLOUR))
    assert found[0, 1] == found[1, 0] == pytest.approx(np.sqrt(means.var() / ranks.var()))


def test_categories_have_cramers_v() -> None:
    codes = np.random.default_rng(2).integers(0, 3, (3000, 3)).astype(float)
    codes[:, 1] = codes[:, 0]
    found = associations(codes, (COLOUR,) * 3)
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] < 0.05  # without its bias
    noisy = np.where(np.random.default_rng(3).random(3000) < 0.5, codes[:, 0], codes[:, 2])
    both = associations(np.stack([codes[:, 0], noisy], axis=1), (COLOUR, COLOUR))
    assert both[0, 1] == pytest.approx(0.5, abs=0.05)


def test_constants_nulls_and_infinities() -> None:
    rows = np.array([[1.0, 5, np.nan, 0], [2, 5, np.inf, 0], [3, 5, 1, 0], [4, 5, np.nan, 0]])
    found = associations(rows, (NUMBER, NUMBER, NUMBER, COLOUR))
    assert np.isnan(found[1]).all()
    assert np.isnan(found[3]).all()
    assert 0 <= found[0, 2] <= 1
    assert np.isnan(associations(rows[:1], (NUMBER,) * 4)).all()


def test_order_of_rows_is_nothing() -> None:
    rows = np.random.default_rng(4).normal(size=(100, 2))
    features = (NUMBER, NUMBER)
    assert np.array_equal(associations(rows, features), associations(rows[::-1], features))
