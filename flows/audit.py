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
from prefect.runtime import deployment, flow_run
from prefect.states import Completed
from prefect.states import Failed as FailedState
from prefect.task_runners import TaskRunner

from flows import steps
from flows.alive import stand_by
from flows.artifacts import publish_artifacts
from flows.events import announce
from flows.finish import finish
from flows.form import ModelVersion, Regulations, Rows, Techniques, changes, check_bounds
from flows.keys import keys_of
from flows.places import local_side, store_of
from flows.preflight import checked_config, run_label
from flows.run import Ledger, Outcome, Run, current_watch, is_passing
from flows.runners import task_runner
from flows.shards import Sharing
from tasks.contracts import Done
from tasks.errors import Stopped
from tasks.evidence import code_digest, signing_key
from tasks.explain import planned
from tasks.persist.publish import begin, discard, new_run_id

Runner = TaskRunner[Any]

#: what runs beside the techniques
BESIDE: dict[str, Task[..., Any]] = {
    "drift": steps.measure_drift,
    "reasons": steps.state_reasons,
    "sources": steps.trace_sources,
    "advice": steps.advise,
}


def _run_name() -> str:
    parameters = flow_run.parameters or {}
    version = parameters.get("model_version")
    of_form = [f"model.version={version}"] if version else []
    return run_label(parameters.get("config", ""), [*of_form, *(parameters.get("settings") or [])])


@flow(
    name="audit",
    flow_run_name=_run_name,
    persist_result=False,
    validate_parameters=True,
)
def audit(
    config: str,
    model_version: ModelVersion = "",
    data: str = "",
    rows: Rows = 0,
    techniques: Techniques = [],  # noqa: B006  # pydantic copies it
    regulations: Regulations = [],  # noqa: B006
    reports: str = "reports",
    settings: list[str] = [],  # noqa: B006
) -> Any:
    """Audits a Keras model: explains it, compares groups, judges the policy and writes the report.

    Args:
        config: The audit's YAML file. What is left empty below is as it says.
        model_version: A number, or `latest`. Empty: as in the config.
        data: Another table to audit: Parquet, CSV or Arrow. Empty: as in the config.
        rows: How many rows are explained. 0: as in the config.
        techniques: How they are explained. None chosen: as in the config.
        regulations: What the report is held against. None chosen: as in the config.
        reports: The folder that the report is written under, or an address such as `s3://bucket/reports`.
        settings: Each as `key.key=value`, for example `explain.rows=all` or `policy.0.min=0.75`.
    """
    settings = changes(
        config, settings, model_version=model_version, data=data, rows=rows, techniques=techniques,
        regulations=regulations,
    )  # fmt: skip
    if deployment.id:
        check_bounds(config, settings, reports)
    checked = checked_config(config, settings)
    store = store_of(reports)
    folder = local_side(reports, store, checked.name)
    signer = signing_key(folder)  # a key that is no good is told now, not after the audit
    code_digest()  # the process keeps it: the manifest names the code that ran, not what its files became since
    stand_by(flow_run.id)
    watch = current_watch()
    run = Run(checked, begin(folder, checked.name, new_run_id()), watch, keys_of(checked))
    watch.unfinished.append(run.workspace.folder)
    try:
        with task_runner(checked, watch) as runner:
            try:
                ledger = examine(run, runner)
            except BaseException:
                watch.abandoned.set()  # steps that still run would work for nobody, and leaving waits for them
                raise
        outcome = finish(run, ledger, signer, store)
    except BaseException as error:
        discard(run.workspace)
        if watch.stop.is_set() and not isinstance(error, Stopped):
            raise Stopped("stopped by the user") from error  # whatever broke, broke because of that
        raise
    if not is_passing():
        publish_artifacts(outcome)
        announce(outcome)
    if store is not None:
        from tasks.persist.upload import forget

        forget(Path(outcome.folder))
    return _state(outcome)


def examine(run: Run, runner: Runner) -> Ledger:
    """Every step up to the verdict. What was planned ends up in the ledger, done or not."""
    ledger = Ledger()
    start = partial(_start, runner, run, ledger)
    model, data = start("load_model", steps.load_model), start("load_data", steps.load_data)
    ledger.enter(steps.result_of("load_model", model))
    ledger.enter(steps.result_of("load_data", data))
    if ledger.failed:
        return _unreached(run, ledger)
    # From here on every step reads what was loaded, or fails: not what a file has become since.
    return _examine_loaded(run.as_loaded(ledger), runner, ledger)


def _examine_loaded(run: Run, runner: Runner, ledger: Ledger) -> Ledger:
    start = partial(_start, runner, run, ledger)
    ledger.enter(steps.result_of("validate", start("validate", steps.validate)))
    if ledger.failed or ledger.fact("validate", "refused"):
        return _unreached(run, ledger)

    names = _techniques(run, ledger)
    sharing = Sharing.begun(run, runner, ledger, names)
    predicted = start("predict", steps.predict)
    if run.config.reasons.language is not None or run.config.reasons.changeable:
        steps.result_of("reasons_fit", start("reasons_fit", steps.check_reasons))  # a wrong name is told now
    ledger.enter(steps.result_of("predict", predicted))
    if ledger.failed:
        return _unreached(run, ledger)

    with sharing.shards() as shards:
        whole = [name for name in names if name not in shards.of]
        techniques = {f"explain/{name}": start(f"explain/{name}", steps.explain, technique=name) for name in whole}
        beside = {stage: start(stage, step) for stage, step in BESIDE.items()}
        techniques |= shards.joined(start)
        planned_steps = (f"explain/{name}" for name in names)
        explained = [ledger.enter(steps.result_of(stage, techniques[stage])) for stage in planned_steps]
    for stage, future in beside.items():
        ledger.enter(steps.result_of(stage, future))

    tables = [result for result in explained if isinstance(result, Done)]
    ledger.enter(steps.result_of("agreement", start("agreement", steps.compare_techniques, explained=tables)))
    # After the explanations: which features carry a disparity is a comparison of groups too.
    ledger.enter(steps.result_of("bias", start("bias", steps.measure_bias)))
    if isinstance(ledger.results["bias"], Done):
        adverse = ledger.fact("reasons", "adverse", 0)
        judged = runner.submit(steps.judge, parameters={"run": run, "adverse": adverse})
        ledger.enter(steps.result_of("policy", judged))
    else:
        ledger.not_reached("policy", "the comparison of groups failed")
    return ledger


def _start(
    runner: Runner, run: Run, ledger: Ledger, stage: str, step: Task[..., Any], **parameters: Any
) -> PrefectFuture[Any]:
    """Starts a step; it takes over what an earlier run kept under the key of what it depends on."""
    key = None if run.keys is None else run.keys.of(stage, ledger.results)
    return runner.submit(step, parameters={"run": run, "key": key, **parameters})


def _techniques(run: Run, ledger: Ledger) -> list[str]:
    image = run.config.model.inputs == "image" or run.config.data.image is not None
    return planned(run.config, ledger.fact("load_model", "modality", "image" if image else "table"))


def _unreached(run: Run, ledger: Ledger) -> Ledger:
    """Enters every step that was planned and did not get its turn, and why."""
    first = ledger.failed[0].stage.replace("_", " ") if ledger.failed else ""
    refused = ledger.fact("validate", "refused") or any(f.exit_code == 3 for f in ledger.failed)
    because = "the data was refused" if refused else f"{first} failed"
    explained = [f"explain/{name}" for name in _techniques(run, ledger)]
    for stage in ("validate", "predict", *explained, *BESIDE, "agreement", "bias", "policy"):
        if stage not in ledger.results:
            ledger.not_reached(stage, because)
    return ledger


def _state(outcome: Outcome) -> Any:
    """How Prefect shows the end: a failed policy is a run that completed; an incomplete audit is a failed one."""
    message = f"{outcome.verdict}: {outcome.place}"
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
