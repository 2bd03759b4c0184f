from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from tasks.bias.families.curves import MAX_GROUPS, POINTS, curve_limitations, curve_table, curves
from tasks.bias.rows.groups import Attribute, everyone
from tasks.bias.statistics.intervals import wilson
from tasks.contracts import TABLES
from tests.tasks.bias.bias_views import view_of


def _of(view, kind: str, group: int = 0):
    found = [curve for curve in curves(view) if (curve.kind, curve.group) == (kind, group)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("weighted", [False, True])
def test_a_short_roc_curve_is_scikit_learns(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    score, label, codes = np.round(rng.random(300), 1), rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    weight = rng.random(300) if weighted else None
    view = view_of(score, label, codes=codes, weight=weight)
    for g in range(2):
        own = codes == g
        x, y, _ = sk.roc_curve(
            label[own], score[own], sample_weight=None if weight is None else weight[own], drop_intermediate=False
        )
        curve = _of(view, "roc", g)
        assert curve.x == pytest.approx(x)
        assert curve.y == pytest.approx(y)
        assert (curve.output, curve.n[0]) == ("yes", own.sum())
        assert (curve.low <= curve.y).all()
        assert (curve.y <= curve.high).all()


def test_a_long_roc_curve_keeps_its_shape() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 5000)
    score = 1 / (1 + np.exp(-rng.normal(size=5000) - label))
    curve = _of(view_of(score, label), "roc")
    assert 50 < len(curve.x) <= POINTS
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    assert (np.diff(curve.x) >= 0).all()
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(sk.roc_auc_score(label, score), abs=1e-3)
    every, height, _ = sk.roc_curve(label, score, drop_intermediate=False)
    corners = set(zip(every.round(12), height.round(12), strict=True))
    assert set(zip(curve.x.round(12), curve.y.round(12), strict=True)) <= corners


def test_calibration_by_hand() -> None:
    curve = _of(view_of([0.12, 0.18, 0.95, 0.85, 0.5], [0, 1, 1, 1, -1]), "calibration")
    assert curve.x == pytest.approx([0.15, 0.85, 0.95])
    assert curve.y.tolist() == [0.5, 1, 1]
    assert curve.n.tolist() == [2, 1, 1]
    assert (curve.low[0], curve.high[0]) == pytest.approx(tuple(map(float, wilson(0.5, 2, 0.95))))


def test_selection_counts_scores_that_reach_the_threshold() -> None:
    score = np.array([0.0, 0.29, 0.57, 0.58, 1.0])
    curve = _of(view_of(score, [0, 1, 0, 1, 1]), "selection")
    assert len(curve.x) == POINTS
    for x, y in zip(curve.x, curve.y, strict=True):
        assert y == np.mean(score >= x), x


def test_selection_is_of_the_favourable_outcome_with_weights() -> None:
    view = view_of([0.9, 0.2], [1, 0], positive=(0,), weight=np.array([1.0, 3.0]))
    curve = _of(view, "selection")
    assert curve.output == "no"
    assert curve.y[50] == 0.75  # of the score .1 and, three times as heavy, .8
    low, high = wilson(0.75, 16 / 10, 0.95)
    assert (curve.low[50], curve.high[50]) == (pytest.approx(float(low)), pytest.approx(float(high)))


def test_several_classes_are_held_against_the_rest() -> None:
    rng = np.random.default_rng(2)
    p, y = rng.dirichlet(np.ones(3), 200), rng.integers(0, 3, 200)
    curve = _of(view_of(p, y, task="multiclass", positive=(0, 2)), "roc")
    assert curve.output == "0, 2"
    x, height, _ = sk.roc_curve(y != 1, p[:, 0] + p[:, 2], drop_intermediate=False)
    assert set(zip(curve.x, curve.y, strict=True)) <= set(zip(x, height, strict=True))


def test_scores_that_are_no_probabilities_have_a_roc_curve_alone() -> None:
    assert {curve.kind for curve in curves(view_of([-3.0, 1.0, 4.0], [0, 1, 0]))} == {"roc"}


def test_no_labels_leave_the_selection_curve() -> None:
    assert {curve.kind for curve in curves(view_of([0.3, 0.6], [-1, -1], decision=[0, 1]))} == {"selection"}


def test_the_table_has_every_group_and_all_rows() -> None:
    view = view_of([0.3, 0.6, 0.2, 0.9], [0, 1, 0, 1], codes=np.array([0, 0, 1, 1]))
    whole = view_of([0.3, 0.6, 0.2, 0.9], [0, 1, 0, 1])
    table = curve_table([(everyone(4), whole), (Attribute("g", ("a", "b"), view.codes), view)])
    assert table.schema == TABLES["curves"]
    rows = table.to_pylist()
    assert {(r["attribute"], r["group"]) for r in rows} == {(None, None), ("g", "a"), ("g", "b")}
    points = [r["point"] for r in rows if (r["group"], r["curve"]) == ("a", "selection")]
    assert points == list(range(POINTS))
    assert all(r["ci_low"] <= r["y"] <= r["ci_high"] for r in rows)


def test_a_regression_has_no_curves() -> None:
    view = view_of([1.0, 2.0], [-1, -1], truth=np.array([1.0, 2.0]), task="regression")
    assert curve_table([(everyone(2), view)]).num_rows == 0


def test_of_many_groups_the_largest_have_curves() -> None:
    sizes = np.arange(1, 61)
    codes = np.repeat(np.arange(60), sizes)
    view = view_of(np.full(len(codes), 0.5), np.arange(len(codes)) % 2, codes=codes)
    assert {curve.group for curve in curves(view)} == set(range(60 - MAX_GROUPS, 60))
    attribute = Attribute("g", tuple(map(str, range(60))), codes)
    assert list(curve_limitations([(attribute, view)])) == ["g: of more than 50 groups the largest 50 have curves."]
