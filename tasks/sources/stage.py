"""The stage: proxies of sensitive attributes and the worst slices, from the predictions and the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from configs.schema import AuditConfig
from tasks.bias import Attribute, Evidence, Settings, attributes_of, evidence_of, sensitive_columns
from tasks.contracts import Done, NotApplicable
from tasks.sources import proxies, slices
from tasks.sources.confirm import Confirmed, confirm
from tasks.sources.features import Part, coded_attribute, coded_feature
from tasks.sources.outcomes import Question, questions_of
from tasks.sources.proxies import Found, proxies_of
from tasks.sources.summary import proxy_facts, proxy_findings, slice_facts, slice_findings
from tasks.sources.tables import table_of
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.load import Subject
    from tasks.persist import Workspace

#: rows, drawn at random, that the stage looks at
MOST_ROWS = 200_000
#: of a slice: bins of a number, values of a feature's category, groups of an attribute
BINS, VALUES, GROUPS = 5, 10, 30


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows that the stage looks at.

    Attributes:
        chosen: (m,) positions among the predictions' rows, rising.
        attributes: the single ones, of all of the predictions' rows.
        columns: of the attributes.
    """

    evidence: Evidence
    chosen: np.ndarray
    attributes: list[Attribute]
    columns: list[str]

    @property
    def weight(self) -> np.ndarray | None:
        return None if self.evidence.weight is None else self.evidence.weight[self.chosen]


def trace_sources(config: AuditConfig, workspace: Workspace, watch: Watch) -> Done | NotApplicable:
    """Writes `proxies` (no rows for images, which have no features) and `slices`.

    Returns:
        Done, with facts `rows`, `of_rows`, `proxies` and `slices`. NotApplicable where no sensitive attribute is
        declared.

    Raises:
        ConfigError, DataRefused: a sensitive column or a weight cannot be used.
        Incomplete: the predictions do not fit the data.
        StorageError, Stopped, DeadlinePassed: as the workspace and the watch say.
    """
    if not config.data.sensitive:
        return NotApplicable("sources", "no_attributes", "No sensitive attribute is declared.")
    from tasks.load import open_subject

    subject = open_subject(config)
    rows = _rows(config, workspace, subject)
    tried = _proxies(config, subject, rows, watch)
    questions = questions_of(rows.evidence, rows.chosen)
    parts = _slice_parts(subject, rows)
    found, confirmed, half = _slices(config, parts, questions, rows, watch)
    return Done(
        stage="sources",
        tables=(
            workspace.write_table("proxies", table_of("proxies", [row for one in tried for row in one.rows])),
            workspace.write_table("slices", table_of("slices", confirmed)),
        ),
        findings=(*proxy_findings(tried), *slice_findings(confirmed, questions)),
        limitations=tuple(_limitations(rows, tried, found)),
        facts={
            "rows": len(rows.chosen),
            "of_rows": rows.evidence.rows,
            "proxies": proxy_facts(tried),
            "slices": slice_facts(found, confirmed, parts, questions, half),
        },
    )


def _rows(config: AuditConfig, workspace: Workspace, subject: Subject) -> _Rows:
    evidence = evidence_of(config, workspace.table_path("predictions"), subject.data)
    keys = list(config.data.sensitive)
    columns = [config.data.sensitive[key].column for key in keys]
    table = sensitive_columns(config, subject.data, evidence.position)
    attributes = [attribute for attribute in attributes_of(config, table) if attribute.name in keys]
    chosen = np.arange(evidence.rows)
    if evidence.rows > MOST_ROWS:
        generator = np.random.default_rng([config.explain.seed, 0])
        chosen = np.sort(generator.choice(evidence.rows, MOST_ROWS, replace=False))
    return _Rows(evidence, chosen, attributes, columns)


def _features(subject: Subject, rows: _Rows, *, bins: int, most: int) -> list[Part]:
    """The features in codes; none of an image model."""
    from tasks.load import forget

    place = rows.evidence.position[rows.chosen]
    found = []
    for j, feature in enumerate(subject.features):
        found.append(coded_feature(feature, subject.rows[place, j], bins=bins, most=most))
        forget(subject.rows)
    return found


def _proxies(config: AuditConfig, subject: Subject, rows: _Rows, watch: Watch) -> list[Found]:
    bins = int(np.clip(len(rows.chosen) // proxies.ROWS_A_BIN, 2, proxies.BINS))
    features = _features(subject, rows, bins=bins, most=proxies.VALUES)
    if not features:
        return []
    watch.expect(len(rows.attributes) * (len(features) + 1))
    settings = Settings(config.bias.confidence, config.bias.min_group_size, seed=config.explain.seed)
    found = []
    for attribute, column in zip(rows.attributes, rows.columns, strict=True):
        groups = coded_attribute(attribute, column, rows.chosen, most=len(attribute.groups))
        found.append(proxies_of(groups, features, rows.weight, settings, watch.advance))
    return found


def _slice_parts(subject: Subject, rows: _Rows) -> list[Part]:
    """Attributes, and those features that are no attribute's column, as far as they part the rows at all.

    Redacted features are left out: what a slice is called names their values.
    """
    attributes = [
        coded_attribute(attribute, column, rows.chosen, most=GROUPS)
        for attribute, column in zip(rows.attributes, rows.columns, strict=True)
    ]
    features = _features(subject, rows, bins=BINS, most=VALUES)
    left_out = {*rows.columns, *subject.config.report.rows.redact}
    parts = [*attributes, *(feature for feature in features if feature.column not in left_out)]
    return [part for part in parts if part.size > 1]


def _slices(
    config: AuditConfig, parts: Sequence[Part], questions: Sequence[Question], rows: _Rows, watch: Watch
) -> tuple[slices.Search, list[Confirmed], tuple[int, int]]:
    """What was searched, what was confirmed, and how many rows each half has."""
    searched, unseen = slices.halves(len(rows.chosen), [config.explain.seed, 4])
    if not (parts and questions and len(searched)):
        return slices.Search(), [], (len(searched), len(unseen))
    watch.expect(sum(slices.planned(len(parts), len(searched)).values()) + 1)
    least = config.bias.min_group_size
    found = slices.search(parts, questions, rows.weight, searched, least, watch.advance)
    confirmed = confirm(found.kept, parts, questions, rows.weight, unseen, least, config.bias.confidence)
    watch.advance()
    return found, confirmed, (len(searched), len(unseen))


def _limitations(rows: _Rows, tried: Sequence[Found], found: slices.Search) -> list[str]:
    told: list[str] = []
    m, n = len(rows.chosen), rows.evidence.rows
    if m < n:
        told.append(f"Proxies and slices are looked for in {m:,} of the {n:,} rows, a simple random sample.")
    sampled = [one for one in tried if one.joint_rows == proxies.MOST_ROWS and m > proxies.MOST_ROWS]
    if sampled:
        told.append(
            f"How well all features together tell a group is measured on {proxies.MOST_ROWS:,} rows,"
            " a simple random sample."
        )
    crowded = [one.attribute for one in tried if one.left_out]
    if crowded:
        told.append(
            f"{', '.join(crowded)}: proxies are told of the {proxies.MOST_GROUPS} largest groups that are known."
        )
    short = [depth for depth, count in found.crossings.items() if count < found.possible[depth]]
    if short:
        counted = " and ".join(
            f"{found.crossings[depth]:,} of {found.possible[depth]:,} crossings of {depth}" for depth in short
        )
        told.append(f"Slices were searched in {counted} parts, those that told most by themselves and in fewer parts.")
    if found.kept:
        told.append(
            "A slice that fares worse says where to look, and not why: features that a decision may rest on make"
            " slices too."
        )
    return told
