"""Metrics of groups against hand-made tables, fairlearn and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from tasks.bias import METRICS
from tasks.bias.base import View
from tasks.bias.rows.counts import Counts
from tasks.bias.rows.evidence import Evidence
from tasks.bias.statistics.intervals import wilson

#: fairlearn's 18-row example by its published rates: (TP, FN, FP, TN)
EIGHTEEN = {"a": (1, 1, 2, 0), "b": (3, 2, 0, 1), "c": (2, 3, 2, 1)}


def evidence(
    label: np.ndarray, decision: np.ndarray, scores: np.ndarray, *, weight=None, positive=(1,), task="binary"
) -> Evidence:
    n = len(label)
    classes = tuple("ab") if task == "binary" else tuple(map(str, range(scores.shape[1])))
    outputs = classes[1:] if task == "binary" else classes
    return Evidence(
        task=task, row_id=np.arange(n), position=np.arange(n), classes=classes, label=label, decision=decision,
        outputs=outputs, scores=scores, truth=None, weight=weight, favorable=tuple(positive), positive=tuple(positive),
    )  # fmt: skip


def view(found: Evidence, codes: np.ndarray, groups: int, **settings) -> View:
    counts = Counts.of(codes, groups, found.label, found.decision, found.weight)
    return View(found, codes, counts, 0.95, **settings)


def random_rows(seed: int, *, classes: int = 2, groups: int = 4, weighted: bool = False) -> tuple[Evidence, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(groups * 8, 400))
    label, codes = rng.integers(0, classes, n), rng.integers(0, groups, n)
    scores = rng.dirichlet(np.ones(classes), n) if classes > 2 else np.round(rng.random((n, 1)), 1)
    decision = scores.argmax(1) if classes > 2 else (scores[:, 0] >= 0.5).astype(int)
    weight = rng.exponential(size=n) if weighted else None
    task = "multiclass" if classes > 2 else "binary"
    return evidence(label, decision, scores, weight=weight, task=task), codes


def test_the_eighteen_rows_of_fairlearns_guide(audit_cells) -> None:
    found = audit_cells(EIGHTEEN)
    overall = [found.metric(m)["value"] for m in ("true_positive_rate", "false_positive_rate", "selection_rate")]
    assert overall == pytest.approx([0.5, 0.666667, 0.555556], abs=1e-6)
    expected = {"a": (0.5, 1.0, 0.75, 4), "b": (0.6, 0.0, 0.5, 6), "c": (0.4, 0.666667, 0.5, 8)}
    for group, (tpr, fpr, rate, n) in expected.items():
        assert found.metric("true_positive_rate", "g", group)["value"] == pytest.approx(tpr)
        assert found.metric("false_positive_rate", "g", group)["value"] == pytest.approx(fpr, abs=1e-6)
        assert found.metric("selection_rate", "g", group)["value"] == pytest.approx(rate)
        assert found.metric("count", "g", group)["value"] == n
        assert found.metric("selection_rate", "g", group)["n"] == n
    assert found.gap("demographic_parity_difference", "g")["value"] == 0.25
    assert found.gap("demographic_parity_ratio", "g")["value"] == pytest.approx(0.666667, abs=1e-6)
    assert found.gap("equalized_odds_difference", "g")["value"] == 1.0
    assert found.gap("equalized_odds_ratio", "g")["value"] == 0.0


#: TP 30, FN 10, FP 5, TN 55
HAND = {
    "count": (100, 100, None),
    "selection_rate": (0.35, 35, 100),
    "label_rate": (0.4, 40, 100),
    "prevalence": (0.4, 40, 100),
    "accuracy": (0.85, 85, 100),
    "balanced_accuracy": (0.75 / 2 + 55 / 120, 30 * 60 + 55 * 40, 2 * 40 * 60),
    "true_positive_rate": (0.75, 30, 40),
    "false_negative_rate": (0.25, 10, 40),
    "false_positive_rate": (5 / 60, 5, 60),
    "true_negative_rate": (55 / 60, 55, 60),
    "precision": (30 / 35, 30, 35),
    "false_discovery_rate": (5 / 35, 5, 35),
    "negative_predictive_value": (55 / 65, 55, 65),
    "false_omission_rate": (10 / 65, 10, 65),
    "f1": (60 / 75, 60, 75),
}


def test_a_table_by_hand(audit_cells) -> None:
    found = audit_cells({"g": (30, 10, 5, 55)})
    for name, (value, numerator, denominator) in HAND.items():
        for attribute, group in ((None, None), ("g", "g")):
            row = found.metric(name, attribute, group)
            assert row["value"] == pytest.approx(value), name
            assert (row["numerator"], row["denominator"], row["n"]) == (numerator, denominator, 100), name
            assert row["status"] == "ok"
            if name != "count":
                assert row["ci_low"] < value < row["ci_high"], name
                assert row["method"], name
    row = found.metric("true_positive_rate")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(map(float, wilson(0.75, 40, 0.95))))


#: group → metrics that are 0/0 there
EMPTY = {
    "no positives": ((0, 0, 4, 6), {"true_positive_rate", "false_negative_rate", "balanced_accuracy", "roc_auc"}),
    "no negatives": ((4, 6, 0, 0), {"false_positive_rate", "true_negative_rate", "balanced_accuracy", "roc_auc"}),
    "none selected": (
        (0, 5, 0, 5),
        {"precision", "false_discovery_rate", "acceptance_coefficient", "acceptance_rate"},
    ),
    "all selected": (
        (5, 0, 5, 0),
        {"negative_predictive_value", "false_omission_rate", "rejection_coefficient", "rejection_rate"},
    ),
}


def test_nothing_over_nothing_is_undefined_and_says_why(audit_cells) -> None:
    found = audit_cells({name: cells for name, (cells, _) in EMPTY.items()})
    for group, (_, undefined) in EMPTY.items():
        rows = [r for r in found.table("group_metrics") if r["group"] == group]
        # Two scores have no calibration line, there is no model to ask for neighbours; misses have their own test.
        others = {"calibration_slope", "calibration_intercept", "consistency", "error_ratio"}
        assert {r["metric"] for r in rows if r["status"] == "undefined"} - others == undefined
        for row in rows:
            if row["metric"] in undefined:
                assert row["value"] is row["ci_low"] is row["ci_high"] is row["method"] is None, row
                assert row["reason"].startswith("0/0: ")
            elif row["metric"] not in others:
                assert row["value"] is not None


def test_a_small_group_keeps_its_numbers(audit_cells) -> None:
    found = audit_cells({"big": (40, 40, 40, 40), "few positives": (2, 1, 50, 50)}, least=30)
    row = found.metric("true_positive_rate", "g", "few positives")
    assert (row["status"], row["numerator"], row["denominator"]) == ("insufficient_data", 2, 3)
    assert row["value"] == pytest.approx(2 / 3)
    assert row["reason"] == "rests on 3 rows; 30 are needed"
    assert found.metric("false_positive_rate", "g", "few positives")["status"] == "ok"


FAIR = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "precision": sk.precision_score,
    "f1": sk.f1_score,
    "true_positive_rate": sk.recall_score,
    "roc_auc": None,
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_random_tables_equal_fairlearn_and_scikit_learn(seed: int, weighted: bool) -> None:
    import fairlearn.metrics as fair

    found, codes = random_rows(seed, weighted=weighted)
    own = view(found, codes, 4)
    theirs = {
        **FAIR,
        "selection_rate": fair.selection_rate,
        "false_positive_rate": fair.false_positive_rate,
        "true_negative_rate": fair.true_negative_rate,
        "false_negative_rate": fair.false_negative_rate,
    }
    for name, function in theirs.items():
        measured = METRICS[name].measure(own)
        for g in range(4):
            rows = codes == g
            weight = None if found.weight is None else found.weight[rows]
            if np.isnan(measured.value[g]):
                continue
            if name == "roc_auc":
                value = sk.roc_auc_score(found.label[rows], found.scores[rows, 0], sample_weight=weight)
            else:
                value = function(found.label[rows], found.decision[rows], sample_weight=weight)
            assert measured.value[g] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("seed", range(10))
def test_several_classes_equal_scikit_learn(seed: int) -> None:
    found, codes = random_rows(seed, classes=4, groups=2)
    own = view(found, codes, 2)
    for g in range(2):
        rows = codes == g
        label, decision = found.label[rows], found.decision[rows]
        macro = {
            "macro_true_positive_rate": sk.recall_score(label, decision, average="macro", zero_division=np.nan),
            "macro_precision": sk.precision_score(label, decision, average="macro", zero_division=np.nan),
            "macro_f1": sk.f1_score(label, decision, average="macro"),
        }
        for name, value in macro.items():
            assert METRICS[name].measure(own).value[g] == pytest.approx(value), name
        for k in range(4):
            one = view(found, codes, 2, of_class=k)
            scores = sk.precision_recall_fscore_support(label, decision, labels=[k], zero_division=np.nan)
            for name, value in zip(("precision", "true_positive_rate", "f1"), scores, strict=False):
                assert METRICS[name].measure(one).value[g] == pytest.approx(value[0], nan_ok=True), name


def test_a_class_that_a_group_lacks_is_named() -> None:
    label = np.array([0, 0, 1, 1, 2])
    found = evidence(label, label, np.eye(3)[label], task="multiclass")
    codes = np.array([0, 0, 0, 0, 1])
    measured = METRICS["macro_true_positive_rate"].measure(view(found, codes, 2))
    assert measured.value.tolist() == [1.0, 1.0]
    assert measured.notes == {0: "over 2 of 3 classes; without 2", 1: "over 1 of 3 classes; without 0, 1"}


@pytest.mark.parametrize("name", ["macro_true_positive_rate", "macro_precision", "macro_f1", "f1", "balanced_accuracy"])
def test_standard_errors_are_those_of_resampling(name: str) -> None:
    found, _ = random_rows(3, classes=3 if name.startswith("macro") else 2, groups=1)
    rng = np.random.default_rng(0)
    n = len(found.label)
    measured = METRICS[name].measure(view(found, np.zeros(n, int), 1))
    # 1500 resamples at once: each is a group
    draws = 1500
    index = rng.integers(0, n, (draws, n))
    again = evidence(
        found.label[index].ravel(), found.decision[index].ravel(), found.scores[index].reshape(draws * n, -1),
        task=found.task,
    )  # fmt: skip
    values = METRICS[name].measure(view(again, np.repeat(np.arange(draws), n), draws)).value
    assert measured.std_error[0] == pytest.approx(values.std(), rel=0.1)
    assert measured.low[0] == pytest.approx(np.quantile(values, 0.025), abs=0.02)
    assert measured.high[0] == pytest.approx(np.quantile(values, 0.975), abs=0.02)


@pytest.mark.parametrize("factor", [0.01, 3, 1000])
def test_scaling_weights_changes_nothing(factor: float) -> None:
    found, codes = random_rows(5, weighted=True)
    scaled = evidence(found.label, found.decision, found.scores, weight=found.weight * factor)
    for metric in METRICS.values():
        if "binary" not in metric.tasks or metric.name == "count":
            continue
        one, other = (metric.measure(view(e, codes, 4)) for e in (found, scaled))
        for field in ("value", "low", "high", "std_error", "n", "support"):
            assert getattr(one, field) == pytest.approx(getattr(other, field), nan_ok=True), metric.name


def test_equal_weights_are_no_weights() -> None:
    found, codes = random_rows(6)
    weighted = evidence(found.label, found.decision, found.scores, weight=np.full(len(codes), 2.5))
    for metric in METRICS.values():
        if "binary" in metric.tasks and not metric.unweighted:
            one, other = (metric.measure(view(e, codes, 4)) for e in (found, weighted))
            drawn = metric.name == "expected_calibration_error"  # with weights from another distribution
            for field in ("value",) if drawn else ("value", "low", "high", "std_error"):
                assert getattr(one, field) == pytest.approx(getattr(other, field), nan_ok=True), metric.name


def test_macro_f1_takes_students_t_of_effective_rows() -> None:
    """Six rows of which one counts five times are 10²/30."""
    from tasks.bias.statistics.intervals import student

    weight = np.array([5.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    label, decision = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 2, 2, 2])
    found = evidence(label, decision, np.eye(3)[decision], weight=weight, task="multiclass")
    f1 = METRICS["macro_f1"].measure(view(found, np.zeros(6, int), 1))
    low, high = student(f1.value, f1.std_error, np.array([weight.sum() ** 2 / (weight @ weight)]), 0.95)
    assert (f1.low[0], f1.high[0]) == pytest.approx((max(low[0], 0), min(high[0], 1)))
    assert f1.low[0] > 0 or f1.high[0] < 1
