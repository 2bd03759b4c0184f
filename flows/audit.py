"""The audit: from a config to a report, on one screen.

config → model ∥ data → gate → predictions → { one table per technique ∥ groups ∥ drift } → agreement
       → policy → report → manifest → published
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.states import Failed as FailedState
from prefect.task_runners import ThreadPoolTaskRunner

from flows import steps
from flows.artifacts import publish_artifacts
from flows.finish import finish
from flows.preflight import checked_config, run_label
from flows.run import WATCH, Ledger, Outcome, Run
from tasks.contracts import Done
from tasks.errors import Stopped
from tasks.persist.publish import begin, discard, new_run_id
from tasks.watch import Watch

TASKS_AT_ONCE = 4


def _run_name() -> str:
    parameters = flow_run.parameters or {}
    return run_label(parameters.get("config", ""), parameters.get("settings") or [])


@flow(
    name="audit",
    flow_run_name=_run_name,
    task_runner=ThreadPoolTaskRunner(max_workers=TASKS_AT_ONCE),
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
        ledger = examine(run)
        outcome = finish(run, ledger)
    except BaseException as error:
        discard(run.workspace)
        if watch.stop.is_set() and not isinstance(error, Stopped):
            raise Stopped("stopped by the user") from error  # whatever broke, broke because of that
        raise
    publish_artifacts(outcome)
    return _state(outcome)


def examine(run: Run) -> Ledger:
    """Every step up to the verdict. What was planned ends up in the ledger, done or not."""
    ledger = Ledger()

    model, data = steps.load_model.submit(run), steps.load_data.submit(run)
    ledger.enter(steps.result_of("load_model", model))
    ledger.enter(steps.result_of("load_data", data))
    if not ledger.failed:
        ledger.enter(steps.result_of("validate", steps.validate.submit(run)))
    if ledger.failed or ledger.fact("validate", "refused"):
        return _unreached(run, ledger, "the data was refused")

    ledger.enter(steps.result_of("predict", steps.predict.submit(run)))
    if ledger.failed:
        return _unreached(run, ledger, "the predictions failed")

    techniques = {f"explain/{name}": steps.explain.submit(run, name) for name in _techniques(run)}
    bias, drift = steps.measure_bias.submit(run), steps.measure_drift.submit(run)
    explained = [ledger.enter(steps.result_of(stage, future)) for stage, future in techniques.items()]
    ledger.enter(steps.result_of("bias", bias))
    ledger.enter(steps.result_of("drift", drift))

    explained = [result for result in explained if isinstance(result, Done)]
    ledger.enter(steps.result_of("agreement", steps.compare_techniques.submit(run, explained)))
    if isinstance(ledger.results["bias"], Done):
        ledger.enter(steps.result_of("policy", steps.judge.submit(run)))
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
    for stage in ("validate", "predict", *planned, "bias", "drift", "agreement", "policy"):
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
