"""Glossary: the words that this report uses."""

from __future__ import annotations

from tasks.report.document import Column, Section, Table, code, line, strong
from tasks.report.reading import Reading
from tasks.report.words import METRICS, TERMS


def glossary(reading: Reading) -> Section:
    used = {r["metric"] for r in (*reading.group_metrics, *reading.disparities)} | {
        c.metric for c in reading.config.policy
    }
    terms = [
        ((strong(word),), line(meaning)) for word, meaning in sorted(TERMS.items(), key=lambda item: item[0].lower())
    ]
    sections = [
        Section(
            "terms",
            "Words",
            (Table("glossary-terms", "Words of this report", _columns("Word"), tuple(terms)),),
        )
    ]
    metrics = [(m.label, key, m.meaning) for key, m in METRICS.items() if key in used]
    if metrics:
        rows = tuple(
            ((strong(label),), (code(key),), line(meaning))
            for label, key, meaning in sorted(metrics, key=lambda m: m[0].lower())
        )
        columns = (
            Column("Metric", weight=1.3),
            Column("In the tables", weight=1.5),
            Column("Meaning", weight=3),
        )
        sections.append(
            Section("metrics", "Metrics", (Table("glossary-metrics", "Metrics of this report", columns, rows),))
        )
    return Section("glossary", "Glossary", sections=tuple(sections))


def _columns(first: str) -> tuple[Column, ...]:
    return Column(first), Column("Meaning", weight=3)
