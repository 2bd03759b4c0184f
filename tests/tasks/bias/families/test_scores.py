from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from tasks.bias import METRICS
from tasks.bias.base import View
from tasks.bias.rows.counts import Counts
from tasks.bias.rows.evidence import Evidence


def _view(scores, label, *, weight=None, truth=None, task="binary", positive=(1,), of_class=None, codes=None) -> View:
    scores = np.asarray(scores, float)
    scores = scores[:, None] if scores.ndim == 1 else scores
    n = len(scores)
    codes = np.zeros(n, int) if codes is None else codes
    classes = ("no", "yes") if task != "multiclass" else tuple(map(str, range(scores.shape[1])))
    outputs = {"binary": ("yes",), "multiclass": classes, "regression": ("value",)}[task]
    label = np.asarray(label)
    found = Evidence(
        task=task, row_id=np.arange(n), position=np.arange(n), classes=classes, label=label, decision=label,
        outputs=outputs, scores=scores, truth=truth, weight=weight, favorable=positive, positive=positive,
    )  # fmt: skip
    return View(found, codes, Counts.of(codes, codes.max() + 1, label, label, weight), 0.95, of_class)


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_equal_scikit_learn(weighted: bool) -> None:
    rng = np.random.default_rng(2)
    y, p = rng.integers(0, 2, 200), rng.random(200)
    p[:2], y[:2] = [0.0, 1.0], [1, 0]  # certain and wrong
    weight = rng.random(200) if weighted else None
    own = _view(p, y, weight=weight)
    assert METRICS["log_loss"].measure(own).value[0] == pytest.approx(sk.log_loss(y, p, sample_weight=weight))
    assert METRICS["brier_score"].measure(own).value[0] == pytest.approx(
        sk.brier_score_loss(y, p, sample_weight=weight)
    )
    assert METRICS["mean_score"].measure(own).value[0] == pytest.approx(np.average(p, weights=weight))


def test_losses_of_several_classes() -> None:
    rng = np.random.default_rng(3)
    p, y = rng.dirichlet(np.ones(3), 150), rng.integers(0, 3, 150)
    own = _view(p, y, task="multiclass")
    assert METRICS["log_loss"].measure(own).value[0] == pytest.approx(sk.log_loss(y, p, labels=[0, 1, 2]))
    assert METRICS["brier_score"].measure(own).value[0] == pytest.approx(((p - np.eye(3)[y]) ** 2).sum(1).mean())
    assert METRICS["macro_roc_auc"].measure(own).value[0] == pytest.approx(
        sk.roc_auc_score(y, p, multi_class="ovr", average="macro")
    )
    one = _view(p, y, task="multiclass", of_class=2)
    assert METRICS["roc_auc"].measure(one).value[0] == pytest.approx(sk.roc_auc_score(y == 2, p[:, 2]))


def test_scores_outside_0_to_1_are_no_probabilities() -> None:
    own = _view([-1.5, 0.2, 3.0, 0.4], [0, 0, 1, 1])
    for name in ("log_loss", "brier_score"):
        measured = METRICS[name].measure(own)
        assert np.isnan(measured.value[0])
        assert measured.status(0, 1) == ("undefined", "scores outside 0 to 1 are no probabilities")
    assert METRICS["roc_auc"].measure(own).value[0] == 1.0  # an order needs no probabilities


def test_one_sigmoid_speaks_of_the_other_class_too() -> None:
    own = _view([0.9, 0.2], [1, 0], positive=(0,))
    assert METRICS["mean_score"].measure(own).value[0] == pytest.approx(0.45)


def _regression(prediction, truth, **more) -> View:
    return _view(prediction, np.full(len(truth), -1), truth=np.asarray(truth, float), task="regression", **more)


@pytest.mark.parametrize("weighted", [False, True])
def test_regression_equals_scikit_learn(weighted: bool) -> None:
    rng = np.random.default_rng(5)
    y, p = rng.normal(size=90), rng.normal(size=90)
    codes = rng.integers(0, 3, 90)
    weight = rng.random(90) if weighted else None
    own = _regression(p, y, weight=weight, codes=codes)
    theirs = {
        "mean_prediction": lambda y, p, w: np.average(p, weights=w),
        "mean_error": lambda y, p, w: np.average(p - y, weights=w),
        "mean_absolute_error": lambda y, p, w: sk.mean_absolute_error(y, p, sample_weight=w),
        "root_mean_squared_error": lambda y, p, w: sk.root_mean_squared_error(y, p, sample_weight=w),
        "r2": lambda y, p, w: sk.r2_score(y, p, sample_weight=w),
    }
    for name, function in theirs.items():
        measured = METRICS[name].measure(own)
        for g in range(3):
            rows = codes == g
            w = None if weight is None else weight[rows]
            assert measured.value[g] == pytest.approx(function(y[rows], p[rows], w)), name
            assert measured.low[g] < measured.value[g] < measured.high[g], name


def test_labels_that_do_not_vary_have_no_r2() -> None:
    measured = METRICS["r2"].measure(_regression([1.0, 2.0, 3.0], [0.1, 0.1, 0.1]))
    assert measured.status(0, 1) == ("undefined", "0/0: the labels do not vary")


def test_the_spread_of_r2_is_that_of_resampling() -> None:
    rng = np.random.default_rng(6)
    n, draws = 200, 1500
    y = rng.normal(size=n)
    p = 0.6 * y + rng.normal(scale=0.6, size=n)
    own = METRICS["r2"].measure(_regression(p, y))
    index = rng.integers(0, n, (draws, n))
    again = _regression(p[index].ravel(), y[index].ravel(), codes=np.repeat(np.arange(draws), n))
    assert own.std_error[0] == pytest.approx(METRICS["r2"].measure(again).value.std(), rel=0.1)


def test_one_row_has_a_mean_and_no_interval() -> None:
    measured = METRICS["mean_absolute_error"].measure(_regression([2.0], [1.0]))
    assert measured.value[0] == 1.0
    assert np.isnan(measured.low[0])
    assert np.isnan(measured.high[0])


#: the median of all seven is .45; in a two lie strictly above it, in b one
SCORES, CODES = [0.9, 0.5, 0.4, 0.1, 0.8, 0.45, 0.45], np.array([0, 0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_scoring_rate_by_hand(task: str) -> None:
    truth = np.zeros(7) if task == "regression" else None
    view = _view(SCORES, [0, 1, 0, 1, 0, 1, 0], task=task, truth=truth, codes=CODES)
    found = METRICS["scoring_rate"].measure(view)
    assert (found.numerator.tolist(), found.denominator.tolist()) == ([2, 1], [4, 3])
    assert found.value == pytest.approx([1 / 2, 1 / 3])
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()


def test_scoring_rate_is_of_the_favourable_outcome() -> None:
    view = _view(SCORES, [0, 1, 0, 1, 0, 1, 0], positive=(0,), codes=CODES)  # scores of `yes`, `no` is favourable
    assert METRICS["scoring_rate"].measure(view).numerator.tolist() == [2, 0]


def test_scoring_rate_counts_people() -> None:
    weighted = METRICS["scoring_rate"].measure(_view(SCORES, [0, 1] * 3 + [0], codes=CODES, weight=np.ones(7)))
    assert not weighted.defined.any()
    assert "people" in weighted.undefined
