"""The audit: from a config to a report, on one screen.

config → model ∥ data → gate → predictions → { one table per technique ∥ drift ∥ reasons ∥ sources ∥ advice }
       → agreement → groups → policy → report → manifest → published
"""

from __future__ import annotations

from functools import partial
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
from flows.run import PASSING, WATCH, Ledger, Outcome, Run
from tasks.contracts import Done
from tasks.errors import Stopped
from tasks.evidence import code_digest, signing_key
from tasks.explain import planned
from tasks.load import Pins, pinned
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
    signer = signing_key(Path(reports))  # a key that is no good is told now, not after the audit
    code_digest()  # the process keeps it: the manifest names the code that ran, not what its files became since
    watch = WATCH.get() or Watch()
    run = Run(checked, begin(Path(reports), checked.name, new_run_id()), watch)
    watch.unfinished.append(run.workspace.folder)
    try:
        with task_runner(checked) as runner:
            try:
                ledger = examine(run, runner)
            except BaseException:
                watch.abandoned.set()  # steps that still run would work for nobody, and leaving waits for them
                raise
        outcome = finish(run, ledger, signer)
    except BaseException as error:
        discard(run.workspace)
        if watch.stop.is_set() and not isinstance(error, Stopped):
            raise Stopped("stopped by the user") from error  # whatever broke, broke because of that
        raise
    if not PASSING.get():
        publish_artifacts(outcome)
    return _state(outcome)


def task_runner(config: AuditConfig) -> Runner:
    """Where the tasks of an audit run: threads that share one model in memory."""
    return ThreadPoolTaskRunner(max_workers=config.run.workers or WORKERS)


def examine(run: Run, runner: Runner) -> Ledger:
    """Every step up to the verdict. What was planned ends up in the ledger, done or not."""
    ledger = Ledger()
    model, data = _start(runner, steps.load_model, run), _start(runner, steps.load_data, run)
    ledger.enter(steps.result_of("load_model", model))
    ledger.enter(steps.result_of("load_data", data))
    if ledger.failed:
        return _unreached(run, ledger)
    # From here on every step reads what was loaded, or fails: not what a file has become since.
    facts = [ledger.results[stage] for stage in ("load_model", "load_data")]
    with pinned(Pins.of_facts(*(result.facts for result in facts if isinstance(result, Done)))):
        return _examine_loaded(run.with_digests(ledger), runner, ledger)


def _examine_loaded(run: Run, runner: Runner, ledger: Ledger) -> Ledger:
    start = partial(_start, runner)
    ledger.enter(steps.result_of("validate", start(steps.validate, run)))
    if ledger.failed or ledger.fact("validate", "refused"):
        return _unreached(run, ledger)

    ledger.enter(steps.result_of("predict", start(steps.predict, run)))
    if ledger.failed:
        return _unreached(run, ledger)

    techniques = {f"explain/{name}": start(steps.explain, run, technique=name) for name in _techniques(run, ledger)}
    beside = {
        "drift": start(steps.measure_drift, run),
        "reasons": start(steps.state_reasons, run),
        "sources": start(steps.trace_sources, run),
        "advice": start(steps.advise, run),
    }
    explained = [ledger.enter(steps.result_of(stage, future)) for stage, future in techniques.items()]
    for stage, future in beside.items():
        ledger.enter(steps.result_of(stage, future))

    tables = [result for result in explained if isinstance(result, Done)]
    ledger.enter(steps.result_of("agreement", start(steps.compare_techniques, run, explained=tables)))
    # After the explanations: which features carry a disparity is a comparison of groups too.
    ledger.enter(steps.result_of("bias", start(steps.measure_bias, run)))
    if isinstance(ledger.results["bias"], Done):
        ledger.enter(steps.result_of("policy", start(steps.judge, run)))
    else:
        ledger.not_reached("policy", "the comparison of groups failed")
    return ledger


def _start(runner: Runner, step: Task[..., Any], run: Run, **parameters: Any) -> PrefectFuture[Any]:
    return runner.submit(step, parameters={"run": run, **parameters})


def _techniques(run: Run, ledger: Ledger) -> list[str]:
    image = run.config.model.inputs == "image" or run.config.data.image is not None
    return planned(run.config, ledger.fact("load_model", "modality", "image" if image else "table"))


def _unreached(run: Run, ledger: Ledger) -> Ledger:
    """Enters every step that was planned and did not get its turn, and why."""
    first = ledger.failed[0].stage.replace("_", " ") if ledger.failed else ""
    refused = ledger.fact("validate", "refused") or any(f.exit_code == 3 for f in ledger.failed)
    because = "the data was refused" if refused else f"{first} failed"
    explained = [f"explain/{name}" for name in _techniques(run, ledger)]
    beside = ("drift", "reasons", "sources", "advice")
    for stage in ("validate", "predict", *explained, *beside, "agreement", "bias", "policy"):
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
