"""The bias stage's tables by what a check names, and their rows as the numbers that it is held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from configs.schema import PolicyCheck
from tasks.bias import EXPLAINED, Disparity, find

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


class Part(NamedTuple):
    """What a number is of beside its metric: nothing for the declared outcomes."""

    output: str | None = None
    feature: str | None = None
    technique: str | None = None


WHOLE = Part()


@dataclass(frozen=True)
class Tables:
    """group_metrics and disparities, without single classes, by what a check names.

    Attributes:
        metrics: (metric, attribute) → part → group → row.
        gaps: (comparison, attribute) → part → rows.
    """

    metrics: dict[tuple[str, str | None], dict[Part, dict[str | None, Row]]]
    gaps: dict[tuple[str, str | None], dict[Part, list[Row]]]

    @classmethod
    def of(cls, group_metrics: pa.Table, disparities: pa.Table, wanted: Iterable[str]) -> Tables:
        """Keeps what the wanted metrics, and those that they compare, need."""
        import pyarrow as pa
        import pyarrow.compute as pc

        names = {"count"}
        for name in wanted:
            entry = find(name)
            names |= {name, *(entry.bases if isinstance(entry, Disparity) else ())}
        plain, explained = (
            pa.array(sorted(some), pa.string()) for some in (names - set(EXPLAINED), names & set(EXPLAINED))
        )

        def rows(table: pa.Table) -> list[Row]:
            declared = pc.and_(table.column("output").is_null(), pc.is_in(table.column("metric"), plain))
            return table.filter(pc.or_(declared, pc.is_in(table.column("metric"), explained))).to_pylist()

        metrics: dict[tuple[str, str | None], dict[Part, dict[str | None, Row]]] = {}
        for row in rows(group_metrics):
            parts = metrics.setdefault((row["metric"], row["attribute"]), {})
            parts.setdefault(_part(row), {})[row["group"]] = row
        gaps: dict[tuple[str, str | None], dict[Part, list[Row]]] = {}
        for row in rows(disparities):
            gaps.setdefault((row["metric"], row["attribute"]), {}).setdefault(_part(row), []).append(row)
        return cls(metrics, gaps)

    def groups(self, metric: str, attribute: str | None, part: Part = WHOLE) -> dict[str | None, Row]:
        """Group → its row of a metric; empty where there is none."""
        return self.metrics.get((metric, attribute), {}).get(part, {})

    def parts(self, check: PolicyCheck) -> list[Part]:
        """The parts that a check is on: those of its technique and feature, where it names them, else all."""
        found = [
            *self.metrics.get((check.metric, check.attribute), {}),
            *self.gaps.get((check.metric, check.attribute), {}),
        ]
        return [
            part
            for part in found
            if check.technique in (None, part.technique) and check.feature in (None, part.feature)
        ]


def _part(row: Row) -> Part:
    return Part(row["output"], row["feature"], row["technique"])
