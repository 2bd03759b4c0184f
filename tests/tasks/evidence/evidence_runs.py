"""Published runs to check: real tables and a real report, sealed and published as the flow does it."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.evidence import (
    RECORD,
    RENDERERS,
    Account,
    Signer,
    code_digest,
    config_text,
    kept,
    new_keys,
    outputs,
    predecessor_of,
    seal,
    signing_key,
)
from tasks.persist import Workspace, canonical, values_digest
from tasks.persist.publish import begin, publish
from tasks.report import write_report
from tests.tasks.report import report_runs

IDS = tuple(f"2026010{day}T000000Z-0000000{day}" for day in range(1, 7))
FORMATS = ["html", "pdf", "json", "markdown"]


def published(
    reports: Path,
    run_id: str = IDS[0],
    *,
    signer: Signer | None = None,
    kind: Callable[..., Any] = report_runs.image_run,
    environment: dict[str, str] | None = None,
) -> Path:
    """A run with its reports, in reports/<name>/<run_id>.

    Args:
        environment: versions that the record is to tell instead of those that are here.
    """
    config, made, record = kind(reports / f".made-{run_id}")
    config = config.model_copy(update={"report": config.report.model_copy(update={"formats": FORMATS})})
    workspace = begin(reports, config.name, run_id)
    shutil.copytree(made.folder / "artifacts", workspace.folder / "artifacts", dirs_exist_ok=True)
    shutil.rmtree(reports / f".made-{run_id}")
    here = {name: version(name) for name in RENDERERS} | {"python": platform.python_version()}
    here |= {"system": "Linux", "machine": platform.machine(), **(environment or {})}
    policy = values_digest(config.model_dump(mode="json")["policy"])
    inputs = (("data", "d" * 64), ("policy", policy), ("code", code_digest()))
    results = tuple(_moved(result, workspace) for result in record.results)
    record = replace(record, run_id=run_id, environment=here, inputs=inputs, results=results)
    workspace.write_bytes("config.yaml", config_text(config.model_dump()))
    content, record = kept(record, workspace.folder)
    workspace.write_bytes(RECORD, content)
    report = write_report(config, workspace, record)[0]
    account = Account(name=config.name, verdict=report.facts["verdict"], inputs=inputs)
    files = outputs(workspace)
    return publish(
        workspace, lambda before: seal(workspace, account, files, previous=predecessor_of(before), signer=signer)
    )


def _moved(result: Any, workspace: Workspace) -> Any:
    tables = getattr(result, "tables", ())
    moved = tuple(replace(t, path=str(workspace.table_path(t.name))) for t in tables)
    return replace(result, tables=moved) if tables else result


def signer_at(place: Path, reports: Path, monkeypatch: Any) -> tuple[Signer, Path]:
    """A new key that signs, and the file of the one that checks."""
    pair = new_keys(place)
    with monkeypatch.context() as patch:
        patch.setenv("KERAS_AUDIT_SIGNING_KEY", str(pair.private))
        signer = signing_key(reports)
    assert signer is not None
    return signer, pair.public


def redigested(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
    """What somebody who changed an unsigned run would do next: writes its manifest anew, with a change of their own."""
    statement = json.loads((folder / "manifest.json").read_bytes())
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in OWN)
    statement["subject"] = [
        {
            "name": p.relative_to(folder).as_posix(),
            "digest": {"sha256": hashlib.sha256(p.read_bytes()).hexdigest()},
            "annotations": {"bytes": p.stat().st_size},
        }
        for p in sorted(files, key=lambda p: p.relative_to(folder).as_posix())
    ]
    change(statement)
    content = canonical(statement)
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.json\n")


OWN = {"manifest.json", "manifest.sha256", "attestation.json"}
