"""`keras-audit verify`: what was found of a run, in a few lines for people or as JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.places import opened_run
from tasks.errors import UsageError, VerificationFailed, one_line
from tasks.evidence import ATTESTATION, DIGEST, MANIFEST, RECORD, Verification, trusted_keys, verify_run
from tasks.persist.publish import RUN_ID, find_run

#: files one of which tells that a folder was a run, whatever has been removed from it
MARKS = (MANIFEST, DIGEST, ATTESTATION, "summary.json", "config.yaml", RECORD, "report.html")


def verify(run: str, keys: Sequence[Path], reports: str, *, replay: bool) -> tuple[str, Verification]:
    """Checks a run and, if asked to, audits its subject again.

    Args:
        run: a folder, an address, name/run-id, or name (its latest).
        keys: files of public keys, one of which must have signed; none: those of KERAS_AUDIT_TRUSTED_KEYS.

    Returns:
        Where the run lies and what was found.

    Raises:
        UsageError: there is no such run, or a key cannot be used.
        DataUnavailable: object storage cannot be reached.
        VerificationFailed: what lies at the address cannot be a run.
    """
    trusted = trusted_keys(keys)
    with opened_run(run, reports, _folder, chain=True) as opened:
        found = verify_run(opened.folder, keys=trusted, reports=opened.reports)
        if replay and not found.problems:  # what was changed is not run again
            found = _replayed(opened.folder, found)
        elif replay:
            found = found.with_note("not run again: first every file has to be as it was")
        return opened.place, found


def _folder(reports: Path, run: str) -> Path:
    """The run's folder; also one of which little is left, or whose files are no files any more."""
    try:
        return find_run(reports, run, MARKS)
    except UsageError:
        for folder in (Path(run), reports / run):
            with suppress(OSError, ValueError):
                left = RUN_ID.fullmatch(folder.name) or any(os.path.lexists(folder / m) for m in (*MARKS, "artifacts"))
                if folder.is_dir() and left:
                    return folder.resolve()
        raise


def _replayed(folder: Path, found: Verification) -> Verification:
    from flows import terminal
    from flows.replay import replay

    with terminal.progress(terminal.console()) as shown:
        again = replay(folder, shown, say=shown.say)
    note = "" if again.problems else "run again from the recorded inputs: every value is the same"
    found = found.with_problems([f"replay: {line}" for line in again.problems]).with_note(note)
    for note in again.notes:
        found = found.with_note(note)
    return found


def as_json(place: str, found: Verification) -> dict[str, Any]:
    """What was found, for programs."""
    return {
        "run": place,
        "run_id": found.run_id,
        "verified": not found.problems,
        "files": found.files,
        "signature": found.signature,
        "keyid": found.keyid,
        "problems": list(found.problems),
        "notes": list(found.notes),
        "exit_code": exit_code(found),
    }


def exit_code(found: Verification) -> int:
    return VerificationFailed.exit_code if found.problems else 0


def as_text(place: str, found: Verification) -> str:
    """What was found, for people: a line for each thing."""
    lines = [f"run       {one_line(place, 5000)}"]
    if found.run_id is not None and Path(place).name != found.run_id:
        lines.append(f"          its id is {found.run_id}")
    lines += [f"differs   {problem}" for problem in found.problems]
    if not found.problems:
        lines.append(f"files     {found.files:,} files are those of {MANIFEST}, and there is no other")
    lines += [f"          {note}" for note in found.notes]
    count = len(found.problems)
    verdict = f"NOT VERIFIED: {count} problem{'' if count == 1 else 's'}" if count else "verified"
    return "\n".join([*lines, verdict, ""])
