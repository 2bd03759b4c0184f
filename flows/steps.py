"""The steps of an audit as Prefect tasks: thin skins over the plain functions of `tasks/`.

A step is what a person would retry, see or resume. It is handed a `Run` and hands back a `StageResult`; tables go
through the run's folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prefect import State, Task, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.states import Completed

from flows.progress import shown_in_prefect
from flows.run import Run
from tasks.contracts import Done, Failed, NotApplicable, StageResult
from tasks.errors import AuditError, DataUnavailable, Incomplete, StorageError, UsageError, one_line
from tasks.steady import steady_algebra
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.report import RunRecord


def _worth_a_retry(task: Any, task_run: Any, state: State[Any]) -> bool:
    """A file system or a network may come back; a wrong config, or a user who stopped, does not."""
    return isinstance(state.result(raise_on_failure=False), DataUnavailable)


def _step(name: str, **options: Any) -> Callable[[Callable[..., Any]], Task[..., Any]]:
    """A Prefect task without Prefect's own cache and result store: its results are the run folder's.

    And without tags: for each tag of a task Prefect asks for a slot before it runs, which costs seconds a step.
    """
    defaults = {"name": name, "task_run_name": name}
    return task(**{**defaults, "cache_policy": NO_CACHE, "persist_result": False, **options})


def _timed(watch: Watch, work: Callable[[Watch], StageResult]) -> StageResult | State[Any]:
    """Runs the work under its watch, puts its seconds into its result, and names the state of what does not apply."""
    started = time.monotonic()
    with shown_in_prefect(watch) as shown, steady_algebra():
        result = work(shown)
        shown.finish()
    if isinstance(result, NotApplicable):
        return Completed(name="NotApplicable", message=result.reason, data=result)
    return replace(result, seconds=round(time.monotonic() - started, 3))


@_step("load model", task_run_name="load model {run.config.model.path}")
def load_model(run: Run) -> Any:
    from tasks.load import load_model

    return _timed(run.watch_for("load model"), lambda watch: load_model(run.config, watch))


@_step(
    "load data", task_run_name="load data {run.config.data.path}",
    retries=2, retry_delay_seconds=2, retry_condition_fn=_worth_a_retry,
)  # fmt: skip
def load_data(run: Run) -> Any:
    from tasks.load import load_data

    return _timed(run.watch_for("load data"), lambda watch: load_data(run.config, watch))


@_step("validate data")
def validate(run: Run) -> Any:
    from tasks.validate import validate

    return _timed(run.watch_for("validate data"), lambda watch: validate(run.config, run.workspace, watch))


@_step("predict every row")
def predict(run: Run) -> Any:
    from tasks.predict import predict
    from tasks.reasons import check_reasons_fit

    check_reasons_fit(run.config)  # a wrong name is told now, not after the explanations
    return _timed(run.watch_for("predict every row"), lambda watch: predict(run.config, run.workspace, watch))


@_step("explain", task_run_name="explain with {technique}")
def explain(run: Run, technique: str) -> Any:
    from tasks.explain import explain

    watch = run.watch_for(f"explain with {technique}")
    return _timed(watch, lambda watch: explain(technique, run.config, run.workspace, watch))


@_step("compare groups")
def measure_bias(run: Run) -> Any:
    from tasks.bias import measure_bias

    return _timed(run.watch_for("compare groups"), lambda watch: measure_bias(run.config, run.workspace, watch))


@_step("trace disparities")
def trace_sources(run: Run) -> Any:
    from tasks.sources import trace_sources

    return _timed(run.watch_for("trace disparities"), lambda watch: trace_sources(run.config, run.workspace, watch))


@_step("try other thresholds")
def advise(run: Run) -> Any:
    from tasks.advice import advise

    return _timed(run.watch_for("try other thresholds"), lambda watch: advise(run.config, run.workspace, watch))


@_step("measure drift")
def measure_drift(run: Run) -> Any:
    from tasks.drift import measure_drift

    return _timed(run.watch_for("measure drift"), lambda watch: measure_drift(run.config, run.workspace, watch))


@_step("state reasons")
def state_reasons(run: Run) -> Any:
    from tasks.reasons import state_reasons

    return _timed(run.watch_for("state reasons"), lambda watch: state_reasons(run.config, run.workspace, watch))


@_step("compare techniques")
def compare_techniques(run: Run, explained: Sequence[Done]) -> Any:
    from tasks.agreement import compare_techniques
    from tasks.explain import join_importance

    def work(watch: Watch) -> StageResult:
        importance = join_importance(run.workspace, explained)
        found = compare_techniques(run.config, run.workspace, watch, explained=explained)
        if importance is None or not isinstance(found, Done):
            return found
        return replace(found, tables=(importance, *found.tables))

    return _timed(run.watch_for("compare techniques"), work)


@_step("judge the policy")
def judge(run: Run) -> Any:
    from tasks.policy import judge

    return _timed(run.watch_for("judge the policy"), lambda watch: judge(run.config, run.workspace))


@_step("write the report")
def write_report(run: Run, record: RunRecord) -> tuple[StageResult, ...]:
    from tasks.report import write_report

    return write_report(run.config, run.workspace, record)


def result_of(stage: str, future: PrefectFuture[Any]) -> StageResult:
    """What a step came to. A failure of the step is a result too; an error that ends the audit is raised.

    Prefect lets a flow end Completed when nobody asks a failed future, so every future passes through here.

    Raises:
        UsageError: the config or the model cannot be used: there is nothing to audit.
        AuditError: the user stopped the audit.
        StorageError: nothing more can be written.
    """
    future.wait()
    value = future.result(raise_on_failure=False)
    if isinstance(value, Done | NotApplicable | Failed):
        return value
    if isinstance(value, UsageError | StorageError) or (isinstance(value, AuditError) and value.exit_code == 130):
        raise value
    if isinstance(value, AuditError):
        return Failed(stage, value.code, str(value), exit_code=value.exit_code)
    if isinstance(value, MemoryError):
        return Failed(stage, "memory", "memory ran out; explain fewer rows, or run.workers: 1")
    if isinstance(value, Exception):
        return Failed(stage, "unexpected", one_line(f"{type(value).__name__}: {value}"))
    state = future.state
    raise Incomplete(f"{stage} ended as {state.name}", hint="start the audit again", code="crashed")
