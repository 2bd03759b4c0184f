"""Explanations: importance per technique, agreement between techniques, quality, single rows, overlays."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.contracts import Done
from tasks.report.document import (
    Block,
    Column,
    Content,
    Figure,
    Paragraph,
    Section,
    Span,
    Table,
    aside,
    line,
    name,
    num,
    said,
)
from tasks.report.figures import Bars, Mark
from tasks.report.numbers import count, fraction, interval, number, p_value
from tasks.report.reading import Reading, Row
from tasks.report.sections.agreement import agreement
from tasks.report.sections.effects import effects
from tasks.report.sections.overlays import overlays
from tasks.report.sections.quality import marked, quality
from tasks.report.sections.shared import TOP, dash, joined, plural, top
from tasks.report.sections.single import single_rows

_P_NOTE = (
    " p: how likely rows were to fare so much worse if shuffling the feature did neither good nor harm; adjusted for"
    " the number of features."
)
_WITH_INTERVALS = 3  # techniques beside each other whose intervals have room
_NOUGHT = 1e-15
_OUTPUTS = 3  # outputs drawn; the others are in the table


def explanations(reading: Reading) -> Section:
    planned = [r for r in reading.record.results if r.stage.startswith("explain/")]
    if not planned:
        text = "No technique was planned in this audit."
        return Section("explanations", "Explanations", (Paragraph(line(text)),))
    done = [r for r in planned if isinstance(r, Done)]
    local = [r for r in done if not any(t.name.startswith("effects/") for t in r.tables)]
    overall = [r for r in done if r not in local]
    lead = f"{joined(_titles(reading, local)) or 'No technique'} explained the same rows of the same model."
    if overall:
        lead += f" As a whole it is described, over such rows, by {joined(_titles(reading, overall))}."
    blocks: list[Block] = [Paragraph(line(lead), lead=True), *_bound(reading)]
    for result in planned:
        if not isinstance(result, Done):
            title = reading.technique(result.stage.removeprefix("explain/"))
            blocks.append(Paragraph(line(f"{title}: ", said(reading.why_absent(result.stage)))))
    sections = (
        _importance(reading),
        effects(reading),
        agreement(reading),
        single_rows(reading),
        overlays(reading),
        quality(reading),
    )
    return Section("explanations", "Explanations", tuple(blocks), tuple(s for s in sections if s is not None))


def _titles(reading: Reading, results: Sequence[Done]) -> list[str]:
    return [reading.technique(r.stage.removeprefix("explain/")) for r in results]


def _bound(reading: Reading) -> list[Block]:
    """Which columns are explained as one."""
    groups = reading.config.explain.feature_groups
    if not groups:
        return []
    parts: list[str | Span] = ["Columns that the config binds together are explained as one: "]
    for group, columns in groups.items():
        parts += [name(group), " ("]
        parts += [part for column in columns for part in (name(column), ", ")][:-1]
        parts += [")", ", "]
    return [Paragraph(line(*parts[:-1], "."))]


# ---------------------------------------------------------------- importance


def _importance(reading: Reading) -> Section | None:
    rows = reading.importance
    if not rows:
        if reading.tables("saliency"):
            return None  # images have regions, not features
        text = "No technique left an importance of features."
        return Section("importance", "Which features matter", (Paragraph(line(text)),))
    text = (
        "How much each feature matters over the explained rows. The techniques measure different things on scales of"
        " their own: compare the order of the features, not the lengths of bars of two techniques."
    )
    blocks: list[Block] = [Paragraph(line(text))]
    # Importance of the model as a whole has no output; it belongs beside every output's.
    outputs = list(dict.fromkeys(r["output"] for r in rows if r["output"] is not None)) or [None]
    for position, output in enumerate(outputs[:_OUTPUTS], 1):
        chosen = [r for r in rows if r["output"] in (output, None)]
        blocks += _of_output(reading, chosen, output if len(outputs) > 1 else None, f"importance-{position}")
    if len(outputs) > _OUTPUTS:
        rest = f"{len(outputs) - _OUTPUTS} more outputs are in the importance table."
        blocks.append(Paragraph(line(rest)))
    return Section("importance", "Which features matter", (*blocks, *_conditions(reading)))


def _conditions(reading: Reading) -> list[Block]:
    """Within which rows a feature was shuffled, where permutation importance is conditional."""
    told = reading.record.fact("explain/permutation", "conditional", {}) or {}
    if not told:
        return []
    columns = (
        Column("Feature"),
        Column("Rows alike in", weight=2.4),
        Column("Strata", "right"),
        Column("Rows with another value to take", "right", weight=1.4),
    )
    shown, more = top(list(told.items()))
    rows = tuple(
        (
            (name(feature),),
            line(*[part for f in facts["given"] for part in (name(f), ", ")][:-1]) if facts["given"] else dash(),
            (num(count(facts["strata"])),),
            (num(fraction(facts["movable"], facts["rows"])),),
        )
        for feature, facts in shown
    )
    note = line(
        "Permutation importance shuffled a feature only among rows (a stratum) whose correlated features are alike: it"
        " tells what the feature adds to these. Other rows stay as they are.",
        *((f" {plural(more, 'more feature is', 'more features are')} in summary.json.",) if more else ()),
    )
    return [Table("importance-strata", "What a feature was shuffled within", columns, rows, note)]


def _of_output(reading: Reading, rows: Sequence[Row], output: str | None, id: str) -> list[Block]:
    techniques = list(dict.fromkeys(r["technique"] for r in rows))
    found = {(r["technique"], r["feature"]): r for r in rows}
    features, more = top(_ordered(rows))
    panels = []
    for technique in techniques:
        marks = tuple(
            _mark(found[technique, feature]) if (technique, feature) in found else Mark(feature, "–", None)
            for feature in features
        )
        told = "; ".join(f"{m.label}: {m.text}" for m in marks)
        panels.append(Bars(marked(reading, technique), marks, description=f"Importance, the best ranks first. {told}."))
    about = f" for {output}" if output is not None else ""
    note = line(
        "Features in the order of their best rank; whiskers are intervals, or one standard error where there are none.",
        *((_P_NOTE,) if any(reading.record.fact(f"explain/{t}", "p_values") for t in techniques) else ()),
    )
    columns = (Column("Feature", weight=1.5), *(Column(marked(reading, t), weight=1.6) for t in techniques))
    brief = len(techniques) > _WITH_INTERVALS
    cells = tuple(
        ((name(f),), *(_cell(reading, found[t, f], brief) if (t, f) in found else dash() for t in techniques))
        for f in features
    )
    hidden = (
        *(line("Intervals are in the table named as source. ") if brief else ()),
        *(
            line(f"The {TOP} features with the best ranks; {more} more are in the table named as source.")
            if more
            else ()
        ),
    )
    return [
        Figure(f"{id}-figure", f"Importance of features{about}", tuple(panels), note, ("importance",)),
        Table(f"{id}-table", f"Importance of features{about}", columns, cells, hidden, ("importance",)),
    ]


def _ordered(rows: Sequence[Row]) -> list[str]:
    """Features by the best rank that any technique gives them, then by the sum of ranks, then by name."""
    ranks: dict[str, list[int]] = {}
    for row in rows:
        ranks.setdefault(row["feature"], []).append(row["rank"] if row["rank"] is not None else 10**9)
    return sorted(ranks, key=lambda f: (min(ranks[f]), sum(ranks[f]), f))


def _mark(row: Row) -> Mark:
    value, low, high, error = _clean(row["importance"]), row["ci_low"], row["ci_high"], row["std_error"]
    if value is not None and low is None and high is None and error is not None:
        low, high = value - error, value + error
    return Mark(row["feature"], number(value), value, low, high)


def _clean(value: float | None) -> float | None:
    """A nought that sums of rounded numbers missed is shown as one."""
    return 0.0 if value is not None and abs(value) < _NOUGHT else value


def _cell(reading: Reading, row: Row, brief: bool) -> Content:
    """A value, and beside it its rank, its interval where there is room, and its p-value where there is one."""
    facts = [f"rank {row['rank']}"] if row["rank"] is not None else []
    if not brief and (row["ci_low"] is not None or row["ci_high"] is not None):
        facts.append(interval(row["ci_low"], row["ci_high"]))
    elif not brief and row["std_error"] is not None:
        facts.append(f"± {number(row['std_error'])}")
    chance = reading.record.fact(f"explain/{row['technique']}", "p_values", {}).get(row["feature"])
    if chance is not None and chance["p_adjusted"] is not None:
        facts.append(f"p {p_value(chance['p_adjusted'])}")
    return (num(number(_clean(row["importance"]))), *((aside("; ".join(facts)),) if facts else ()))
