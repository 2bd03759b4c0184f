"""Whether a run is what it was when it was published: digests, canonical forms, signature, chain, numbers.

Digests come first: what is in the report is looked at only where every file is the one that the manifest covers. The
folder may be anybody's work: nothing in it is believed, followed or run, and whatever is wrong is a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tasks.errors import one_line
from tasks.evidence.chain import follow
from tasks.evidence.envelope import PublicKey, check_envelope
from tasks.evidence.manifest import ATTESTATION, DIGEST, MANIFEST, OWN, digest_line
from tasks.evidence.numbers import check_numbers
from tasks.evidence.opening import MAX_JSON, MAX_TEXT, Unreadable, digest_of, entries, json_values, read_file
from tasks.evidence.statement import Statement, read_statement
from tasks.persist import canonical

#: `unsigned`; `signer_unknown`: signed, and no key was given to trust; `trusted`: by a key that was given;
#: `untrusted`: by another key, or not at all, though keys were given; `broken`: the signature does not fit
Signature = Literal["unsigned", "signer_unknown", "trusted", "untrusted", "broken"]
#: problems that are told one by one
MOST_PROBLEMS = 50


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
        run_id: as the manifest says; None where it cannot be read.
        problems: a line for each thing that is not as it was published; empty: the run is whole.
        notes: what was checked and what could not be, in sentences.
        files: how many files have the digest that the manifest covers.
        signature: see `Signature`.
        keyid: of the key that signed.
    """

    run_id: str | None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: int = 0
    signature: Signature = "unsigned"
    keyid: str | None = None

    def with_problems(self, problems: Sequence[str]) -> Verification:
        """The same with more problems; what is too much to read is counted."""
        whole = (*self.problems, *problems)
        more = len(whole) - MOST_PROBLEMS
        return replace(self, problems=whole if more <= 0 else (*whole[:MOST_PROBLEMS], f"and {more:,} more"))

    def with_note(self, note: str) -> Verification:
        return replace(self, notes=(*self.notes, note)) if note else self


def verify_run(folder: Path, *, keys: Sequence[PublicKey] = (), reports: Path | None = None) -> Verification:
    """Checks a run. Never raises for what is in the folder.

    Args:
        folder: the run, under any name.
        keys: one of which must have signed it; none: any signature, or none, is told.
        reports: where the run before this one is looked for, beside the folder that this one lies in.
    """
    try:
        content = read_file(folder, MANIFEST)
        statement = read_statement(content)
    except Unreadable as error:
        return Verification(None, (f"{MANIFEST}: {error}",))
    except (ValueError, RecursionError) as error:
        return Verification(None, (f"{MANIFEST}: {one_line(error, 300)}",))
    found = Verification(statement.run_id, files=len(statement.files))
    # Files come last: where they are too many to tell, whose signature it is and what the chain holds is told.
    found = _signature(found, folder, content, statement, keys)
    found = _chain(found, folder, statement, reports)
    found = found.with_problems([*_digest_problems(folder, content), *_file_problems(folder, statement)])
    if found.problems:
        return found.with_note("the report's numbers were not compared: first every file has to be as it was")
    numbers = check_numbers(folder, statement)
    return found.with_problems(numbers.problems).with_note(numbers.note)


def _digest_problems(folder: Path, content: bytes) -> list[str]:
    try:
        line = read_file(folder, DIGEST, MAX_TEXT)
    except Unreadable as error:
        return [f"{DIGEST}: {error}"]
    return [] if line == digest_line(content) else [f"{DIGEST}: is not the digest of {MANIFEST}"]


def _file_problems(folder: Path, statement: Statement) -> list[str]:
    """What is missing, what is too much, what differs. A file that the manifest does not name is never opened."""
    problems, there = [], set()
    parents = {name.rpartition("/")[0] for name in statement.files}
    parents |= {name[:end] for name in parents for end, letter in enumerate(name) if letter == "/"}
    own = OWN - (set() if statement.signer is not None else {ATTESTATION})
    try:
        for entry in entries(folder):
            shown = one_line(entry.name, 300)
            if entry.kind == "folder":
                if entry.name not in parents:
                    problems.append(f"{shown}: is a folder that the manifest does not know")
            elif entry.name not in statement.files and entry.name not in own:
                problems.append(f"{shown}: is not in the manifest")
            elif entry.kind != "file":
                problems.append(f"{shown}: is {entry.kind}")
                there.add(entry.name)
            elif entry.name in statement.files:
                there.add(entry.name)
                problem = _differs(folder, entry.name, entry.bytes, statement)
                problems += [f"{shown}: {problem}"] if problem else []
            if len(problems) > 10 * MOST_PROBLEMS:  # a folder that is no run
                break
        else:
            problems += [f"{one_line(name, 300)}: is missing" for name in statement.files if name not in there]
    except Unreadable as error:
        problems.append(one_line(error, 300))
    return problems


def _differs(folder: Path, name: str, size: int, statement: Statement) -> str | None:
    if size != statement.sizes[name]:
        return f"differs: it has {size:,} bytes, in the manifest {statement.sizes[name]:,}"
    try:
        digest = digest_of(folder, name)
    except Unreadable as error:
        return str(error)
    return None if digest == statement.files[name] else "differs: its SHA-256 is not the one in the manifest"


def _signature(
    found: Verification, folder: Path, content: bytes, statement: Statement, keys: Sequence[PublicKey]
) -> Verification:
    signer = statement.signer
    if signer is None:
        if keys:
            wrong = f"{ATTESTATION}: the run is unsigned, and one of the keys given has to have signed it"
            return replace(found, signature="untrusted").with_problems([wrong])
        return found.with_note("unsigned: the digests tell of changes only as long as nobody writes the manifest anew")
    found = replace(found, keyid=signer.keyid)
    problem = _envelope_problem(folder, content, signer)
    if problem is not None:
        return replace(found, signature="broken").with_problems([f"{ATTESTATION}: {problem}"])
    if not keys:
        note = f"signer unknown: signed with the key {signer.keyid}; give a public key to trust with --key"
        return replace(found, signature="signer_unknown").with_note(note)
    if signer.raw not in {key.raw for key in keys}:
        wrong = f"{ATTESTATION}: signed with the key {signer.keyid}, which is none of those given"
        return replace(found, signature="untrusted").with_problems([wrong])
    return replace(found, signature="trusted").with_note(f"signed with the key {signer.keyid}, which was given")


def _envelope_problem(folder: Path, content: bytes, signer: PublicKey) -> str | None:
    try:
        written = read_file(folder, ATTESTATION, 2 * MAX_JSON)
        value = json_values(written)
        if canonical(value) != written:
            return "is not in canonical form"
        return check_envelope(value, content, signer)
    except Unreadable as error:
        return str(error)
    except (ValueError, RecursionError) as error:
        return one_line(f"cannot be read ({error})", 200)


def _chain(found: Verification, folder: Path, statement: Statement, reports: Path | None) -> Verification:
    if statement.previous is None:
        return found.with_note("chain: the first run of its name")
    places = [folder.parent, *([reports / statement.name] if reports is not None else [])]
    followed = follow(statement.previous, statement.run_id, places)
    found = found.with_problems(followed.problems)
    if followed.problems:
        return found
    count = f"{followed.fitting:,} run{'' if followed.fitting == 1 else 's'} before this one fit"
    if not followed.note:
        return found.with_note(f"chain: {count}, back to the first")
    return found.with_note(f"chain: {f'{count}; ' if followed.fitting else ''}{followed.note}")
