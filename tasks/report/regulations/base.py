"""What a regulation pack gives back: controls with a status by rule, and tables. A pack is one file with a `PACK`.

A control's status is never better than its evidence: without evidence nothing is satisfied, and what only a person can
state is `human_required` until `report.attestations` states it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from configs.blocks import Block as Settings
from tasks.contracts import MISSING, Verdict
from tasks.report.document import Block, Document

if TYPE_CHECKING:
    from tasks.report.reading import Reading

#: the law is described as of this day
AS_OF = "2026-11-22"
#: P: read in the text · S: secondary sources · M: memory
SourceClass = Literal["P", "S", "M"]
#: statements by which a person says that it is not so
_DENIALS = frozenset({"no", "false"})


@dataclass(frozen=True)
class Pointer:
    """Evidence with its digest.

    Attributes:
        table: a table of the run; of kind input, what the manifest calls an input, such as `policy`.
    """

    table: str
    sha256: str
    kind: Literal["table", "input"] = "table"


@dataclass(frozen=True)
class Control:
    """A clause, what it asks, and how this run stands to it.

    Attributes:
        id: stable: programs match on it.
        clause: as cited.
        ask: what it asks, in our own words.
        status: by a rule written in code.
        rationale: why that status, with the numbers it rests on; may hold names from the data.
        evidence: the tables and inputs that show it.
        attestation: key under report.attestations that a person fills in, where one is needed.
        source: where the clause was read, if elsewhere than the pack's source.
        legal_status: of the clause, where it differs from the pack's.
        stated: what a person stated on `attestation`.
        has_limit: whether a threshold decides: a control without one cannot be passed, only have its evidence.

    Raises:
        ValueError: satisfied, and nothing shows it: neither evidence nor what a person stated.
    """

    id: str
    clause: str
    ask: str
    status: Verdict
    rationale: str
    evidence: tuple[Pointer, ...] = ()
    attestation: str | None = None
    source: SourceClass = "P"
    legal_status: str | None = None
    stated: Attestation | None = None
    has_limit: bool = False

    def __post_init__(self) -> None:
        if self.status == "satisfied" and not self.evidence and self.stated is None:
            raise ValueError(f"{self.id}: satisfied without evidence")


@dataclass(frozen=True)
class Findings:
    """What a pack's rules came to: its controls, tables for the report, and pages of their own beside it.

    Attributes:
        pages: (file in the run's folder, what is in it), written as HTML.
    """

    controls: tuple[Control, ...]
    blocks: tuple[Block, ...] = ()
    pages: tuple[tuple[str, Document], ...] = ()


@dataclass(frozen=True)
class Pack:
    """A regulation.

    Attributes:
        id: its name in the config.
        judge: the rules: from what the run holds to controls.
        settings: what the config may say under report.settings.<id>; None: nothing.
    """

    id: str
    title: str
    legal_status: str
    source: SourceClass
    judge: Callable[[Reading], Findings]
    as_of: str = AS_OF
    settings: type[Settings] | None = None


@dataclass(frozen=True)
class Judged:
    """A pack with its outcome."""

    id: str
    title: str
    legal_status: str
    source: SourceClass
    as_of: str
    controls: tuple[Control, ...]
    blocks: tuple[Block, ...]
    pages: tuple[tuple[str, Document], ...] = ()


@dataclass(frozen=True)
class Category:
    """A group as laws count it: people assessed, and people selected.

    Attributes:
        too_few: fewer people than bias.min_group_size.
    """

    group: str
    n: int
    selected: int
    too_few: bool

    @property
    def rate(self) -> Fraction:
        return Fraction(self.selected, self.n) if self.n else Fraction(0)


@dataclass(frozen=True)
class Categories:
    """All categories of an attribute; people whose category is not known stand apart.

    Attributes:
        known: with at least one person, in the table's order.
        unknown: people in a category that is not known: left out of every calculation, and counted.
        problem: why the counts cannot be used; None where they can.
    """

    attribute: str
    known: tuple[Category, ...] = ()
    unknown: int = 0
    problem: str | None = None

    @property
    def total(self) -> int:
        return sum(c.n for c in self.known)

    def highest(self, *, enough: bool = False) -> Category | None:
        """The category with the highest rate, the first of equals; with `enough`, of those large enough if any is."""
        pool = [c for c in self.known if not c.too_few] if enough else []
        pool = pool or list(self.known)
        return max(pool, key=lambda c: c.rate) if pool else None


def categories(
    reading: Reading, attribute: str, metric: str = "selection_rate", output: str | None = None
) -> Categories:
    """The counts of a rate for each category of an attribute, from `group_metrics`.

    Args:
        output: the class that is counted; None: the declared favourable outcome.
    """
    rows = [
        r
        for r in reading.group_metrics
        if r["attribute"] == attribute and r["metric"] == metric and r["output"] == output and r["group"] is not None
    ]
    if not rows:
        return Categories(attribute, problem=f"the run holds no {metric.replace('_', ' ')} for {attribute}")
    if reading.config.data.weight is not None:
        return Categories(attribute, problem="the counts are sums of weights, and the rule counts people")
    declared = declared_unknown(reading, attribute)
    known, unknown = [], 0
    for row in rows:
        n, selected = round(row["denominator"] or 0), round(row["numerator"] or 0)
        if row["group"] in declared or is_unknown(row["group"]):
            unknown += n
        elif n:
            too_few = n < reading.config.bias.min_group_size
            known.append(Category(row["group"], n, selected, too_few))
    problem = None if known else f"no row of {attribute} has a known category"
    return Categories(attribute, tuple(known), unknown, problem)


def declared_unknown(reading: Reading, attribute: str) -> set[str]:
    """Groups whose values the config declares to say that a group is not known."""
    told: dict = next((a for a in reading.record.fact("bias", "attributes", []) if a.get("attribute") == attribute), {})
    return {one["group"] for one in told.get("unknown", [])}


def is_unknown(group: str) -> bool:
    """Whether a group, or a part of a crossing, is that of missing values."""
    return MISSING in group.split(" × ")


def pointers(reading: Reading, *tables: str) -> tuple[Pointer, ...]:
    """Those of the tables that the run holds."""
    found = (reading.artifact(table) for table in tables)
    return tuple(Pointer(a.name, a.sha256) for a in found if a is not None)


def inputs(reading: Reading, *names: str) -> tuple[Pointer, ...]:
    """Those of the inputs that the run recorded, such as `policy` or `data`."""
    recorded = dict(reading.record.inputs)
    return tuple(Pointer(name, recorded[name], "input") for name in names if name in recorded)


_Settings = TypeVar("_Settings", bound=Settings)


def settings_of(reading: Reading, pack: str, kind: type[_Settings]) -> _Settings:
    """What the config sets for a pack; checked before the run."""
    return kind.model_validate(reading.config.report.settings.get(pack) or {})


@dataclass(frozen=True)
class Attestation:
    """What a person stated in report.attestations."""

    topic: str
    statement: str
    denied: bool = False
    who: str | None = None
    role: str | None = None
    date: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)


def attestations(stated: Mapping[str, Any]) -> tuple[Attestation, ...]:
    """What the config attests; a plain value is a statement, a mapping may say who, in what role and when."""
    found = []
    for topic, value in stated.items():
        parts = dict(value) if isinstance(value, Mapping) else {"statement": value}
        statement = parts.pop("statement", parts.pop("value", None))
        if statement is None or not str(statement).strip():
            continue
        signed = {key: str(parts.pop(key)) for key in ("who", "role", "date") if parts.get(key) is not None}
        more = {str(k): str(v) for k, v in parts.items()}
        text = ("yes" if statement else "no") if isinstance(statement, bool) else str(statement)
        # In a config `no` is text, and means it.
        denied = text.strip(" .!").casefold() in _DENIALS
        found.append(Attestation(str(topic), text, denied, more=more, **signed))
    return tuple(found)


def attested(
    reading: Reading, id: str, clause: str, ask: str, topic: str, wanted: str, source: SourceClass = "P"
) -> Control:
    """A control that only a person can answer: satisfied once attested, not satisfied where the person says no."""
    stated = next((a for a in attestations(reading.config.report.attestations) if a.topic == topic), None)
    if stated is None:
        why = f"{wanted} Only a person can state this, under report.attestations.{topic}."
        return Control(id, clause, ask, "human_required", why, attestation=topic, source=source)
    signed = ", ".join(part for part in (stated.who, stated.role, stated.date) if part)
    signed = f" {'by' if stated.who or stated.role else 'on'} {signed}" if signed else ""
    why = f"Attested{signed}: {stated.statement.rstrip(' .')}. Not checked by this audit."
    return Control(
        id,
        clause,
        ask,
        "not_satisfied" if stated.denied else "satisfied",
        why,
        attestation=topic,
        source=source,
        stated=stated,
    )
