"""Codes of features and attributes: bins that hold about as many rows each, and pools that lose no row."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.bias import Attribute
from tasks.load import Feature
from tasks.sources.features import coded_attribute, coded_feature, number_bins

NAN = float("nan")


@pytest.mark.parametrize(
    ("numbers", "bins", "names"),
    [
        ([], 5, []),
        ([3.0, 3.0], 5, ["3"]),
        ([0.0, 0.0, 1.0], 2, ["0", "1"]),
        ([0.0] * 90 + [5.0, 6.0, 7.0], 2, ["< 5", "≥ 5"]),  # what fills a bin alone has one for itself
        (list(range(10)), 2, ["< 4", "≥ 4"]),
        ([1.0] * 30 + [2.0] * 40 + [3.0] * 20 + [4.0] * 10, 3, ["< 2", "[2, 3)", "≥ 3"]),
        ([-np.inf, 0.0, 1.0, np.inf], 2, ["< 0", "≥ 0"]),
    ],
)
def test_number_bins(numbers, bins, names):
    found, edges = number_bins(np.array(numbers, float), bins)
    assert found == names
    assert len(edges) == max(0, len(names) - 1)


def test_bins_hold_about_as_many_rows_each():
    part = coded_feature(Feature("x", "number"), np.random.default_rng(0).normal(size=10_000), bins=5, most=10)
    np.testing.assert_allclose(np.bincount(part.codes), 2000, atol=2)
    assert part.ordered
    assert part.missing is None


def test_missing_numbers_have_their_own_code():
    part = coded_feature(Feature("x", "number"), np.array([1.0, NAN, 2.0, NAN]), bins=5, most=10)
    assert part.values == ("1", "2", "(missing)")
    assert part.codes.tolist() == [0, 2, 1, 2]
    assert part.missing == 2
    assert coded_feature(Feature("x", "number"), np.array([NAN]), bins=5, most=10).values == ("(missing)",)


def test_rare_values_are_pooled_and_names_of_pools_are_ours_alone():
    feature = Feature("x", "category", ("(other)", "a", "b", "c", "never"))
    codes = np.array([0, 0, 1, 1, 1, 2, 3, 5, 5, 5, 5], float)
    part = coded_feature(feature, codes, bins=5, most=2)
    assert part.values == ('"(other)"', "a", "(missing)", "(other)")
    assert part.codes.tolist() == [0, 0, 1, 1, 1, 3, 3, 2, 2, 2, 2]
    assert part.missing == 2
    assert not part.ordered


def test_groups_keep_those_that_are_unknown_apart():
    attribute = Attribute("g", ("a", "b", "c", "?"), np.array([0, 0, 0, 1, 1, 2, 3]), unknown=("?",))
    part = coded_attribute(attribute, "column", np.arange(7), most=1)
    assert part.values == ("a", "?", "(other)")
    assert part.codes.tolist() == [0, 0, 0, 2, 2, 2, 1]
    assert part.known.tolist() == [True, False, True]
    assert coded_attribute(attribute, "column", np.array([3, 4]), most=9).values == ("b",)
