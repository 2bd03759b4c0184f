"""The bias stage beside fairlearn's MetricFrame, in one process: `python tests/bench/bench_bias.py`."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

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


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The best of some runs."""
    best = float("inf")
    for _ in range(repeats):
        start = perf_counter()
        work()
        best = min(best, perf_counter() - start)
    return best


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


def main() -> None:
    """Prints the tables."""
    ours(1000, NAMES, seconded=True)()  # imports
    print(f"Bias: {len(NAMES)} count metrics of {GROUPS} groups, with intervals, tests and {OUR_RESAMPLES} resamples")
    print(f"{'rows':>10} {'counts':>9} {'+ fairlearn':>12} {'+ all metrics':>14} {'MetricFrame':>12}   (seconds)")
    everything = tuple(name for name, metric in METRICS.items() if "binary" in metric.tasks)
    for n in (16_000, 100_000, 1_000_000):
        counted = seconds(ours(n, NAMES, seconded=False))
        second = seconds(ours(n, NAMES, seconded=True))
        whole = seconds(ours(n, everything, seconded=True))
        frame = seconds(theirs(n, None), 1)
        print(f"{n:>10,} {counted:>9.3f} {second:>12.3f} {whole:>14.3f} {frame:>12.3f}")
    n = 100_000
    counted, booted = seconds(ours(n, NAMES, seconded=False)), seconds(theirs(n, THEIR_RESAMPLES), 1)
    print(f"\n{n:,} rows, {OUR_RESAMPLES} resamples by multinomial draws: {counted:.3f} s")
    print(f"{n:,} rows, MetricFrame(n_boot={THEIR_RESAMPLES}): {booted:.1f} s")
    print(f"ratio: {booted / counted:,.0f}; by resample: {booted / counted * OUR_RESAMPLES / THEIR_RESAMPLES:,.0f}")


if __name__ == "__main__":
    main()
