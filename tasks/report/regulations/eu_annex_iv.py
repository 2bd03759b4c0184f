"""Annex IV of the EU AI Act: a control for each point that an audit touches, and the index to this report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.report.document import Column, Content, Span, Table, code, line, link, status
from tasks.report.regulations.base import Control
from tasks.report.regulations.evidenced import (
    Ruling,
    bias_examined,
    named,
    performance,
    performance_by_group,
    some,
    stated,
    together,
)
from tasks.report.regulations.evidenced_data import data_identified, drift_measured, gate_passed, identified
from tasks.report.regulations.evidenced_explanations import explained

if TYPE_CHECKING:
    from tasks.report.reading import Reading

_DIGEST = 12  # characters of a digest


@dataclass(frozen=True)
class _Point:
    """A point of the annex.

    Attributes:
        asks: in our own words.
        sections: anchors that every report has, with their titles.
        topic: key under report.attestations for what a run cannot know.
        wanted: what is not recorded, as a sentence.
        ruling: what the run has to say to it.
    """

    number: str
    asks: str
    sections: tuple[tuple[str, str], ...]
    topic: str
    wanted: str
    ruling: Callable[[Reading], Ruling] | None = None


_EXAMINED, _RECORD = ("examined", "What was examined"), ("run_record", "Run record")
_PERFORMANCE, _GROUPS = ("performance", "Performance"), ("groups", "Groups")
_EXPLANATIONS, _GATE, _DRIFT = ("explanations", "Explanations"), ("gate", "The data gate"), ("drift", "Drift")
_METHOD, _LIMITS, _EVIDENCE = ("method", "Method"), ("limits", "Limits"), ("evidence", "Evidence")

POINTS = (
    _Point(
        "1(a)", "Purpose, maker, date and version of the system.", (_EXAMINED,),
        "intended_use", "Purpose and maker are not recorded.", identified,
    ),
    _Point(
        "1(c)", "Versions of the software that it needs.", (_RECORD,),
        "software", "The run record tells the audit’s libraries; those of the system in use are not recorded.",
    ),
    _Point(
        "2(b)", "Logic and design choices, and what is optimised.", (_EXPLANATIONS,),
        "design", "Choices and their reasons are not recorded.", explained,
    ),
    _Point(
        "2(c)", "Architecture, and the computing that went into it.", (_EXAMINED,),
        "architecture", "What the system consists of, and what it was built with, is not recorded.",
    ),
    _Point(
        "2(d)", "Data sheets: origin, selection, labelling, cleaning.", (_EXAMINED, _GATE),
        "data_source", "Origin and selection are not recorded.",
        lambda reading: together(data_identified(reading), gate_passed(reading)),
    ),
    _Point(
        "2(e)", "Oversight by people, and aids to interpretation.", (_EXPLANATIONS,),
        "human_oversight", "Measures of oversight are not recorded.", explained,
    ),
    _Point(
        "2(g)", "Validation and tests: data, metrics, discriminatory effects; reports dated and signed.",
        (_PERFORMANCE, _GROUPS, _METHOD, _EVIDENCE),
        "test_signature", "Who answers for the tests is not recorded.",
        lambda reading: together(performance(reading), bias_examined(reading)),
    ),
    _Point(
        "3", "Capabilities and limits, also by group; foreseeable risks.", (_PERFORMANCE, _GROUPS, _LIMITS),
        "known_risks", "Foreseeable risks are not recorded.", performance_by_group,
    ),
    _Point(
        "4", "Why the metrics of performance fit the system.", (_METHOD, _PERFORMANCE),
        "metrics_choice", "Why these metrics were chosen is not recorded.", performance,
    ),
    _Point(
        "6", "Changes over the system’s lifetime.", (_DRIFT,), "changes", "Changes to the system are not recorded.",
    ),
    _Point(
        "9", "Monitoring after placing on the market, with its plan.", (_DRIFT,),
        "monitoring_plan", "The plan is not recorded.", drift_measured,
    ),
)  # fmt: skip


def points(reading: Reading) -> tuple[Control, ...]:
    """A control a point, in the order of the annex."""
    return tuple(
        stated(
            reading, f"eu-annex-iv-{_slug(p.number)}", f"Annex IV {p.number}", p.asks, p.topic, p.wanted,
            beside=None if p.ruling is None else p.ruling(reading),
        )
        for p in POINTS
    )  # fmt: skip


def documented(found: Sequence[Control]) -> Ruling:
    """Of the points, how many are supplied, which lack evidence and which want a person's word."""
    lacking = [c.clause.partition("IV ")[2] for c in found if c.status in ("insufficient_data", "not_satisfied")]
    wanted = [c.clause.partition("IV ")[2] for c in found if c.status == "human_required"]
    here = len(found) - len(lacking) - len(wanted)
    why = f"Of {len(found)} points in the index below, {some(here, 'is', 'are')} supplied"
    why += f"; {some(len(lacking), 'lacks', 'lack')} evidence ({named(lacking)})" if lacking else ""
    why += f"; {some(len(wanted), 'is', 'are')} for people to supply ({named(wanted)})" if wanted else ""
    tables = ("validation", "group_metrics", "disparities", "importance")
    if lacking:
        return Ruling("insufficient_data", f"{why}.", tables)
    return Ruling("human_required" if wanted else "satisfied", f"{why}.", tables)


def index(found: Sequence[Control]) -> Table:
    """Which point stands where in this report, by which evidence, and what is to be supplied."""
    columns = (
        Column("Point", weight=0.5),
        Column("What it asks", weight=1.8),
        Column("In this report", weight=1.2),
        Column("Evidence", weight=1.4),
        Column("State", weight=1.3),
    )
    rows = tuple(
        (line(p.number), line(p.asks), _sections(p), _evidence(c), _state(c))
        for p, c in zip(POINTS, found, strict=True)
    )
    text = "Only points that an audit touches are listed. Topics are keys under report.attestations."
    return Table("annex-iv", "Index of Annex IV, technical documentation", columns, rows, line(text))


def _slug(number: str) -> str:
    return number.replace("(", "-").replace(")", "")


def _sections(point: _Point) -> Content:
    parts = [part for anchor, title in point.sections for part in (link(title, f"#{anchor}"), ", ")]
    return line(*parts[:-1])


def _evidence(found: Control) -> Content:
    parts: list[str | Span] = []
    for pointer in found.evidence:
        path = f"artifacts/{pointer.table}.parquet"
        parts += [link(pointer.table, path), " ", code(pointer.sha256[:_DIGEST]), ", "]
    return line(*parts[:-1]) if parts else line("none")


def _state(found: Control) -> Content:
    if found.status == "satisfied":
        return (status("satisfied", "supplied"),)
    if found.status == "human_required":
        return line(status("human_required", "to be supplied"), " ", code(found.attestation))
    return line(status(found.status), " ", code(found.attestation))
