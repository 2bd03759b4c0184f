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
from tasks.persist.finished import keep, take
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


def _done(
    run: Run, key: str | None, step: str, name: str, work: Callable[[Watch], StageResult]
) -> StageResult | State[Any]:
    """What a step comes to: taken over from a run that had the same to do, or worked out now and kept.

    Work is done under the step's watch, its seconds are put into its result, and the state of what does not apply is
    named.
    """
    kept = None if key is None else take(run.finished, step, key, run.workspace)
    if kept is not None:
        of_run = kept.of_run if isinstance(kept, Done) else None
        told = f"unchanged, taken over from {of_run or 'an earlier run'}"
        run.watch_for(name).tell(told)
        return Completed(name="Cached", message=told, data=kept)
    started = time.monotonic()
    with shown_in_prefect(run.watch_for(name)) as shown, steady_algebra(), run.pinned():
        result = work(shown)
        shown.finish()
    if isinstance(result, Done):
        result = replace(result, seconds=round(time.monotonic() - started, 3))
    if key is not None and isinstance(result, Done | NotApplicable):
        keep(run.finished, step, key, run.workspace, result)
    if isinstance(result, NotApplicable):
        return Completed(name="NotApplicable", message=result.reason, data=result)
    return result


@_step("load model", task_run_name="load model {run.config.model.path}")
def load_model(run: Run, key: str | None = None) -> Any:
    from tasks.load import load_model

    return _done(run, key, "load_model", "load model", lambda watch: load_model(run.config, watch))


@_step(
    "load data", task_run_name="load data {run.config.data.path}",
    retries=2, retry_delay_seconds=2, retry_condition_fn=_worth_a_retry,
)  # fmt: skip
def load_data(run: Run, key: str | None = None) -> Any:
    from tasks.load import load_data

    return _done(run, key, "load_data", "load data", lambda watch: load_data(run.config, watch))


@_step("validate data")
def validate(run: Run, key: str | None = None) -> Any:
    from tasks.validate import validate

    return _done(run, key, "validate", "validate data", lambda watch: validate(run.config, run.workspace, watch))


@_step("predict every row")
def predict(run: Run, key: str | None = None) -> Any:
    from tasks.predict import predict

    return _done(run, key, "predict", "predict every row", lambda watch: predict(run.config, run.workspace, watch))


@_step("check reasons")
def check_reasons(run: Run, key: str | None = None) -> Any:
    from tasks.reasons import check_reasons_fit

    def work(watch: Watch) -> StageResult:
        check_reasons_fit(run.config)
        return Done("reasons_fit")

    return _done(run, key, "reasons_fit", "check reasons", work)


@_step("explain", task_run_name="explain with {technique}")
def explain(run: Run, technique: str, key: str | None = None) -> Any:
    from tasks.explain import explain

    def work(watch: Watch) -> StageResult:
        return explain(technique, run.config, run.workspace, watch)

    return _done(run, key, f"explain/{technique}", f"explain with {technique}", work)


@_step("share out rows")
def share_rows(run: Run, techniques: Sequence[str]) -> Any:
    from tasks.explain import to_share

    with steady_algebra(), run.pinned():
        return to_share(techniques, run.config)


@_step("explain shard", task_run_name="explain with {technique}, rows {rows[0]} to {rows[1]}")
def explain_shard(run: Run, technique: str, rows: tuple[int, int]) -> bool:
    from tasks.explain import explain_shard

    silent = Watch(stop=run.watch.stop, abandoned=run.watch.abandoned)  # the whole technique's bar is moved by the flow
    watch = silent.for_task(f"explain with {technique}", seconds=run.config.run.deadline)
    with steady_algebra(), run.pinned():
        return explain_shard(technique, run.config, run.workspace, watch, rows)


@_step("compare groups")
def measure_bias(run: Run, key: str | None = None) -> Any:
    from tasks.bias import measure_bias

    return _done(run, key, "bias", "compare groups", lambda watch: measure_bias(run.config, run.workspace, watch))


@_step("trace disparities")
def trace_sources(run: Run, key: str | None = None) -> Any:
    from tasks.sources import trace_sources

    return _done(
        run, key, "sources", "trace disparities", lambda watch: trace_sources(run.config, run.workspace, watch)
    )


@_step("try other thresholds")
def advise(run: Run, key: str | None = None) -> Any:
    from tasks.advice import advise

    return _done(run, key, "advice", "try other thresholds", lambda watch: advise(run.config, run.workspace, watch))


@_step("measure drift")
def measure_drift(run: Run, key: str | None = None) -> Any:
    from tasks.drift import measure_drift

    return _done(run, key, "drift", "measure drift", lambda watch: measure_drift(run.config, run.workspace, watch))


@_step("state reasons")
def state_reasons(run: Run, key: str | None = None) -> Any:
    from tasks.reasons import state_reasons

    return _done(run, key, "reasons", "state reasons", lambda watch: state_reasons(run.config, run.workspace, watch))


@_step("compare techniques")
def compare_techniques(run: Run, explained: Sequence[Done], key: str | None = None) -> Any:
    from tasks.agreement import compare_techniques
    from tasks.explain import drop_parts, join_importance

    def work(watch: Watch) -> StageResult:
        importance = join_importance(run.workspace, explained)
        found = compare_techniques(run.config, run.workspace, watch, explained=explained)
        if importance is None or not isinstance(found, Done):
            return found
        return replace(found, tables=(importance, *found.tables))

    try:
        return _done(run, key, "agreement", "compare techniques", work)
    finally:
        drop_parts(run.workspace)


@_step("judge the policy")
def judge(run: Run, adverse: int) -> Any:
    from tasks.policy import judge

    return _done(run, None, "policy", "judge the policy", lambda watch: judge(run.config, run.workspace, adverse))


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
