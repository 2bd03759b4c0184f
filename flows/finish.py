"""The end of an audit: verdict, report, manifest, publication."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import yaml

from configs.schema import AuditConfig
from flows.run import Ledger, Outcome, Run
from tasks.contracts import AuditVerdict, Done, StageResult
from tasks.persist import Workspace, values_digest
from tasks.persist.manifest import write_manifest
from tasks.persist.publish import publish
from tasks.persist.unfinished import clear, used_by

_LIBRARIES = (
    "keras-audit", "tensorflow", "keras", "shap", "lime", "eli5", "fairlearn", "great-expectations",
    "prefect", "scikit-learn", "pandas", "pyarrow", "numpy",
)  # fmt: skip


def finish(run: Run, ledger: Ledger) -> Outcome:
    """Writes report and manifest, and gives the run its final name.

    Raises:
        StorageError: a file cannot be written; nothing is published.
    """
    from flows.steps import write_report
    from tasks.report import RunRecord

    config, workspace = run.config, run.workspace
    verdict = verdict_of(ledger)
    environment = {"python": platform.python_version(), "system": platform.system(), **_versions()}
    writing = run.watch.for_task("write the report")  # no deadline: an audit that ran into one is reported too
    writing.advance(0)
    resolved = yaml.safe_dump(_resolved(config, ledger), sort_keys=False, allow_unicode=True)
    workspace.write_bytes("config.yaml", resolved.encode())
    record = RunRecord(
        run_id=workspace.run_id,
        started=ledger.started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict,
        results=tuple(ledger.results.values()),
        environment={**environment, "machine": platform.machine(), "cores": os.cpu_count() or 1},
        seed=config.explain.seed,
        flow_run=_flow_run(),
        inputs=_inputs(run, ledger),
    )
    results: tuple[StageResult, ...] = cast(Any, write_report)(run, record)  # Prefect types a task as if it were async
    for result in results:
        ledger.enter(result)
    verdict = ledger.fact("report", "verdict", verdict)
    checks = ledger.fact("policy", "checks", [])
    write_manifest(
        workspace,
        verdict=verdict,
        inputs=record.inputs,
        checks=_by_result(checks),
        environment={**environment, **_resumed(workspace)},
    )
    folder = publish(workspace)
    if verdict != "incomplete":  # else the next run goes on with what is there
        clear(workspace.unfinished, workspace.run_id)
    writing.finish()
    return Outcome(
        name=config.name,
        run_id=workspace.run_id,
        folder=str(folder),
        verdict=verdict,
        missing=tuple(f"{f.stage}: {f.reason}" for f in ledger.failed) if verdict == "incomplete" else (),
        checks=tuple(checks),
        reasons=tuple(ledger.fact("validate", "reasons", ()))
        or tuple(f.reason for f in ledger.failed if f.exit_code == 3),
    )


def _resumed(workspace: Workspace) -> dict[str, str]:
    """What this run took over from one that did not end, for the manifest: its tables are the same either way."""
    notes = used_by(workspace.unfinished, workspace.run_id)
    return {f"resumed {note['stage']}": f"{note['found']} rows" for note in notes if note.get("found")}


def _resolved(config: AuditConfig, ledger: Ledger) -> dict[str, Any]:
    """The config with every default, and with the version and the digest of the model that was audited."""
    values = config.model_dump()
    version, digest = ledger.fact("load_model", "version"), ledger.fact("load_model", "sha256")
    values["model"] |= {"version": config.model.version if version is None else version, "sha256": digest}
    return values


def verdict_of(ledger: Ledger) -> AuditVerdict:
    """Refused before incomplete, incomplete before the policy's verdict."""
    if ledger.fact("validate", "refused") or any(f.exit_code == 3 for f in ledger.failed):
        return "refused"
    if ledger.failed:
        return "incomplete"
    return ledger.fact("policy", "verdict", "incomplete")


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
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
    return tuple((name, digest) for name, digest in found if digest)


def _by_result(checks: Any) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    keys = {"satisfied": "passedTests", "not_satisfied": "failedTests"}
    for check in checks:
        place = check["metric"] + (f" on {check['attribute']}" if check.get("attribute") else "")
        named[keys.get(check["verdict"], "warnedTests")].append(place)
    return named
