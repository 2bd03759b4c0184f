"""The end of an audit: verdict, report, manifest, publication."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from configs.schema import AuditConfig
from flows.places import index_store
from flows.run import Ledger, Outcome, Run
from tasks.contracts import AuditVerdict, Done, Failed, StageResult
from tasks.errors import ConfigError
from tasks.evidence import (
    RECORD,
    RENDERERS,
    Account,
    Signer,
    code_about,
    code_digest,
    config_text,
    hardware,
    kept,
    lock_digest,
    outputs,
    packages_digest,
    predecessor_of,
    seal,
)
from tasks.history import index_runs
from tasks.persist import Workspace, values_digest
from tasks.persist.publish import publish
from tasks.persist.unfinished import clear, used_by

if TYPE_CHECKING:
    from tasks.persist.object_store import ObjectStore
    from tasks.report import RunRecord

_LIBRARIES = (
    "keras-audit", "tensorflow", "keras", "shap", "lime", "eli5", "fairlearn", "great-expectations",
    "prefect", "scikit-learn", "pandas", "pyarrow", "numpy",
)  # fmt: skip


def finish(run: Run, ledger: Ledger, signer: Signer | None = None, store: ObjectStore | None = None) -> Outcome:
    """Writes report, record and manifest, signs it, and gives the run its final name and its place in the chain.

    Args:
        signer: what signs the manifest; None: the run is unsigned.
        store: where the run is uploaded to; None: it stays where it is.

    Raises:
        StorageError: a file cannot be written, and nothing is published; or the run cannot be uploaded.
    """
    from prefect.utilities.annotations import quote

    from flows.steps import write_report

    config, workspace = resolved(run.config, ledger), run.workspace
    writing = run.watch.for_task("write the report")  # no deadline: an audit that ran into one is reported too
    writing.advance(0)
    workspace.write_bytes("config.yaml", config_text(config.model_dump()))
    # The report is made from what the run's folder will hold of it, so that it can be made from there again.
    content, record = kept(_record(run, ledger), workspace.folder)
    workspace.write_bytes(RECORD, content)
    reported = replace(run, config=config)
    # Prefect types a task as if it were async, and would look through all of the record for futures.
    results: tuple[StageResult, ...] = cast(Any, write_report)(reported, quote(record))
    for result in results:
        ledger.enter(result)
    verdict = ledger.fact("report", "verdict", record.verdict)
    checks = ledger.fact("policy", "checks", [])
    account = _account(config, record, ledger, verdict, _notes(workspace))
    folder = _published(workspace, account, signer, store, partial(writing.advance, 0))
    if verdict != "incomplete":  # else the next run goes on with what is there
        clear(workspace.unfinished, workspace.run_id, {r.stage: r.of_run for r in ledger.done() if r.of_run})
    told = index_runs(folder.parent.parent) if store is None else index_store(store)
    if told is not None:
        writing.tell(told)
    writing.finish()
    return Outcome(
        name=config.name,
        run_id=workspace.run_id,
        folder=str(folder),
        address="" if store is None else store.shown(config.name, workspace.run_id),
        verdict=verdict,
        missing=tuple(f"{f.stage}: {f.reason}" for f in ledger.failed) if verdict == "incomplete" else (),
        checks=tuple(checks),
        reasons=tuple(ledger.fact("validate", "reasons", ()))
        or tuple(f.reason for f in ledger.failed if f.exit_code == 3),
    )


def _published(
    workspace: Workspace,
    account: Account,
    signer: Signer | None,
    store: ObjectStore | None,
    tick: Callable[[], None],
) -> Path:
    files = outputs(workspace)  # before the run's turn comes: others wait for it

    def sealed(workspace: Workspace, before: Path | None) -> None:
        seal(workspace, account, files, previous=predecessor_of(before), signer=signer)

    if store is None:
        return publish(workspace, partial(sealed, workspace))
    from tasks.persist.upload import publish_to

    return publish_to(store, workspace, sealed, tick)


def _record(run: Run, ledger: Ledger) -> RunRecord:
    from tasks.report import RunRecord

    machine = hardware()
    environment = {"python": platform.python_version(), "system": platform.system(), **_versions()}
    return RunRecord(
        run_id=run.workspace.run_id,
        started=ledger.started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict_of(ledger),
        results=tuple(ledger.results.values()),
        environment={**environment, "machine": machine["machine"], "cores": machine["cores"]},
        seed=run.config.explain.seed,
        flow_run=_flow_run(),
        inputs=_inputs(run, ledger),
    )


def _account(
    config: AuditConfig, record: RunRecord, ledger: Ledger, verdict: AuditVerdict, notes: Mapping[str, str]
) -> Account:
    """What the manifest tells of the run."""
    environment = {key: str(record.environment[key]) for key in ("python", "system")}
    return Account(
        name=config.name,
        verdict=verdict,
        inputs=record.inputs,
        about={"code": code_about(), "lock": {"of": lock_digest()[1]}},
        checks=_by_result(ledger.fact("policy", "checks", [])),
        environment={**environment, **record.libraries},
        hardware=hardware(),
        seeds={"explain": config.explain.seed},
        started=record.started,
        finished=record.finished,
        tasks=[_task(result) for result in ledger.results.values()],
        notes=notes,
    )


def _task(result: StageResult) -> dict[str, Any]:
    """A step's state, how long it took, and the run that it was taken over from; the manifest has no floats."""
    state = "done" if isinstance(result, Done) else "failed" if isinstance(result, Failed) else "not_applicable"
    found = {"stage": result.stage, "state": state, "milliseconds": round(1000 * getattr(result, "seconds", 0.0))}
    of_run = getattr(result, "of_run", None)
    return {**found, "of_run": of_run} if of_run else found


def _notes(workspace: Workspace) -> dict[str, str]:
    """What this run took over from one that did not end, for the manifest: its tables are the same either way."""
    notes = used_by(workspace.unfinished, workspace.run_id)
    return {f"resumed {note['stage']}": f"{note['found']} rows" for note in notes if note.get("found")}


def resolved(config: AuditConfig, ledger: Ledger) -> AuditConfig:
    """The config with the version and the digest of the model that was audited."""
    version, digest = ledger.fact("load_model", "version"), ledger.fact("load_model", "sha256")
    version = config.model.version if version is None else version
    return config.model_copy(update={"model": config.model.model_copy(update={"version": version, "sha256": digest})})


def verdict_of(ledger: Ledger) -> AuditVerdict:
    """Refused before incomplete, incomplete before the policy's verdict."""
    if ledger.fact("validate", "refused") or any(f.exit_code == 3 for f in ledger.failed):
        return "refused"
    if ledger.failed:
        return "incomplete"
    return ledger.fact("policy", "verdict", "incomplete")


def _versions() -> dict[str, str]:
    found = {}
    for name in dict.fromkeys((*_LIBRARIES, *RENDERERS)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a checkout that was never installed
            found[name] = "unknown"
    return found


def _flow_run() -> Mapping[str, str]:
    from prefect.runtime import flow_run

    return {"id": flow_run.id or "", "name": flow_run.name or ""}


def _inputs(run: Run, ledger: Ledger) -> tuple[tuple[str, str], ...]:
    """(name, SHA-256) of whatever the audit read."""
    model = ledger.results.get("load_model")
    data = ledger.results.get("load_data")
    found: list[tuple[str, str | None]] = []
    if isinstance(model, Done):
        found += [
            ("model", model.facts.get("sha256")),
            ("preprocessor", model.facts.get("preprocessor_sha256")),
        ]
    if isinstance(data, Done):
        found += [(key, (data.facts.get(key) or {}).get("sha256")) for key in ("data", "reference")]
    values = run.config.model_dump(mode="json")
    found += [("config", values_digest(values)), ("policy", values_digest(values["policy"]))]
    found += [("reasons_language", ledger.fact("reasons", "language_sha256")), *_packs(run.config)]
    found += [("code", code_digest()), ("lock", lock_digest()[0]), ("packages", packages_digest())]
    return tuple((name, digest) for name, digest in found if digest)


def _packs(config: AuditConfig) -> tuple[tuple[str, str], ...]:
    """The user's own packs. One that is gone since the audit began cannot be judged either, and the report says so."""
    from tasks.report import pack_inputs

    try:
        return pack_inputs(config)
    except ConfigError:
        return ()


def _by_result(checks: Any) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    keys = {"satisfied": "passedTests", "not_satisfied": "failedTests"}
    for check in checks:
        place = check["metric"] + (f" on {check['attribute']}" if check.get("attribute") else "")
        named[keys.get(check["verdict"], "warnedTests")].append(place)
    return named
