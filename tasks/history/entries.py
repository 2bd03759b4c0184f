"""What a run came to, in a few values of its summary.json.

A summary is a file that anybody may have changed since: nothing outside the run is followed, nothing blocks, nothing
has no end, and every value is looked at before it is used. A run whose summary cannot be read is an entry that says so.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from tasks.contracts import AuditVerdict, Verdict
from tasks.errors import UsageError, nearest, one_line
from tasks.history.known import Known
from tasks.persist import runs

#: bytes of a summary that is read: a real one has one to five million
MAX_BYTES = 32 << 20
#: checks of a policy that are kept, and characters of a text
MOST_CHECKS, LONGEST = 100, 300
SUMMARY, SIGNATURE = "summary.json", "attestation.json"
#: files of a run that a reader may want to open
FILES = ("report.html", "report.pdf", "report.md", SUMMARY, SIGNATURE)
_VERDICTS, _CHECK_VERDICTS = get_args(AuditVerdict), get_args(Verdict)


@dataclass(frozen=True)
class CheckEntry:
    """A check of the policy at one run.

    Attributes:
        group, min, max: as declared: the check is the same check at another run where metric, attribute, group,
            technique and feature are the same.
        value: None where it was undefined.
    """

    metric: str
    verdict: str
    attribute: str | None = None
    group: str | None = None
    technique: str | None = None
    feature: str | None = None
    min: float | None = None
    max: float | None = None
    value: float | None = None

    @property
    def key(self) -> tuple[str | None, ...]:
        return (self.metric, self.attribute, self.group, self.technique, self.feature)


@dataclass(frozen=True)
class Entry:
    """A published run.

    Attributes:
        name, run_id: its folder is `name/run_id` under the reports folder.
        verdict: of the audit; None where the summary cannot be read.
        problem: why it cannot be; empty where it can.
        generated_at: ISO 8601.
        rows: of the audited data.
        missing: how much of what was planned is missing.
        files: those of FILES that are there.
    """

    name: str
    run_id: str
    verdict: str | None = None
    problem: str = ""
    title: str = ""
    generated_at: str = ""
    model_version: str | None = None
    model_sha256: str | None = None
    rows: int | None = None
    missing: int = 0
    checks: tuple[CheckEntry, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        return f"{self.name}/{self.run_id}"

    @property
    def signed(self) -> bool:
        """Whether a signature lies in the run; `keras-audit verify` says what it is worth."""
        return SIGNATURE in self.files

    @property
    def failed(self) -> tuple[CheckEntry, ...]:
        """Checks that are not satisfied, the judged ones before those without enough data."""
        return tuple(
            c for verdict in ("not_satisfied", "insufficient_data") for c in self.checks if c.verdict == verdict
        )


def entries(reports: Path, name: str | None = None, known: Known | None = None) -> list[Entry]:
    """Every published run, the newest last.

    Args:
        name: of one audit; None: all of them.
        known: what was read before; what is read now is added to it.

    Raises:
        UsageError: the reports folder cannot be read.
    """
    known = Known() if known is None else known
    found = [_entry(folder, known) for folder in runs(reports, name)]
    return sorted(found, key=lambda entry: (entry.run_id, entry.name))


def listed(reports: Path, name: str | None = None) -> list[Entry]:
    """What `keras-audit list` shows: as `entries`, with what the index has read before.

    Raises:
        UsageError: the reports folder cannot be read, or holds no run of that name.
    """
    found = entries(reports, name, Known.of(reports))
    if name is None or found:
        return found
    names = sorted({folder.parent.name for folder in runs(reports)})
    if not names:
        return []
    raise UsageError(f"no run of {name}", where=str(reports), available=names, hint=nearest(name, names))


def _entry(folder: Path, known: Known) -> Entry:
    name, run_id = folder.parent.name, folder.name
    files = tuple(file for file in FILES if _is_file(folder / file))
    try:
        digest = known.key(folder)
        brief = known.get(f"{name}/{run_id}", digest)
        if brief is None:
            brief = _brief(_read(folder / SUMMARY))
        found = _of_brief(name, run_id, brief, files)
    except (OSError, ValueError, MemoryError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Entry(name, run_id, problem=one_line(why or type(error).__name__, 200), files=files)
    known.put(f"{name}/{run_id}", digest, brief)
    return found


# ---------------------------------------------------------------- reading


def _is_file(path: Path) -> bool:
    """Whether it is a file in its own right: links are not followed."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def _read(path: Path) -> Mapping[str, Any]:
    """A summary's values.

    Raises:
        OSError, ValueError: it is no file in its own right, too large, no JSON, or no object.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as stream:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError(f"{path.name} is no file")
        if about.st_size > MAX_BYTES:
            raise ValueError(f"{path.name} has {about.st_size:,} bytes; up to {MAX_BYTES:,} are read")
        content = stream.read(MAX_BYTES + 1)
    from pydantic_core import from_json  # twice as fast as json, and a thousand files are read

    try:
        values = from_json(content)
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} is no object")
    return values


# ---------------------------------------------------------------- from a summary to its brief, and to an entry


def _brief(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The values that an entry is made of, as JSON; none of them is trusted yet."""
    checks, declared = _at(summary, "policy", "checks"), _at(summary, "policy", "declared")
    kept = []
    for place, check in enumerate(checks[:MOST_CHECKS] if isinstance(checks, list) else ()):
        own = check if isinstance(check, dict) else {}
        asked = declared[place] if isinstance(declared, list) and place < len(declared) else None
        asked = asked if isinstance(asked, dict) else {}
        # The group of a judged check is the worst one, unless the policy names one.
        kept.append({key: own.get(key) for key in ("metric", "attribute", "verdict", "value", "min", "max")})
        kept[-1] |= {key: asked.get(key) for key in ("group", "technique", "feature")}
    missing = _at(summary, "run", "missing")
    return {
        "report_id": summary.get("report_id"),
        "verdict": summary.get("verdict"),
        "generated_at": summary.get("generated_at"),
        "title": _at(summary, "subject", "title"),
        "model_version": _at(summary, "subject", "model", "version"),
        "model_sha256": _at(summary, "subject", "model", "sha256"),
        "rows": _at(summary, "data", 0, "rows"),
        "missing": len(missing) if isinstance(missing, list) else 0,
        "checks": kept,
    }


def _of_brief(name: str, run_id: str, brief: Mapping[str, Any], files: tuple[str, ...]) -> Entry:
    """An entry, each value looked at.

    Raises:
        ValueError: it has no verdict, or is of another run.
    """
    verdict = brief.get("verdict")
    if not isinstance(verdict, str) or verdict not in _VERDICTS:
        raise ValueError("summary.json has no verdict")
    if brief.get("report_id") != run_id:
        raise ValueError("summary.json is of another run")
    rows, missing, checks = _whole(brief.get("rows")), _whole(brief.get("missing")), brief.get("checks")
    version = brief.get("model_version")
    return Entry(
        name=name,
        run_id=run_id,
        verdict=verdict,
        title=_text(brief.get("title")) or "",
        generated_at=_text(brief.get("generated_at")) or "",
        model_version=None if version is None or isinstance(version, dict | list) else one_line(version, 40),
        model_sha256=_text(brief.get("model_sha256")),
        rows=rows,
        missing=missing or 0,
        checks=tuple(_checks(checks if isinstance(checks, list) else [])),
        files=files,
    )


def _checks(values: list[Any]) -> Iterator[CheckEntry]:
    for value in values[:MOST_CHECKS]:
        if not isinstance(value, dict):
            continue
        metric, verdict = _text(value.get("metric")), value.get("verdict")
        if not metric or not isinstance(verdict, str) or verdict not in _CHECK_VERDICTS:
            continue
        attribute, group, technique, feature = (
            _text(value.get(key)) for key in ("attribute", "group", "technique", "feature")
        )
        low, high, reached = (_number(value.get(key)) for key in ("min", "max", "value"))
        yield CheckEntry(metric, verdict, attribute, group, technique, feature, low, high, reached)


def _at(value: Any, *keys: str | int) -> Any:
    """A value deep in a summary, or None where it is not there."""
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _text(value: Any) -> str | None:
    return one_line(value, LONGEST) if isinstance(value, str) and value.strip() else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def as_json(entry: Entry) -> dict[str, Any]:
    """An entry for programs: what `keras-audit list --json` prints of a run."""
    return {
        "run": entry.run,
        "report_id": entry.run_id if entry.verdict else None,
        "verdict": entry.verdict,
        "generated_at": entry.generated_at or None,
        "problem": entry.problem or None,
        "model": {"version": entry.model_version, "sha256": entry.model_sha256},
        "rows": entry.rows,
        "missing": entry.missing,
        "signed": entry.signed,
        "checks": [asdict(check) for check in entry.checks],
    }
