"""Whether the techniques agree with each other, and how good their explanations are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.report.document import (
    Block,
    Bullets,
    Callout,
    Column,
    Content,
    Paragraph,
    Section,
    Table,
    aside,
    line,
    muted,
    name,
    num,
    said,
    status,
)
from tasks.report.numbers import interval, number
from tasks.report.reading import Reading, Row
from tasks.report.sections.shared import TOP, dash, left_out, top
from tasks.report.words import measure_label

#: measures shown first
_FIRST = ("spearman", "feature_agreement", "sign_agreement", "ssim")
#: measures of whole importances, not of single rows, begin so
_OF_IMPORTANCE = "importance_"
_UNDECIDED = (
    "The agreement of an output is over all explained pictures, those included that are decided for another class."
    " Where nothing in a picture speaks for a class, its maps hold little but noise: agreement is low by nature. The"
    " classes that are decided most often come first."
)
_MEASURES = 5  # columns of measures; the others are in the table


def agreement(reading: Reading) -> Section:
    """A row a pair of techniques and output, a column a measure."""
    title = "Whether the techniques agree"
    rows = reading.rows("agreement")
    if not rows:
        return Section("agreement", title, (Paragraph((said(reading.why_absent("agreement")),)),))
    text = (
        "An explanation that other techniques contradict is weaker evidence. Values near 1 mean agreement, near 0"
        " chance."
    )
    whole = [r for r in rows if r["measure"].startswith(_OF_IMPORTANCE)]
    rows = [r for r in rows if not r["measure"].startswith(_OF_IMPORTANCE)]
    blocks: list[Block] = [Paragraph(line(text))]
    if reading.tables("saliency"):
        blocks.append(Paragraph(line(_UNDECIDED)))
    told = [f for f in reading.findings if f.code == "techniques_disagree"]
    if told:
        blocks.append(Bullets(tuple((said(reading.with_titles(f)),) for f in told[:TOP])))
    if rows:
        blocks.append(_table(reading, "agreement-table", "Agreement between techniques", rows))
    if whole:
        blocks.append(_table(reading, "agreement-importance", "Agreement between importances", whole))
    return Section("agreement", title, tuple(blocks))


def _table(reading: Reading, id: str, caption: str, rows: Sequence[Row]) -> Table:
    """A row a pair of techniques and output, a column a measure; pairs without any of the columns are left out."""
    asked = dict.fromkeys((r["measure"], r["k"]) for r in rows)
    measures = sorted(asked, key=lambda m: _FIRST.index(m[0]) if m[0] in _FIRST else len(_FIRST))
    columned = measures[:_MEASURES]
    found = {(r["technique_a"], r["technique_b"], r["output"], r["measure"], r["k"]): r for r in rows}
    pairs = dict.fromkeys((r["technique_a"], r["technique_b"], r["output"]) for r in rows)
    often = reading.decided
    # Steady: the pairs keep their order, within a pair the outputs that are most often decided for come first.
    places = {pair: place for place, pair in enumerate(dict.fromkeys(p[:2] for p in pairs))}
    ordered = sorted(
        (p for p in pairs if any((*p, *m) in found for m in columned)),
        key=lambda p: (places[p[:2]], -often.get(p[2], 0)) if len(often) > 2 else (places[p[:2]], 0),
    )
    shown, more = top(ordered)
    columns = (
        Column("Techniques", weight=1.4),
        Column("Output"),
        *(Column(measure_label(m) + (f", top {k}" if k is not None else "")) for m, k in columned),
    )
    cells = tuple(
        (
            line(f"{reading.technique(a)} and {reading.technique(b)}"),
            (name(output),) if output is not None else line("all"),
            *(_value(found.get((a, b, output, m, k))) for m, k in columned),
        )
        for a, b, output in shown
    )
    hidden = [*left_out(more, "comparisons")]
    if len(measures) > _MEASURES:
        others = ", ".join(dict.fromkeys(measure_label(m) for m, _ in measures[_MEASURES:]))
        hidden += line(f"{' ' if hidden else ''}Also in the table: {others}.")
    return Table(id, caption, columns, cells, tuple(hidden), ("agreement",))


def _value(row: Row | None) -> Content:
    if row is None:
        return dash()
    if row["value"] is None:
        return (status("undefined"),)
    between = interval(row["ci_low"], row["ci_high"])
    return (num(number(row["value"])), *((aside(between),) if between != "–" else ()))


def quality(reading: Reading) -> Section | None:
    """A row a measure, a column a technique; None where nothing was measured."""
    rows = reading.rows("explanation_quality")
    if not rows:
        return None
    whole = {r["measure"] for r in rows if r["output"] is None}
    rows = [r for r in rows if r["output"] is None or r["measure"] not in whole]
    techniques = list(dict.fromkeys(r["technique"] for r in rows))
    found = {(r["measure"], r["output"], r["technique"]): r for r in rows}
    asked = list(dict.fromkeys((r["measure"], r["output"]) for r in rows))
    shown, more = top(asked)
    columns = (
        Column("Measure", weight=1.5),
        Column("Output"),
        Column("Better is", weight=0.8),
        *(Column(reading.technique(t)) for t in techniques),
    )
    cells = tuple(
        (
            line(measure_label(measure)),
            (name(output),) if output is not None else line("all"),
            line(_direction(found, measure, output, techniques)),
            *(_measured(found.get((measure, output, t))) for t in techniques),
        )
        for measure, output in shown
    )
    note = line("Values with their standard errors. ") + left_out(more, "measures")
    table = Table("quality-table", "Quality of the explanations", columns, cells, note, ("explanation_quality",))
    failing = [f for f in reading.findings if f.code == "no_better_than_random"]
    told: list[Block] = []
    if failing:
        told.append(Callout("No better than random", "bad", tuple((said(f.text),) for f in failing[:TOP])))
    text = "How faithful the explanations are to the model, measured on the model itself, beside a random attribution."
    return Section("quality", "How good the explanations are", (Paragraph(line(text)), *told, table))


def _direction(found: Mapping[tuple, Row], measure: str, output: str | None, techniques: Sequence[str]) -> str:
    rows = (found.get((measure, output, t)) for t in techniques)
    return next((r["direction"] for r in rows if r is not None and r["direction"]), "–")


def _measured(row: Row | None) -> Content:
    if row is None:
        return dash()
    state = row["status"] or "ok"
    if state != "ok" or row["value"] is None:
        return (status("undefined" if state == "ok" else state),)
    error = (muted(f" ± {number(row['std_error'])}"),) if row["std_error"] is not None else ()
    return (num(number(row["value"])), *error)
