"""Two hundred random tables: what fairlearn or scikit-learn also has equals theirs where nothing is divided by 0."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import fairlearn.metrics as fair
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn.metrics as sk

from tasks.bias import METRICS
from tasks.bias.measure import Compared, Of, Settings, compare, measure
from tasks.bias.registry import DISPARITIES
from tasks.bias.rows.evidence import Evidence
from tasks.bias.rows.groups import Attribute, crossed, valued

TABLES = 200
TASKS = ("binary", "multiclass", "regression")
Oracle = Callable[..., float]


@dataclass
class Table:
    """Rows, and what is measured of them."""

    evidence: Evidence
    attribute: Attribute
    compared: Compared

    @property
    def weight(self) -> np.ndarray:
        weight = self.evidence.weight
        return np.ones(self.evidence.rows) if weight is None else weight

    @property
    def groups(self) -> pd.Series:
        """By name: fairlearn refuses nulls, so the missing group goes in under its own."""
        return pd.Series(np.array(self.attribute.groups, object)[self.attribute.codes])

    def values(self, metric: str, output: str | None = None) -> np.ndarray:
        return self.compared.found.values[Of(metric, output)].value


def _table(number: int) -> Table:
    rng = np.random.default_rng([7, number])
    n, task = int(rng.integers(20, 300)), TASKS[number % 3]
    names = ("no", "yes") if task == "binary" else ("a", "b", "c") if task == "multiclass" else ("no", "yes")
    label, decision = (np.minimum(rng.geometric(0.5, n) - 1, len(names) - 1).astype(np.int32) for _ in range(2))
    if task == "binary":
        up = rng.beta(1, 1, n).round(int(rng.integers(1, 4)))  # with ties
        scores, decision = up[:, None], (up >= 0.5).astype(np.int32)
    elif task == "multiclass":
        scores = rng.dirichlet(np.ones(3), n)
        decision = scores.argmax(1).astype(np.int32)
    else:
        scores = rng.normal(size=(n, 1))
        label = decision = np.full(n, -1, np.int32)
    weight = None if number % 2 else rng.gamma(1.0, 1.0, n) * (rng.random(n) > 0.02)
    evidence = Evidence(
        task=task, row_id=pa.array(np.arange(n)), position=np.arange(n), classes=names, label=label, decision=decision,
        outputs=("yes",) if task == "binary" else names if task == "multiclass" else ("value",), scores=scores,
        truth=rng.normal(size=n) if task == "regression" else None, weight=weight,
        favorable=() if task == "regression" else (1,), positive=() if task == "regression" else (1,),
        decides=task != "regression",
    )  # fmt: skip
    sex = rng.choice(np.array(["Female", "Male", None], object), n, p=[0.5, 0.3, 0.2])
    attribute = valued("sex", pa.chunked_array([pa.array(sex, pa.string())]))
    if number % 5 == 0:
        attribute = crossed([attribute, valued("old", pa.chunked_array([pa.array(rng.random(n) < 0.4)]))])
    chosen = [m for m in METRICS.values() if task in m.tasks and not (task == "regression" and m.of)]
    chosen = [m for m in chosen if not (m.unweighted and weight is not None)]
    names_chosen = {m.name for m in chosen}
    gaps = [DISPARITIES[name] for name in GAPS if names_chosen.issuperset(DISPARITIES[name].bases)]
    settings = Settings(least=1, resamples=0)
    return Table(evidence, attribute, compare(measure(evidence, attribute, chosen, settings), gaps, settings))


def _close(ours: float, theirs: float, what: str) -> None:
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12), what


# ---------------------------------------------------------------- what they have

#: metric → their function of (label, decision, weight), and of whom the denominator is: (label, decision) → rows
RATES: dict[str, tuple[Oracle, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "true_positive_rate": (fair.true_positive_rate, lambda y, d: y == 1),
    "false_positive_rate": (fair.false_positive_rate, lambda y, d: y == 0),
    "true_negative_rate": (fair.true_negative_rate, lambda y, d: y == 0),
    "false_negative_rate": (fair.false_negative_rate, lambda y, d: y == 1),
    "precision": (sk.precision_score, lambda y, d: d == 1),
    "negative_predictive_value": (lambda y, d, **kw: sk.precision_score(y, d, pos_label=0, **kw), lambda y, d: d == 0),
    "false_discovery_rate": (lambda y, d, **kw: 1 - sk.precision_score(y, d, **kw), lambda y, d: d == 1),
    "false_omission_rate": (lambda y, d, **kw: 1 - sk.precision_score(y, d, pos_label=0, **kw), lambda y, d: d == 0),
    "f1": (sk.f1_score, lambda y, d: (y == 1) | (d == 1)),
    "selection_rate": (fair.selection_rate, lambda y, d: y >= 0),
    "prevalence": (lambda y, d, **kw: fair.selection_rate(d, y, **kw), lambda y, d: y >= 0),
}
#: metric → their function of (label, score, weight)
SCORES: dict[str, Oracle] = {
    "roc_auc": sk.roc_auc_score,
    "log_loss": lambda y, s, **kw: sk.log_loss(y, s, labels=[0, 1], **kw),
    "brier_score": lambda y, s, **kw: sk.brier_score_loss(y, s, labels=[0, 1], **kw),
    "mean_score": lambda y, s, **kw: fair.mean_prediction(y, s, **kw),
}
VALUES: dict[str, Oracle] = {
    "mean_prediction": fair.mean_prediction,
    "mean_absolute_error": sk.mean_absolute_error,
    "root_mean_squared_error": sk.root_mean_squared_error,
    "r2": sk.r2_score,
}
#: comparison → their function, and the rates that it rests on
GAPS: dict[str, tuple[Oracle, tuple[str, ...]]] = {
    "demographic_parity_difference": (fair.demographic_parity_difference, ("selection_rate",)),
    "demographic_parity_ratio": (fair.demographic_parity_ratio, ("selection_rate",)),
    "equalized_odds_difference": (fair.equalized_odds_difference, ("true_positive_rate", "false_positive_rate")),
    "equalized_odds_ratio": (fair.equalized_odds_ratio, ("true_positive_rate", "false_positive_rate")),
    "equal_opportunity_difference": (fair.equal_opportunity_difference, ("true_positive_rate",)),
    "equal_opportunity_ratio": (fair.equal_opportunity_ratio, ("true_positive_rate",)),
    "mean_absolute_error_difference": (
        fair.make_derived_metric(
            metric=sk.mean_absolute_error, transform="difference", sample_param_names=["sample_weight"]
        ),
        ("mean_absolute_error",),
    ),
}


def _of_rates(table: Table, output: str | None, positive: int) -> Iterator[str]:
    """Compares the rates of one class against the rest, by group."""
    evidence, weight = table.evidence, table.weight
    y, d = ((codes == positive).astype(int) for codes in (evidence.label, evidence.decision))
    if output is None:
        frame = fair.MetricFrame(
            metrics={name: oracle for name, (oracle, _) in RATES.items()}, y_true=y, y_pred=d,
            sensitive_features=table.groups, sample_params={name: {"sample_weight": weight} for name in RATES},
        ).by_group  # fmt: skip
    for g, group in enumerate(table.attribute.groups):
        own = table.attribute.codes == g
        for name, (oracle, among) in RATES.items():
            ours = table.values(name, output)[g]
            if weight[own][among(y[own], d[own])].sum() == 0:
                assert np.isnan(ours), f"{name} of {group}: 0/0"
                continue
            theirs = frame[name][group] if output is None else oracle(y[own], d[own], sample_weight=weight[own])
            _close(ours, theirs, f"{name} of {group}")
            yield name


def _of_scores(table: Table, output: str | None, positive: int) -> Iterator[str]:
    evidence, weight = table.evidence, table.weight
    y = (evidence.label == positive).astype(int)
    score = evidence.scores[:, -1 if output is None else positive]
    for g, group in enumerate(table.attribute.groups):
        own = (table.attribute.codes == g) & (weight > 0)
        for name, oracle in SCORES.items():
            ours = table.values(name, output)[g]
            if not own.any() or (name == "roc_auc" and len(set(y[own])) < 2):
                assert np.isnan(ours), f"{name} of {group}: 0/0"
                continue
            _close(ours, oracle(y[own], score[own], sample_weight=weight[own]), f"{name} of {group}")
            yield name


def _of_labels(table: Table) -> Iterator[str]:
    """Accuracy, and what is made of all classes."""
    evidence, weight = table.evidence, table.weight
    y, d, several = evidence.label, evidence.decision, len(evidence.classes) > 2
    for g, group in enumerate(table.attribute.groups):
        own = (table.attribute.codes == g) & (weight > 0)
        if not own.any():
            continue
        given = {"sample_weight": weight[own]}
        theirs = {"accuracy": sk.accuracy_score(y[own], d[own], **given)}
        every = set(range(len(evidence.classes)))
        if set(y[own]) == every:
            if not several:
                theirs["balanced_accuracy"] = sk.balanced_accuracy_score(y[own], d[own], **given)
            else:
                theirs["macro_true_positive_rate"] = sk.recall_score(y[own], d[own], average="macro", **given)
                theirs["macro_f1"] = sk.f1_score(y[own], d[own], average="macro", **given)
                theirs["macro_roc_auc"] = sk.roc_auc_score(y[own], evidence.scores[own], multi_class="ovr", **given)
                if set(d[own]) == every:
                    theirs["macro_precision"] = sk.precision_score(y[own], d[own], average="macro", **given)
        if several:
            theirs["log_loss"] = sk.log_loss(y[own], evidence.scores[own], labels=[0, 1, 2], **given)
            theirs["brier_score"] = sk.brier_score_loss(
                y[own], evidence.scores[own], labels=[0, 1, 2], scale_by_half=False, **given
            )
        for name, value in theirs.items():
            _close(table.values(name)[g], value, f"{name} of {group}")
            yield name


def _of_values(table: Table) -> Iterator[str]:
    evidence, weight = table.evidence, table.weight
    assert evidence.truth is not None
    for g, group in enumerate(table.attribute.groups):
        own = (table.attribute.codes == g) & (weight > 0)
        for name, oracle in VALUES.items():
            if Of(name) in table.compared.found.values and own.sum() > 1:
                theirs = oracle(evidence.truth[own], evidence.scores[own, 0], sample_weight=weight[own])
                _close(table.values(name)[g], theirs, f"{name} of {group}")
                yield name


def _of_gaps(table: Table) -> Iterator[str]:
    evidence = table.evidence
    for name, (oracle, rates) in GAPS.items():
        if name not in table.compared.gaps or not all(np.isfinite(table.values(rate)).all() for rate in rates):
            continue
        ours, given = table.compared.gaps[name][-1].value, {"sensitive_features": table.groups}
        y, d = (
            (evidence.label, evidence.decision) if evidence.truth is None else (evidence.truth, evidence.scores[:, 0])
        )
        theirs = oracle(y, d, sample_weight=table.weight, **given)
        if np.isfinite(ours):
            _close(ours, theirs, name)
            yield name


@pytest.mark.parametrize("task", TASKS)
def test_they_say_the_same(task: str) -> None:
    compared: dict[str, int] = {}
    for number in range(TABLES):
        if TASKS[number % 3] != task:
            continue
        table = _table(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs, of 0/0 and of a single class
            found = [] if task == "regression" else [*_of_labels(table)]
            if task == "binary":
                found += [*_of_rates(table, None, 1), *_of_scores(table, None, 1)]
            elif task == "multiclass":
                for positive, name in enumerate(table.evidence.classes):
                    found += [*_of_rates(table, name, positive), *_of_scores(table, name, positive)]
            else:
                found += _of_values(table)
            if task != "multiclass":
                found += _of_gaps(table)
        for name in found:
            compared[name] = compared.get(name, 0) + 1
    least = {"binary": 22, "multiclass": 20, "regression": 5}[task]
    assert len(compared) >= least, sorted(compared)
    assert min(compared.values()) >= 25, compared
