"""The sections of the report, in reading order. One file each, each a function from a reading to a `Section`."""

from __future__ import annotations

from collections.abc import Callable

from tasks.report.document import Section
from tasks.report.reading import Reading
from tasks.report.sections.advice import advice
from tasks.report.sections.controls import controls
from tasks.report.sections.drift import drift
from tasks.report.sections.evidence import evidence
from tasks.report.sections.examined import examined
from tasks.report.sections.explanations import explanations
from tasks.report.sections.findings import findings
from tasks.report.sections.gate import gate
from tasks.report.sections.glossary import glossary
from tasks.report.sections.groups import groups
from tasks.report.sections.limits import limits
from tasks.report.sections.method import method
from tasks.report.sections.overview import overview
from tasks.report.sections.performance import performance
from tasks.report.sections.personal_data import personal_data
from tasks.report.sections.reasons import reasons
from tasks.report.sections.run_record import run_record
from tasks.report.sections.sources import sources

SECTIONS: tuple[Callable[[Reading], Section], ...] = (
    overview,
    examined,
    findings,
    performance,
    groups,
    sources,
    advice,
    explanations,
    reasons,
    gate,
    drift,
    controls,
    method,
    limits,
    glossary,
    personal_data,
    evidence,
    run_record,
)
