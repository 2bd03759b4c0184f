"""What the report is read from: the tables of the run, the record, the config. Nothing else, and nothing twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.schema import CROSSING, AuditConfig
from tasks.contracts import Done, Failed, Finding, NotApplicable
from tasks.errors import StorageError
from tasks.persist import Workspace, file_digest
from tasks.report.document import Section
from tasks.report.record import RunRecord

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
#: stage → what it is called in a sentence
STAGE_TITLES = {
    "load_model": "loading the model",
    "load_data": "loading the data",
    "validate": "the data gate",
    "predict": "predicting every row",
    "bias": "the comparison of groups",
    "policy": "the judgement of the policy",
    "agreement": "the comparison of techniques",
    "drift": "the measurement of drift",
    "reasons": "the statement of reasons",
    "sources": "the search for where disparities come from",
    "advice": "the trial of other thresholds",
}
TECHNIQUE_TITLES = {
    "permutation": "Permutation importance",
    "shap": "SHAP",
    "lime": "LIME",
    "partial_dependence": "Partial dependence",
    "ale": "Accumulated local effects",
    "interactions": "Interactions",
    "gradcam": "Grad-CAM",
    "random": "Random attribution",
}
#: codes of findings whose sentence begins with a technique
_OF_TECHNIQUE = ("no_better_than_random", "unchanged_by_randomisation", "misses_known_regions")


@dataclass(frozen=True)
class Artifact:
    """A table or image of the run.

    Attributes:
        name: of a table as in the contract, of an image its file name.
        path: in the run's folder.
        rows: of a table.
    """

    kind: str
    name: str
    path: str
    sha256: str
    bytes: int
    rows: int | None = None


@dataclass(frozen=True)
class Reading:
    """A run, opened for reading."""

    config: AuditConfig
    workspace: Workspace
    record: RunRecord

    @cached_property
    def made(self) -> dict[str, Section]:
        """Sections that were made of this reading, by name."""
        return {}

    # ------------------------------------------------------------ tables

    @cached_property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Every table and image under artifacts/, by path, with its digest.

        Raises:
            StorageError: a table that a stage wrote is gone, or is not what the stage wrote.
        """
        found = []
        folder = self.workspace.artifacts
        files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        promised = {f"{t.name}.parquet": t.sha256 for done in self.record.done for t in done.tables}
        for inner, path in sorted(files.items()):
            if any(part.startswith(".") for part in inner.split("/")):  # another writer's unfinished file
                continue
            digest, size, where = file_digest(path), path.stat().st_size, f"artifacts/{inner}"
            if promised.pop(inner, digest) != digest:
                raise StorageError("has changed since it was written", where=where, code="table_changed")
            if path.suffix == ".parquet":
                found.append(Artifact("table", inner.removesuffix(".parquet"), where, digest, size, _rows_of(path)))
            else:
                found.append(Artifact("image", inner, where, digest, size))
        for lost in promised:
            raise StorageError("is gone", where=f"artifacts/{lost}", code="table_changed")
        return tuple(found)

    def artifact(self, name: str) -> Artifact | None:
        """A table by its name."""
        return next((a for a in self.artifacts if a.kind == "table" and a.name == name), None)

    def tables(self, family: str) -> tuple[str, ...]:
        """Names of a family's tables, as `attributions/shap`, in the order the techniques were planned."""
        names = [a.name for a in self.artifacts if a.kind == "table" and a.name.startswith(f"{family}/")]
        planned = [t.name for done in self.record.done for t in done.tables]
        return tuple(sorted(names, key=lambda n: (planned.index(n) if n in planned else len(planned), n)))

    def table(self, name: str, **options: Any) -> pa.Table | None:
        """A table, or None where the run has none; options as of pyarrow.parquet.read_table."""
        if self.artifact(name) is None:
            return None
        import pyarrow.parquet as pq

        return pq.read_table(self.workspace.table_path(name), **options)

    def rows(self, name: str) -> list[Row]:
        """A small table as rows; empty where the run has none."""
        table = self.table(name)
        return [] if table is None else table.to_pylist()

    @cached_property
    def group_metrics(self) -> list[Row]:
        """Metrics of groups and of all rows (attribute null); those of single features are left to the table."""
        return self._measured("group_metrics")

    @cached_property
    def disparities(self) -> list[Row]:
        """Comparisons of groups, those of single features left out."""
        return self._measured("disparities")

    def gaps_of(self, metric: str) -> list[Row]:
        """Comparisons of single features or techniques in a metric, which `disparities` leaves out."""
        import pyarrow.compute as pc

        single = pc.field("feature").is_valid() | pc.field("technique").is_valid()
        table = self.table("disparities", filters=single & (pc.field("metric") == metric))
        return [] if table is None else table.to_pylist()

    def _measured(self, name: str) -> list[Row]:
        import pyarrow.compute as pc

        plain = pc.field("feature").is_null() & pc.field("technique").is_null()
        table = self.table(name, filters=plain)
        return [] if table is None else table.to_pylist()

    @cached_property
    def decided(self) -> dict[str, int]:
        """Class → how many rows are decided for it."""
        table = self.table("predictions", columns=["row_id", "decision"])
        if table is None:
            return {}
        import pyarrow.compute as pc

        counted = pc.value_counts(table.group_by("row_id").aggregate([("decision", "min")]).column("decision_min"))
        return {c["values"]: c["counts"] for c in counted.to_pylist() if c["values"] is not None}

    @cached_property
    def importance(self) -> list[Row]:
        return self.rows("importance")

    # ------------------------------------------------------------ config and record

    @property
    def title(self) -> str:
        return self.config.title or self.config.name

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Sensitive attributes and crossings by their names in the tables, as declared."""
        return tuple(CROSSING.join(keys) for keys in self.config.data.attributes)

    @cached_property
    def favorable(self) -> tuple[str, ...]:
        """The favourable outcomes as the classes name them; as the config does, where no prediction was made."""
        return tuple(self.record.fact("predict", "favorable", self.config.favorable))

    @cached_property
    def positive(self) -> tuple[str, ...]:
        """The positive outcomes, likewise."""
        return tuple(self.record.fact("predict", "positive", self.config.positive))

    @property
    def checks(self) -> list[Mapping[str, Any]]:
        """The policy's checks as judged; empty where they were not."""
        return list(self.record.fact("policy", "checks", []))

    @cached_property
    def missing(self) -> tuple[Failed, ...]:
        """What was planned and is not there."""
        return self.record.failed

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """Why the data was refused."""
        told = tuple(self.record.fact("validate", "reasons", ()))
        return told or tuple(f.reason for f in self.record.failed if f.exit_code == 3)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Of all stages, the worst first, otherwise in the order of the stages."""
        order = ("critical", "warning", "info")
        found = [
            Finding(f.severity, f.code, f.text, f.evidence, f.stage or done.stage)
            for done in self.record.done
            for f in done.findings
        ]
        return tuple(sorted(dict.fromkeys(found), key=lambda f: order.index(f.severity)))

    @cached_property
    def limitations(self) -> tuple[tuple[str, str], ...]:
        """(stage, sentence) of all stages, each sentence once."""
        found: dict[str, str] = {}
        for done in self.record.done:
            for sentence in done.limitations:
                found.setdefault(sentence, done.stage)
        return tuple((stage, sentence) for sentence, stage in found.items())

    def why_absent(self, stage: str) -> str:
        """One sentence: why a stage has left nothing to show."""
        match self.record.result(stage):
            case Failed(reason=reason, code="not_reached"):
                return f"{upper_first(self.stage_title(stage))} was {_lower(_stopped(reason))}."
            case Failed(reason=reason):
                return f"{upper_first(self.stage_title(stage))} failed: {_stopped(reason)}."
            case NotApplicable(reason=reason):
                return f"Not applicable: {_stopped(_lower(reason))}."
            case Done():
                return f"{upper_first(self.stage_title(stage))} ended without a result to show."
            case _:
                return f"{upper_first(self.stage_title(stage))} was not planned in this audit."

    def stage_title(self, stage: str) -> str:
        """A stage's name in a sentence."""
        if stage.startswith("explain/"):
            return f"explaining with {self.technique(stage.removeprefix('explain/'))}"
        if stage.startswith("report/"):
            return f"making the report's {stage.removeprefix('report/').replace('_', ' ')}"
        return STAGE_TITLES.get(stage, stage.replace("_", " "))

    def technique(self, name: str) -> str:
        """What a technique is called: as it says itself, else as it is known."""
        known = TECHNIQUE_TITLES.get(name, name.replace("_", " "))
        return str(self.record.fact(f"explain/{name}", "title", known))

    def with_titles(self, finding: Finding) -> str:
        """A finding's sentence; one about techniques calls them as the report does, not by their ids."""
        if finding.code in _OF_TECHNIQUE:
            id, space, rest = finding.text.partition(" ")
            return f"{self.technique(id)}{space}{rest}"
        if finding.code == "features_carry_disparity":
            known = re.search(r", by (\w+)(?=: attribution)", finding.text)
            if known is None:
                return finding.text
            return f"{finding.text[: known.start(1)]}{self.technique(known[1])}{finding.text[known.end(1) :]}"
        if finding.code != "techniques_disagree":
            return finding.text
        start = re.match(r"(\w+) and (\w+)(?= disagree)", finding.text)
        if start is None:
            return finding.text
        first, second = start.groups()
        rest = finding.text[start.end() :]
        # `(rank 2.5 by lime, 8.7 by shap)`: ids elsewhere may be names of features.
        for id in (first, second):
            rest = re.sub(rf"((?:\(rank|,) [\d.]+ by ){id}(?=[,)])", rf"\g<1>{_literal(self.technique(id))}", rest)
        return f"{self.technique(first)} and {self.technique(second)}{rest}"

    @property
    def rows_audited(self) -> int | None:
        return (self.record.fact("load_data", "data", {}) or {}).get("rows")


def _rows_of(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path).num_rows
    except pa.ArrowException as error:
        raise StorageError("is no Parquet table", where=str(path), code="table_changed") from error


def _literal(text: str) -> str:
    """Text in the place of a pattern's match: its backslashes mean nothing."""
    return text.replace("\\", "\\\\")


def upper_first(text: str) -> str:
    """A sentence's beginning; the rest keeps its capitals."""
    return text[:1].upper() + text[1:]


def _stopped(text: str) -> str:
    """Without its full stop: another one follows."""
    return text.rstrip().removesuffix(".")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
