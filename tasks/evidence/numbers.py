"""Whether the numbers of a report are those of its tables.

A report is made again from config.yaml, record.json and the tables, and compared byte for byte: that needs the program
and the libraries that made it. With others, the values of summary.json are held against the tables, and that is said.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import AuditError, one_line
from tasks.evidence.config_text import config_text
from tasks.evidence.opening import MAX_TEXT, Unreadable, json_values, read_file
from tasks.evidence.provenance import code_digest
from tasks.evidence.record import RECORD, read_record
from tasks.evidence.values import value_problems
from tasks.persist import Workspace, values_digest

if TYPE_CHECKING:
    from configs.schema import AuditConfig
    from tasks.evidence.statement import Statement
    from tasks.report import RunRecord

#: libraries that make the forms of a report: another version may write the same numbers in other bytes
RENDERERS = (
    "keras-audit", "jinja2", "markupsafe", "matplotlib", "numpy", "pillow", "pyarrow", "scipy", "typst",
)  # fmt: skip
#: files at the top of a run that no form of the report is
_NO_FORMS = frozenset({"config.yaml", RECORD})
CONFIG = "config.yaml"
_MAX_DEPTH = 40  # of blocks in blocks of a config


@dataclass(frozen=True)
class Numbers:
    """What was found: a sentence on what was compared, or a line for whatever differs."""

    problems: tuple[str, ...] = ()
    note: str = ""


def check_numbers(folder: Path, statement: Statement) -> Numbers:
    """Makes the report again, or holds its summary against the tables.

    Args:
        folder: a run whose files all have the digests of its manifest.
        statement: the manifest.
    """
    try:
        record = read_record(folder)
    except (Unreadable, ValueError) as error:
        return Numbers((f"{RECORD}: {one_line(error, 200)}",))
    try:
        values = _config_values(folder)
    except (Unreadable, ValueError, RecursionError) as error:
        return Numbers((f"{CONFIG}: {one_line(error, 200)}",))
    wrong = (*_record_problems(record, statement), *_config_problems(values, statement))
    if wrong:
        return Numbers(wrong)
    why = _why_not_again(record)
    if why is None:
        return _as_made(folder, values, record, statement)
    return _held_against(folder, record, statement, f"the forms of the report were not made again ({why})")


def _as_made(folder: Path, values: Any, record: RunRecord, statement: Statement) -> Numbers:
    """The report of the program and the libraries that are here."""
    from configs.schema import AuditConfig

    try:
        config = AuditConfig.model_validate(values)
    except ValueError as error:
        return Numbers((f"{CONFIG}: is not the config of an audit ({one_line(error, 200)})",))
    why = _not_in_the_run(config)
    if why is not None:
        return _held_against(folder, record, statement, f"the forms of the report were not made again ({why})")
    return _made_again(folder, config, record, statement)


def _held_against(folder: Path, record: RunRecord, statement: Statement, why: str) -> Numbers:
    problems = value_problems(folder, record, statement)
    return Numbers(problems, "" if problems else f"{why}; the values of summary.json are those of the tables")


def _record_problems(record: RunRecord, statement: Statement) -> tuple[str, ...]:
    """What of the record is not what the manifest says."""
    found = []
    if record.run_id != statement.run_id:
        found.append(f"{RECORD}: is of another run, {one_line(record.run_id, 60)}")
    if dict(record.inputs) != statement.inputs:
        found.append(f"{RECORD}: its inputs are not those of manifest.json")
    for table in (t for done in record.done for t in done.tables):
        name = f"artifacts/{table.name}.parquet"
        if statement.files.get(name) != table.sha256:
            found.append(f"{one_line(name, 200)}: is not the table that its stage wrote, by {RECORD}")
    return tuple(found)


def _why_not_again(record: RunRecord) -> str | None:
    """Why the forms cannot be expected to have the same bytes here; None where they can."""
    if dict(record.inputs).get("code") != code_digest():
        return "made by another version of keras-audit"
    for name in RENDERERS:
        try:
            here = version(name)
        except PackageNotFoundError:
            here = "unknown"
        made = str(record.environment.get(name))
        if made != here:
            return f"made with {name} {one_line(made, 40)}, here is {here}"
    here, made = platform.python_version(), str(record.environment.get("python"))
    if made.split(".")[:2] != here.split(".")[:2]:
        return f"made with Python {one_line(made, 40)}, here is {here}"
    made = str(record.environment.get("machine"))
    return None if made == platform.machine() else f"made on {one_line(made, 40)}, here is {platform.machine()}"


def _config_values(folder: Path) -> Any:
    """config.yaml's values.

    Raises:
        Unreadable: it cannot be read.
        ValueError: it is nothing that keras-audit writes: a comment or a key given twice would tell people of another
            config than the one that is read.
    """
    import yaml

    content = read_file(folder, CONFIG, MAX_TEXT)
    text, depth = content.decode("utf-8"), 0
    try:
        for event in yaml.parse(text, yaml.SafeLoader):  # event by event: depth costs more than length
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH or isinstance(event, yaml.AliasEvent):
                raise ValueError("nested too deep, or with aliases: not written by keras-audit")
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError("not valid YAML") from error
    if not isinstance(values, dict) or config_text(values) != content:
        raise ValueError("not written by keras-audit: its values in other words, comments, or keys given twice")
    return values


def _config_problems(values: Any, statement: Statement) -> tuple[str, ...]:
    """What of the config is not what the manifest says: whatever version wrote it, it holds every key."""
    if not isinstance(values, dict) or values.get("name") != statement.name:
        return (f"{CONFIG}: is of another audit",)
    try:
        policy = values_digest(values.get("policy"))
    except (TypeError, ValueError):  # dates, bytes, half characters: YAML has more than keras-audit writes
        policy = None
    if policy is None or policy != statement.inputs.get("policy"):
        return (f"{CONFIG}: its policy is not the one whose digest was recorded",)
    return ()


def _not_in_the_run(config: AuditConfig) -> str | None:
    """What the report was made of beside the run's folder, from which nothing is read here."""
    return "packs of the user's own are not in the run" if config.report.packs else None


def _made_again(folder: Path, config: AuditConfig, record: RunRecord, statement: Statement) -> Numbers:
    from tasks.report import report_files

    try:
        files, _, unmade = report_files(config, Workspace(folder, record.run_id), record)
    except AuditError as error:
        return Numbers((f"the report cannot be made again: {error}",))
    except Exception as error:  # noqa: BLE001  # a record and tables that anybody may have written
        told = one_line(f"{type(error).__name__}: {error}", 200)
        return Numbers((f"the report cannot be made again from the record and the tables: {told}",))
    then = _unmade(folder)
    if then != {failed.stage for failed in unmade}:
        parts = ", ".join(sorted(one_line(stage, 60) for stage in then)) or "nothing"
        why = f"the forms of the report were not compared ({parts} could not be made then, here it is otherwise)"
        return _held_against(folder, record, statement, why)
    return _compared(folder, files, statement)


def _unmade(folder: Path) -> set[str]:
    """Parts of the report that could not be made when it was, as summary.json says."""
    try:
        summary = json_values(read_file(folder, "summary.json"))
        return {m["stage"] for m in summary["run"]["missing"] if str(m["stage"]).startswith("report/")}
    except (Unreadable, ValueError, KeyError, TypeError):
        return set()


def _compared(folder: Path, files: Mapping[str, bytes], statement: Statement) -> Numbers:
    """The forms as they were made again, against those in the folder."""
    problems = []
    for name, content in files.items():
        if name not in statement.files:
            problems.append(f"{name}: is missing, and the report has it when it is made again")
            continue
        try:
            same = read_file(folder, name, max(len(content), 1)) == content
        except Unreadable:
            same = False
        if not same:
            problems.append(f"{name}: differs from what the record and the tables give")
    known = {*files, *_NO_FORMS}
    problems += [
        f"{one_line(name, 200)}: is no part of the report when it is made again"
        for name in statement.files
        if name not in known and not name.startswith("artifacts/")
    ]
    made = ", ".join(files)
    return Numbers(tuple(problems), "" if problems else f"made again from the tables, equal byte for byte: {made}")
