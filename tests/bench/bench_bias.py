"""The bias stage beside fairlearn's MetricFrame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from harness import OURS, Bench, main, number, seconds, times

from tasks.bias import DISPARITIES, METRICS
from tasks.bias.evidence import Evidence
from tasks.bias.groups import Attribute
from tasks.bias.measure import Settings, check_with_fairlearn, compare, measure, with_fairlearn

NAMES = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate", "precision")
GAPS = ("demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference", "impact_ratio")
GROUPS = 5
OUR_RESAMPLES, THEIR_RESAMPLES = 2000, 20


def rows(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Group, label, decision and score of n people."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, GROUPS, n)
    score = np.clip(rng.beta(2, 3, n) + 0.05 * (group == 0), 0, 1)
    return group, (rng.random(n) < score).astype(int), (score >= 0.5).astype(int), score


def ours(n: int, metrics: tuple[str, ...], *, seconded: bool) -> Callable[[], object]:
    group, label, decision, score = rows(n)
    evidence = Evidence(
        task="binary", row_id=np.arange(n), position=np.arange(n), classes=("no", "yes"), label=label,
        decision=decision, outputs=("yes",), scores=score[:, None], truth=None, weight=None, favorable=(1,),
        positive=(1,),
    )  # fmt: skip
    attribute = Attribute("g", tuple("abcde"), group)
    chosen = [METRICS[name] for name in metrics]
    gaps = [DISPARITIES[name] for name in GAPS]
    settings = Settings(resamples=OUR_RESAMPLES)

    def work() -> object:
        found = measure(evidence, attribute, chosen, settings)
        if seconded:
            found = with_fairlearn(found, chosen)
        compared = compare(found, gaps, settings)
        if seconded:
            check_with_fairlearn(compared, settings.least)
        return compared

    return work


def theirs(n: int, resamples: int | None) -> Callable[[], object]:
    import fairlearn.metrics as fair
    import sklearn.metrics as sk

    group, label, decision, _ = rows(n)
    functions = {
        "selection_rate": fair.selection_rate,
        "accuracy": sk.accuracy_score,
        "true_positive_rate": fair.true_positive_rate,
        "false_positive_rate": fair.false_positive_rate,
        "precision": sk.precision_score,
    }
    more = {} if resamples is None else {"n_boot": resamples, "ci_quantiles": [0.025, 0.975], "random_state": 0}

    def work() -> object:
        frame = fair.MetricFrame(
            metrics=functions, y_true=label, y_pred=decision, sensitive_features=group, **more
        )  # fmt: skip
        return frame.by_group, frame.difference(), frame.ratio()

    return work


def run(bench: Bench) -> None:
    ours(1000, NAMES, seconded=True)()  # imports
    everything = tuple(name for name, metric in METRICS.items() if "binary" in metric.tasks)
    columns = ("rows", OURS, "checked by fairlearn", "all metrics", "MetricFrame", "note")
    about = f"Seconds for {len(NAMES)} metrics of {GROUPS} groups, with intervals, tests and {OUR_RESAMPLES} resamples"
    with bench.table("Bias metrics", columns, f"{about}; MetricFrame without any of these") as table:
        for n in (2_000,) if bench.quick else (16_000, 100_000, 1_000_000):
            with table.attempt(f"{n:,}"):
                taken = [
                    seconds(ours(n, NAMES, seconded=False), 3),
                    seconds(ours(n, NAMES, seconded=True), 2),
                    seconds(ours(n, everything, seconded=True)),
                    seconds(theirs(n, None)),
                ]
                table.row(f"{n:,}", *map(number, taken))
    n = bench.size(100_000, 2_000)
    resamples = bench.size(THEIR_RESAMPLES, 2)
    about = f"{len(NAMES)} metrics, {GROUPS} groups, {n:,} rows. a resample: the library's time for one over ours"
    columns = ("", "seconds", "resamples", "ours faster", "a resample", "note")
    with bench.table("Bias intervals by resampling", columns, about) as table, table.attempt("MetricFrame"):
        counted = seconds(ours(n, NAMES, seconded=False), 3)
        table.row(OURS, number(counted), f"{OUR_RESAMPLES}", "", "", "tests and other intervals included")
        booted = seconds(theirs(n, resamples))
        each = booted / counted * OUR_RESAMPLES / resamples
        table.row("MetricFrame(n_boot=…)", number(booted), f"{resamples}", times(booted / counted), times(each))


if __name__ == "__main__":
    main(__file__, run, __doc__)
