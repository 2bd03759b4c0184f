"""`keras-audit verify --replay`: the audit once more from what a run recorded, and every value held against it.

The run itself is only read. What is made lies in a folder of its own under TMPDIR, and goes when the comparison ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from configs.schema import AuditConfig
from flows.places import passing_folder
from tasks.errors import AuditError, Stopped, one_line
from tasks.evidence import LOOSE, SIGNING_KEY, compare_runs
from tasks.watch import Report, Say

#: inputs that are not what is audited, but what audits: another one is another environment
_PROGRAM = frozenset({"code", "packages"})
#: inputs that need not be as recorded: config.yaml names version and digest of the model where the user's own config
#: may not, and a lock file says what may be installed, not what is
_FREE = _PROGRAM | {"config", "lock"}


@dataclass(frozen=True)
class Replayed:
    """What an audit that was run again came to.

    Attributes:
        problems: a line each, the first of them and how many more there are: an input that is not the recorded one
            (then nothing is run), an audit that cannot be run again, values that differ.
        notes: how closely floats were compared, and what was not compared.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def replay(folder: Path, report: Report, *, say: Say | None = None, debug: bool = False) -> Replayed:
    """Runs the audit of a run again and compares every value.

    Floats are equal bit for bit where code, Python, packages and machine are those that the run recorded, else within
    `LOOSE`; counts, decisions and texts are exact. Images are compared in the same environment only.

    Args:
        folder: a run; nothing in it is changed, and nothing beside it.
        report, say: as `run_audit` calls them.

    Raises:
        Stopped: the user stopped it.
    """
    try:
        # Its own copy: what is run is what was looked at.
        content = (folder / "config.yaml").read_bytes()
        recorded = _inputs_of(folder)
        environment = _environment_of(folder)
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        told = one_line(f"{type(error).__name__}: {error}", 200)
        return Replayed((f"the run does not say what it was made from ({told})",))
    with passing_folder("keras-audit-replay-") as place:
        config = place / "config.yaml"
        config.write_bytes(content)
        try:
            problems = _changed_inputs(config, recorded)
            if problems:
                return Replayed(problems)
            made = _run_again(config, place / "reports", report, say, debug)
        except Stopped:
            raise
        except AuditError as error:
            return Replayed((f"cannot be run again: {one_line(str(error).replace(f'{place}/', ''))}",))
        return _compared(folder, made, recorded, environment)


def _run_again(config: Path, reports: Path, report: Report, say: Say | None, debug: bool) -> Path:
    from flows.local import run_audit

    with _unsigned():
        outcome = run_audit(str(config), (), reports, report, say=say, debug=debug, passing=True)
    return Path(outcome.folder)


@contextmanager
def _unsigned() -> Iterator[None]:
    """Without the key that runs are signed with: nobody vouches for what is thrown away."""
    key = os.environ.pop(SIGNING_KEY, None)
    try:
        yield
    finally:
        if key is not None:
            os.environ[SIGNING_KEY] = key


def _compared(folder: Path, made: Path, recorded: Mapping[str, str], environment: Mapping[str, str]) -> Replayed:
    here = _environment_of(made)
    same = here == environment
    differences = compare_runs(folder, made, None if same else LOOSE)
    for name, digest in _inputs_of(made).items():  # those that are known only after a run
        if recorded.get(name) != digest and name not in _FREE:
            differences.first(_differing(name, recorded.get(name), digest))
    if same:
        closeness = "floats were compared bit for bit: the environment is the recorded one"
    else:
        closeness = f"floats were compared to 1e-6 of their size: another environment ({_changes(environment, here)})"
    return Replayed(differences.lines, (closeness, *differences.notes))


# ---------------------------------------------------------------- what the run recorded


def _inputs_of(folder: Path) -> dict[str, str]:
    """Name → SHA-256 of what a run read, by its manifest."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    found = manifest["predicate"]["configuration"]
    return {str(one["name"]): str(one["digest"]["sha256"]) for one in found}


def _environment_of(folder: Path) -> dict[str, str]:
    """What the bits of a run may depend on, by name: Python, libraries, code, packages, machine."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    environment = dict(summary["run"]["environment"])
    found = {**environment.pop("libraries"), **environment, **manifest["predicate"]["annotations"]["hardware"]}
    program = {name: _short(digest) for name, digest in _inputs_of(folder).items() if name in _PROGRAM}
    return {str(name): str(value) for name, value in {**found, **program}.items()}


def _changes(recorded: Mapping[str, str], here: Mapping[str, str]) -> str:
    """`numpy 2.4.6, here 2.5.0`, of the first few that differ."""
    keys = [key for key in sorted(recorded.keys() | here.keys()) if recorded.get(key) != here.get(key)]
    told = [f"{key} {recorded.get(key, 'unknown')}, here {here.get(key, 'unknown')}" for key in keys[:3]]
    return one_line("; ".join([*told, *([f"{len(keys) - 3} more"] if len(keys) > 3 else [])]), 300)


def _changed_inputs(config: Path, recorded: Mapping[str, str]) -> tuple[str, ...]:
    """A line for each input that is not the recorded one.

    Raises:
        ConfigError: config.yaml is no config.
    """
    from flows.preflight import checked_config
    from tasks.load import INPUTS

    checked = checked_config(str(config))
    told = (_changed_input(checked, name, recorded[name]) for name in INPUTS if name in recorded)
    return tuple(line for line in told if line is not None)


def _changed_input(config: AuditConfig, name: str, recorded: str) -> str | None:
    from tasks.load import input_digest

    try:
        found = input_digest(config, name)
    except AuditError as error:
        return f"{name}: recorded {_short(recorded)}, not found: {error}"
    return None if found == recorded else _differing(name, recorded, found)


def _differing(name: str, recorded: str | None, found: str | None) -> str:
    was, now = ("none" if digest is None else _short(digest) for digest in (recorded, found))
    return f"{one_line(name)}: recorded {was}, found {now}"


def _short(digest: str) -> str:
    return f"{one_line(digest[:12])}…"
