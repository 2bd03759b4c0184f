"""The manifest: every input and output of a run with its SHA-256, as an in-toto Statement.

Sources: in-toto attestation framework, Statement v1 and predicate test-result v0.1; canonical JSON as in RFC 8785
for the values used here (strings, integers, booleans, lists, objects; no floats).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.persist.store import Workspace, file_digest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
#: the audit's verdict → what a test-result may say
RESULTS = {
    "satisfied": "PASSED",
    "not_satisfied": "FAILED",
    "inconclusive": "WARNED",
    "refused": "FAILED",
    "incomplete": "FAILED",
}
_OWN = {"manifest.json", "manifest.sha256", "attestation.json"}


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no white space, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def values_digest(value: Any) -> str:
    """SHA-256 of JSON values, however they were written down; floats count by their shortest text."""
    return hashlib.sha256(canonical(_without_floats(value))).hexdigest()


def _without_floats(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_floats(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_floats(v) for v in value]
    return {"float": repr(value)} if isinstance(value, float) else value


def outputs(workspace: Workspace) -> list[tuple[str, str]]:
    """(path in the run, SHA-256) of every file but the manifest's own, sorted by path."""
    files = (p for p in workspace.folder.rglob("*") if p.is_file())
    named = sorted((p.relative_to(workspace.folder).as_posix(), p) for p in files)
    return [(name, file_digest(path)) for name, path in named if name not in _OWN]


def write_manifest(
    workspace: Workspace,
    *,
    verdict: str,
    inputs: Sequence[tuple[str, str]],
    checks: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
) -> None:
    """Writes manifest.json, then manifest.sha256: the last two files of a run.

    Args:
        inputs: (name, SHA-256) of data, reference, model, preprocessor, config and policy.
        checks: `passedTests`, `warnedTests`, `failedTests` → names of policy checks.
        environment: library → version, and the like; texts only.
    """
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in outputs(workspace)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": RESULTS[verdict],
            "configuration": [{"name": name, "digest": {"sha256": digest}} for name, digest in inputs],
            "annotations": {"verdict": verdict, "run_id": workspace.run_id, **environment},
            **{key: list(names) for key, names in checks.items()},
        },
    }
    content = canonical(statement)
    workspace.write_bytes("manifest.json", content)
    digest = hashlib.sha256(content).hexdigest()
    workspace.write_bytes("manifest.sha256", f"{digest}  manifest.json\n".encode())
