"""The audit: from a config to a report, on one screen.

config → model ∥ data → gate → predictions → { one table per technique ∥ groups ∥ drift } → agreement
       → policy → report → manifest → published
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import Task, flow
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.states import Failed as FailedState
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from configs.schema import AuditConfig
from flows import steps
from flows.artifacts import publish_artifacts
from flows.finish import finish
from flows.preflight import checked_config, run_label
from flows.run import WATCH, Ledger, Outcome, Run
from tasks.contracts import Done
from tasks.errors import Stopped
from tasks.explain import join_importance
from tasks.persist.publish import begin, discard, new_run_id
from tasks.watch import Watch

Runner = TaskRunner[Any]

#: tasks at a time, unless the config says otherwise
WORKERS = 4


def _run_name() -> str:
    parameters = flow_run.parameters or {}
    return run_label(parameters.get("config", ""), parameters.get("settings") or [])


@flow(
    name="audit",
    flow_run_name=_run_name,
    persist_result=False,
    validate_parameters=True,
)
def audit(config: str, settings: list[str] | None = None, reports: str = "reports") -> Any:
    """Audits a Keras model: explains it, compares groups, judges the policy and writes the report.

    Args:
        config: The audit's YAML file.
        settings: Changes to the config, each as `key.key=value`, for example `explain.rows=200`.
        reports: The folder that reports are written under.
    """
    checked = checked_config(config, settings or [])
    watch = WATCH.get() or Watch()
    run = Run(checked, begin(Path(reports), checked.name, new_run_id()), watch)
    watch.unfinished.append(run.workspace.folder)
    try:
        with task_runner(checked) as runner:
            ledger = examine(run, runner)
        outcome = finish(run, ledger)
    except BaseException as error:
        discard(run.workspace)
        if watch.stop.is_set() and not isinstance(error, Stopped):
            raise Stopped("stopped by the user") from error  # whatever broke, broke because of that
        raise
    publish_artifacts(outcome)
    return _state(outcome)


def task_runner(config: AuditConfig) -> Runner:
    """Where the tasks of an audit run: threads that share one model in memory."""
    return ThreadPoolTaskRunner(max_workers=config.run.workers or WORKERS)


def examine(run: Run, runner: Runner) -> Ledger:
    """Every step up to the verdict. What was planned ends up in the ledger, done or not."""
    ledger = Ledger()

    def start(step: Task[..., Any], **parameters: Any) -> PrefectFuture[Any]:
        return runner.submit(step, parameters={"run": run, **parameters})

    model, data = start(steps.load_model), start(steps.load_data)
    ledger.enter(steps.result_of("load_model", model))
    ledger.enter(steps.result_of("load_data", data))
    if not ledger.failed:
        ledger.enter(steps.result_of("validate", start(steps.validate)))
    if ledger.failed or ledger.fact("validate", "refused"):
        return _unreached(run, ledger, "the data was refused")

    ledger.enter(steps.result_of("predict", start(steps.predict)))
    if ledger.failed:
        return _unreached(run, ledger, "the predictions failed")

    techniques = {f"explain/{name}": start(steps.explain, technique=name) for name in _techniques(run)}
    bias, drift, reasons = start(steps.measure_bias), start(steps.measure_drift), start(steps.state_reasons)
    explained = [ledger.enter(steps.result_of(stage, future)) for stage, future in techniques.items()]
    ledger.enter(steps.result_of("bias", bias))
    ledger.enter(steps.result_of("drift", drift))
    ledger.enter(steps.result_of("reasons", reasons))

    tables = [result for result in explained if isinstance(result, Done)]
    join_importance(run.workspace, tables)
    ledger.enter(steps.result_of("agreement", start(steps.compare_techniques, explained=tables)))
    if isinstance(ledger.results["bias"], Done):
        ledger.enter(steps.result_of("policy", start(steps.judge)))
    else:
        ledger.not_reached("policy", "the comparison of groups failed")
    return ledger


def _techniques(run: Run) -> list[str]:
    from tasks.explain import planned
    from tasks.load import open_model

    return planned(run.config, open_model(run.config).modality)


def _unreached(run: Run, ledger: Ledger, because: str) -> Ledger:
    """Enters every step that was planned and did not get its turn."""
    planned = [f"explain/{name}" for name in _techniques(run)]
    for stage in ("validate", "predict", *planned, "bias", "drift", "reasons", "agreement", "policy"):
        if stage not in ledger.results:
            ledger.not_reached(stage, because)
    return ledger


def _state(outcome: Outcome) -> Any:
    """How Prefect shows the end: a failed policy is a run that completed; an incomplete audit is a failed one."""
    message = f"{outcome.verdict}: {outcome.folder}"
    match outcome.verdict:
        case "satisfied":
            return Completed(message=message, data=outcome)
        case "not_satisfied":
            return Completed(name="Completed: policy not satisfied", message=message, data=outcome)
        case "inconclusive":
            return Completed(name="Completed: inconclusive", message=message, data=outcome)
        case "refused":
            return FailedState(name="Failed: data refused", message=message, data=outcome)
        case _:
            return FailedState(name="Failed: incomplete", message=message, data=outcome)
