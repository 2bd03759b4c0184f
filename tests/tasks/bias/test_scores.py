from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from tasks.bias import METRICS
from tasks.bias.base import View
from tasks.bias.counts import Counts
from tasks.bias.evidence import Evidence
from tasks.bias.scores import auc_influence


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


def test_area_by_hand() -> None:
    # pairs: (.8 > .3) (.8 > .5) (.5 > .3) and the tie .5 = .5: 3.5 of 4
    area, influence, wins, pairs = auc_influence(np.array([0.8, 0.5, 0.5, 0.3]), np.array([1.0, 1.0, 0.0, 0.0]), None)
    assert (area, wins, pairs) == (0.875, 3.5, 4.0)
    assert influence.sum() == pytest.approx(0)


def test_delong_by_definition() -> None:
    rng = np.random.default_rng(1)
    up, down = np.round(rng.normal(0.6, 0.2, 40), 1), np.round(rng.normal(0.4, 0.2, 55), 1)
    wins = (up[:, None] > down) + 0.5 * (up[:, None] == down)
    variance = wins.mean(1).var(ddof=1) / len(up) + wins.mean(0).var(ddof=1) / len(down)
    score = np.concatenate([up, down])
    hit = np.concatenate([np.ones(40), np.zeros(55)])
    order = rng.permutation(95)
    area, influence, _, _ = auc_influence(score[order], hit[order], None)
    assert area == pytest.approx(wins.mean())
    assert (influence**2).sum() == pytest.approx(variance)


@pytest.mark.parametrize("flip", [False, True])
def test_a_perfect_order_has_an_interval_with_a_width(flip: bool) -> None:
    score = np.linspace(0, 1, 40)
    measured = METRICS["roc_auc"].measure(_view(1 - score if flip else score, (score > 0.5).astype(int)))
    assert measured.value[0] == (0.0 if flip else 1.0)
    assert measured.high[0] - measured.low[0] > 0.1


def test_delong_covers() -> None:
    """Simulated with a fixed seed: of 1,500 intervals a perfect method leaves 92.9–97.1 % in, 99.9 % of the time."""
    rng = np.random.default_rng(7)
    from scipy.stats import norm

    truth = norm.cdf(1 / np.sqrt(2))
    groups, n = 1500, 80
    label = np.tile((np.arange(n) < n // 2).astype(int), groups)
    score = rng.normal(size=groups * n) + label
    probability = 1 / (1 + np.exp(-score))
    measured = METRICS["roc_auc"].measure(_view(probability, label, codes=np.repeat(np.arange(groups), n)))
    covered = np.mean((measured.low <= truth) & (truth <= measured.high))
    assert 0.929 <= covered <= 0.971


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


def test_the_spread_of_the_macro_area_knows_that_classes_share_rows() -> None:
    rng = np.random.default_rng(4)
    n, draws = 120, 400
    p, y = rng.dirichlet(np.ones(3), n), rng.integers(0, 3, n)
    own = METRICS["macro_roc_auc"].measure(_view(p, y, task="multiclass"))
    index = rng.integers(0, n, (draws, n))
    again = _view(
        p[index].reshape(-1, 3), y[index].ravel(), task="multiclass", codes=np.repeat(np.arange(draws), n)
    )  # fmt: skip
    assert own.std_error[0] == pytest.approx(METRICS["macro_roc_auc"].measure(again).value.std(), rel=0.15)


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
