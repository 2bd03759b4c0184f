"""The manifest: every input and output of a run with its SHA-256, as an in-toto Statement.

Sources: in-toto attestation framework, Statement v1, ResourceDescriptor and predicate test-result v0.1. The predicate's
own fields are `result`, `configuration` (what was audited, with what) and the names of tests; whatever else a run tells
of itself is in `annotations`. Numbers are integers: the canonical form has no floats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.persist import Workspace, canonical, file_digest

if TYPE_CHECKING:
    from tasks.evidence.chain import Predecessor
    from tasks.evidence.envelope import Signer

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
MANIFEST, DIGEST, ATTESTATION = "manifest.json", "manifest.sha256", "attestation.json"
#: files that no manifest covers: itself, its digest, its signature
OWN = frozenset({MANIFEST, DIGEST, ATTESTATION})


@dataclass(frozen=True)
class Account:
    """What a run tells of itself, beside its files.

    Attributes:
        name: of the audit: its folder under reports/.
        inputs: (name, SHA-256): data, reference, model, preprocessor, config, policy, lock, code, user packs, ….
        about: name of an input → what else is known of it: `{"code": {"git_commit": …}}`; no floats.
        checks: `passedTests`, `warnedTests`, `failedTests` → names of policy checks.
        environment: library → version, and the like; texts only.
        hardware: machine, cores, memory_bytes.
        seeds: what random draws derive from.
        started, finished: ISO 8601, UTC.
        tasks: stage, state, milliseconds each, in the order they were planned; of_run where another run did it.
        notes: texts by key; what was resumed.
    """

    name: str
    verdict: str
    inputs: Sequence[tuple[str, str]] = ()
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    checks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    tasks: Sequence[Mapping[str, Any]] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """A file of the run: its path in it, its SHA-256, its size in bytes."""

    name: str
    sha256: str
    bytes: int


def outputs(workspace: Workspace) -> list[Output]:
    """Every file of the run but the manifest's own, sorted by path."""
    files = (p for p in workspace.folder.rglob("*") if p.is_file())
    named = sorted((p.relative_to(workspace.folder).as_posix(), p) for p in files)
    return [Output(name, file_digest(path), path.stat().st_size) for name, path in named if name not in OWN]


def seal(
    workspace: Workspace,
    account: Account,
    files: Sequence[Output],
    *,
    previous: Predecessor | None = None,
    signer: Signer | None = None,
) -> None:
    """Writes manifest.json, manifest.sha256 and, with a signer, attestation.json: the last files of a run.

    Args:
        files: as `outputs` gives them; the run must not change any more.
        previous: the run of this name that was published before; None: this is the first.

    Raises:
        StorageError: a file cannot be written.
    """
    content = canonical(statement(account, files, workspace.run_id, previous=previous, signer=signer))
    workspace.write_bytes(MANIFEST, content)
    workspace.write_bytes(DIGEST, digest_line(content))
    if signer is not None:
        workspace.write_bytes(ATTESTATION, signer.envelope(content))


def digest_line(content: bytes) -> bytes:
    """manifest.sha256 of a manifest: a line that `sha256sum --check` takes."""
    return f"{hashlib.sha256(content).hexdigest()}  {MANIFEST}\n".encode()


def statement(
    account: Account,
    files: Sequence[Output],
    run_id: str,
    *,
    previous: Predecessor | None = None,
    signer: Signer | None = None,
) -> dict[str, Any]:
    """The in-toto Statement as JSON values."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_descriptor(f.name, f.sha256, {"bytes": f.bytes}) for f in files],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": RESULTS[account.verdict],
            "configuration": [
                _descriptor(name, digest, account.about.get(name)) for name, digest in account.inputs
            ],
            **{key: list(names) for key, names in account.checks.items()},
            "annotations": {
                **account.notes,
                "run_id": run_id,
                **{key: getattr(account, key) for key in ("name", "verdict", "started", "finished")},
                **{key: dict(getattr(account, key)) for key in ("environment", "hardware", "seeds")},
                "tasks": [dict(task) for task in account.tasks],
                "predecessor": None if previous is None else previous.as_json(),
                "signer": None if signer is None else signer.public.as_json(),
            },
        },
    }  # fmt: skip


def _descriptor(name: str, sha256: str, annotations: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An in-toto ResourceDescriptor."""
    found: dict[str, Any] = {"name": name, "digest": {"sha256": sha256}}
    return {**found, "annotations": dict(annotations)} if annotations else found
