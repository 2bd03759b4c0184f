"""Which factors are principal reasons, and when that is beyond doubt: cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.reasons import principal_reasons
from tasks.reasons.principal import Factor, Wording, code_of, members, principal, settled

NAMES = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("contribution", "chosen"),
    [
        ([-1.0, -2.0, 3.0, 0.0], ["b", "a"]),  # worst first; what helps or is nought is no reason
        ([-1.0, -1.0, -1.0, -1.0], ["a", "b", "c", "d"]),  # ties by name
        ([1.0, 0.0, 2.0, 3.0], []),
        ([-1.0, -5.0, -3.0, -2.0], ["b", "c", "d", "a"]),
        ([-5.0, -1e-4, -0.1, 2.0], ["a", "c"]),  # a hundred-thousandth of the largest is rounding
        ([0.0, 0.0, 0.0, 0.0], []),
    ],
)
def test_principal_reasons(contribution, chosen):
    assert [NAMES[j] for j in principal_reasons(np.array(contribution), NAMES[:4])] == chosen


def test_no_more_than_four_unless_asked():
    values = -np.arange(1.0, 9.0)
    names = [f"f{i}" for i in range(8)]
    assert principal_reasons(values, names) == [7, 6, 5, 4]
    assert principal_reasons(values, names, most=6) == [7, 6, 5, 4, 3, 2]
    assert principal_reasons(values[:2], names[:2]) == [1, 0]


def test_ties_go_by_name_whatever_the_columns_order():
    values = np.array([[-1.0, -1.0, -1.0]])
    assert principal(values, ["c", "a", "b"], 2).tolist() == [[1, 2]]


def test_codes_are_stable_and_plain():
    assert code_of("capital_gain") == "R-CAPITAL-GAIN"
    assert code_of("<script>") == "R--SCRIPT-"


@pytest.mark.parametrize(
    ("values", "error", "most", "sure"),
    [
        ([-4.0, -3.0, -2.0, -1.0, -0.5], 0.1, 4, True),
        ([-4.0, -3.0, -2.0, -1.0, -0.9], 0.1, 4, False),  # which one is the fourth
        ([-4.0, -3.0, -2.0, -1.0, -0.9], 0.1, 3, True),  # nobody asks for the fourth
        ([-4.0, -3.9, -2.0, -1.0, -0.5], 0.1, 4, False),  # which one is the first
        ([-4.0, -3.0, -0.1, 1.0, 2.0], 0.1, 4, False),  # whether the third speaks against at all
        ([-4.0, -3.0, 0.1, 1.0, 2.0], 0.1, 4, False),
        ([-4.0, -3.0, 0.5, 0.51, 2.0], 0.1, 4, True),  # the order of what helps is no matter
        ([-4.0, -4.0, -1.0, -1.0, -1.0], 0.0, 4, True),  # exact ties are ties
        ([0.0, 0.0, 0.0, 0.0, 0.0], 0.0, 4, True),
    ],
)
def test_settled(values, error, most, sure):
    found = settled(np.array([values]), np.full((1, 5), error), NAMES, most)
    assert found.tolist() == [sure]


def test_an_uncertain_late_rank_unsettles_the_early_ones():
    values, error = np.array([[-4.0, -3.0, -1.0]]), np.array([[0.1, 0.1, 1.6]])
    assert not settled(values, error, NAMES[:3], 1)[0]
    error[0, 2] = 0.1
    assert settled(values, error, NAMES[:3], 1)[0]


def test_settled_rows_have_the_right_reasons():
    """Estimates scattered by their standard error: where they are settled they are as good as always right."""
    draw = np.random.default_rng(0)
    truth = draw.normal(size=(4000, 8))
    error = np.full(truth.shape, 0.02)
    seen = truth + draw.normal(size=truth.shape) * error
    names = [f"f{i}" for i in range(8)]
    sure = settled(seen, error, names, 4)
    right = (principal(seen, names, 4) == principal(truth, names, 4)).all(axis=1)
    assert 0.3 < sure.mean() < 0.9
    assert right[sure].mean() > 0.985
    assert right[~sure].mean() < 0.9


def test_members_sum_players():
    plain = Wording("R", "r")
    factors = [Factor("x", (0, 2), ("x", "z"), plain, {}), Factor("y", (1,), ("y",), plain, {})]
    assert (np.array([[1.0, 10.0, 100.0]]) @ members(factors, 3)).tolist() == [[101.0, 10.0]]


def test_the_wording_follows_the_side_of_the_value():
    up, down, plain = Wording("U", "high"), Wording("D", "low"), Wording("R-X", "x")
    factor = Factor("x", (0,), ("x",), plain, {"up": up, "down": down}, 0)
    assert [factor.wording(side) for side in (1.0, -1.0, 0.0)] == [up, down, plain]
    any_value = Factor("x", (0,), ("x",), plain, {None: up})
    assert [any_value.wording(side) for side in (1.0, -1.0, 0.0)] == [up, up, up]
