"""Whether the techniques agree with each other."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.report.document import (
    Block,
    Bullets,
    Column,
    Content,
    Paragraph,
    Section,
    Table,
    aside,
    line,
    name,
    num,
    said,
    status,
    strong,
)
from tasks.report.numbers import interval, number
from tasks.report.reading import Reading, Row, upper_first
from tasks.report.sections.shared import TOP, dash, joined, left_out, top
from tasks.report.words import AGREEMENTS, measure_label

#: measures shown first
_FIRST = ("spearman", "feature_agreement", "sign_agreement", "ssim")
#: measures of whole importances, not of single rows, begin so
OF_IMPORTANCE = "importance_"
_DECIDED = (
    "Compared is what the techniques say of the output that scores highest for each row among those explained. Where"
    " nothing speaks for a class, what is said of it is little but noise: agreement on those is low by nature, and is"
    " in the table alone."
)
_TEXT = "An explanation that other techniques contradict is weaker evidence."
_MEASURES = 5  # columns of measures; the others are in the table
_PAIRS = 6  # more pairs of techniques than these are shown as a matrix
_INTERVALS = 6  # with more techniques there is no room in it for intervals
#: matrices of rows' explanations, and of importances: those of these measures that there are, at most two
_MATRICES = (("spearman", None), ("ssim", None), ("feature_agreement", 3), ("sign_agreement", 3))
_IMPORTANCES = (("importance_spearman", None), ("importance_feature_agreement", 3))


def agreement(reading: Reading) -> Section:
    """Few pairs: a row a pair of techniques, a column a measure. Many: a matrix of techniques a measure."""
    title = "Whether the techniques agree"
    rows = reading.rows("agreement")
    if not rows:
        return Section("agreement", title, (Paragraph((said(reading.why_absent("agreement")),)),))
    whole = [r for r in rows if r["measure"].startswith(OF_IMPORTANCE)]
    rows = [r for r in rows if not r["measure"].startswith(OF_IMPORTANCE)]
    decided = any(r["output"] is None for r in rows)
    if decided:
        rows = [r for r in rows if r["output"] is None]
    blocks: list[Block] = [Paragraph(line(_TEXT, _extremes(reading, rows)))]
    if decided:
        blocks.append(Paragraph(line(_DECIDED)))
    told = [f for f in reading.findings if f.code in ("techniques_disagree", "more_techniques_disagree")]
    if told:
        blocks.append(Bullets(tuple((said(reading.with_titles(f)),) for f in told[:TOP])))
    for id, caption, part, measures in (
        ("table", "Agreement between techniques", rows, _MATRICES),
        ("importance", "Agreement between importances", whole, _IMPORTANCES),
    ):
        if len({(r["technique_a"], r["technique_b"]) for r in part}) > _PAIRS:
            blocks += _matrices(reading, id, caption, part, measures)
        elif part:
            blocks.append(_table(reading, f"agreement-{id}", caption, part))
    return Section("agreement", title, (*blocks, *_meanings(blocks)))


def _extremes(reading: Reading, rows: Sequence[Row]) -> str:
    """Which pairs are most and least alike, where there are several."""
    found: dict[tuple[str, str], list[float]] = {}
    for r in rows:
        if r["measure"] == "spearman" and r["value"] is not None:
            found.setdefault((r["technique_a"], r["technique_b"]), []).append(r["value"])
    means = {pair: sum(values) / len(values) for pair, values in found.items()}
    if len(means) < 2:
        return ""
    ends = (max(means, key=lambda pair: means[pair]), min(means, key=lambda pair: means[pair]))
    most, least = (f"{joined([reading.technique(t) for t in pair])} ({number(means[pair])})" for pair in ends)
    return f" Row by row, {most} agree most and {least} least, by the rank correlation of what they say."


def _meanings(blocks: Sequence[Block]) -> list[Block]:
    """What the measures mean that stand in the tables."""
    tables = [b for b in blocks if isinstance(b, Table)]
    shown = " ".join(text for b in tables for text in (b.caption, *(c.label for c in b.columns)))
    told = [(measure_label(m), text) for m, text in AGREEMENTS.items() if measure_label(m) in shown]
    return [Bullets(tuple(line(strong(upper_first(label)), f": {text}") for label, text in told))] if told else []


def _matrices(
    reading: Reading, id: str, caption: str, rows: Sequence[Row], measures: Sequence[tuple[str, int | None]]
) -> list[Table]:
    """A matrix of techniques a measure, each pair once: the mean over outputs, where there are several."""
    present = {(r["measure"], r["k"]) for r in rows}
    techniques = list(dict.fromkeys(t for r in rows for t in (r["technique_a"], r["technique_b"])))
    made = []
    for measure, k in [m for m in measures if m in present][:2]:
        found: dict[frozenset[str], list[Row]] = {}
        for r in rows:
            if (r["measure"], r["k"]) == (measure, k):
                found.setdefault(frozenset((r["technique_a"], r["technique_b"])), []).append(r)
        columns = (Column("Technique", weight=1.3), *(Column(reading.technique(t)) for t in techniques[:-1]))
        room = len(techniques) <= _INTERVALS
        cells = []
        for row, technique in enumerate(techniques[1:], 1):
            others = (_mean(found.get(frozenset((technique, t))), room) for t in techniques[:row])
            cells.append((line(reading.technique(technique)), *others, *[()] * (len(techniques) - 1 - row)))
        label = measure_label(measure) + (f", top {k}" if k is not None else "")
        note = line("Other measures, outputs and all intervals are in the table named as source.")
        made.append(
            Table(f"agreement-{id}-{measure}", f"{caption}: {label}", columns, tuple(cells), note, ("agreement",))
        )
    return made


def _mean(rows: Sequence[Row] | None, room: bool) -> Content:
    """The pair's value, with its interval where there is room; the mean over outputs where there are several."""
    if not rows:
        return dash()
    if len(rows) == 1 and room:
        return _value(rows[0])
    known = [r["value"] for r in rows if r["value"] is not None]
    return (num(number(sum(known) / len(known))),) if known else (status("undefined"),)


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
    whole = "all" if any(r["measure"].startswith(OF_IMPORTANCE) for r in rows) else "each row’s highest"
    columns = (
        Column("Techniques", weight=1.4),
        Column("Output"),
        *(Column(measure_label(m) + (f", top {k}" if k is not None else "")) for m, k in columned),
    )
    cells = tuple(
        (
            line(f"{reading.technique(a)} and {reading.technique(b)}"),
            (name(output),) if output is not None else line(whole),
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
