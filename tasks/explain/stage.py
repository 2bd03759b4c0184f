"""The stage: settings judged, a technique run over the sampled rows, its tables written.

    explain            one technique of an audit → `attributions/<technique>` or `saliency/<technique>`
    join_importance    what all of them found → `importance`

Techniques run side by side, and `importance` is one table: each leaves its part in the run's folder (`.parts/`), and
the parts are joined, in the registry's order, when all have ended.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from configs.schema import AuditConfig
from tasks.contracts import TABLES, Done, NotApplicable, TableRef
from tasks.errors import ConfigError, nearest
from tasks.explain.attributions import rows_of_part, write_attributions
from tasks.explain.base import Effects, Importance, Modality, Prepared, Problem, Settings, Technique
from tasks.explain.parts import Local, local
from tasks.explain.saliency import images_of_part, write_saliency
from tasks.persist import Workspace
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.load import Subject

KEY = "explain.techniques"
PARTS = ".parts"


# ---------------------------------------------------------------- what is planned


def _registry() -> tuple[Technique, ...]:
    from tasks.explain import TECHNIQUES  # the package's table is made of the techniques; this module comes after

    return TECHNIQUES


def planned(config: AuditConfig, modality: Modality) -> list[str]:
    """Names of the techniques of an audit, in the registry's order.

    Those the config names, whether they fit or not (one that does not says so, and comes last); else all for the
    modality.
    """
    named = config.explain.techniques
    own = [t.name for t in _registry() if t.modality == modality]
    if named is None:
        return own
    return [name for name in dict.fromkeys([*own, *(t.name for t in _registry())]) if name in named]


def check_techniques(config: AuditConfig) -> None:
    """Judges what the config says of techniques, without opening model or data.

    Raises:
        ConfigError: a technique, a key or a value is wrong.
    """
    hint: Modality = "image" if config.model.inputs == "image" or config.data.image is not None else "table"
    for name in config.explain.techniques or {}:
        of_name = [t for t in _registry() if t.name == name]
        if not of_name:
            known = list(dict.fromkeys(t.name for t in _registry()))
            raise ConfigError(f"unknown technique {name}", where=KEY, available=known, hint=nearest(name, known))
        fitting = [t for t in of_name if t.modality == hint] or of_name
        settings_of(config, fitting[0])


def settings_of(config: AuditConfig, technique: Technique) -> Settings:
    """A technique's settings: its block of the config, its defaults for the rest.

    Raises:
        ConfigError: a key or a value is wrong, or not for the task.
    """
    block = (config.explain.techniques or {}).get(technique.name) or {}
    try:
        settings = technique.settings.model_validate(block)
    except ValidationError as error:
        raise _told(error, technique) from error
    wrong = technique.misfit(config.model.task, settings)
    if wrong is not None:
        raise ConfigError(wrong, where=f"{KEY}.{technique.name}")
    return settings


def _told(error: ValidationError, technique: Technique) -> ConfigError:
    """The first of pydantic's errors in our words; an unknown key before all, since it explains a missing one."""
    problems = error.errors(include_url=False, include_context=False)
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    place = ".".join(str(part) for part in first["loc"][:1])
    if first["type"] == "extra_forbidden":
        known = list(technique.settings.model_fields)
        return ConfigError(
            f"unknown key {place}", where=f"{KEY}.{technique.name}", available=known, hint=nearest(place, known)
        )
    arms = [problem["msg"] for problem in problems if problem["loc"][:1] == first["loc"][:1]]
    said = dict.fromkeys(arm.removeprefix("Input ").removeprefix("Value error, ") for arm in arms)
    return ConfigError(f"{' or '.join(said)}, not {first['input']!r}", where=f"{KEY}.{technique.name}.{place}")


# ---------------------------------------------------------------- running one


def explain(name: str, config: AuditConfig, workspace: Workspace, watch: Watch) -> Done | NotApplicable:
    """Runs a technique over the audit's rows and writes its tables.

    Raises:
        ConfigError: a setting is wrong, or does not fit the data.
        OutputError: the model returned NaN or infinity.
        StorageError, Stopped, DeadlinePassed.
    """
    asked = asked_for(name, config)
    if isinstance(asked, NotApplicable):
        return asked
    technique, settings, subject, problem = asked.technique, asked.settings, asked.subject, asked.problem
    watch.advance(0)
    prepared = technique.prepare(problem, settings, watch)
    if isinstance(prepared, Importance):
        result = _whole(technique, problem, prepared, workspace)
    elif isinstance(prepared, Effects):
        result = _shape(technique, subject, problem, prepared, workspace)
    else:
        watch.expect(len(problem.rows))
        write = _attributions if problem.modality == "table" else _saliency
        work = local(technique, settings, subject, problem, prepared.explain, workspace, watch, part=asked.part)
        with work as found:
            result = write(found, subject, prepared, workspace, watch)
    facts = {
        "technique": technique.name,
        "title": technique.title,
        "source": technique.source,
        "modality": technique.modality,
        "scope": technique.scope,
        "settings": settings.model_dump(mode="json"),
        **result.facts,
    }
    left = _left(workspace, name)
    return Done(f"explain/{name}", result.tables, result.images, (), result.limitations, facts, parts=left)


@dataclass(frozen=True)
class Asked:
    """A technique that fits, and what it is asked about.

    Attributes:
        part: rows of a part at the least, of a local technique.
    """

    technique: Technique
    settings: Settings
    subject: Subject
    problem: Problem

    @property
    def part(self) -> int:
        return (rows_of_part if self.problem.modality == "table" else images_of_part)(self.problem)


def asked_for(name: str, config: AuditConfig) -> Asked | NotApplicable:
    """Opens model and data and has a look whether a technique fits them.

    Raises:
        ConfigError: a setting is wrong, or does not fit the data; what opening raises.
    """
    from tasks.explain import technique_of
    from tasks.explain.problem import problem_of
    from tasks.load import open_subject

    subject = open_subject(config)
    stage = f"explain/{name}"
    technique = technique_of(name, subject.modality)
    if technique is None:
        others = [t for t in _registry() if t.name == name]
        if not others:
            known = list(dict.fromkeys(t.name for t in _registry()))
            raise ConfigError(f"unknown technique {name}", where=KEY, available=known, hint=nearest(name, known))
        takes = {"table": "a table", "image": "images"}
        for_, given = takes[others[0].modality], takes[subject.modality]
        return NotApplicable(
            stage, "modality", f"{others[0].title} is for models that take {for_}; this one takes {given}"
        )
    settings = settings_of(config, technique)
    problem = problem_of(subject)
    reason = technique.unfit(problem, settings)
    if reason is not None:
        if getattr(settings, "estimator", "auto") != "auto":  # what was asked for by name is not silently left out
            raise ConfigError(f"asked for, but {reason}", where=f"{KEY}.{name}.estimator", hint="or leave it at auto")
        return NotApplicable(stage, "unfit", f"{technique.title}: {reason}")
    return Asked(technique, settings, subject, problem)


@dataclass(frozen=True)
class _Written:
    tables: tuple[TableRef, ...]
    facts: dict[str, Any]
    limitations: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


def _whole(technique: Technique, problem: Problem, found: Importance, workspace: Workspace) -> _Written:
    part = importance_rows(technique.name, [player.name for player in problem.players], found)
    _leave_part(workspace, technique.name, part)
    facts = {"rows": int(found.n_rows.max()), "evaluations": found.evaluations, "measured": found.score, **found.facts}
    return _Written((), facts, found.limitations)


def _shape(technique: Technique, subject: Subject, problem: Problem, found: Effects, workspace: Workspace) -> _Written:
    """Writes `effects/<technique>`; a curve of a single row gets the row's id in the place of its number."""
    table = found.table
    if "row_id" in table.column_names:
        places = pa.array(problem.positions).take(table["row_id"].combine_chunks())
        table = table.set_column(table.column_names.index("row_id"), "row_id", subject.row_id.take(places))
    with workspace.table_writer(f"effects/{technique.name}", subject.row_id.type) as writer:
        writer.write(table)
    assert writer.ref is not None
    facts = {"rows": len(problem.rows), "output": problem.kind, "evaluations": found.evaluations, **found.facts}
    return _Written((writer.ref,), facts, (*problem.limitations, *found.limitations))


def _attributions(local: Local, subject: Subject, prepared: Prepared, workspace: Workspace, watch: Watch) -> _Written:
    """Writes `attributions/<technique>` as its parts come, and the technique's part of `importance`."""
    assert subject.encoder is not None
    problem, name = local.problem, local.technique.name
    written = write_attributions(local, subject.encoder, workspace, watch)
    names = [player.name for player in problem.players]
    _leave_part(workspace, name, importance_rows(name, names, written.importance))
    facts = {
        "rows": len(problem.rows),
        "outputs": list(written.outputs),
        "output": problem.kind,
        "evaluations": prepared.evaluations + written.evaluations,
        "quality": written.quality,
        "interval": "95 % over rows (normal)",
        **prepared.facts,
    }
    return _Written((written.table,), facts, (*problem.limitations, *prepared.limitations, *written.limitations))


def _saliency(local: Local, subject: Subject, prepared: Prepared, workspace: Workspace, watch: Watch) -> _Written:
    """Writes `saliency/<technique>` and the overlays of the rows that the report may show."""
    config, problem = subject.config, local.problem
    # Who may not see the column of the images may not see them under a map either.
    show = 0 if config.data.image in config.report.rows.redact else config.report.rows.show
    written = write_saliency(local.technique.name, problem, local.ids, local.parts(watch), workspace, show=show)
    facts = {
        "rows": len(problem.rows),
        "outputs": list(written.outputs),
        "evaluations": prepared.evaluations + written.evaluations,
        **prepared.facts,
        **written.facts,
    }
    said = (*problem.limitations, *prepared.limitations, *written.limitations)
    return _Written((written.table,), facts, said, written.images)


# ---------------------------------------------------------------- importance


def importance_rows(technique: str, features: Sequence[str], found: Importance) -> pa.Table:
    """Rows of `importance`: output by output, feature by feature; the largest has rank 1, equals rank as they stand."""
    parts = []
    for k, output in enumerate(found.outputs):
        values = found.values[k]
        rank = np.empty(len(values), np.int64)
        rank[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
        parts.append(
            pa.table(
                {
                    "technique": pa.array([technique] * len(values)),
                    "output": pa.array([output] * len(values), pa.string()),
                    "feature": pa.array(list(features), pa.string()),
                    "importance": values,
                    **{
                        name: pa.array(getattr(found, name)[k], pa.float64(), from_pandas=True)
                        for name in ("std_error", "ci_low", "ci_high")
                    },
                    "rank": rank,
                    "n_rows": np.full(len(values), found.n_rows[k], np.int64),
                }
            )
        )
    return pa.concat_tables(parts) if parts else TABLES["importance"].empty_table()


def _part(technique: str) -> str:
    """Where a technique leaves its lines of `importance`, in the run's folder."""
    return f"{PARTS}/importance-{technique}.arrow"


def _left(workspace: Workspace, technique: str) -> tuple[str, ...]:
    return (_part(technique),) if (workspace.folder / _part(technique)).is_file() else ()


def _leave_part(workspace: Workspace, technique: str, part: pa.Table) -> None:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, part.schema) as writer:
        writer.write_table(part)
    workspace.write_bytes(_part(technique), sink.getvalue())


def join_importance(workspace: Workspace, results: Sequence[Done]) -> TableRef | None:
    """Writes `importance` from the parts that the techniques left.

    Args:
        results: of the techniques that finished; the parts of others are dropped.

    Returns:
        The table, empty where no technique gives an importance; None where no technique finished.

    Raises:
        StorageError: the table cannot be written.
    """
    if not results:
        return None
    finished = {result.stage.partition("/")[2] for result in results}
    parts = [TABLES["importance"].empty_table()]
    for name in dict.fromkeys(technique.name for technique in _registry()):
        path = workspace.folder / _part(name)
        if name in finished and path.is_file():
            parts.append(pa.ipc.open_file(path.read_bytes()).read_all())
    return workspace.write_table("importance", pa.concat_tables(parts))


def drop_parts(workspace: Workspace) -> None:
    """Removes what the techniques left for `join_importance`."""
    shutil.rmtree(workspace.folder / PARTS, ignore_errors=True)
