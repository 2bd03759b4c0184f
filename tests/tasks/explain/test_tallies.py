"""Means over batches against numpy on all rows at once."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.explain.tallies import Z95, Tally


@pytest.mark.parametrize("cuts", [(), (1,), (3, 4, 50), tuple(range(1, 100))])
def test_importance_is_mean_and_error_over_rows(cuts: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    values = generator.gamma(1, 1, (100, 2, 3)) + 1e6  # a large mean: no cancellation
    explained = np.stack([np.zeros(100, int), generator.integers(1, 3, 100)], axis=1)
    tally = Tally(("a", "b", "c", "never"), 3)
    for part in np.split(np.arange(100), cuts):
        tally.add(explained[part], values[part])
    found = tally.importance()
    assert found.outputs == ("a", "b", "c")
    for k in range(3):
        own = values[explained == k]
        np.testing.assert_allclose(found.values[k], own.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(found.std_error[k], own.std(axis=0, ddof=1) / np.sqrt(len(own)), rtol=1e-6)
        np.testing.assert_allclose(found.ci_high[k] - found.values[k], Z95 * found.std_error[k], rtol=1e-6)
        assert found.n_rows[k] == len(own)


def test_summaries_leave_out_what_is_not_finite() -> None:
    tally = Tally(("a", "b"), 1)
    tally.add(np.array([[0], [0], [1]]), np.array([[[1.0]], [[np.nan]], [[4.0]]]))
    tally.add(np.array([[0], [1]]), np.array([[[3.0]], [[np.inf]]]))
    together, a, b = tally.summaries()
    assert (together["output"], together["n"]) == (None, 3)
    assert together["mean"] == pytest.approx(8 / 3)
    assert together["std_error"] == pytest.approx(np.std([1, 3, 4], ddof=1) / np.sqrt(3))
    assert (a["output"], a["mean"], a["n"]) == ("a", 2.0, 2)
    assert b == {"output": "b", "mean": 4.0, "std_error": None, "ci_low": None, "ci_high": None, "n": 1}


def test_nothing_to_summarise() -> None:
    tally = Tally(("a",), 1)
    tally.add(np.array([[0]]), np.array([[[np.nan]]]))
    assert tally.summaries() == [
        {"output": None, "mean": None, "std_error": None, "ci_low": None, "ci_high": None, "n": 0}
    ]
