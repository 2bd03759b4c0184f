"""The bias stage: ten million rows of it, and its metrics beside fairlearn's MetricFrame."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import OURS, Bench, in_turn, main, number, peak_memory, quiet, seconds, times
from people import CROSSINGS, SENSITIVE, write_people

from configs.schema import AuditConfig
from tasks.bias import DISPARITIES, METRICS
from tasks.bias.measure import Settings, check_with_fairlearn, compare, measure, with_fairlearn
from tasks.bias.rows.evidence import Evidence
from tasks.bias.rows.groups import Attribute

NAMES = ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate", "precision")
GAPS = ("demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference", "impact_ratio")
GROUPS = 5
OUR_RESAMPLES, THEIR_RESAMPLES = 2000, 20
#: functions that the stage calls, and what they do
PARTS = {
    "evidence_of": "predictions read",
    "attributes_of": "groups and crossings coded",
    "_write_groups": "the table groups written, beside what follows",
    "measure": "metrics of the groups, intervals",
    "compare": "groups compared: tests, bootstrap",
    "with_fairlearn": "fairlearn's second computation of metrics",
    "check_with_fairlearn": "fairlearn's second computation of comparisons",
    "facts_of": "facts for the report",
}


def rows(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Group, label, decision and score of n people."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, GROUPS, n)
    score = np.clip(rng.beta(2, 3, n) + 0.05 * (group == 0), 0, 1)
    return group, (rng.random(n) < score).astype(int), (score >= 0.5).astype(int), score


def ours(n: int, metrics: tuple[str, ...], *, seconded: bool) -> Callable[[], object]:
    group, label, decision, score = rows(n)
    attribute = Attribute("g", tuple("abcde"), group.astype(np.int32))
    chosen = [METRICS[name] for name in metrics]
    gaps = [DISPARITIES[name] for name in GAPS]
    settings = Settings(resamples=OUR_RESAMPLES)
    codes = {"label": label.astype(np.int32), "decision": decision.astype(np.int32)}

    def work() -> object:
        evidence = Evidence(  # anew: it remembers what was computed of it
            task="binary", row_id=np.arange(n), position=np.arange(n), classes=("no", "yes"), outputs=("yes",),
            scores=score[:, None], truth=None, weight=None, favorable=(1,), positive=(1,), **codes,
        )  # fmt: skip
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


class Parts:
    """Seconds of the functions that the stage calls, while the block lasts."""

    def __init__(self, module: Any, names: list[str]) -> None:
        self.taken: Counter[str] = Counter()
        self._module = module
        self._kept = {name: getattr(module, name) for name in names}

    def __enter__(self) -> Parts:
        for name, function in self._kept.items():
            setattr(self._module, name, self._timed(name, function))
        return self

    def __exit__(self, *_: object) -> None:
        for name, function in self._kept.items():
            setattr(self._module, name, function)

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                self.taken[name] += time.perf_counter() - start

        return timed


def stage(bench: Bench) -> None:
    """The whole stage, from Parquet to Parquet."""
    from tasks.bias import measure_bias
    from tasks.bias import stage as module
    from tasks.load import open_data
    from tasks.persist import Workspace
    from tasks.watch import Watch

    rows = bench.size(10_000_000, 20_000)
    about = (
        f"{rows:,} rows from Parquet, {len(SENSITIVE)} attributes and {len(CROSSINGS)} crossings, all metrics of a"
        f" binary model, {OUR_RESAMPLES} resamples"
    )
    with (
        bench.table("The bias stage", ("", "seconds", "note"), about) as table,
        tempfile.TemporaryDirectory() as folder,
        table.attempt(OURS),
    ):
        workspace = Workspace(Path(folder) / "run", "20260101T000000Z-00000000")
        workspace.artifacts.mkdir(parents=True)
        data = Path(folder) / "data.parquet"
        write_people(data, workspace.table_path("predictions"), rows)
        config = AuditConfig.model_validate({
            "name": "bench",
            "model": {"path": "none", "task": "binary", "classes": ["no", "yes"]},
            "data": {
                "path": str(data), "target": {"column": "hired", "favorable": "yes"}, "sensitive": SENSITIVE,
                "intersections": CROSSINGS,
            },
            "bias": {"resamples": OUR_RESAMPLES},
        })  # fmt: skip
        table.row("data opened, their digest taken", number(seconds(lambda: open_data(config))))
        with Parts(module, [name for name in PARTS if hasattr(module, name)]) as parts, quiet():
            start = time.perf_counter()
            measure_bias(config, workspace, Watch())
            whole = time.perf_counter() - start
        memory = peak_memory() / 2**30
        table.row("the stage", number(whole), f"peak memory of the process {number(memory)} GiB, libraries included")
        for name, taken in parts.taken.items():
            table.row(f"  {PARTS[name]}", number(taken))
        bench.figure("bias.stage", whole)
        bench.figure("bias.memory", memory)
        bench.profiled("bias.stage", lambda: measure_bias(config, workspace, Watch()))


def run(bench: Bench) -> None:
    ours(1000, NAMES, seconded=True)()  # imports
    stage(bench)
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
        taken = in_turn({"ours": ours(n, NAMES, seconded=False), "theirs": theirs(n, resamples)}, 2)
        counted, booted = taken["ours"], taken["theirs"]
        table.row(OURS, number(counted), f"{OUR_RESAMPLES}", "", "", "tests and other intervals included")
        each = booted / counted * OUR_RESAMPLES / resamples
        table.row("MetricFrame(n_boot=…)", number(booted), f"{resamples}", times(booted / counted), times(each))
        bench.figure("bias.bootstrap", each)


if __name__ == "__main__":
    main(__file__, run, __doc__)
